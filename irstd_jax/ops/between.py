"""Reading an image between its pixels."""

import jax.numpy as jnp


def bilinear_at(image, y, x):
    """The image at real positions: (b, h, w, c), (b, n) twice -> (b, n, c).

    Each position sees its four neighbours; those outside of the image are 0.
    """
    b, h, w, c = image.shape
    flat = image.reshape(b, h * w, c)
    top, left = jnp.floor(y), jnp.floor(x)

    def corner(row, column):
        weight = (1 - jnp.abs(y - row)) * (1 - jnp.abs(x - column))
        there = (0 <= row) & (row < h) & (0 <= column) & (column < w)
        weight = jnp.where(there, weight, 0).astype(image.dtype)
        row = jnp.clip(row, 0, h - 1).astype(jnp.int32)
        column = jnp.clip(column, 0, w - 1).astype(jnp.int32)
        place = (row * w + column)[..., None]
        return weight[..., None] * jnp.take_along_axis(flat, place, axis=1)

    return sum(corner(top + i, left + j) for i in (0, 1) for j in (0, 1))
