"""Resizing inside arrays of one shape: the sizes are data, the matrices are not sparse.

jit needs static shapes, a random scale does not have them. So a reduced image of n x m
pixels lives in the top left corner of the full array, and a change of size is a pair of
square matrices, rows and columns, built from the traced n and m:

    y = R x C^T,    row i of R: the weights of old pixels j for new pixel i      (1)

New pixel i covers the old interval [i, i + 1) old / new and has its centre at
(i + 1/2) old / new - 1/2, as in OpenCV; nothing is low-pass filtered but by "area".
    area      shares of the interval covered by each old pixel
    bilinear  two neighbours of the centre, borders repeated
    bicubic   four neighbours, Keys' kernel with a = -3/4 (OpenCV's; Pillow has -1/2)
Rows i >= new repeat the last one, so the corner is continued by its border.
"""

import jax
import jax.numpy as jnp

KEYS = -0.75


def area(centre, width, cells):
    """Shares of [centre + 1/2 -+ width/2] in each cell [j, j + 1): (side, side)."""
    low, high = centre + 0.5 - width / 2, centre + 0.5 + width / 2
    shared = jnp.minimum(high, cells + 1) - jnp.maximum(low, cells)
    return jnp.maximum(shared, 0) / width


def bilinear(centre, old, cells):
    centre = jnp.clip(centre, 0, old - 1)
    return jnp.maximum(1 - jnp.abs(centre - cells), 0)


def bicubic(centre, old, cells):
    first = jnp.floor(centre)
    weights = 0.0
    for tap in (-1, 0, 1, 2):
        where = jnp.clip(first + tap, 0, old - 1) == cells
        weights += where * _keys(jnp.abs(centre - first - tap))
    return weights


def _keys(d):
    """Keys' cubic convolution kernel at distances d in [0, 2]."""
    near = ((KEYS + 2) * d - (KEYS + 3)) * d * d + 1
    far = KEYS * (((d - 5) * d + 8) * d - 4)
    return jnp.where(d <= 1, near, far)


METHODS = ("area", "bilinear", "bicubic")


def matrix(method, side, old, new):
    """R of Eq. 1, (side, side) float32, for old -> new pixels, both <= side, traced.

    Raises ValueError for an unknown method.
    """
    if method not in METHODS:
        raise ValueError(f"unknown resize method {method!r}; choose from {METHODS}")
    ratio = jnp.asarray(old, jnp.float32) / new
    new_pixels = jnp.minimum(jnp.arange(side), new - 1)[:, None]
    cells = jnp.arange(side, dtype=jnp.float32)[None]
    # XLA divides arrays by reciprocals; so written R is the identity for old == new.
    centre = ratio * new_pixels + 0.5 * (ratio - 1)
    if method == "area":
        return area(centre, ratio, cells)
    return {"bilinear": bilinear, "bicubic": bicubic}[method](centre, old, cells)


def apply(rows, columns, image):
    """Eq. 1 for rows (h, h), columns (w, w) and an image (h, w, c)."""
    exact = jax.lax.Precision.HIGHEST
    image = jnp.einsum("ij,jwc->iwc", rows, image, precision=exact)
    return jnp.einsum("ij,hjc->hic", columns, image, precision=exact)


def resize(image, method, old, new):
    """The corner `old` (rows, columns) of (h, w, c) brought to the size `new`.

    Args:
      method: a name, or (index, names) to choose by a traced index.
      old, new: pairs of traced integers, at most (h, w).
    """
    index, names = (0, (method,)) if isinstance(method, str) else method
    sides = image.shape[:2]
    pair = [
        jnp.stack([matrix(name, *sizes) for name in names])[index]
        for sizes in zip(sides, old, new, strict=True)
    ]
    return apply(*pair, image)
