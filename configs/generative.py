"""A generative segmenter on one data set: NETWORK,DATASET[,VARIANT].

  python launch.py --config=configs/generative.py:segdiff,nuaa_sirst
  python launch.py --config=configs/generative.py:medsegdiff,nudt_sirst,small
  python launch.py --config=configs/generative.py:cimd,synthetic,tiny
  python launch.py --mode=convert --config=configs/generative.py:medsegdiff,irstd1k \
      --input=emasavedmodel_0.9999_100000.pt --output=medsegdiff.safetensors

Networks: segdiff; medsegdiff, the code's default version, and medsegdiff_v1, its first;
cimd, of 128 px, and cimd_256. Data sets: nuaa_sirst, nudt_sirst, irstd1k, synthetic.
Their splits and sizes are those of IRSTD-Diff's recipes, whose table these networks are
rows of. Variants:

  (none)  each network's own recipe as released, on images of 256 px (cimd: 128)
  small   narrow networks on 128 px crops, 1,600 steps as of IRSTD-Diff's `small`; x0 in
          the place of eps, masks in {-1, 1}, T = 100. Nothing has been trained by it
  tiny    seconds, to see that all parts work

Published (IRSTD-Diff, Table III; IoU % on NUAA-SIRST, IRSTD-1k, NUDT-SIRST): SegDiff
66.00, 47.41, 75.53; MedSegDiff 64.19, 57.65, 78.27; CIMD 71.00, 62.32, 89.15, "without
modification": at which size of its two, and with how many blocks of SegDiff's encoder,
it does not say. No run at these sizes has been made here.

In what the recipes differ from the releases, on purpose:

  all         a mask is target above one half of grey, not wherever resizing touched it
  segdiff     no dropout (one of its sets has 0.1); flips, quarter turns and scale stand
              for its affine augmentation; chosen on a validation part cut from
              training, not on the test images
  medsegdiff  samples are joined by STAPLE as the paper says; its code squares their
              mean: --config.sampling.ensemble=mean_squared
  v1          its random convolution is learnt; --config.model.bridge=random takes
              published weights
  cimd        no KL, which reaches no sample; as released:
              --config.model.latent=True --config.task.kl_weight=1e-3

Steps of cimd are not published: 100,000 here, as of MedSegDiff.
"""

from collections.abc import Callable
from typing import NamedTuple

from ml_collections import ConfigDict

from configs import common, irstd1k, nuaa_sirst, nudt_sirst, quickstart

DATASETS = {
    "irstd1k": irstd1k.get_config,
    "nuaa_sirst": nuaa_sirst.get_config,
    "nudt_sirst": nudt_sirst.get_config,
    "synthetic": quickstart.get_config,
}
# What all three learn and draw by, where it is not IRSTD-Diff's.
TASK = {
    "encoder_error": "bce",  # or "mse"
    "vlb_weight": 0.0,  # of the bound, for the learned variance
    "fusion": "released",  # or "soft_dice"
    "kl_weight": 0.0,  # CIMD's: see its network
    "kl_input": "eps",  # or "x0"
    "kl_trainable": False,
}


class Segmenter(NamedTuple):
    """A network's row.

    Attributes:
      model: all fields of the network, at the published size.
      small, toy: those that differ in the variants `small` and `tiny`.
      released: changes a recipe into the network's own.
      cited: its name in the papers' tables (irstd_jax/literature.py), "" if they mean
        another form of it.
    """

    model: dict
    small: dict
    toy: dict
    released: Callable
    cited: str


def get_config(argument="segdiff,nuaa_sirst"):
    """The recipe; see the module."""
    choices = {"network": SEGMENTERS, "data set": DATASETS, "variant": VARIANTS}
    usage = "NETWORK,DATASET or NETWORK,DATASET,VARIANT"
    network, dataset, variant = common.words(argument, choices, usage)
    config = VARIANTS[variant](network, dataset)
    config.name = "_".join(filter(None, (network, dataset, variant)))
    return config


def released(network, dataset):
    """The network's own recipe."""
    if dataset == "synthetic":
        config = DATASETS[dataset]()
        config.data.update({"resize": 256, "crop": 0})
    else:
        config = DATASETS[dataset]("")
    with_network(config, network)
    config.data.augment.update(common.no_augmentation())
    config.optimizer.update(
        {"learning_rate": 1e-4, "decay": "constant", "warmup": 0, "clip": 0.0}
    )
    config.optimizer.ema = 0.9999
    SEGMENTERS[network].released(config)
    side = 128 if network == "cimd" else 256
    config.data.resize = config.evaluation.size = config.predict.size = side
    return config


def released_segdiff(config):
    """300,000 steps; 9 samples of 100 ancestral steps, not clipped, and their mean."""
    lasting(config, 300_000, 8)
    process(config, 100, (-1.0, 1.0))
    config.sampling.update({"clip": False, "samples": 9})
    config.data.augment.update(
        {"flip": True, "quarter_turns": True, "scale": (0.75, 1.25)}
    )


def released_medsegdiff(config):
    """About 100,000 steps; 5 samples of 1000 ancestral steps; nothing is chosen."""
    lasting(config, 100_000, 8)
    process(config, 1000, (0.0, 1.0))
    config.sampling.update({"samples": 5, "ensemble": "staple"})
    config.data.normalisation = "none"
    config.validation.choose = "last"


def released_cimd(config):
    """As MedSegDiff's, in batches of 20; 4 samples and their mean."""
    released_medsegdiff(config)
    config.data.batch_size = 20
    config.sampling.update({"samples": 4, "ensemble": "mean"})


def lasting(config, steps, batch_size):
    """So many steps, looked at every 5,000."""
    config.num_steps, config.data.batch_size = steps, batch_size
    config.evaluate_every, config.checkpoint_every = 5_000, 1_000


def process(config, steps, mask_range):
    """What is diffused, predicted as eps, and drawn by all T steps."""
    config.task.update(
        {"steps": steps, "mask_range": mask_range, "parameterisation": "eps"}
    )
    config.sampling.update({"sampler": "ddpm", "steps": steps})


def with_network(config, network, fields=None):
    """The block model, some fields changed, and what the task has of it."""
    model = SEGMENTERS[network].model | (fields or {})
    config.model = ConfigDict({"name": network} | model)
    config.data.channels = config.model.image_channels
    config.task.update(TASK | {"iou_weight": 0.0, "encoder_weight": 10.0})
    config.sampling.clip = True
    if network != "segdiff":
        config.task.vlb_weight = 1.0
        config.sampling.variance = "learned_range"
    if network.startswith("medsegdiff"):
        config.task.update({"encoder_error": "mse", "fusion": "soft_dice"})
        config.evaluation.fused_threshold = 0.5
    config.predict.mode = config.validation.mode = "diffusion"


def small(network, dataset):
    """For 2 CPU cores."""
    config = DATASETS[dataset]("" if dataset == "synthetic" else "small")
    with_network(config, network, SEGMENTERS[network].small)
    if network == "medsegdiff_v1":
        filtered(config, 128)
    return config


def tiny(network, dataset):
    """A few steps of a toy, with the sampler that looks at a learned variance."""
    config = DATASETS[dataset]("tiny")
    with_network(config, network, SEGMENTERS[network].toy)
    config.sampling.sampler = "ddpm"
    if network == "medsegdiff_v1":
        filtered(config, 32)
    return config


def filtered(config, side):
    """Images and tiles of the one size that the highway's filters are made for."""
    config.data.crop = config.evaluation.size = config.predict.tile = side
    config.predict.overlap = side // 4
    config.evaluation.canvas_multiple = side


VARIANTS = {"": released, "small": small, "tiny": tiny}
SEGDIFF = {
    "image_channels": 3,
    "channels": 128,
    "channel_mult": (1, 1, 1, 2, 2, 4, 4),
    "num_res_blocks": 3,
    "num_heads": 4,
    "attention_downsamplings": (16, 32),
    "groups": 32,
    "rrdb_blocks": 6,
    "rrdb_channels": 64,
    "rrdb_growth": 32,
    "dtype": "float32",
    "remat": False,
}
MEDSEGDIFF = {
    "image_channels": 3,
    "channels": 128,
    "channel_mult": (1, 1, 2, 2, 4, 4),
    "num_res_blocks": 2,
    "num_heads": 1,
    "attention_downsamplings": (16,),
    "groups": 32,
    "encoder_widths": (32, 64, 128, 256, 480),
    "dropout": 0.5,
    "detach_condition": True,
    "dtype": "float32",
    "remat": False,
}
CIMD = {
    "image_channels": 4,
    "channels": 128,
    "channel_mult": (1, 1, 2, 3, 4),
    "num_res_blocks": 2,
    "num_heads": 1,
    "attention_downsamplings": (8,),
    "groups": 32,
    "latent": False,  # True: has what task.kl_weight is of
    "latent_widths": (32, 64, 128, 192),
    "dtype": "float32",
    "remat": False,
}
# Time is added: narrow levels want fewer groups (models/unet.py).
NARROW = {
    "image_channels": 1,
    "channels": 8,
    "channel_mult": (1, 2, 2, 4),
    "num_res_blocks": 1,
    "num_heads": 2,
    "attention_downsamplings": (8,),
    "groups": 4,
}
TOY = NARROW | {
    "channels": 4,
    "channel_mult": (1, 1),
    "num_heads": 1,
    "attention_downsamplings": (),
    "groups": 2,
}
SMALL_CIMD = NARROW | {"latent_widths": (8, 16, 32, 32)}
SEGMENTERS = {
    "segdiff": Segmenter(
        model=SEGDIFF,
        small=NARROW | {"rrdb_blocks": 1, "rrdb_channels": 8, "rrdb_growth": 4},
        toy=TOY | {"rrdb_blocks": 1, "rrdb_channels": 4, "rrdb_growth": 2},
        released=released_segdiff,
        cited="segdiff",
    ),
    "medsegdiff": Segmenter(
        model=MEDSEGDIFF,
        small=NARROW
        | {"channels": 16, "encoder_widths": (4, 8, 16, 32), "dropout": 0.0},
        toy=TOY | {"channels": 8, "encoder_widths": (2, 4, 4)},
        released=released_medsegdiff,
        cited="medsegdiff",
    ),
    "medsegdiff_v1": Segmenter(
        model=MEDSEGDIFF | {"highway_size": (256, 256), "bridge": "learnt"},
        small=NARROW
        | {"encoder_widths": (8, 16, 32), "dropout": 0.0, "highway_size": (128, 128)},
        toy=TOY
        | {
            "channel_mult": (1, 1, 1),
            "encoder_widths": (4, 4),
            "highway_size": (32, 32),
        },
        released=released_medsegdiff,
        cited="",
    ),
    "cimd": Segmenter(
        model=CIMD,
        small=SMALL_CIMD,
        toy=TOY | {"channel_mult": (1,), "latent_widths": (2, 2)},
        released=released_cimd,
        cited="",
    ),
    "cimd_256": Segmenter(
        model=CIMD
        | {"channel_mult": (1, 1, 2, 2, 4, 4), "attention_downsamplings": (16,)},
        small=SMALL_CIMD,
        toy=TOY | {"latent_widths": (2, 2)},
        released=released_cimd,
        cited="cimd",  # tables are of 256 px
    ),
}
