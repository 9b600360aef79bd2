"""Square windows of a feature map, as used by windowed (Swin) attention."""

import numpy as np


def partition(x, m):
    """Cuts (b, h, w, c) into windows of m x m tokens: (b, n, m * m, c), row by row."""
    b, h, w, c = x.shape
    if h % m or w % m:
        raise ValueError(f"sides {h}x{w} do not divide into windows of {m}x{m}")
    x = x.reshape(b, h // m, m, w // m, m, c).swapaxes(2, 3)
    return x.reshape(b, (h // m) * (w // m), m * m, c)


def merge(windows, h, w):
    """Inverse of `partition`: (b, n, m * m, c) -> (b, h, w, c)."""
    b, _, tokens, c = windows.shape
    m = int(tokens**0.5)
    x = windows.reshape(b, h // m, w // m, m, m, c).swapaxes(2, 3)
    return x.reshape(b, h, w, c)


def relative_positions(m):
    """Row of the bias table for each pair of tokens of a window: int (m * m, m * m).

    Pair (i, j) has the offset (dy, dx) = position i - position j, each -(m-1)..m-1,
    and the table has (2m - 1)^2 rows, dx running fastest (Swin, Liu et al. 2021).
    """
    y, x = np.divmod(np.arange(m * m), m)
    dy, dx = y[:, None] - y, x[:, None] - x
    return (dy + m - 1) * (2 * m - 1) + dx + m - 1


def inside(h, w, m, shift=0):
    """Which tokens of the windows are of the h x w map, not of its padding.

    Returns bool (n, m * m) for the map padded at its bottom and right to multiples
    of m and then rolled by `shift` up and left, in the order of `partition`.
    """
    padded = np.zeros((1, -(-h // m) * m, -(-w // m) * m, 1), bool)
    padded[:, :h, :w] = True
    return partition(np.roll(padded, (-shift, -shift), (1, 2)), m)[0, ..., 0]


def regions(h, w, m, shift):
    """What the tokens of a map rolled by `shift` up and left were neighbours of.

    Windows at the bottom and right hold rows and columns that came round from the
    other side. Returns int (n, m * m): tokens of one window with one number lay side
    by side before (Swin, Liu et al. 2021, Fig. 4). h and w must divide by m.
    """
    below, right = np.arange(h) >= h - shift, np.arange(w) >= w - shift
    numbers = 2 * below[:, None] + right
    return partition(numbers[None, ..., None], m)[0, ..., 0]
