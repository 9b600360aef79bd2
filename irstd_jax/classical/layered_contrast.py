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

import functools

import jax.numpy as jnp

from irstd_jax.classical import windows
from irstd_jax.classical.local_contrast import lit, odd

FLATTEST = 5  # grey levels, Eq. 2


def tllcm(image, side=9, count=9):
    """Eq. 1: grey levels (b, h, w, c) -> the same, grey levels; `count` is K."""
    [(brightest, _)] = _brightest(image, (side,), count)
    return _contrast(windows.binomial(image), brightest, side)


def wslcm(image, sides=(5, 7, 9, 11), count=9):
    """Eq. 3: grey levels (b, h, w, c) -> the same, squared grey levels."""
    median = windows.largest(windows.surrounded(image, 1, 0), (3,), 5)[3][-1]
    core = windows.binomial(median)
    weighted = [
        _weight(median, brightest, side) * _contrast(core, brightest, side)
        for brightest, side in _brightest(median, sides, count)
    ]
    return functools.reduce(jnp.maximum, weighted)


def _brightest(x, sides, count):
    """(M, side) for each side, M of the cells up to `side` pixels outside."""
    odd(sides)
    if count > min(sides) ** 2:
        raise ValueError(f"cells of {min(sides)}x{min(sides)} have no {count} values")
    widest = max(sides)
    padded = windows.surrounded(x, widest + widest // 2, 0)
    stacks = windows.largest(padded, sides, count)
    return [(windows.centre(stacks[n].mean(0), widest - n), n) for n in sides]


def _contrast(core, brightest, side):
    """Eq. 1, of M (b, h + 2 side, w + 2 side, c)."""
    around = windows.neighbours(brightest, side).max(0)
    return jnp.maximum(core**2 / lit(around) - core, 0)


def _weight(x, brightest, side):
    """Eq. 2, of the same."""
    mean = windows.mean(windows.edge(x, side + side // 2), side)
    irregular = brightest - mean
    around = windows.neighbours(irregular, side)
    inside = windows.centre(irregular, side)
    stands_out = jnp.maximum(inside - around.max(0), 0)
    return inside * stands_out / jnp.maximum(around.std(0, ddof=1), FLATTEST)
