"""A classical method, which learns nothing: METHOD[,DATASET[,VARIANT]].

  python launch.py --mode=predict --config=configs/classical.py:tophat \
      --input=FOLDER --output=OUT
  python launch.py --mode=evaluate --config=configs/classical.py:ipi,nuaa_sirst
  python launch.py --mode=evaluate --config=configs/classical.py:wslcm,nudt_sirst \
      --config.task.rule=half
  python launch.py --config=configs/classical.py:lcm,nuaa_sirst \
      --config.task.rule=deviations

Methods: tophat, new_tophat, lcm, mpcm, tllcm, wslcm, ipi, pstnn, mslstipt_image, at the
parameters of their published code (irstd_jax/classical says where these come from).
mslstipt_image is ours: MSLSTIPT is of sequences. Data sets: nuaa_sirst, nudt_sirst,
irstd1k, synthetic. The rule makes a mask of a saliency (irstd_jax/classical/rules.py):

  half        above .5 of the map scaled to [0, 1], what BasicIRSTD says of its table
  peak        above max(.7 max, mean + std / 2), what its rows come nearest to
  deviations  above mean + k std, by --config.task.k=NUMBER; or 0, and then the last
              command above chooses it on the training part, and what follows finds it
              in the workdir

It moves IoU by a factor of 1.5 to 3. LCM, which answers to a flat background with its
grey level, wants `deviations`.

Seconds of a core for an image of 240 x 320, and for the program of each size, which
JAX's cache keeps: Top-hat .002 and .3, New Top-hat .003 and .4, LCM .007 and 1.4, MPCM
.006 and 2.2, TLLCM .07 and .5, WSLCM .1 and 2.3, PSTNN .1 and 3.0, mslstipt_image 1.7
and 3.4, IPI 24 and 2.4. So NUAA-SIRST, 214 test images of 198 sizes, takes a minute to
ten the first time, and more than an hour by IPI.

Variants: (none); small, the same; tiny, generated scenes of 32 px for tests.
"""

from ml_collections import ConfigDict

from configs import common

SIDES = (3, 5, 7, 9)
METHODS = {
    "ipi": {"side": 50, "step": 10},
    "lcm": {"sides": SIDES},
    "mpcm": {"sides": SIDES},
    "mslstipt_image": {"columns": 6},
    "new_tophat": {"outer": 19, "inner": 9, "element": 9},
    "pstnn": {"side": 40, "weight": 0.7},
    "tllcm": {"side": 9, "count": 9},
    "tophat": {"side": 5},
    "wslcm": {"sides": (5, 7, 9, 11), "count": 9},
}
DOUBLE = ("ipi", "mslstipt_image", "pstnn")
TOYS = {"ipi": {"side": 12, "step": 6}, "pstnn": {"side": 12}}
SPLITS = {
    "irstd1k": "80_20",
    "nuaa_sirst": "50_50",
    "nudt_sirst": "50_50",
    "synthetic": "generated",
}


def get_config(argument="tophat"):
    """The recipe; see the module."""
    names = argument.split(",")
    if len(names) > 3:
        raise ValueError(f"classical.py:{argument} is not METHOD[,DATASET[,VARIANT]]")
    given = dict(zip(("method", "data set", "variant"), names, strict=False))
    chosen = {"method": "tophat", "data set": "nuaa_sirst", "variant": ""} | given
    choices = (METHODS, SPLITS, VARIANTS)
    for (kind, name), known in zip(chosen.items(), choices, strict=True):
        if name not in known:
            raise ValueError(f"unknown {kind} {name!r}; choose from {sorted(known)}")
    method, dataset, variant = chosen.values()
    config = recipe(method, dataset)
    VARIANTS[variant](config)
    if variant:
        config.name = f"{config.name}_{variant}"
    return config


def recipe(method, dataset):
    """The method by its published parameters, on whole images in grey levels."""
    name = f"{method}_{dataset}"
    config = common.recipe(name, dataset, SPLITS[dataset])
    config = common.detecting(config, "saliency")
    config.model = ConfigDict({"name": method} | METHODS[method])
    config.model.dtype = "float64" if method in DOUBLE else "float32"
    config.task = ConfigDict(
        {
            "name": "classical",
            "rule": "peak",  # or "half", "deviations"
            "k": 0.0,  # of deviations; 0 = chosen by training
        }
    )
    config.data.channels = 1
    # No canvases and no tiles: see irstd_jax/tasks/classical.py.
    config.evaluation.update({"batch_size": 1, "canvas_multiple": 1})
    config.predict.tile = 0
    if dataset == "synthetic":
        config.data.size = 128
        config.data.seed = 0
        config.data.count = {"train": 200, "validation": 16, "test": 40}
    return config


def as_it_is(config):
    """The recipe as it is."""


def tiny(config):
    """Smaller patches, on small images."""
    config.model.update(TOYS.get(config.model.name, {}))
    config.evaluation.bootstrap = 20
    if config.data.name == "synthetic":
        config.data.size = 32
        config.data.count = {"train": 8, "validation": 2, "test": 2}


VARIANTS = {"": as_it_is, "small": as_it_is, "tiny": tiny}
