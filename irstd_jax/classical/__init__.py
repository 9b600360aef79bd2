"""Detectors without learning: image -> saliency map, by filters and by low rank.

tophat            Top-hat, New Top-hat: morphology
local_contrast    LCM, MPCM: a cell against its neighbours
layered_contrast  TLLCM, WSLCM: a smoothed core against the brightest around
patch_image       IPI: low rank + sparse, patches as the columns of a matrix
patch_tensor      PSTNN: the same, patches as the slices of a tensor
patch_sequence    MSLSTIPT: the same of a sequence, and of an image's share of one
rules             saliency -> mask, or a map in [0, 1] to be cut at a half

Each method is a pure function of images (b, h, w, 1), MSLSTIPT of sequences
(b, t, h, w, 1), in grey levels 0..255, and keeps their shape. Each one says what lies
beyond the border, and in which unit its saliency is.
"""

import functools
import inspect

import jax
import jax.numpy as jnp
import numpy as np

from irstd_jax.classical.layered_contrast import tllcm, wslcm
from irstd_jax.classical.local_contrast import lcm, mpcm
from irstd_jax.classical.patch_image import ipi
from irstd_jax.classical.patch_sequence import mslstipt, mslstipt_image
from irstd_jax.classical.patch_tensor import pstnn
from irstd_jax.classical.tophat import new_top_hat, top_hat

METHODS = {
    "ipi": ipi,
    "lcm": lcm,
    "mpcm": mpcm,
    "mslstipt": mslstipt,
    "mslstipt_image": mslstipt_image,
    "new_tophat": new_top_hat,
    "pstnn": pstnn,
    "tllcm": tllcm,
    "tophat": top_hat,
    "wslcm": wslcm,
}
# They count ranks and entries to know when to end, and end before they converge.
DOUBLE = {"ipi", "mslstipt", "mslstipt_image", "pstnn"}


def build(name, **fields):
    """The method `name`, compiled: grey levels -> saliency float32 of the same shape.

    Without fields, at its published parameters. IPI, PSTNN and MSLSTIPT compute in
    float64, whatever JAX's setting, and within a program of float32, too; the others in
    float32. Lists, which JSON makes of tuples, become tuples again.
    """
    if name not in METHODS:
        raise ValueError(f"unknown method {name!r}; choose from {sorted(METHODS)}")
    known = list(inspect.signature(METHODS[name]).parameters)[1:]
    if unknown := sorted(set(fields) - set(known)):
        raise ValueError(f"{name} has no fields {unknown}; it has {known}")
    fields = {k: tuple(v) if isinstance(v, list) else v for k, v in fields.items()}
    return _compiled(name, tuple(sorted(fields.items())))


@functools.cache
def _compiled(name, fields):
    """One program for all calls with the same fields and shapes."""
    method = jax.jit(functools.partial(METHODS[name], **dict(fields)))
    double = name in DOUBLE

    def run(images):
        with jax.enable_x64(double):
            images = jnp.asarray(images, jnp.float64 if double else jnp.float32)
            return method(images).astype(jnp.float32)

    return run


def saliency(name, images, **fields):
    """What the method `name` sees in images: `build(name, **fields)` on checked input.

    Args:
      name: one of METHODS.
      images: finite grey levels 0..255, (b, h, w, 1); for MSLSTIPT (b, t, h, w, 1).
    Returns:
      float32 of the shape of the images. It may be negative (IPI, MSLSTIPT) and is not
      scaled: see `rules`.
    Raises:
      ValueError: the name, a field, the shape or the range of the images is wrong.
    """
    method = build(name, **fields)
    return method(_checked(name, np.asarray(images)))


def _checked(name, images):
    """The images, if they are grey levels in the right shape."""
    shape = "(b, t, h, w, 1)" if name == "mslstipt" else "(b, h, w, 1)"
    if images.ndim != shape.count(",") + 1 or images.shape[-1] != 1 or not images.size:
        raise ValueError(f"{name} takes images {shape}, not {images.shape}")
    if not (images.min() >= 0 and images.max() <= 255):
        raise ValueError(
            f"{name} takes finite grey levels 0..255; these span {images.min()} to "
            f"{images.max()}"
        )
    if images.max() <= 1 and np.any(images % 1):
        raise ValueError(f"{name} takes grey levels 0..255: multiply [0, 1] by 255")
    return images
