"""Systems side by side, each trained for the same time, judged by one protocol.

  python launch.py --mode=compare --config=configs/compare.py --workdir=runs/compare
  python launch.py --mode=compare --config=configs/compare.py \
      --config.only.systems=realtime,acm_fpn --config.only.sets=nuaa_sirst \
      --config.seeds="(0,1,2)" --config.minutes=20
  python launch.py --mode=compare --config=configs/compare.py:ablations
  python launch.py --mode=compare --config=configs/compare.py:cross

On NUAA-SIRST (213 / 214) and NUDT-SIRST (663 / 664) every system trains for `minutes`
of its own steps on this machine, the last step is judged at native size, and nothing is
chosen. 0 minutes: as many steps as the recipe has. Weights that are there already are
judged in the place of a training: --config.systems.NAME.weights.nuaa_sirst=FILE. What
is cut goes on by the same command. Variants (only `shipped` and `tiny` have been run):

  (none)     the networks by their `small` recipes, 10 minutes each
  ablations  the realtime network with one option of its recipe changed at a time, on
             NUAA-SIRST, 1,500 steps each (12 minutes of a core)
  cross      the realtime network, learnt from one set and judged on both, then from
             both, and the general recipe with each of its ingredients left out
  shipped    the detectors that come with the library, on both sets: a minute or two
  tiny       minutes, most of them to compile, on generated scenes
"""

import os

from ml_collections import ConfigDict

from configs import common, detector, general, nuaa_sirst

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
    "acm_unet_basicirstd": "acm",
    "agpcnet": "agpcnet",
    "alcnet": "",  # tables mean the next
    "alcnet_basicirstd": "alcnet",
    "dnanet": "dnanet",
    "isnet": "isnet",
    "uiunet": "uiunet",
}


# What the realtime recipe has that a plain one has not, and what it could have:
# {row: {field: value}}.
ABLATIONS = {
    "realtime": {},
    "no_soft_iou": {"task.mask_iou_weight": 0.0, "task.iou_weight": 0.0},
    "no_last_share": {"task.last_share": 0.0},
    "uniform_times": {"task.times": "uniform"},
    "min_snr": {"task.weighting": "min_snr"},
    "x0_squared_error": {
        "task.parameterisation": "x0",
        "task.mask_iou_weight": 0.0,
        "model.prior": 0.5,
    },
    "targets_weigh_more": {"task.target_weight": 20.0},
    "rectified": {"task.schedule": "rectified"},
    "rectified_from_encoder": {
        "task.schedule": "rectified",
        "task.source": "encoder",
    },
    "no_noise": {"data.augment.noise": 0.0},
    "no_scale": {"data.augment.scale": (1.0, 1.0)},
}
BOTH = "nuaa_sirst,nudt_sirst"
# Of the general recipe.
INGREDIENTS = {
    "general": {},
    "no_scenes": {"data.name": BOTH},
    "no_blur": {"data.augment.blur": 0.0},
    "no_contrast": {"data.augment.contrast": 0.2, "data.augment.brightness": 0.1},
    "no_zoom": {"data.augment.scale": (0.8, 1.25)},
    "no_free_crops": {"data.target_share": 1.0},
}


def get_config(variant=""):
    """The comparison; see the module."""
    common.variant_of(variant, VARIANTS)
    systems, sets, minutes = VARIANTS[variant]
    toy = sets is SCENES
    return ConfigDict(
        {
            "name": f"compare_{variant}" if variant else "compare",
            "root": os.environ.get("IRSTD_DATA", "data"),
            "minutes": minutes,  # of each training; 0: the recipe's steps
            "seeds": (0,),
            "only": {"systems": "", "sets": ""},  # names, by commas; "" is all
            "sets": sets,
            "systems": systems(),
            "evaluation": {
                "part": "test",
                "size": 0,  # 0 = native
                "threshold": 0.5,
                "matching": "centroid",
                "bootstrap": 20 if toy else 1000,
                "seed": 0,
            },
            "benchmark": {
                "size": 32 if toy else 256,
                "batch_size": 1,
                "repeats": 3,
                "images": 0,
            },
            "hard": 6,  # images of a set that are shown
        }
    )


def system(recipe, published="", learns="set"):
    """A block of `systems`.

    Args:
      recipe: by which it is trained.
      published: its name in the papers' tables (irstd_jax/literature.py), if any.
      learns: "set", each set that it is judged on, or "its own", what the recipe says.
    """
    weights = dict.fromkeys((*SETS, *SCENES), "")
    return {
        "recipe": recipe,
        "published": published,
        "learns": learns,
        "weights": weights,
    }


def networks(variant="small"):
    """Each network by a variant of its recipe."""
    realtime = nuaa_sirst.get_config("realtime" if variant == "small" else "tiny")
    found = {"realtime": system(realtime)}
    found["irstd_diff"] = system(nuaa_sirst.get_config(variant), "irstd_diff")
    for name, published in DETECTORS.items():
        recipe = detector.get_config(f"{name},nuaa_sirst,{variant}")
        found[name] = system(recipe, published)
    return found


def ablations():
    """The realtime network with one option changed at a time; equal steps for all."""
    plain = nuaa_sirst.get_config("realtime")
    plain.num_steps = plain.evaluate_every = 1_500
    return {name: system(changed(plain, fields)) for name, fields in ABLATIONS.items()}


def cross():
    """What is learnt from one set, from both, and from all, judged on each."""
    plain = nuaa_sirst.get_config("realtime")
    learnt = {"learnt_nuaa": "nuaa_sirst", "learnt_nudt": "nudt_sirst"}
    learnt["learnt_both"] = BOTH
    found = {
        name: system(changed(plain, {"data.name": sets}), learns="its own")
        for name, sets in learnt.items()
    }
    for name, fields in INGREDIENTS.items():
        recipe = changed(general.get_config("small"), fields)
        found[name] = system(recipe, learns="its own")
    return found


def shipped():
    """The detectors that come with the library, each judged on every set."""
    found = {}
    for name, (recipe, variant) in SHIPPED.items():
        found[name] = system(recipe.get_config(variant), learns="its own")
        found[name]["weights"] = dict.fromkeys(found[name]["weights"], name)
    return found


def changed(config, fields):
    """A copy of a config with other values of some fields, named by their paths."""
    config = ConfigDict(config.to_dict())
    config.update_from_flattened_dict(fields)
    return config


# Name in the box: its recipe.
SHIPPED = {"general": (general, "small"), "realtime-nuaa": (nuaa_sirst, "realtime")}

# The systems, the sets, minutes of a training.
VARIANTS = {
    "": (networks, SETS, 10.0),
    "ablations": (ablations, {"nuaa_sirst": SETS["nuaa_sirst"]}, 0.0),
    "cross": (cross, SETS, 30.0),
    "shipped": (shipped, SETS, 0.0),
    "tiny": (lambda: networks("tiny"), SCENES, 0.0),
}
