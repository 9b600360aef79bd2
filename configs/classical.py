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

CPU seconds, roughly, of a core with much other work, for an image of 240 x 320, and for
the program of each size, which JAX's cache keeps: Top-hat .002 and .6, New Top-hat .003
and .7, LCM .007 and 1.5, MPCM .006 and 2.4, TLLCM .07 and .9, WSLCM .1 and 2.6, PSTNN
.1 and 3.2, mslstipt_image 1.7 and 3.6, IPI 24 and 2.6. The 214 test images of
NUAA-SIRST have 198 sizes: minutes for the first time are to be expected. IPI took 28,
and 46 for NUDT-SIRST's, on a core of Zen 4 (benchmarks/RESULTS.md has all methods).

Variants: (none); small, the same; tiny, generated scenes of 32 px for tests.
"""

from typing import NamedTuple

from ml_collections import ConfigDict

from configs import common

SPLITS = {
    "irstd1k": "80_20",
    "nuaa_sirst": "50_50",
    "nudt_sirst": "50_50",
    "synthetic": "generated",
}


class Method(NamedTuple):
    """A method's row.

    Attributes:
      model: all its fields, as published, and the type it computes in.
      toy: those that differ in the variant `tiny`.
      cited: its name in the papers' tables (irstd_jax/literature.py); "" if in none.
    """

    model: dict
    toy: dict
    cited: str


def get_config(argument="tophat"):
    """The recipe; see the module."""
    choices = {"method": METHODS, "data set": (*SPLITS, ""), "variant": VARIANTS}
    usage = "METHOD[,DATASET[,VARIANT]]"
    method, dataset, variant = common.words(argument, choices, usage, least=1)
    dataset = dataset or "nuaa_sirst"
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
    config.model = ConfigDict({"name": method} | METHODS[method].model)
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
        common.on_scenes(config)
    return config


def as_it_is(config):
    """The recipe as it is."""


def tiny(config):
    """Smaller patches, on small images."""
    config.model.update(METHODS[config.model.name].toy)
    config.evaluation.bootstrap = 20
    if config.data.name == "synthetic":
        config.data.size = 32
        config.data.count = {"train": 8, "validation": 2, "test": 2}


SINGLE, DOUBLE = {"dtype": "float32"}, {"dtype": "float64"}
SIDES = {"sides": (3, 5, 7, 9)}
NEW = {"outer": 19, "inner": 9, "element": 9}
WEIGHTED = {"sides": (5, 7, 9, 11), "count": 9}
METHODS = {
    "tophat": Method({"side": 5} | SINGLE, {}, "tophat"),
    "new_tophat": Method(NEW | SINGLE, {}, "new_tophat"),
    "lcm": Method(SIDES | SINGLE, {}, ""),
    "mpcm": Method(SIDES | SINGLE, {}, ""),
    "tllcm": Method({"side": 9, "count": 9} | SINGLE, {}, "tllcm"),
    "wslcm": Method(WEIGHTED | SINGLE, {}, "wslcm"),
    "ipi": Method({"side": 50, "step": 10} | DOUBLE, {"side": 12, "step": 6}, "ipi"),
    "pstnn": Method({"side": 40, "weight": 0.7} | DOUBLE, {"side": 12}, "pstnn"),
    # No paper says what theirs is of a single image.
    "mslstipt_image": Method({"columns": 6} | DOUBLE, {}, "mslstipt"),
}
VARIANTS = {"": as_it_is, "small": as_it_is, "tiny": tiny}
