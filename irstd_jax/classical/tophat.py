"""Top-hat filters: what a flat structuring element cannot follow is a target.

    T = f - dilate(erode(f, B), B)                              white top-hat    (1)
    T = f - min(f, erode(dilate(f, ring), B_b))                 new top-hat      (2)

Eq. 2 replaces a pixel by the largest of its surround and undoes the growth: a target
smaller than the hole of the ring disappears from the estimate. Beyond the border there
is nothing: windows shrink. Results have the unit of the image and are never negative.

Sources: (1) Tom et al., Proc. SPIE 1954 (1993). (2) Bai and Zhou, Pattern Recognition
43 (2010). The paper leaves the sizes of (2) open; ours are those of common code.
"""

import functools

import jax.numpy as jnp

from irstd_jax.classical import windows


def top_hat(image, side=5):
    """Eq. 1 by a square of odd side: (b, h, w, c) of any unit -> the same."""
    if side % 2 == 0:
        raise ValueError(f"side must be odd, not {side}")
    return image - windows.dilation(windows.erosion(image, side), side)


def new_top_hat(image, outer=19, inner=9, element=9):
    """Eq. 2: (b, h, w, c) -> the same.

    Args:
      image: of any unit.
      outer, inner: odd sides of the ring and of its hole.
      element: side of B_b. Within the paper's rule, inner to outer, it hardly matters;
        common code has 4.
    """
    if not (inner % 2 and outer % 2 and 0 < inner < outer):
        raise ValueError(
            f"outer {outer} and inner {inner} must be odd, the first larger"
        )
    surround = _ring_dilation(image, outer, inner)
    # Pixels amid an image no larger than the hole have no surround: like those beyond
    # the border, they don't count.
    surround = jnp.where(surround == -jnp.inf, jnp.inf, surround)
    return image - jnp.minimum(image, windows.erosion(surround, element))


def _ring_dilation(x, outer, inner):
    """The largest value of the ring: of four rectangles that cover it."""
    h, w = x.shape[1:3]
    width = (outer - inner) // 2
    far = outer - width
    x = windows.surrounded(x, outer // 2, -jnp.inf)
    rows = windows.maximum(x, width, outer)
    columns = windows.maximum(x, inner, width)[:, width : width + h]
    sides = rows[:, :h], rows[:, far:], columns[:, :, :w], columns[:, :, far:]
    return functools.reduce(jnp.maximum, sides)
