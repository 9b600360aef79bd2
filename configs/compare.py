"""Systems side by side, each trained for the same time, judged by one protocol.

  python launch.py --mode=compare --config=configs/compare.py --workdir=runs/compare
  python launch.py --mode=compare --config=configs/compare.py \
      --config.only.systems=realtime,acm_fpn --config.only.sets=nuaa_sirst \
      --config.seeds="(0,1,2)" --config.minutes=20

On NUAA-SIRST (213 / 214) and NUDT-SIRST (663 / 664) every system trains for `minutes`
of its own steps on this machine by its `small` recipe (`realtime` for the network of
that name), the last step is judged at native size, and nothing is chosen. 0 minutes: as
many steps as the recipe has. Weights that are there already are judged in the place of
a training: --config.systems.realtime.weights.nuaa_sirst=FILE_OR_NAME. A run that is cut
goes on by the same command. `tiny` takes minutes, most of them to compile, on generated
scenes.
"""

import os

from ml_collections import ConfigDict

from configs import common, detector, nuaa_sirst

SETS = {
    "nuaa_sirst": {"name": "nuaa_sirst", "split": "50_50", "normalisation": "nuaa"},
    "nudt_sirst": {"name": "nudt_sirst", "split": "50_50", "normalisation": "nudt"},
}
SCENES = {
    "synthetic": {
        "name": "synthetic",
        "split": "generated",
        "normalisation": "nuaa",
        "size": 32,
        "seed": 0,
        "count": {"train": 8, "validation": 2, "test": 3},
    }
}
# Our name: that in the papers' tables.
DETECTORS = {
    "acm_fpn": "acm",
    "acm_unet": "acm",
    "dnanet": "dnanet",
    "uiunet": "uiunet",
}


def get_config(variant=""):
    """The comparison; see the module."""
    common.variant_of(variant, VARIANTS)
    size, sets, minutes = VARIANTS[variant]
    return ConfigDict(
        {
            "name": f"compare_{variant}" if variant else "compare",
            "root": os.environ.get("IRSTD_DATA", "data"),
            "minutes": minutes,  # of each training; 0: the recipe's steps
            "seeds": (0,),
            "only": {"systems": "", "sets": ""},  # names, by commas; "" is all
            "sets": sets,
            "systems": systems(size),
            "evaluation": {
                "part": "test",
                "size": 0,  # 0 = native
                "threshold": 0.5,
                "matching": "centroid",
                "bootstrap": 1000 if sets is SETS else 20,
                "seed": 0,
            },
            "benchmark": {
                "size": 256 if sets is SETS else 32,
                "batch_size": 1,
                "repeats": 3,
                "images": 0,
            },
            "hard": 6,  # images of a set that are shown
        }
    )


def systems(variant):
    """{name: its recipe, weights by set, its name in the papers' tables}."""
    realtime = "realtime" if variant == "small" else "tiny"
    recipe = nuaa_sirst.get_config(realtime)
    found = {"realtime": {"recipe": recipe, "published": ""}}
    recipe = nuaa_sirst.get_config(variant)
    found["irstd_diff"] = {"recipe": recipe, "published": "irstd_diff"}
    for name, published in DETECTORS.items():
        recipe = detector.get_config(f"{name},nuaa_sirst,{variant}")
        found[name] = {"recipe": recipe, "published": published}
    for block in found.values():
        block["weights"] = dict.fromkeys((*SETS, *SCENES), "")
    return found


# Variant of the recipes, sets, minutes of a training.
VARIANTS = {"": ("small", SETS, 10.0), "tiny": ("tiny", SCENES, 0.0)}
