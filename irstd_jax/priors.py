"""The trained priors of augment: where their weights are, and training what lacks.

A stage stands on recipes, which the config holds whole (`config.recipes`), so that any
field of them can be set on the command line: --config.recipes.control.num_steps=100.
"""

from typing import Any, NamedTuple

import jax
import numpy as np
from ml_collections import ConfigDict

from irstd_jax import inference, tasks, train
from irstd_jax.training import checkpoint
from irstd_jax.weights import box, store

NEEDS = {  # the recipes that a stage's weights come from, in their order
    "pixel_prior": ("pixel_prior",),
    "diff_prior": ("pixel_prior", "autoencoder", "latent_prior", "control"),
}
OUTPUTS = {"pixel_prior": "restored", "diff_prior": "realistic"}
SUPPLIES = {  # recipe: {name in its block `parts`: the recipe that it is of}
    "latent_prior": {"autoencoder": "autoencoder"},
    "control": {"unet": "latent_prior", "restorer": "pixel_prior"},
}

# The fields of the block data that say which images a network may learn from.
TRAINING_PART = ("name", "split", "validation_share")


class Prior(NamedTuple):
    """A trained stage: (images (b, h, w, 1), names) -> images; and what it is."""

    apply: Any
    about: dict


def provide(config, workdir, stages):
    """Trains the recipes that stages need and whose weights are not there.

    Returns 0, or the exit code of a training that was interrupted.

    Raises FileNotFoundError where training is not wanted (`augment.train_priors`).
    """
    lacking = [s for s in stages if s in NEEDS and not given(config, s)]
    needed = [recipe for stage in lacking for recipe in NEEDS[stage]]
    if lacking and not config.augment.train_priors:
        flags = " ".join(f"--config.augment.weights.{s}=FILE" for s in lacking)
        raise FileNotFoundError(
            f"no weights for {', '.join(lacking)}: bring published ones by "
            "--mode=convert, or train configs/diff_mosaic/"
            f"{{{','.join(dict.fromkeys(needed))}}}.py, and name them by {flags}. Or "
            "let this command train them all: --config.augment.train_priors=True"
        )
    for name in dict.fromkeys(needed):
        folder, recipe = workdir / "priors" / name, recipe_of(config, workdir, name)
        if checkpoint.ended(folder, recipe.num_steps):
            continue
        print(f"{name}: trained in {folder}, on the training part alone")
        code = train.run(recipe, folder)
        if code:
            return code
    return 0


def recipe_of(config, workdir, name):
    """The recipe of a prior, on the same training part as the set that is made."""
    recipe = ConfigDict(config.recipes[name].to_dict())
    for field in ("name", "root", "split", "validation_share", "mask_threshold"):
        recipe.data[field] = config.data[field]
    for field in ("size", "seed", "count"):  # of generated scenes
        if field in config.data:
            recipe.data[field] = config.data[field]
    recipe.evaluation.at_end = False
    for part, of in SUPPLIES.get(name, {}).items():
        recipe.parts[part] = str(weights_file(config, workdir, of))
    return recipe


def weights_file(config, workdir, name):
    """Where the weights of a prior lie: where the config says, or in the workdir.

    The config names a file, or weights that come with the library (weights/box.py).
    """
    if given(config, name):
        return box.locate(config.augment.weights[name])
    return workdir / "priors" / name / inference.BEST


def trained(config, workdir, stage):
    """The `Prior` of a stage, by its weights."""
    recipe = "pixel_prior" if stage == "pixel_prior" else "control"
    path = weights_file(config, workdir, stage if given(config, stage) else recipe)
    own = ConfigDict(config.recipes[recipe].to_dict())
    own.weights = str(path)
    own, variables, about = inference.trained(own, workdir)
    channels = own.data.channels
    predict = inference.predictor(tasks.build(own), keep=(OUTPUTS[stage],))
    variables = jax.device_put(variables)

    def apply(image, names):
        image = np.repeat(np.asarray(image), channels, -1)
        output = predict(variables, image, names, config.augment.seed)[OUTPUTS[stage]]
        # Networks of three channels tint: the result is grey again.
        return output.mean(-1, keepdims=True)

    trained_on = about["config"].get("data", {})
    return Prior(
        apply,
        {
            "weights": path.name,
            "sha256": store.digest(path),
            "recipe": about["config"]["name"],
            "step": about.get("step"),
            "sampling": own.sampling.to_dict() if "sampling" in own else {},
            "trained_on": {k: trained_on.get(k) for k in TRAINING_PART}
            | {"part": "train" if trained_on.get("split") else None},
        },
    )


def given(config, stage):
    return bool(config.augment.weights.get(stage))
