"""Large images as overlapping tiles of one size, and their predictions blended back.

Tiles are spread evenly, so neighbours overlap by the asked number of pixels or more.
A pixel of the merged image is the mean of the tiles that cover it, weighted by a
raised cosine over each tile: what a network says near a tile's edge, where it sees
little, counts least, and no seam is left. `plan`, `split` and `merge` are NumPy on the
host; `tiled` does the same inside a compiled program.
"""

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np


def plan(height, width, tile, overlap):
    """Upper left corners (y, x) of the tiles that cover an image, row by row.

    An image smaller than the tile has one corner, 0, on that axis (`split` pads it).
    Raises ValueError unless 0 <= overlap < tile.
    """
    if not 0 <= overlap < tile:
        raise ValueError(f"overlap {overlap} must be at least 0 and below tile {tile}")
    return list(
        itertools.product(starts(height, tile, overlap), starts(width, tile, overlap))
    )


def starts(length, tile, overlap):
    """Where tiles begin along one axis: first at 0, last flush with the end."""
    if length <= tile:
        return [0]
    count = math.ceil((length - overlap) / (tile - overlap))
    return [index * (length - tile) // (count - 1) for index in range(count)]


def window(tile):
    """Weights (tile, tile), float64: sin^2 along both axes, above 0 everywhere."""
    return np.outer(ramp(tile), ramp(tile))


def ramp(length):
    """A raised cosine (length,), above 0 everywhere."""
    return np.sin(np.pi * (np.arange(length) + 0.5) / length) ** 2


def split(image, tile, overlap):
    """Cuts (h, w, c) into (n, tile, tile, c), in the order of `plan`.

    Images smaller than the tile are continued by mirroring below and to the right.
    """
    height, width, _ = image.shape
    below, right = max(0, tile - height), max(0, tile - width)
    padded = np.pad(image, ((0, below), (0, right), (0, 0)), mode="symmetric")
    corners = plan(height, width, tile, overlap)
    return np.stack([padded[y : y + tile, x : x + tile] for y, x in corners])


def merge(tiles, positions, size):
    """Blends tiles (n, t, t, c) at (y, x) into an image (h, w, c) of `size` (h, w).

    Keeps the dtype of floating tiles; sums are in float64, so float32 tiles that were
    not changed give their image back exactly. Raises ValueError if a pixel is left
    without a tile or positions and tiles differ in number.
    """
    n, tile, _, channels = tiles.shape
    if len(positions) != n:
        raise ValueError(f"{n} tiles for {len(positions)} positions")
    height, width = size
    total = np.zeros((max(height, tile), max(width, tile), channels))
    weight = np.zeros((*total.shape[:2], 1))
    weights = window(tile)[..., None]
    for (y, x), part in zip(positions, tiles, strict=True):
        total[y : y + tile, x : x + tile] += weights * part
        weight[y : y + tile, x : x + tile] += weights
    total, weight = total[:height, :width], weight[:height, :width]
    if not weight.all():
        raise ValueError(f"{int((weight == 0).sum())} pixels of {size} have no tile")
    return (total / weight).astype(np.result_type(tiles.dtype, np.float16))


def tiled(function, arrays, tile, overlap, factor=1):
    """A function of maps, tile by tile inside a compiled program.

    Args:
      function: of maps (b, t, t, c), to one (b, t * factor, t * factor, c').
      arrays: a tuple of maps (b, h, w, c) of one size, or None for an absent one.
      tile: t; 0, or no smaller than the maps: the function is called once, on all.
        Maps smaller than the tile along one axis are taken whole along it.
      overlap: of neighbours, at least; below the tile, as `plan` wants it.
      factor: output pixels a side of one input pixel.

    Returns:
      (b, h * factor, w * factor, c'), blended as by `merge`. The tiles run one after
      another, in the memory of one.
    """
    b, h, w, _ = arrays[0].shape
    corners = plan(h, w, tile, overlap) if tile else [(0, 0)]
    if len(corners) == 1:
        return function(*arrays)
    side, corners = (min(tile, h), min(tile, w)), jnp.array(corners)

    def cut(corner):
        def part(x):
            size = (b, *side, x.shape[-1])
            return jax.lax.dynamic_slice(x, (0, *corner, 0), size)

        return function(*(None if x is None else part(x) for x in arrays))

    parts = jax.lax.map(cut, corners)
    weight = np.outer(*map(ramp, parts.shape[2:4]))
    weight = jnp.asarray(weight, parts.dtype)[None, :, :, None]

    def add(sums, placed):
        part, corner = placed
        at = (0, *(corner * factor), 0)
        new = []
        for total, value in zip(sums, (part * weight, weight), strict=True):
            old = jax.lax.dynamic_slice(total, at, value.shape)
            new.append(jax.lax.dynamic_update_slice(total, old + value, at))
        return tuple(new), None

    size = (h * factor, w * factor)
    zeros = (jnp.zeros((b, *size, parts.shape[-1])), jnp.zeros((1, *size, 1)))
    (total, weights), _ = jax.lax.scan(add, zeros, (parts, corners))
    return total / weights
