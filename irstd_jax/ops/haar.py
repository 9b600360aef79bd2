"""The orthonormal 2-D Haar wavelet transform, in the sign convention of IRSTD-Diff.

For every 2x2 block of pixels (a b; c d), a at even row and even column:

    LL = ( a + b + c + d) / 2                                                  (1)
    HL = (-a + b - c + d) / 2      a change along the columns (vertical edge)  (2)
    LH = (-a - b + c + d) / 2      a change along the rows (horizontal edge)   (3)
    HH = ( a - b - c + d) / 2      diagonal                                    (4)

The matrix of (1)-(4) is orthogonal, so energy is kept and its transpose inverts it.
Against PyWavelets' "haar": LL = cA, HL = -cV, LH = -cH, HH = cD.
Source: IRSTD-Diff (JSTARS 2024), Eqs. 17 and 19, with the signs of its released code.
"""

import jax.numpy as jnp


def dwt(x):
    """One level of analysis: (b, h, w, c) -> LL (b, h/2, w/2, c), (HL, LH, HH)."""
    b, h, w, c = x.shape
    if h % 2 or w % 2:
        raise ValueError(f"the Haar transform needs even sides, not {h}x{w}")
    upper, lower = x[:, 0::2] / 2, x[:, 1::2] / 2
    total, slope = upper + lower, lower - upper
    total_even, total_odd = total[:, :, 0::2], total[:, :, 1::2]
    slope_even, slope_odd = slope[:, :, 0::2], slope[:, :, 1::2]
    low = total_even + total_odd
    high = (total_odd - total_even, slope_even + slope_odd, slope_odd - slope_even)
    return low, high


def idwt(low, high):
    """Inverse of `dwt`: LL (b, h, w, c) and (HL, LH, HH) -> (b, 2h, 2w, c)."""
    hl, lh, hh = high
    upper = _interleave((low - lh - hl + hh) / 2, (low - lh + hl - hh) / 2, axis=2)
    lower = _interleave((low + lh - hl - hh) / 2, (low + lh + hl + hh) / 2, axis=2)
    return _interleave(upper, lower, axis=1)


def _interleave(even, odd, axis):
    """Takes turns along one axis: even[0], odd[0], even[1], odd[1], ..."""
    shape = list(even.shape)
    shape[axis] *= 2
    return jnp.stack([even, odd], axis=axis + 1).reshape(shape)
