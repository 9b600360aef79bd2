"""Published systems of several networks, brought to the variables of our tasks.

  task                       what a file or a folder must hold
  autoencoding               the autoencoder, alone or in a system's checkpoint
  latent_diffusion, unet     Stable Diffusion 2.1: autoencoder, U-Net, text tower
  latent_diffusion, control  Diff-Mosaic or DiffBIR: these, Pixel-Prior, control branch

One checkpoint, or a folder of diffusers (unet/, vae/, text_encoder/) for the first two.
The result is what a run of the recipe leaves. Two things are made of others:

- The release multiplies latents by SCALE. Here the scale is 1 / deviation of the
  autoencoder's latents, whose statistics are kept: mean 0 and square 1 / SCALE^2.
- The text tower reads the empty string always, so it runs once, here; its output
  (77, 1024) is the one context that is kept. A tower of other fields than the published
  ones is told by a block `text` of the recipe.

Checkpoints are large: each part's arrays are let go when it has been converted, and
`state_dict`, the argument, is emptied, so that of a float32 file not much more is in
memory than itself and its largest part once more (3.5 GB, the U-Net).
"""

import jax.numpy as jnp
import numpy as np

from irstd_jax import files, models, weights
from irstd_jax.models import text_encoder
from irstd_jax.weights import control_ldm, engine, names, readers

SCALE = 0.18215  # of Stable Diffusion 1 and 2
# What is converted, in this order; the last one's network is the recipe's block model.
PARTS = {
    "autoencoding": ("autoencoder",),
    "unet": ("text", "autoencoder", "unet"),
    "control": ("text", "autoencoder", "unet", "restorer", "control"),
}
# What an autoencoder's own checkpoint holds of its training.
TRAINING = ("loss.", "model_ema.")
PREDICTIONS = {"epsilon": "eps", "v_prediction": "v", "sample": "x0"}
STABLE_DIFFUSION = (
    "Stable Diffusion has none: convert that with "
    "--config=configs/diff_mosaic/latent_prior.py, and train "
    "configs/diff_mosaic/control.py on it by --config.parts.unet=FILE"
)
WHOLE = "give the checkpoint of the whole system, or the whole folder of diffusers"
REMEDIES = {
    "control": STABLE_DIFFUSION,
    "restorer": STABLE_DIFFUSION,
    "text": f"the prior needs its output for the empty string; {WHOLE}",
    "autoencoder": WHOLE,
    "unet": WHOLE,
}


def system(settings):
    """Which of PARTS a config's blocks are of."""
    task = settings["task"]
    name = task.get("part", task["name"])
    if name not in PARTS:
        choices = sorted(PARTS.keys() - {"autoencoding"})
        raise ValueError(f"unknown task.part {name!r}; choose from {choices}")
    return name


def prefixes(settings):
    """How the names of what is converted begin in a whole checkpoint."""
    return tuple(control_ldm.PREFIXES[part] for part in PARTS[system(settings)])


def read(settings, source, key=""):
    """{name: array} of a file, or of a folder under a whole checkpoint's names."""
    if not source.is_dir():
        return readers.read(source, key or None, ignore_unknown=True)
    check_facts(settings, source)
    parts = control_ldm.folder(source, PARTS[system(settings)])
    return control_ldm.whole(parts)


def check_facts(settings, folder):
    """Refuses a folder that says itself that it is of another kind than the recipe."""
    scale = fact(folder / "vae" / "config.json", "scaling_factor")
    if scale not in (None, SCALE):
        raise ValueError(
            f"{folder}/vae/config.json: scaling_factor is {scale}, and {SCALE} in "
            "Stable Diffusion 1 and 2: this autoencoder is of another system"
        )
    kind = fact(folder / "scheduler" / "scheduler_config.json", "prediction_type")
    kind, ours = PREDICTIONS.get(kind, kind), settings["task"].get("parameterisation")
    if kind and ours and kind != ours:
        raise ValueError(
            f"{folder}/scheduler/scheduler_config.json: the U-Net predicts {kind}, "
            f"the recipe says {ours}: add --config.task.parameterisation={kind}"
        )


def fact(path, name):
    """One entry of a JSON file, or None where there is no file or no entry."""
    return files.read_json(path).get(name) if path.is_file() else None


def autoencoding(settings, state_dict):
    """Variables of the task `autoencoding`, of an autoencoder alone or in a system.

    Raises ValueError with all missing, unexpected and misshapen names.
    """
    given = {
        name: array
        for name, array in names.bare(state_dict, engine.PREFIX).items()
        if not name.startswith(TRAINING)
    }
    state_dict.clear()
    return with_scale(converted(settings, "autoencoder", given))


def with_scale(variables):
    """An autoencoder's variables with the statistics that mean SCALE."""
    latent = {"mean": np.float32(0), "square": np.float32(1 / SCALE**2)}
    return {**variables, "batch_stats": {"latent": latent}}


def latent_diffusion(settings, state_dict):
    """Variables of the task `latent_diffusion`, of a whole system.

    Raises:
      ValueError: parts that are not there, with what to do; or all missing, unexpected
        and misshapen names of one part.
    """
    learns = system(settings)
    parts = taken(state_dict, PARTS[learns])
    state_dict.clear()
    frozen = {"context": context(settings, parts.pop("text"))}
    made = {part: converted(settings, part, parts.pop(part)) for part in list(parts)}
    params = {learns: made.pop(learns)["params"]}
    frozen["autoencoder"] = with_scale(made.pop("autoencoder"))
    if "unet" in made:
        frozen["unet"] = made.pop("unet")["params"]
    # What is left is fixed, with variables of its own: the restorer.
    frozen |= {part: {"batch_stats": {}, **given} for part, given in made.items()}
    return {"params": params, "batch_stats": {}, "frozen": frozen}


def taken(state_dict, wanted):
    """{part: state dict} of the parts that are wanted; ValueError where one lacks."""
    parts = control_ldm.parts(state_dict)
    missing = [part for part in reversed(wanted) if part not in parts]
    if missing:
        spelled = (f"{part} ({control_ldm.PREFIXES[part]}*)" for part in missing)
        raise ValueError(f"it has no {', no '.join(spelled)}. {REMEDIES[missing[0]]}")
    return {part: parts[part] for part in wanted}


def context(settings, state_dict):
    """The text tower's output (77, width) for the empty string, float32."""
    network = models.build("text_encoder", **fields(settings, "text"))
    variables = converted(settings, "text", state_dict)
    output = network.apply(variables, jnp.asarray([text_encoder.EMPTY]))
    output = np.asarray(output[0], np.float32)
    width = settings["model"]["context_dim"]
    if output.shape[-1] != width:
        raise ValueError(
            f"the text tower is {output.shape[-1]} wide, and model.context_dim {width}"
        )
    return output


def converted(settings, part, state_dict):
    """The Flax variables of one part; its name is put before what is wrong in it."""
    network = control_ldm.NETWORKS[part]
    try:
        return weights.convert(network, state_dict, **fields(settings, part))
    except ValueError as error:
        raise ValueError(f"the part {part}: {error}") from None


def fields(settings, part):
    """The fields of a part's network, by the recipe's block of it."""
    block = "model" if part == PARTS[system(settings)][-1] else part
    return {k: v for k, v in settings.get(block, {}).items() if k != "name"}
