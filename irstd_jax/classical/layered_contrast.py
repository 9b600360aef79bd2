"""Contrast of a smoothed core with the brightest of its surround: TLLCM and WSLCM.

Around each pixel lies a 3x3 grid of square cells of one side: 0 the centre, 1 .. 8 its
neighbours. M_i is the mean of the K largest values of a cell, mu_i its mean, and I_i =
M_i - mu_i says how irregular it is. f is smoothed to `core` by a 3x3 Gaussian.

    S = max(0, core^2 / max_(i>0) M_i - core)                            TLLCM  (1)

    W = I_0 max(0, I_0 - max_(i>0) I_i) / max(5, std_(i>0) I_i)                 (2)
    largest of W S over the sides, f being a 3x3 median first            WSLCM  (3)

Beyond the border the Gaussian and mu see the edge repeated; M and the median see black.
So corners darken, and at a border the brightest cell inside decides. The 5 in Eq. 2 is
in grey levels of 0..255: another range is another method.

Sources: (1) Han et al., GRSL 17(10) (2020); (2), (3) Han et al., GRSL 18 (2021), as the
code that a coauthor has published does them: (1) with one side of cells.
"""

import jax.numpy as jnp

from irstd_jax.classical import windows
from irstd_jax.classical.local_contrast import lit, over_sides

FLATTEST = 5  # grey levels, Eq. 2


def tllcm(image, side=9, count=9):
    """Eq. 1: grey levels (b, h, w, c) -> the same, grey levels; `count` is K."""

    def contrast(x, side):
        return _contrast(x, _brightest(x, side, count), side)

    return over_sides(contrast, image, (side,))


def wslcm(image, sides=(5, 7, 9, 11), count=9):
    """Eq. 3: grey levels (b, h, w, c) -> the same, squared grey levels."""
    median = windows.largest(windows.surrounded(image, 1, 0), 3, 5)[-1]

    def weighted(x, side):
        brightest = _brightest(x, side, count)
        return _weight(x, brightest, side) * _contrast(x, brightest, side)

    return over_sides(weighted, median, sides)


def _brightest(x, side, count):
    """M of each cell whose centre is at most `side` pixels outside."""
    if count > side**2:
        raise ValueError(f"cells of {side}x{side} have no {count} values")
    padded = windows.surrounded(x, side + side // 2, 0)
    return windows.largest(padded, side, count).mean(0)


def _contrast(x, brightest, side):
    """Eq. 1, of M (b, h + 2 side, w + 2 side, c)."""
    core = windows.binomial(x)
    around = windows.neighbours(brightest, side).max(0)
    return jnp.maximum(core**2 / lit(around) - core, 0)


def _weight(x, brightest, side):
    """Eq. 2, of the same."""
    mean = windows.mean(windows.edge(x, side + side // 2), side)
    irregular = brightest - mean
    inside, around = (f(irregular, side) for f in (windows.centre, windows.neighbours))
    stands_out = jnp.maximum(inside - around.max(0), 0)
    return inside * stands_out / jnp.maximum(around.std(0, ddof=1), FLATTEST)
