"""IPI: the infrared patch-image as a low-rank background and sparse targets.

The columns of D are all patches of the image, D scaled to [0, 1]. D = B + T + noise by

    min_(B, T)  |B|_* + lambda |T|_1 + |D - B - T|_F^2 / (2 mu)                  (1)

with an accelerated proximal gradient, X = (B, T), t_0 = t_(-1) = 1:

    Y = X_k + (t_(k-1) - 1) / t_k (X_k - X_(k-1)),  G = Y - (Y_B + Y_T - D) / 2  (2)
    B_(k+1) = D_(mu/2)(G_B)    singular values nearer to 0 by mu/2               (3)
    T_(k+1) = soft(G_T, lambda mu/2)                                             (4)
    t_(k+1) = (1 + sqrt(1 + 4 t_k^2)) / 2,   mu <- max(.9 mu, mu_bar)            (5)

mu falls from the second singular value of D to .005 of the fourth. The end is the first
of: the gradient is small; the rank of B stood still for more than 10 steps, and |T|_0
nearly; the rank exceeds .3 of the smaller side of D; 1,000 steps. On images the third
comes first, after some 20 to 60 steps: what is found is a step of the iteration, and
not the minimum of Eq. 1.

Source: Gao et al., TIP 22(12) (2013), with the rules of the authors' code.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from irstd_jax.classical import patches, shrinkage

TOLERANCE = 1e-6
STEPS = 1000
RANK = 0.3  # of the smaller side of D
STILL, CARDINALITY = 10, 20  # steps of one rank, change of |T|_0


class State(NamedTuple):
    """What goes from step to step; pairs are (2, p, n), background and target."""

    pair: jax.Array
    before: jax.Array
    t: jax.Array
    t_before: jax.Array
    mu: jax.Array
    rank: jax.Array
    still: jax.Array  # steps since the rank changed
    cardinality: jax.Array  # |T|_0 when it did
    step: jax.Array
    done: jax.Array


def ipi(image, side=50, step=10):
    """The target image of Eq. 1: (b, h, w, 1) of any unit -> the same, about [-1, 1].

    Patches begin every `step` pixels; up to step - 1 rows and columns at the bottom and
    the right are in none, and are 0. Where several lie on a pixel, it is their median.
    It may be negative, where the background is too bright. Wants float64.

    Raises ValueError if the image has not four patches.
    """
    size = image.shape[1:3]
    starts = [np.arange(0, n - side + 1, step) for n in size]
    if len(starts[0]) * len(starts[1]) < 4:
        raise ValueError(
            f"IPI needs four patches of {side}x{side} px or more, every {step} px; an "
            f"image of {size[0]}x{size[1]} has {len(starts[0]) * len(starts[1])}"
        )

    def targets(image):
        parts = patches.cut(image, starts, side)
        columns = parts.reshape(-1, side**2).T
        low, high = columns.min(), columns.max()
        columns = (columns - low) / jnp.where(high > low, high - low, 1)
        _, sparse = decompose(columns, 1 / np.sqrt(max(size)))
        return patches.median(sparse.T.reshape(parts.shape), starts, size)

    return jax.vmap(targets)(image[..., 0])[..., None]


def decompose(matrix, weight):
    """Eqs. 2-5: a matrix (p, n) and lambda -> background and target, (p, n) each."""
    _, values = shrinkage.singular_soft(matrix, 0)
    advance = functools.partial(_advance, matrix, weight, 0.005 * values[-4])
    zero, one = jnp.zeros((2, *matrix.shape), matrix.dtype), values.dtype.type(1)
    count = jnp.zeros((), jnp.int32)
    start = State(
        zero, zero, one, one, values[-2], count, count, count, count, jnp.array(False)
    )
    return jax.lax.while_loop(lambda state: ~state.done, advance, start).pair


def _advance(matrix, weight, mu_bar, state):
    y = state.pair + (state.t_before - 1) / state.t * (state.pair - state.before)
    gradient = y - (y.sum(0) - matrix) / 2
    low, values = shrinkage.singular_soft(gradient[0], state.mu / 2)
    sparse = shrinkage.soft(gradient[1], weight * state.mu / 2)
    pair = jnp.stack([low, sparse])
    rank = (values > state.mu / 2).sum(dtype=jnp.int32)
    cardinality = (sparse != 0).sum(dtype=jnp.int32)
    same = rank == state.rank
    still = jnp.where(same, state.still + 1, 0)
    reference = jnp.where(same, state.cardinality, cardinality)
    step = state.step + 1
    residual = 2 * (y - pair) + pair.sum(0) - y.sum(0)
    small = _norm(residual) <= 2 * TOLERANCE * jnp.maximum(1, _norm(pair))
    settled = (still > STILL) & (jnp.abs(cardinality - reference) < CARDINALITY)
    done = small | settled | (rank > RANK * min(matrix.shape)) | (step == STEPS)
    t = (1 + jnp.sqrt(1 + 4 * state.t**2)) / 2
    mu = jnp.maximum(0.9 * state.mu, mu_bar)
    return State(pair, state.pair, t, state.t, mu, rank, still, reference, step, done)


def _norm(x):
    return jnp.sqrt(jnp.square(x).sum())
