"""One detector for other cameras: the realtime network on all that there is to learn.

  python launch.py --config=configs/general.py
  python launch.py --config=configs/general.py:small
  python launch.py --mode=evaluate --workdir=runs/general --config.data.name=irstd1k \
      --config.data.split=80_20

A detector that learnt one small set floods other scenes with false alarms. This one
learns the training parts of NUAA-SIRST and NUDT-SIRST (213 and 663 images, `50_50`,
less a tenth of each for validation) and 400 generated scenes, zoomed, stretched,
blurred and noised, half of the crops wherever they fall. An augmented set joins by
--config.data.extra=FOLDER. To see what an ingredient is worth, leave it out:
--config.data.name=nuaa_sirst,nudt_sirst, --config.data.augment.blur=0, ...

`small` has a third of the steps, and is what `general` in the box was learnt by; `tiny`
takes seconds, on generated scenes alone.
"""

from configs import common


def get_config(variant=""):
    """The recipe; see the module."""
    common.variant_of(variant, VARIANTS)
    name = "nuaa_sirst,nudt_sirst,synthetic"
    config = common.irstd_diff("general", name, "50_50")
    common.realtime(config)
    config.num_steps = 36_000
    config.evaluate_every = 2_000
    config.data.normalisation = "nuaa"
    config.data.size = 256
    config.data.seed = 0
    config.data.count = {"train": 400}
    config.data.augment.update(
        {
            "scale": (0.5, 2.0),
            "brightness": 0.2,
            "contrast": 0.5,
            "noise": 0.03,
            "blur": 1.0,
        }
    )
    VARIANTS[variant](config)
    if variant:
        config.name = f"{config.name}_{variant}"
    return config


def whole(config):
    """The recipe as it is."""


def small(config):
    """A third of the steps."""
    config.num_steps = 12_000
    config.evaluate_every = 2_000


def tiny(config):
    """Seconds: generated scenes alone, a few steps."""
    config.model.widths, config.model.blocks = (4, 8), (1, 1)
    config.model.denoiser_widths, config.model.denoiser_blocks = (4,), (1,)
    common.brief(config)
    config.data.name, config.data.split = "synthetic", "generated"
    config.data.size = 32
    config.data.count = {"train": 8, "validation": 2, "test": 2}


VARIANTS = {"": whole, "small": small, "tiny": tiny}
