"""The last step of the released pipeline: targets taken from the mosaic again.

Neither the paper nor its README mentions it, but labels stay true only by it: a prior
erases or moves targets of 3 pixels. A hard edge shows as a seam, so the paste can fade
out over some pixels around the mask.
"""

import functools

import jax
import jax.numpy as jnp


@functools.partial(jax.jit, static_argnames="border")
def retarget(image, mosaic, mask, border=0):
    """`image` with the pixels of `mosaic` where mask > 0, exactly.

    Args:
      image, mosaic: (b, h, w, c).
      mask: (b, h, w, 1), target above 0.
      border: pixels OUTSIDE the mask over which the mosaic fades out; 0 as released.
    """
    if border < 0:
        raise ValueError(f"border {border} is negative")
    weight = feather(mask, border)
    # Not only the blend: its rounding would change target pixels.
    return jnp.where(weight >= 1, mosaic, image + weight * (mosaic - image))


def feather(mask, border):
    """1 where mask (b, h, w, 1) > 0, outside a raised cosine of the distance d.

    (1 + cos(pi d / (border + 1))) / 2 for distances up to `border` pixels, 0 beyond.
    """
    squared = squared_distance(mask, border)
    fade = 0.5 + 0.5 * jnp.cos(jnp.pi * jnp.sqrt(squared) / (border + 1))
    fade = jnp.where(squared <= border**2, fade, 0.0)
    return jnp.where(mask > 0, 1.0, fade).astype(jnp.float32)


def squared_distance(mask, reach):
    """To the nearest mask pixel, exact up to `reach` pixels, larger than that beyond.

    The distance along columns first, then the least over rows of dx^2 + dy^2.
    """
    far = jnp.float32(2 * (reach + 1) ** 2)
    squared = jnp.where(mask > 0, 0.0, far)
    for axis in (1, 2):
        squared = _least(squared, axis, reach, far)
    return squared


def _least(squared, axis, reach, far):
    """min over |d| <= reach of squared(. + d) + d^2 along one axis."""
    n = squared.shape[axis]
    widths = [(reach, reach) if a == axis else (0, 0) for a in range(squared.ndim)]
    padded = jnp.pad(squared, widths, constant_values=far)
    least = squared
    for d in range(-reach, reach + 1):
        part = jax.lax.slice_in_dim(padded, reach + d, reach + d + n, axis=axis)
        least = jnp.minimum(least, part + d**2)
    return least
