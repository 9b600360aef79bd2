"""An augmented training set by Diff-Mosaic: compose, harmonise, resample, label.

  python launch.py --mode=augment --config=configs/diff_mosaic/augment.py:small

`small` runs from nothing on 2 CPU cores: it trains the priors that it lacks (hours)
on the training part of NUAA-SIRST, makes 100 samples of 256 px, and reports. `tiny`
does it all on generated scenes in minutes. Without a variant: the released sizes (four
tiles of 256 px, 50 steps from pure noise, SwinIR and Stable Diffusion 2.1), for weights
that you have: --config.augment.weights.pixel_prior=FILE and .diff_prior=FILE.

The paper's ablations, by --config.augment.stages:
  ()                                                   Mosaic
  ("degrade","pixel_prior","retarget")                 + Pixel-Prior
  ("degrade","pixel_prior","diff_prior","retarget")    + Diff-Prior (the default)
CutMix, mixup and pasted targets: --config.augment.compose.method=cutmix.

A small autoencoder blurs what surrounds a target: of 74 targets of training mosaics it
lost 10 before they were put back, and none where what it loses is given back. So
`small` gives it back; as released: --config.recipes.control.sampling.residual=0. What
detectors learn from either is in benchmarks/RESULTS.md.

Then train on real and made images together:
  python launch.py --config=configs/detector.py:acm_unet,nuaa_sirst,small \
      --config.data.extra=runs/augment_small/set
"""

from ml_collections import ConfigDict
from ml_collections.config_dict import placeholder

from configs import common
from configs.diff_mosaic import (
    autoencoder,
    control,
    latent_prior,
    pixel_prior,
    priors,
)

RECIPES = {
    "pixel_prior": pixel_prior,
    "autoencoder": autoencoder,
    "latent_prior": latent_prior,
    "control": control,
}


def get_config(variant=""):
    """The recipe; see the module."""
    common.variant_of(variant, priors.NETWORKS)
    config, _ = priors.recipe("augment", variant)
    config.data.crop = 0
    config.augment = ConfigDict(
        {
            "count": 400,  # as the paper for NUDT-SIRST; 100 for NUAA-SIRST
            "batch_size": 4,
            "seed": 0,
            "stages": ("degrade", "pixel_prior", "diff_prior", "retarget"),
            "compose": {
                "method": "mosaic",  # or "cutmix", "mixup", "copy_paste"
                "tile": 256,
                "centre": "grid",  # or "random"
                "centre_range": (0.25, 0.75),
                "margin": 4,
                "flips": False,
                "quarter_turns": False,
                "scale": placeholder(tuple),  # None, or the range of each tile's zoom
                "concentration": 1.0,
                "visible": 0.4,
                "shift": True,
                "gap": 2,
                "border": 2,
                "ground": 7,
                "cut_targets": "keep",
                "min_share": 0.5,
            },
            "gather": {
                "small": "pad",  # or "resize", as released
                "target_share": 0.5,  # of the partners' crops that hold a target
                "min_share": 0.5,  # of a target that a crop must leave
            },
            "degrade": {"preset": "generation"},  # and any field of Degradation
            "border": 0,  # px over which restored targets fade out; 0 as released
            # Files of weights; "" = trained in the workdir, where that is wanted: at
            # the released sizes it takes a cluster.
            "weights": {"pixel_prior": "", "diff_prior": ""},
            "train_priors": bool(variant),
        }
    )
    config.quality = ConfigDict(
        {
            "features": ("haar_statistics",),
            "detector": "",  # weights for the features "detector"
            "crop": 128,
            "crops": 4,  # of an image
            "samples": 24,  # whose stages are compared, too
            "seed": 0,
            "pictures": 6,
        }
    )
    config.recipes = ConfigDict(
        {name: module.get_config(variant) for name, module in RECIPES.items()}
    )
    if variant == "small":
        config.augment.count = 100
        config.augment.compose.tile = 128
        config.augment.border = 2
        config.augment.degrade.preset = "small"
        config.recipes.control.sampling.residual = 1.0
    if variant == "tiny":
        config.augment.update({"count": 4, "batch_size": 2, "border": 1})
        config.augment.compose.tile = 16
        config.augment.degrade.preset = "small"
        config.quality.update({"crop": 16, "samples": 2, "pictures": 2})
    return config
