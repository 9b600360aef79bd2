"""PSTNN: a tensor of patches as low tubal rank and sparse bright targets.

X (n, p, p) holds the n patches of the image. X = L + T with T >= 0 by

    min  sum_(slices) sum_(i > N) s_i(L) + lambda |W T|_1                         (1)

s_i being the singular values of the Fourier slices: the N largest go free. ADMM, with Y
= T = 0 and mu = .002 at first:

    L = X - T - Y/mu, its singular values after the N-th nearer to 0 by 1/mu      (2)
    T = max(0, X - L - Y/mu - lambda W / mu)                                      (3)
    W = N / (|T| + .01) / w                           (1 in the first step)       (4)
    Y += mu (L + T - X),  mu *= 1.05                                              (5)

until |L + T - X| < .001 |X|, or T has as many entries as a step before and not none, or
500 steps. lambda = .7 / sqrt(p n). The prior w, high at corners, is of the eigenvalues
l1 >= l2 of the structure tensor,

    w = l1^2 l2 / (l1 + l2),  scaled to [0, 1] over the image                     (6)

Source: Zhang and Peng, Remote Sensing 11, 382 (2019), with the rules of the authors'
code. One of them is a quirk that is kept: N is counted in a reshape of X that mixes the
entries of patches, not in an unfolding of it.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from irstd_jax.classical import patches, shrinkage

MU, GROWTH = 2e-3, 1.05
TOLERANCE = 1e-3
STEPS = 500
LEAST = 0.1  # of the largest singular value: what counts in N


class State(NamedTuple):
    """What goes from step to step; tensors are (n, p, p)."""

    target: jax.Array
    weight: jax.Array
    dual: jax.Array
    mu: jax.Array
    count: jax.Array
    step: jax.Array
    done: jax.Array


def pstnn(image, side=40, weight=0.7):
    """The target image of Eq. 1: grey levels (b, h, w, 1) -> the same, at least 0.

    Patches lie side by side, the last ones flush with the border: where they overlap
    those before, they count. `weight` is the .7 in lambda. Wants float64.

    Raises ValueError if the image is smaller than a patch.
    """
    size = image.shape[1:3]
    if min(size) < side:
        raise ValueError(
            f"PSTNN needs images of {side}x{side} px or more, not {size[0]}x{size[1]}"
        )
    starts = [np.append(np.arange(0, n - side, side), n - side) for n in size]

    def targets(image):
        # Columns outer, rows inner: the order of slices enters their Fourier transform.
        cut = [
            patches.cut(x, starts, side).swapaxes(0, 1) for x in (image, prior(image))
        ]
        tensor, local = (x.reshape(-1, side, side) for x in cut)
        target = decompose(tensor, local, weight / np.sqrt(side * len(tensor)))
        return patches.last(target.reshape(cut[0].shape).swapaxes(0, 1), starts, size)

    return jax.vmap(targets)(image[..., 0])[..., None]


def prior(image):
    """Eq. 6: (h, w) -> the same; 0 where the image is flat."""
    y, x = jnp.gradient(_gaussian(image, 2))
    yy, xx, yx = (_gaussian(p, 9) for p in (y * y, x * x, y * x))
    half, root = (yy + xx) / 2, jnp.sqrt(((yy - xx) / 2) ** 2 + yx**2)
    first, second = half + root, half - root
    corner = first * first * second / (first + second)
    low, high = jnp.nanmin(corner), jnp.nanmax(corner)
    return jnp.nan_to_num((corner - low) / (high - low))


def _gaussian(x, sigma):
    """A 3x3 Gaussian of (h, w), edges repeated."""
    side = np.exp(-0.5 / sigma**2)
    side, middle = (float(v / (1 + 2 * side)) for v in (side, 1))
    for axis in (0, 1):
        n = x.shape[axis]
        padded = jnp.pad(x, [(int(a == axis),) * 2 for a in (0, 1)], mode="edge")
        before, here, after = (
            jax.lax.slice_in_dim(padded, k, k + n, axis=axis) for k in range(3)
        )
        x = side * (before + after) + middle * here
    return x


def decompose(tensor, local, weight):
    """Eqs. 2-5: a tensor (n, p, p), w of its size and lambda -> target (n, p, p)."""
    free = free_values(tensor)
    advance = functools.partial(_advance, tensor, local, weight, free)
    zero, count = jnp.zeros_like(tensor), jnp.zeros((), jnp.int32)
    start = State(
        zero,
        jnp.ones_like(tensor),
        zero,
        tensor.dtype.type(MU),
        count,
        count,
        jnp.array(False),
    )
    return jax.lax.while_loop(lambda state: ~state.done, advance, start).target


def free_values(tensor):
    """N: singular values before the first below .1 of the largest, 1 or more."""
    n = len(tensor)
    # By columns: the released code reshapes (p, p, n) to (n, p^2) in that order.
    mixed = tensor.swapaxes(1, 2).reshape(-1, n)
    values = jnp.linalg.svd(mixed, compute_uv=False)
    return jnp.cumprod(values >= LEAST * values[0]).sum()


def _advance(tensor, local, weight, free, state):
    def shrunk(values):
        order = jnp.arange(values.shape[-1])
        return jnp.where(order < free, values, jnp.maximum(values - 1 / state.mu, 0))

    scaled = state.dual / state.mu
    low = shrinkage.tensor_singular(tensor - state.target - scaled, shrunk)
    threshold = state.weight * weight / state.mu
    target = jnp.maximum(tensor - low - scaled - threshold, 0)
    residual = low + target - tensor
    count = (target > 0).sum(dtype=jnp.int32)
    small = jnp.linalg.norm(residual) <= TOLERANCE * jnp.linalg.norm(tensor)
    settled = (count == state.count) & (count > 0)
    step = state.step + 1
    return State(
        target,
        free / (jnp.abs(target) + 0.01) / local,
        state.dual + state.mu * residual,
        GROWTH * state.mu,
        count,
        step,
        small | settled | (step == STEPS),
    )
