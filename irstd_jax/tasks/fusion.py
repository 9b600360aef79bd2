"""One map of two experts: the encoder's logits, and the samples of the mask."""

import jax
import jax.numpy as jnp

# A binary sample has infinite log-odds: it is heard as an expert who errs once in 20.
SAMPLE_TRUST = 0.95


def released(logits, sample):
    """The released code's score, made to be cut at about 0.28, not at 0.5.

    Source: facts of the released sampler; it adds a quarter of the sample to the
    encoder's LOGIT, or takes half of each where the two agree by an IoU of 0.65. That
    agreement is counted as there: sample > 0 against logits that truncate to 1.

    Args:
      logits: (b, h, w, 1) of the fused map.
      sample: (b, h, w, 1) in [-1, 1].

    Returns:
      (b, h, w, 1) in [0, 1].
    """
    axes = (1, 2, 3)
    truncated = jnp.trunc(logits)
    predicted, confident = sample > 0, truncated == 1
    both = jnp.sum(predicted & confident, axes, keepdims=True)
    either = jnp.sum(predicted | confident, axes, keepdims=True)
    agree = both >= 0.65 * jnp.maximum(either, 1)
    score = jnp.where(agree, 0.5 * logits + 0.5 * sample, logits + 0.25 * sample)
    return jnp.clip(score, 0.0, 1.0)


def logodds(logits, probability):
    """Mean of the encoder's log-odds and the sample's, as a probability."""
    heard = jnp.clip(probability, 1 - SAMPLE_TRUST, SAMPLE_TRUST)
    odds = jnp.log(heard) - jnp.log1p(-heard)
    return jax.nn.sigmoid(0.5 * (logits + odds))
