"""The parts of a whole latent diffusion system: one checkpoint, or diffusers' folder.

A checkpoint of Diff-Mosaic or DiffBIR (ControlLDM), or of Stable Diffusion 2.1, holds
all networks in one file, told apart by how their names begin (PREFIXES). What else is
in it is no weight or a copy, and is left out by name (COPIES, BUFFERS).

    sd = control_ldm.parts(readers.read("diff_prior.ckpt", ignore_unknown=True))
    variables = weights.convert(control_ldm.NETWORKS["unet"], sd["unet"])
"""

import pathlib

import numpy as np

from irstd_jax.weights import (
    autoencoder_kl,
    engine,
    latent_unet,
    names,
    readers,
    swinir,
    text_encoder,
)

PREFIXES = {
    "unet": latent_unet.PREFIXES["latent_unet"],
    "autoencoder": autoencoder_kl.PREFIX,
    "control": latent_unet.PREFIXES["control_net"],
    "text": text_encoder.PREFIX,
    "restorer": swinir.PREFIX,
}
NETWORKS = {  # of irstd_jax.models
    "unet": "latent_unet",
    "autoencoder": "autoencoder_kl",
    "control": "control_net",
    "text": "text_encoder",
    "restorer": "swinir",
}
COPIES = {
    "cond_encoder.": "the autoencoder's encoder once more",
    "model_ema.": "the U-Net's running averages, of training",
}
BUFFERS = (  # of the schedule, which follows from its two ends
    "betas",
    "alphas_cumprod",
    "alphas_cumprod_prev",
    "sqrt_alphas_cumprod",
    "sqrt_one_minus_alphas_cumprod",
    "log_one_minus_alphas_cumprod",
    "sqrt_recip_alphas_cumprod",
    "sqrt_recipm1_alphas_cumprod",
    "posterior_variance",
    "posterior_log_variance_clipped",
    "posterior_mean_coef1",
    "posterior_mean_coef2",
    "lvlb_weights",
    "logvar",
)
FOLDERS = {"unet": "unet", "autoencoder": "vae", "text": "text_encoder"}
FILES = (
    "diffusion_pytorch_model.safetensors",
    "model.safetensors",
    "diffusion_pytorch_model.bin",
    "pytorch_model.bin",
)


def parts(state_dict):
    """One checkpoint -> {part: state dict}, prefixes taken off; parts as in PREFIXES.

    Parts that the checkpoint lacks are not in the result: Stable Diffusion has no
    "control" and no "restorer".

    Raises:
      ValueError: a name belongs to no part and is not known to be idle, or the copy of
        the encoder is none: then our single encoder would not mean the same.
    """
    state_dict = names.bare(state_dict, engine.PREFIX)
    result, strange = {}, []
    for name, array in state_dict.items():
        part = next((p for p, start in PREFIXES.items() if name.startswith(start)), "")
        if part:
            short = name.removeprefix(PREFIXES[part])
            result.setdefault(part, {})[short] = array
        elif not is_idle(name):
            strange.append(name)
    if strange or not result:
        raise ValueError(
            f"{len(strange)} names belong to no part: {', '.join(strange[:20])}; "
            f"they should begin with one of {', '.join(PREFIXES.values())}"
        )
    check_copy(state_dict)
    return result


def is_idle(name):
    """Whether a checkpoint's array is a buffer or a copy (BUFFERS, COPIES)."""
    return name in BUFFERS or name.startswith(tuple(COPIES))


def ignored(state_dict):
    """The names that `parts` leaves out."""
    return [name for name in names.bare(state_dict, engine.PREFIX) if is_idle(name)]


def check_copy(state_dict):
    """Refuses a condition encoder that differs from the autoencoder's."""
    copy, original = "cond_encoder.", PREFIXES["autoencoder"]
    for name, array in state_dict.items():
        twin = state_dict.get(name.replace(copy, original, 1))
        if name.startswith(copy) and not np.array_equal(array, twin):
            raise ValueError(
                f"{name} differs from the autoencoder's: a condition encoder of its "
                "own is not supported"
            )


def whole(parts):
    """{part: state dict} -> one state dict: the inverse of `parts`."""
    return {
        PREFIXES[part] + name: array
        for part, state_dict in parts.items()
        for name, array in state_dict.items()
    }


def folder(path, wanted=tuple(FOLDERS)):
    """A diffusers folder -> {part: state dict} for the parts that are there.

    Reads unet/, vae/ and text_encoder/, those of the parts `wanted`, in each the first
    of FILES. Other folders (scheduler/, tokenizer/) are not looked at. Convert as what
    `parts` gives.

    Raises:
      FileNotFoundError: there is no part.
      ValueError: a part's folder without a file, a file that leads outside of `path`,
        or one that cannot be read.
    """
    path = pathlib.Path(path)
    found = {part: path / name for part, name in FOLDERS.items() if part in wanted}
    found = {part: place for part, place in found.items() if place.is_dir()}
    if not found:
        raise FileNotFoundError(f"{path} has none of {sorted(FOLDERS.values())}")
    return {
        part: readers.read(weights_file(place, path)) for part, place in found.items()
    }


def weights_file(place, root):
    """The file of weights in a part's folder, which must lie in `root`."""
    files = [place / name for name in FILES if (place / name).is_file()]
    if not files:
        raise ValueError(f"{place} has none of {', '.join(FILES)}")
    if not files[0].resolve().is_relative_to(root.resolve()):
        raise ValueError(
            f"{files[0]} leads outside of {root}: put the file itself there"
        )
    return files[0]
