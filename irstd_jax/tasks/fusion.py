"""One map of two experts: the encoder's logits, and the samples of the mask."""

import jax
import jax.numpy as jnp

# A binary sample has infinite log-odds: it is heard as an expert who errs once in 20.
SAMPLE_TRUST = 0.95
AGREEMENT = 0.65  # of both released rules


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
    agree = both >= AGREEMENT * jnp.maximum(either, 1)
    return blended(agree, logits, sample)


def soft_dice(logits, sample):
    """The same rule as MedSegDiff has it, on the probability; to be cut at 0.5.

    The two agree where their soft Dice coefficient, 2 sum(p [s > 0]) / sum(p + [s > 0])
    of probability p and sample s, is 0.65 or more.

    Args:
      logits: (b, h, w, 1) of the calibration map.
      sample: (b, h, w, 1) in [-1, 1].

    Returns:
      (b, h, w, 1) in [0, 1].
    """
    axes, probability, predicted = (1, 2, 3), jax.nn.sigmoid(logits), sample > 0
    both = 2 * jnp.sum(probability * predicted, axes, keepdims=True)
    whole = jnp.sum(probability + predicted, axes, keepdims=True)
    return blended(both >= AGREEMENT * whole, probability, sample)


def blended(agree, estimate, sample):
    """Half of each where they agree, else a quarter of the sample on top."""
    score = jnp.where(agree, 0.5 * estimate + 0.5 * sample, estimate + 0.25 * sample)
    return jnp.clip(score, 0.0, 1.0)


def logodds(logits, probability):
    """Mean of the encoder's log-odds and the sample's, as a probability."""
    heard = jnp.clip(probability, 1 - SAMPLE_TRUST, SAMPLE_TRUST)
    odds = jnp.log(heard) - jnp.log1p(-heard)
    return jax.nn.sigmoid(0.5 * (logits + odds))


# What the mode "fused" may be.
RULES = {"released": released, "soft_dice": soft_dice}
