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
is cut goes on by the same command. Classical methods learn nothing and are judged once,
by the rule `peak`, to which published rows come nearest. `evaluation.images` judges
fewer images of each set. Variants (run so far are `shipped`, `brief`, `ablations` but
for `no_diffusion`, half of `cross`, `views` of each set's own, `classical`, some
systems of the first, and `tiny`):

  (none)     the networks by their `small` recipes, 10 minutes each, and the classical
             methods: a night of a core
  brief      the same in 15 seconds each, judged on 8 images a set: whether all works
             (70 minutes of a core, nearly all of them to compile)
  ablations  the realtime network with one option of its recipe changed at a time, on
             NUAA-SIRST, 1,500 steps each (12 minutes of a core)
  cross      the realtime network, learnt from NUAA-SIRST plainly, and with one thing
             at a time that could help it on other scenes, then from NUDT-SIRST, and
             from both; 1,500 steps each, judged on both sets
  shipped    the detectors that come with the library, on both sets: a minute or two
  views      the same, each by 1, 2, 4 and 8 views of an image: half an hour of a core
  classical  the classical methods, on both sets: hours, nearly all of them IPI's
  rules      the same, each by every rule that makes a mask of a saliency
  table3     the form of IRSTD-Diff's Table III: its systems, sets, size and columns,
             by their published recipes; a GPU's work
  table1     the form of Diff-Mosaic's Table I, but for its last row
  tiny       minutes, most of them to compile, on generated scenes
"""

import os

from ml_collections import ConfigDict

from configs import (
    classical,
    common,
    detector,
    general,
    generative,
    nuaa_sirst,
    nudt_sirst,
)

SETS = {
    "nuaa_sirst": {"name": "nuaa_sirst", "split": "50_50", "normalisation": "nuaa"},
    "nudt_sirst": {"name": "nudt_sirst", "split": "50_50", "normalisation": "nudt"},
}
# Theirs, or what is nearest: the lists of random splits are not public.
SETS_III = {
    "nuaa_sirst": SETS["nuaa_sirst"] | {"split": "idx_427"},
    "irstd1k": {"name": "irstd1k", "split": "80_20", "normalisation": "irstd1k"},
    "nudt_sirst": SETS["nudt_sirst"] | {"split": "random_80_20"},
}
SETS_I = {"nuaa_sirst": SETS_III["nuaa_sirst"], "nudt_sirst": SETS["nudt_sirst"]}
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
RULES = ("half", "peak", "deviations")
COUNTS = (1, 2, 4, 8)  # of views
# The rows of the papers' tables, in their order, by our names: a line each.
TABLE_III = (
    "wslcm",
    "tllcm",
    "mslstipt_image",
    "pstnn",
    "ipi",
    "acm_unet_basicirstd",
    "agpcnet",
    "isnet",
    "dnanet",
    "uiunet",
    "segdiff",
    "medsegdiff",
    "cimd_256",
    "irstd_diff",
)
TABLE_I = (
    "new_tophat",
    "wslcm",
    "tllcm",
    "ipi",
    "alcnet_basicirstd",
    "acm_unet_basicirstd",
    "uiunet",
    "dnanet",
)
# How a paper's table is told: its name in irstd_jax/literature.py, its columns.
FORMS = {
    "table1": {"source": "diff_mosaic", "metrics": ("IoU", "Pd", "Fa"), "size": 256},
    "table3": {"source": "irstd_diff", "metrics": ("IoU", "Fa", "Pd"), "size": 256},
}
NO_FORM = {"source": "", "metrics": (), "size": 0}
# What the realtime recipe has that a plain one has not, and what it could have:
# {row: {field: value}}.
ABLATIONS = {
    "realtime": {},
    "no_soft_iou": {"task.mask_iou_weight": 0.0, "task.iou_weight": 0.0},
    "no_last_share": {"task.last_share": 0.0},
    "no_diffusion": {"task.last_share": 1.0},  # x_t is noise always
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
# What could make a detector see other scenes than those that it learnt, one at a time.
INGREDIENTS = {
    "plain": {},
    "no_zoom": {"data.augment.scale": (1.0, 1.0)},
    "zoom": {"data.augment.scale": (0.5, 2.0)},
    "contrast": {"data.augment.contrast": 0.5, "data.augment.brightness": 0.2},
    "blur": {"data.augment.blur": 1.0},
    "more_noise": {"data.augment.noise": 0.05},
    "frame": {"data.augment.frame": 0.3},
    "free_crops": {"data.target_share": 0.2},
    "stretch": {"data.stretch": 0.01},
    "scenes": {
        "data.name": "nuaa_sirst,synthetic",
        "data.size": 256,
        "data.seed": 0,
        "data.count": {"train": 400},
    },
}
LEARNT = {"learnt_nudt": "nudt_sirst", "learnt_both": "nuaa_sirst,nudt_sirst"}


def get_config(variant=""):
    """The comparison; see the module."""
    common.variant_of(variant, VARIANTS)
    systems, sets, minutes = VARIANTS[variant]
    systems, toy, form = systems(), sets is SCENES, FORMS.get(variant, NO_FORM)
    return ConfigDict(
        {
            "name": f"compare_{variant}" if variant else "compare",
            "root": os.environ.get("IRSTD_DATA", "data"),
            "minutes": minutes,  # of each training; 0: the recipe's steps
            "seeds": (0,),
            "only": {"systems": "", "sets": ""},  # names, by commas; "" is all
            "sets": sets,
            "systems": systems,
            "order": tuple(systems),  # of the rows
            # A paper's table: its name in literature.SOURCES, and its columns.
            "form": {"source": form["source"], "metrics": form["metrics"]},
            "evaluation": {
                "part": "test",
                "images": 8 if variant == "brief" else 0,  # of a set; 0 = all
                "size": form["size"],  # 0 = native
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


def system(recipe, published="", learns="set", data=None):
    """A block of `systems`.

    Args:
      recipe: by which it is trained.
      published: its name in the papers' tables (irstd_jax/literature.py), if any.
      learns: "set", each set that it is judged on, or "its own", what the recipe says.
      data: fields of the block data that are the system's own, whatever the set's.
    """
    weights = dict.fromkeys((*SETS_III, *SCENES), "")
    return {
        "recipe": recipe,
        "published": published,
        "learns": learns,
        "data": data or {},
        "weights": weights,
    }


def everything(variant="small"):
    """Each network by a variant of its recipe, and each classical method."""
    return networks(variant) | methods(variant)


def networks(variant="small"):
    """Each network by a variant of its recipe."""
    realtime = nuaa_sirst.get_config("realtime" if variant == "small" else "tiny")
    found = {"realtime": system(realtime)}
    for name in ("irstd_diff", *GENERATIVE, *detector.DETECTORS):
        found[name] = network(name, variant)
    return found


def network(name, variant):
    """IRSTD-Diff, a generative segmenter or a detector."""
    own = variant.replace("published", "")
    if name == "irstd_diff":
        return system(nuaa_sirst.get_config(own), name)
    if name in GENERATIVE:
        recipe = generative.get_config(f"{name},nuaa_sirst,{own}")
        return system(recipe, generative.SEGMENTERS[name].cited)
    recipe = detector.get_config(f"{name},nuaa_sirst,{variant}")
    return system(recipe, detector.DETECTORS[name].cited)


def methods(variant="small", names=tuple(classical.METHODS)):
    """Classical methods, by the rule of their recipe."""
    return {name: method(name, variant) for name in names}


def method(name, variant="small"):
    """A classical method, on images in grey levels whatever networks want of a set."""
    recipe = classical.get_config(f"{name},nuaa_sirst,{variant}")
    own = {"normalisation": recipe.data.normalisation}
    return system(recipe, classical.METHODS[name].cited, data=own)


def rules():
    """Each classical method by every rule; k is chosen on training images."""
    found = {}
    for name in classical.METHODS:
        for rule in RULES:
            block = method(name)
            recipe = changed(block["recipe"], {"task.rule": rule})
            found[f"{name}_{rule}"] = block | {"recipe": recipe}
    return found


def table(names):
    """The systems of a paper's table by their published recipes, at its 256 px."""
    found = {}
    for name in names:
        if name in classical.METHODS:
            found[name] = method(name)
        else:
            found[name] = network(name, "published")
    return found


def ablations():
    """The realtime network with one option changed at a time; equal steps for all."""
    plain = shortened(nuaa_sirst.get_config("realtime"))
    return {name: system(changed(plain, fields)) for name, fields in ABLATIONS.items()}


def cross():
    """What is learnt from NUAA-SIRST, plainly or with ingredients, judged on both."""
    plain = shortened(nuaa_sirst.get_config("realtime"))
    together = {key: v for fields in INGREDIENTS.values() for key, v in fields.items()}
    rows = INGREDIENTS | {"all_of_them": together}
    rows |= {name: {"data.name": sets} for name, sets in LEARNT.items()}
    return {
        name: system(changed(plain, fields), learns="its own")
        for name, fields in rows.items()
    }


def shipped():
    """The detectors that come with the library, each judged on every set."""
    found = {}
    for name, (recipe, variant) in SHIPPED.items():
        found[name] = system(recipe.get_config(variant), learns="its own")
        found[name]["weights"] = dict.fromkeys(found[name]["weights"], name)
    return found


def in_views():
    """The shipped detectors, each by the mean over so many views of an image."""
    return {
        f"{name}_{count}": block
        | {"recipe": changed(block["recipe"], {"views": count})}
        for name, block in shipped().items()
        for count in COUNTS
    }


def shortened(config):
    """A quarter of the steps: 6 to 12 minutes of a core."""
    config.num_steps = config.evaluate_every = 1_500
    return config


def changed(config, fields):
    """A copy of a config with other values of some fields, named by their paths."""
    config = ConfigDict(config.to_dict())
    config.update_from_flattened_dict(fields)
    return config


GENERATIVE = [name for name, row in generative.SEGMENTERS.items() if row.cited]
TOYS = ("tophat", "lcm")  # the cheapest methods
# Name in the box: its recipe.
SHIPPED = {
    "accurate-nuaa": (nuaa_sirst, "accurate"),
    "accurate-nudt": (nudt_sirst, "accurate"),
    "general": (general, "small"),
    "realtime-nuaa": (nuaa_sirst, "realtime"),
    "realtime-nudt": (nudt_sirst, "realtime"),
}

# The systems, the sets, minutes of a training.
VARIANTS = {
    "": (everything, SETS, 10.0),
    "brief": (everything, SETS, 0.25),
    "ablations": (ablations, {"nuaa_sirst": SETS["nuaa_sirst"]}, 0.0),
    "cross": (cross, SETS, 0.0),
    "classical": (methods, SETS, 0.0),
    "rules": (rules, SETS, 0.0),
    "shipped": (shipped, SETS, 0.0),
    "views": (in_views, SETS, 0.0),
    "table1": (lambda: table(TABLE_I), SETS_I, 0.0),
    "table3": (lambda: table(TABLE_III), SETS_III, 0.0),
    "tiny": (lambda: networks("tiny") | methods("tiny", TOYS), SCENES, 0.0),
}
