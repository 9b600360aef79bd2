"""Bringing published weights: from the authors' file to ours, without PyTorch.

  python launch.py --mode=convert --input=model.pt --output=irstd_diff.safetensors

reads a PyTorch state dict (also .safetensors, .npz) and executes nothing that it holds.
Every array must find its place, and every place its array.

Weights are taken for the published network and task (Table I; T = 100, eps, mask in
{0, 1}). The config tells the normalisation, if it is one of the released code's two:
--config=configs/nudt_sirst.py for weights of NUDT-SIRST. For weights of another network
give one whose model.token_layout is "reference": its model, task and data are believed.
The released code's tokens are cut from memory as it lies, so that its weights hold for
images of 256 px; evaluate and predict resize to that unless they are told another size.
"""

import collections
import dataclasses
import pathlib
import re

import jax

from irstd_jax import models, weights
from irstd_jax.weights import engine, readers, store

SUFFIX = ".safetensors"
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


def run(config, workdir, source, output, overwrite=False, key=""):
    """Converts the weights file `source` into `output`; returns the exit code 0.

    Args:
      config: see the module.
      workdir: not used.
      source: a PyTorch file, safetensors or .npz.
      output: a path that ends in .safetensors.
      overwrite: may `output` be replaced.
      key: which state dict, where the file holds several; "" = the only one.

    Raises:
      FileExistsError, FileNotFoundError: `output` is there, `source` is not.
      ValueError: the file cannot be read, or its weights are of another network; all
        missing, unexpected and misshapen names are listed.
    """
    source, output = pathlib.Path(source), pathlib.Path(output)
    guard(source, output, overwrite)
    state_dict = readers.read(source, key or None, ignore_unknown=True)
    settings = weights_config(config)
    try:
        variables = converted(settings["model"], state_dict)
    except ValueError as error:
        raise ValueError(f"{source}: {error}") from None
    about = {
        "config": settings,
        "source": source.name,
        "ignored": ignored(state_dict),
    }
    store.save(output, variables, about)
    print(summary(source, output, variables, about))
    return 0


def guard(source, output, overwrite):
    """Refuses what cannot be done before anything is."""
    if not source.is_file():
        raise FileNotFoundError(f"there is no file {source}")
    if output.suffix != SUFFIX:
        raise ValueError(f"--output={output} must end in {SUFFIX}")
    if output.exists() and output.samefile(source):
        raise ValueError(f"{output} is the input itself: name another --output")
    if output.exists() and not overwrite:
        raise FileExistsError(
            f"{output} exists: name another --output, or replace it by --overwrite"
        )


def weights_config(config):
    """The part of a config that weights carry, as `inference.trained` reads it."""
    if config.model.token_layout == "reference":
        model, task = config.model.to_dict(), config.task.to_dict()
        name, normalisation = config.name, config.data.normalisation
        size = config.evaluation.size or SIZE
    else:
        model, task, name, size = published(), TASK, "irstd_diff", SIZE
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


def published():
    """The model block of the published network, every field of it."""
    network = models.build("irstd_diff", token_layout="reference")
    skipped = ("parent", "name", "norm_axis", "dtype")
    names = [f.name for f in dataclasses.fields(network) if f.name not in skipped]
    fields = {name: getattr(network, name) for name in names}
    return {"name": "irstd_diff", **fields, "dtype": "float32"}


def converted(model, state_dict):
    """The Flax variables; strict both ways."""
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


def ignored(state_dict):
    """{last part of the name: number} of the arrays that are no weights."""
    lasts = (name.rsplit(".", 1)[-1] for name in state_dict)
    return dict(collections.Counter(last for last in lasts if last in engine.IGNORED))


def summary(source, output, variables, about):
    """What was converted, and how to use it."""
    settings = about["config"]
    parameters = jax.tree.leaves(variables["params"])
    statistics = jax.tree.leaves(variables.get("batch_stats", {}))
    dropped = about["ignored"]
    names = ", ".join(f"{count} {name}" for name, count in dropped.items())
    return "\n".join(
        [
            f"{source}: {len(parameters)} arrays of "
            f"{sum(x.size for x in parameters):,} parameters, {len(statistics)} of "
            f"statistics; ignored, being no weights: {names or 'nothing'}",
            f"{output}: {settings['name']}, images normalised by "
            f"{settings['data']['normalisation']}; evaluate and predict resize them to "
            f"{settings['evaluation']['size']} px",
            f"use it by --mode=predict (or evaluate) --config.weights={output}, with "
            "the recipe of its data set as --config",
        ]
    )
