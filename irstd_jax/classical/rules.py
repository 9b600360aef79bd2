"""From a saliency map to a mask: a threshold for each map.

With s the map, its negative values set to 0, and mean, std, min, max over its pixels,

    half        (min + max) / 2: .5 after scaling to [0, 1]                       (1)
    dominant    max(.7 max, mean + std / 2)                                       (2)
    deviations  mean + k std                                                      (3)

A pixel is target where s is above the threshold and not the least of its map: a flat map
has no target. The rule moves IoU by a factor of 1.5 to 3, so it belongs to a figure.

Sources: (1) BasicIRSTD says that it does so; (2) agrees with its figures, and is said to
be DNANet's (Li et al., TIP 2023); (3) LCM, IPI, TLLCM and others, k being theirs.
"""

import functools

import jax.numpy as jnp

AXES = (1, 2, 3)


def half(saliency):
    """Eq. 1: thresholds (b, 1, 1, 1) of maps (b, h, w, 1)."""
    least, most = (
        f(_positive(saliency), AXES, keepdims=True) for f in (jnp.min, jnp.max)
    )
    return (least + most) / 2


def dominant(saliency):
    """Eq. 2: thresholds (b, 1, 1, 1) of maps (b, h, w, 1)."""
    most = _positive(saliency).max(AXES, keepdims=True)
    return jnp.maximum(0.7 * most, deviations(saliency, 0.5))


def deviations(saliency, k):
    """Eq. 3: thresholds (b, 1, 1, 1) of maps (b, h, w, 1)."""
    mean, std = (
        f(_positive(saliency), AXES, keepdims=True) for f in (jnp.mean, jnp.std)
    )
    return mean + k * std


def _positive(saliency):
    return jnp.maximum(saliency, 0)


RULES = {"half": half, "dominant": dominant, "deviations": deviations}


def build(name, **fields):
    """The rule `name`; "deviations" takes its k."""
    if name not in RULES:
        raise ValueError(f"unknown rule {name!r}; choose from {sorted(RULES)}")
    return functools.partial(RULES[name], **fields)


def mask(saliency, rule):
    """bool (b, h, w, 1): where maps (b, h, w, 1) are above the threshold of a rule."""
    positive = _positive(saliency)
    return (positive > rule(saliency)) & (positive > positive.min(AXES, keepdims=True))


def best_k(maps, masks, candidates=tuple(0.5 * n for n in range(1, 61))):
    """The k of Eq. 3 with the highest IoU over training images, the least of equals.

    Args:
      maps, masks: sequences of (h, w, 1), of any sizes, masks above 0 on targets.
      candidates: the k to choose from, rising.
    Raises:
      ValueError: there is no target to judge by.
    """
    both = either = 0
    for saliency, truth in zip(maps, masks, strict=True):
        saliency, truth = jnp.asarray(saliency)[None], jnp.asarray(truth)[None] > 0
        found = jnp.concatenate(
            [mask(saliency, functools.partial(deviations, k=k)) for k in candidates]
        )
        both = both + (found & truth).sum(AXES)
        either = either + (found | truth).sum(AXES)
    if not jnp.any(either > 0):
        raise ValueError("k cannot be chosen: no training mask holds a target")
    return candidates[int(jnp.argmax(both / jnp.maximum(either, 1)))]
