"""MSLSTIPT: a short sequence as multi-subspace background and sparse targets.

X (w, h, t) is the sequence, each slice t adjacent columns. In the t-product *,

    X = A * Z + E,  min  sum |Z|_(w, Sp)^p + lambda |E|_1                         (1)

The dictionary A is of the background L of a first split X = L + S,

    min |L|_TNN + lambda_H |S|_1,  lambda_H = 4 / sqrt(max(h, t) w)               (2)

its Fourier slices' left singular vectors times their values, cut where these drop
(`dictionary`). Then ADMM, Z being split off as J, with beta = 1e-4 at first:

    Z = prox of the weighted Schatten-p norm at J - Y1/beta  (`schatten`)         (3)
    E = soft(X - A*J + Y2/beta, lambda/beta),  lambda = 1 / sqrt(w max(h, t))     (4)
    J = (A^T*A + I)^-1 * (Z + Y1/beta + A^T*(X - E + Y2/beta))                    (5)
    Y1 += beta (Z - J),  Y2 += beta (X - A*J - E),  beta *= 1.1                   (6)

Source: Sun, Yang and An, TGRS 59(5) (2021), with the rules of the authors' second code,
which takes whole frames. Its reshape is kept, though it is no permutation of axes. It
ends at 200 steps, not converged, so rounding shows at 1e-5.

A single image is no input of the paper, and published single-image figures of this
method can't be reproduced from what is public; one frame repeated leaves nearly nothing
on one image and much on another. But the reshape never takes the frames apart: a slice
is t columns side by side of one frame, and t frames give t times the slices of one. So
an image alone has its own share of that tensor, which `mslstipt_image` splits.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from irstd_jax.classical import shrinkage

STRENGTH, POWER = 5, 0.8  # C and p of the Schatten norm
FIRST = 4  # H of lambda_H
STEPS = 200
TOLERANCE = 1e-4


class Split(NamedTuple):
    """State of the first split; tensors are (w, h, t)."""

    low: jax.Array
    sparse: jax.Array
    dual: jax.Array
    mu: jax.Array
    step: jax.Array
    change: jax.Array


class State(NamedTuple):
    """State of the second; Z, J, Y1 are Fourier slices (w', t, t), E, Y2 (w, h, t)."""

    code: jax.Array
    copy: jax.Array
    sparse: jax.Array
    dual_code: jax.Array
    dual: jax.Array
    beta: jax.Array
    step: jax.Array
    change: jax.Array


def mslstipt(sequence):
    """E of Eq. 1: grey levels (b, t, h, w, 1) -> the same; negative where darker.

    No border is treated: all pixels are entries of one tensor. Wants float64.

    Raises ValueError at anything but sequences.
    """
    if sequence.ndim != 5 or min(sequence.shape[1:3]) < 2:
        raise ValueError(
            "MSLSTIPT works on sequences (b, t, h, w, 1) of two frames and two rows or "
            f"more, not on {sequence.shape}; a single image is for mslstipt_image"
        )
    frames, h, w = sequence.shape[1:4]

    def targets(sequence):
        columns = sequence.swapaxes(0, 1).reshape(h, w, frames)
        sparse = decompose(columns.swapaxes(0, 1)).swapaxes(0, 1)
        return sparse.reshape(h, frames, w).swapaxes(0, 1)

    return jax.vmap(targets)(sequence[..., 0])[..., None]


def mslstipt_image(image, columns=6):
    """E of an image by its own share of the tensor: (b, h, w, 1) -> the same.

    Ours, see the module. In grey levels; negative where darker. At the right the edge
    is repeated up to a multiple of `columns`, the t of Eq. 1, six as in the released
    code. Wants float64.

    Raises ValueError at anything but images, and below two columns a slice.
    """
    if image.ndim != 4 or columns < 2:
        raise ValueError(
            "mslstipt_image works on images (b, h, w, 1) by two or more columns, not "
            f"on {image.shape} by {columns}"
        )
    h, w = image.shape[1:3]
    wide = jnp.pad(image[..., 0], ((0, 0), (0, 0), (0, -w % columns)), mode="edge")

    def targets(image):
        slices = image.reshape(h, -1, columns).swapaxes(0, 1)
        return decompose(slices).swapaxes(0, 1).reshape(h, -1)[:, :w]

    return jax.vmap(targets)(wide)[..., None]


def decompose(tensor):
    """Eqs. 2-6: X (w, h, t) -> E of its size."""
    w, h, frames = tensor.shape
    weight = 1 / np.sqrt(w * max(h, frames))
    words = dictionary(split(tensor, FIRST * weight))
    transposed = jnp.conj(words).swapaxes(1, 2)
    inverse = jnp.linalg.inv(transposed @ words + jnp.eye(frames, dtype=words.dtype))
    advance = functools.partial(_advance, tensor, words, inverse, weight)
    code = jnp.zeros((len(words), frames, frames), words.dtype)
    zero = jnp.zeros_like(tensor)
    start = State(code, code, zero, code, zero, *_counters(tensor, 1e-4))

    def goes_on(state):
        return (state.step < STEPS) & (state.change >= TOLERANCE)

    return jax.lax.while_loop(goes_on, advance, start).sparse


def _counters(tensor, penalty):
    kind = tensor.dtype.type
    return kind(penalty), jnp.zeros((), jnp.int32), kind(np.inf)


def split(tensor, weight):
    """L of Eq. 2, tensor robust PCA, by ADMM to 1e-8."""
    zero = jnp.zeros_like(tensor)

    def advance(state):
        rest = tensor - state.dual / state.mu

        def shrunk(values):
            return jnp.maximum(values - 1 / state.mu, 0)

        low = shrinkage.tensor_singular(rest - state.sparse, shrunk)
        sparse = shrinkage.soft(rest - low, weight / state.mu)
        residual = low + sparse - tensor
        return Split(
            low,
            sparse,
            state.dual + state.mu * residual,
            jnp.minimum(1.2 * state.mu, 1e10),
            state.step + 1,
            _largest(low - state.low, sparse - state.sparse, residual),
        )

    def goes_on(state):
        return (state.step < 800) & (state.change >= 1e-8)

    start = Split(zero, zero, zero, *_counters(tensor, 1e-4))
    return jax.lax.while_loop(goes_on, advance, start).low


def _largest(*changes):
    return jnp.stack([jnp.abs(change).max() for change in changes]).max()


def dictionary(low):
    """Fourier slices (w', h, t) of A: U S of those of L, columns after a drop 0."""
    u, values, _ = jnp.linalg.svd(shrinkage.transformed(low), full_matrices=False)
    kept = jax.vmap(functools.partial(kept_values, size=max(low.shape[1:])))(values)
    order = jnp.arange(values.shape[1])
    values = jnp.where(order < kept[:, None], values, 0)
    words = u * values[:, None]
    missing = low.shape[2] - values.shape[1]
    return jnp.pad(words, ((0, 0), (0, 0), (0, missing)))


def kept_values(values, size):
    """How many singular values (k,), falling, of a matrix of larger side `size` count.

    Of the numeric rank, up to the first that is more than 50 times the next, the last
    two aside; and up to the largest such ratio, if it is so large beside the others.
    """
    rank = (values > size * jnp.finfo(values.dtype).eps * values[0]).sum()
    ratios = values[:-1] / values[1:]
    ratios = jnp.where(jnp.arange(len(ratios)) < rank - 2, ratios, 0)
    drops = ratios > 50
    kept = jnp.where(drops.any(), _before(~drops) + 1, rank)
    top = ratios.max()
    stands_out = (rank - 2) * top > 20 * (ratios.sum() - top)
    return jnp.where(
        (rank > 2) & stands_out, jnp.minimum(kept, _before(ratios < top) + 1), kept
    )


def _before(condition):
    """How many of (n,) hold before the first that does not.

    An argmax of float64 can't be lowered within a program of float32.
    """
    return jnp.cumprod(condition, dtype=jnp.int32).sum()


def _advance(tensor, words, inverse, weight, state):
    w, h, frames = tensor.shape
    beta = state.beta
    code = schatten(
        state.copy - state.dual_code / beta, STRENGTH * np.sqrt(h * w) / beta
    )
    rest = tensor + state.dual / beta
    background = shrinkage.restored(words @ state.copy, w)
    sparse = shrinkage.soft(rest - background, weight / beta)
    lifted = jnp.conj(words).swapaxes(1, 2) @ shrinkage.transformed(rest - sparse)
    copy = inverse @ (code + state.dual_code / beta + lifted)
    residual = tensor - shrinkage.restored(words @ copy, w) - sparse
    codes = shrinkage.restored(
        jnp.stack([code - state.code, copy - state.copy, code - copy], 1), w
    )
    return State(
        code,
        copy,
        sparse,
        state.dual_code + beta * (code - copy),
        state.dual + beta * residual,
        jnp.minimum(1.1 * beta, 1e8),
        state.step + 1,
        _largest(codes, sparse - state.sparse, residual),
    )


def schatten(slices, strength):
    """Slices (n, a, b) under the prox of sum_k w_k s_k^p, with reweighting.

    w_k = strength / (s_k^(1/p) + eps) is of the values s_k found last, three times.
    """
    u, values, v = jnp.linalg.svd(slices, full_matrices=False)
    found = values
    for _ in range(3):
        weight = strength / (found ** (1 / POWER) + jnp.finfo(values.dtype).eps)
        found = power_shrunk(values, weight)
    return (u * found[:, None]) @ v


def power_shrunk(values, weight):
    """Generalised soft threshold: argmin_t (t - s)^2 / 2 + w t^p for each s >= 0."""
    p = POWER
    start = (2 * weight * (1 - p)) ** (1 / (2 - p))
    threshold = start + p * weight * start ** (p - 1)
    found = values
    for _ in range(2):
        found = values - p * weight * found ** (p - 1)
    return jnp.where(values > threshold, found, 0)
