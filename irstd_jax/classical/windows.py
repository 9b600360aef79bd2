"""Square windows of maps (b, h, w, c): extremes, means, largest values, neighbours.

Only whole windows count: of n pixels a side, windows of k leave n - k + 1. What lies
beyond the border is therefore said where a map is padded: its edge repeated (`edge`), a
constant (`surrounded`), or nothing, which is -inf for a maximum and inf for a minimum.
"""

import jax
import jax.numpy as jnp
import numpy as np

# Of a 3x3 grid without its centre, clockwise: i and i + 4 are opposite.
CLOCKWISE = ((0, 0), (0, 1), (0, 2), (1, 2), (2, 2), (2, 1), (2, 0), (1, 0))


def edge(x, n):
    """A map with its edge pixels repeated n times on each side."""
    return jnp.pad(x, _widths(n, n), mode="edge")


def surrounded(x, n, value):
    """A map with n pixels of one value on each side."""
    return jnp.pad(x, _widths(n, n), constant_values=value)


def _widths(before, after):
    return ((0, 0), (before, after), (before, after), (0, 0))


def maximum(x, rows, columns):
    """The largest value of each window of rows x columns."""
    return _reduce(x, jax.lax.max, -np.inf, rows, columns)


def minimum(x, rows, columns):
    """The smallest value of each window of rows x columns."""
    return _reduce(x, jax.lax.min, np.inf, rows, columns)


def mean(x, side):
    """The mean of each window."""
    return _reduce(x, jax.lax.add, 0, side, side) / side**2


def _reduce(x, combine, start, rows, columns):
    """Rows and then columns: a + b operations a pixel in place of a b."""
    start = x.dtype.type(start)
    for window in ((1, rows, 1, 1), (1, 1, columns, 1)):
        x = jax.lax.reduce_window(x, start, combine, window, (1, 1, 1, 1), "VALID")
    return x


def dilation(x, side):
    """Flat grey dilation by an odd square, (b, h, w, c) kept; outside is nothing."""
    return maximum(surrounded(x, side // 2, -jnp.inf), side, side)


def erosion(x, side):
    """Flat grey erosion, (b, h, w, c) kept; outside is nothing.

    An even square reaches one pixel further below and to the right.
    """
    x = jnp.pad(x, _widths((side - 1) // 2, side // 2), constant_values=jnp.inf)
    return minimum(x, side, side)


def largest(x, sides, count):
    """The `count` largest values of the windows of odd sides, in falling order.

    Each pixel of a window is offered to the values kept so far, and takes its place
    among them, from the centre outwards: a wide window goes on from the narrow one in
    it. Nothing of the size of all windows is ever held.

    Returns {side: (count, b, ...)}, all of the size that the widest window leaves.
    """
    b, h, w, c = x.shape
    widest = max(sides)
    shape = (b, h - widest + 1, w - widest + 1, c)

    def offer(kept, corner):
        new = jax.lax.dynamic_slice(x, (0, *corner, 0), shape)
        above = jnp.concatenate([jnp.full_like(kept[:1], jnp.inf), kept[:-1]])
        return jnp.maximum(kept, jnp.minimum(above, new)), None

    corners = np.indices((widest, widest)).reshape(2, -1).T
    distance = np.abs(corners - widest // 2).max(1)
    kept, stacks, within = jnp.full((count, *shape), -jnp.inf, x.dtype), {}, -1
    for side in sorted(sides):
        ring = (distance > within) & (distance <= side // 2)
        kept, _ = jax.lax.scan(offer, kept, corners[ring])
        stacks[side], within = kept, side // 2
    return stacks


def neighbours(x, distance):
    """Eight maps, `CLOCKWISE`, each x at one neighbour `distance` pixels away.

    x is a map padded by that distance; the eight have the size without it.
    """
    h, w = (n - 2 * distance for n in x.shape[1:3])
    corners = [(distance * i, distance * j) for i, j in CLOCKWISE]
    return jnp.stack([x[:, i : i + h, j : j + w] for i, j in corners])


def centre(x, distance):
    """A padded map without its padding."""
    h, w = x.shape[1:3]
    return x[:, distance : h - distance, distance : w - distance]


def binomial(x):
    """The 3x3 Gaussian [1 2 1]' [1 2 1] / 16; edges repeated, (b, h, w, c) kept."""
    x = edge(x, 1)
    x = (x[:, :-2] + 2 * x[:, 1:-1] + x[:, 2:]) / 4
    return (x[:, :, :-2] + 2 * x[:, :, 1:-1] + x[:, :, 2:]) / 4
