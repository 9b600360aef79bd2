r"""From several samples of one posterior to one map.

D_ij in {0, 1} is pixel i of sample j of s. Mean and majority count votes. STAPLE
(Warfield, Zou & Wells 2004) weighs them: sample j finds a target pixel with sensitivity
p_j and leaves a background pixel empty with specificity q_j, both unknown, and EM finds
them together with the posterior W_i that pixel i is target:

    A_i = f       \prod_j p_j^D_ij (1 - p_j)^(1 - D_ij)                         (1)
    B_i = (1 - f) \prod_j q_j^(1 - D_ij) (1 - q_j)^D_ij                         (2)
    W_i = A_i / (A_i + B_i)                                        E step       (3)
    p_j = \sum_i W_i D_ij / \sum_i W_i                             M step       (4)
    q_j = \sum_i (1 - W_i) (1 - D_ij) / \sum_i (1 - W_i)                        (5)

f is the mean of D, kept; p = q = 0.99999 at the start; the end is a mean change of W
below 1e-6, or 100 rounds. Products are sums of logarithms.

Tiny targets need three cares. The empty image drives q to 1 and f to 0, so the sums run
over the union of all foreground grown by 10 pixels, and W is 0 elsewhere. p and q stay
in [1e-6, 1 - 1e-6]. Where no sample has any foreground the answer is 0.

Samples of a diffusion are exchangeable; with equal p and q, logit W is linear in the
number of votes, so here STAPLE mostly shifts the threshold of the vote.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

MARGIN = 10  # pixels
START = 0.99999
SMALLEST = 1e-6  # of p, q, 1 - p, 1 - q
TOLERANCE = 1e-6
ROUNDS = 100


class Staple(NamedTuple):
    """The posterior (b, h, w, 1) and each sample's p and q, (b, s)."""

    posterior: jax.Array
    sensitivity: jax.Array
    specificity: jax.Array


def mean(samples: jax.Array) -> jax.Array:
    """The mean of the samples (b, s, h, w, 1), each clipped to [0, 1]: (b, h, w, 1)."""
    return jnp.clip(samples, 0.0, 1.0).mean(1)


def majority(samples: jax.Array) -> jax.Array:
    """1.0 where more than half of the samples exceed 0.5; a tie is 0: (b, h, w, 1)."""
    return (_votes(samples).mean(1) > 0.5).astype(jnp.float32)


def mean_squared(samples: jax.Array) -> jax.Array:
    """(mean of the samples (b, s, h, w, 1))^2, clipped to [0, 1]: (b, h, w, 1).

    It is kept for MedSegDiff's figures, whose code calls it STAPLE and gives it samples
    in [-1, 1]: cut at 0.5 it wants a mean above .707, or below -.707.
    """
    return jnp.clip(jnp.square(samples.mean(1)), 0.0, 1.0)


def staple(samples: jax.Array) -> jax.Array:
    """STAPLE's posterior (b, h, w, 1) of samples (b, s, h, w, 1), cut at 0.5."""
    return staple_rates(samples).posterior


def staple_rates(samples: jax.Array) -> Staple:
    """STAPLE with the sensitivities and specificities that it found."""
    return jax.vmap(_staple)(_votes(samples))


def _votes(samples):
    return (samples > 0.5).astype(jnp.float32)


def _staple(votes):
    """EM on one image: votes (s, h, w, 1) in {0, 1}."""
    s, h, w, _ = votes.shape
    region = grown(votes.max(0)[..., 0]).reshape(h * w)
    votes = votes.reshape(s, h * w)
    size = jnp.maximum(region.sum(), 1.0)
    prior = _inside((votes * region).sum() / (s * size))

    def expectation(p, q):
        logit = jnp.log(prior) - jnp.log1p(-prior)
        logit += (votes * (jnp.log(p) - jnp.log1p(-q))[:, None]).sum(0)
        logit += ((1 - votes) * (jnp.log1p(-p) - jnp.log(q))[:, None]).sum(0)
        return region * jax.nn.sigmoid(logit)

    def maximisation(posterior):
        return (
            _ratio(posterior, votes),
            _ratio(region * (1 - posterior), 1 - votes),
        )

    def unfinished(state):
        _, _, change, n = state
        return (change >= TOLERANCE) & (n < ROUNDS)

    def step(state):
        (p, q), posterior, _, n = state
        found = expectation(p, q)
        change = jnp.abs(found - posterior).sum() / size
        return maximisation(found), found, change, n + 1

    rates = (jnp.full(s, START),) * 2
    start = (rates, jnp.zeros(h * w), jnp.inf, 0)
    (p, q), posterior, _, _ = jax.lax.while_loop(unfinished, step, start)
    return Staple(posterior.reshape(h, w, 1), p, q)


def grown(mask):
    """A mask (h, w) grown by a square of MARGIN pixels on each side."""
    for window in ((2 * MARGIN + 1, 1), (1, 2 * MARGIN + 1)):
        mask = jax.lax.reduce_window(mask, 0.0, jax.lax.max, window, (1, 1), "SAME")
    return mask


def _ratio(weights, votes):
    """The weighted share of the votes (s, n), kept off 0 and 1."""
    total = weights.sum()
    share = (votes * weights).sum(1) / jnp.where(total > 0, total, 1.0)
    return _inside(share)


def _inside(share):
    return jnp.clip(share, SMALLEST, 1.0 - SMALLEST)


ENSEMBLES = {
    "mean": mean,
    "majority": majority,
    "mean_squared": mean_squared,
    "staple": staple,
}


def combine(name: str, samples: jax.Array) -> jax.Array:
    """Samples (b, s, h, w, 1) of probabilities, or of {0, 1}, into one (b, h, w, 1)."""
    if name not in ENSEMBLES:
        raise ValueError(f"unknown ensemble {name!r}; choose from {sorted(ENSEMBLES)}")
    return ENSEMBLES[name](samples)
