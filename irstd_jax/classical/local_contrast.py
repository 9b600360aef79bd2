"""Local contrast of cells: LCM and MPCM.

Around each pixel lies a 3x3 grid of square cells of one side. With m_0 the mean of the
central cell, L its largest value and m_1 .. m_8 the means of its neighbours, clockwise,

    C = min_i L^2 / m_i = L^2 / max_i m_i                                LCM    (1)
    C = min_(i = 1..4) (m_0 - m_i) (m_0 - m_(i+4))                       MPCM   (2)

and the saliency is the largest C over the sides. Eq. 1 answers to a flat image with its
grey level. Eq. 2 answers to dark spots as to bright ones: their products are positive.

Sources: (1) Chen et al., TGRS 52(1) (2014). (2) Wei, You and Li, Pattern Recognition 58
(2016).
"""

import functools

import jax.numpy as jnp

from irstd_jax.classical import windows

SIDES = (3, 5, 7, 9)


def lcm(image, sides=SIDES):
    """Eq. 1: grey levels (b, h, w, c) -> the same, grey levels.

    The image is continued by its edge.
    """
    return over_sides(_lcm, image, sides)


def mpcm(image, sides=SIDES):
    """Eq. 2, at least 0: grey levels (b, h, w, c) -> the same, squared grey levels.

    The image is continued by its edge for the means, and these by theirs.
    """
    return jnp.maximum(over_sides(_mpcm, image, sides), 0)


def over_sides(contrast, image, sides):
    """The largest contrast(image, side) of all sides."""
    odd(sides)
    return functools.reduce(jnp.maximum, [contrast(image, side) for side in sides])


def odd(sides):
    """Raises ValueError unless the sides are odd numbers."""
    if not sides or any(side % 2 == 0 for side in sides):
        raise ValueError(f"sides must be odd numbers, one or more, not {sides}")


def _lcm(image, side):
    padded = windows.edge(image, side + side // 2)
    around = windows.neighbours(windows.mean(padded, side), side).max(0)
    return windows.dilation(image, side) ** 2 / lit(around)


def lit(around):
    """A black surround counts as one grey level, so that contrast with it is finite."""
    return jnp.where(around > 0, around, 1)


def _mpcm(image, side):
    mean = windows.mean(windows.edge(image, side // 2), side)
    difference = mean - windows.neighbours(windows.edge(mean, side), side)
    return (difference[:4] * difference[4:]).min(0)
