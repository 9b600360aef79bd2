"""One detector for other cameras: the realtime network on all real sets at hand.

  python launch.py --config=configs/general.py
  python launch.py --config=configs/general.py:small
  python launch.py --mode=evaluate --workdir=runs/general --config.data.name=irstd1k \
      --config.data.split=80_20

A detector that learnt one small set may miss and invent targets on other scenes. This
one learns the training parts of NUAA-SIRST and NUDT-SIRST (213 and 663 images, `50_50`,
less a tenth of each for validation) by the recipe of `realtime` as it is: wider zoom,
none, more contrast, drawn-out grey levels and generated scenes were each tried on the
one set, and none made clearly fewer false alarms on the other at equal detection
(configs/compare.py:cross).
Generated scenes and augmented sets join by
--config.data.name=nuaa_sirst,nudt_sirst,synthetic and --config.data.extra=FOLDER.
Cameras that leave lines at the border want --config.data.augment.frame=0.3: it cures
most false targets there, and cost accuracy on NUDT-SIRST's validation images.

`small` has two ninths of the steps, and is what `general` in the box was learnt by;
`tiny` takes seconds, on generated scenes alone.
"""

from configs import common


def get_config(variant=""):
    """The recipe; see the module."""
    common.variant_of(variant, VARIANTS)
    config = common.irstd_diff("general", "nuaa_sirst,nudt_sirst", "50_50")
    common.realtime(config)
    config.num_steps = 36_000
    config.evaluate_every = 3_000
    config.data.normalisation = "nuaa"
    # Of generated scenes, should they join.
    config.data.size = 256
    config.data.seed = 0
    config.data.count = {"train": 400}
    VARIANTS[variant](config)
    if variant:
        config.name = f"{config.name}_{variant}"
    return config


def whole(config):
    """The recipe as it is."""


def small(config):
    """Two ninths of the steps: an hour of a core."""
    config.num_steps = 8_000


def tiny(config):
    """Seconds: generated scenes alone, a few steps."""
    config.model.widths, config.model.blocks = (4, 8), (1, 1)
    config.model.denoiser_widths, config.model.denoiser_blocks = (4,), (1,)
    common.brief(config)
    config.data.name, config.data.split = "synthetic", "generated"
    config.data.size = 32
    config.data.count = {"train": 8, "validation": 2, "test": 2}


VARIANTS = {"": whole, "small": small, "tiny": tiny}
