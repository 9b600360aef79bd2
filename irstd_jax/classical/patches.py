"""An image (h, w) as square patches, and an image of patches again.

Patches are (rows, columns, side, side), with their first pixels at all pairs of two
lists of starts.
"""

import jax.numpy as jnp
import numpy as np


def cut(image, starts, side):
    """The patches of (h, w) at starts (of rows, of columns)."""
    rows, columns = (np.add.outer(s, np.arange(side)) for s in starts)
    return image[rows[:, None, :, None], columns[None, :, None, :]]


def median(patches, starts, size):
    """Each pixel of `size` (h, w) is the median of its patches, 0 where it has none."""
    side = patches.shape[-1]
    rows, columns = (_covering(s, side, n) for s, n in zip(starts, size, strict=True))
    y, x = rows[0][:, None, :, None], columns[0][None, :, None, :]
    offset_y, offset_x = rows[1][:, None, :, None], columns[1][None, :, None, :]
    inside = rows[2][:, None, :, None] & columns[2][None, :, None, :]
    values = jnp.where(inside, patches[y, x, offset_y, offset_x], jnp.nan)
    return jnp.nan_to_num(jnp.nanmedian(values, (0, 1)))


def last(patches, starts, size):
    """Each pixel of `size` (h, w) is that of the last patch, row and column, on it."""
    (y, offset_y), (x, offset_x) = (
        _newest(s, n) for s, n in zip(starts, size, strict=True)
    )
    return patches[y[:, None], x, offset_y[:, None], offset_x]


def _newest(starts, length):
    """The last patch to begin up to each pixel of one axis, and the offset in it."""
    pixels = np.arange(length)
    number = np.searchsorted(starts, pixels, side="right") - 1
    return number, pixels - starts[number]


def _covering(starts, side, length):
    """Which patches lie on each pixel of one axis, at most k.

    Returns (k, length) each: numbers of patches, offsets in them, and whether there are
    so many; else the other two are 0.
    """
    place = np.arange(length) - starts[:, None]
    inside = (place >= 0) & (place < side)
    most = inside.sum(0).max()
    there = np.arange(most)[:, None] < inside.sum(0)
    number = np.where(there, np.argmax(inside, axis=0) + np.arange(most)[:, None], 0)
    offset = np.where(there, np.take_along_axis(place, number, axis=0), 0)
    return number, offset, there
