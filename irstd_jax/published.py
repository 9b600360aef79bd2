"""What published weights of single networks become, and what they carry of a recipe.

Of most tasks the recipe is believed: it names the network, and how images are prepared.
So it is for the generative networks beside IRSTD-Diff (configs/generative.py).

IRSTD-Diff's weights are taken for the published network and task (Table I; T = 100,
eps, mask in {0, 1}). The config tells the normalisation, if it is one of the released
code's two: --config=configs/nudt_sirst.py for weights of NUDT-SIRST. For weights of
another network give one whose model.token_layout is "reference": its model, task and
data are believed. The released code's tokens are cut from memory as it lies, so that
its weights hold for images of 256 px; evaluate and predict resize to that unless they
are told another size.
"""

import dataclasses
import re

from irstd_jax import inference, models, weights

SIZE = 256
NORMALISATIONS = ("irstd_diff_sirst", "irstd_diff_nudt")
TASK = {
    "name": "mask_diffusion",
    "parameterisation": "eps",
    "mask_range": (0.0, 1.0),
    "schedule": "linear",
    "steps": 100,
    "encoder_weight": 10.0,
}


def carried(config):
    """The part of a recipe that weights carry, as `inference.trained` reads it."""
    blocks = ("model", "task", "text", *inference.STAGES, "evaluation", "predict")
    settings = {name: config[name].to_dict() for name in blocks if name in config}
    data = {field: config.data[field] for field in ("channels", "normalisation")}
    return {"name": config.name, **settings, "data": data}


def network(settings, state_dict):
    """The variables of the one network of the block model; strict both ways."""
    fields = dict(settings["model"])
    return weights.convert(fields.pop("name"), state_dict, **fields)


def weights_config(config):
    """As `carried`, of IRSTD-Diff's weights; see the module."""
    if config.model.name != "irstd_diff":
        return carried(config)
    if config.model.token_layout == "reference":
        model, task = config.model.to_dict(), config.task.to_dict()
        name, normalisation = config.name, config.data.normalisation
        size = config.evaluation.size or SIZE
    else:
        model, task, name, size = published_model(), TASK, "irstd_diff", SIZE
        normalisation = config.data.normalisation
        if normalisation not in NORMALISATIONS:
            normalisation = NORMALISATIONS[0]
    return {
        "name": name,
        "model": model,
        "task": task,
        "data": {"channels": model["image_channels"], "normalisation": normalisation},
        "evaluation": {"size": size},
        "predict": {"size": size},
    }


def published_model():
    """The model block of the published network, every field of it."""
    network = models.build("irstd_diff", token_layout="reference")
    skipped = ("parent", "name", "norm_axis", "dtype")
    names = [f.name for f in dataclasses.fields(network) if f.name not in skipped]
    fields = {name: getattr(network, name) for name in names}
    return {"name": "irstd_diff", **fields, "dtype": "float32"}


def mask_diffusion(settings, state_dict):
    """The variables of a network that diffuses masks; strict both ways."""
    if settings["model"]["name"] != "irstd_diff":
        return network(settings, state_dict)
    return converted(settings["model"], state_dict)


def converted(model, state_dict):
    """The Flax variables of a model block; strict both ways."""
    # The layout changes no weight, and the spatial one fits the table's small image.
    fields = {
        key: tuple(value) if isinstance(value, list) else value
        for key, value in model.items()
        if key != "name"
    } | {"token_layout": "spatial"}
    check_depth(fields, state_dict)
    return weights.convert(model["name"], state_dict, **fields)


def check_depth(fields, state_dict):
    """Says what a thousand missing names would not: the released default's depth."""
    found = (re.search(r"input_blocks\.(\d+)\.", name) for name in state_dict)
    blocks = len({match[1] for match in found if match})
    levels = len(fields["channel_mult"])
    if fields["num_res_blocks"] == 2 and blocks == 2 * levels:
        raise ValueError(
            "these weights have 1 residual block a level, the released code's "
            "default, with which its encoder never reaches its denoiser. The paper's "
            "network has 2, and here the two are always joined: such weights would not "
            "mean the same"
        )
