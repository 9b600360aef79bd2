"""From a saliency map to a mask: a threshold for each map.

With s the map, its negative values set to 0, and mean, std, min, max over its pixels,

    half        (min + max) / 2: .5 after scaling to [0, 1]                       (1)
    peak        max(.7 max, mean + std / 2)                                       (2)
    deviations  mean + k std                                                      (3)

A pixel is target where s is above the threshold T and not the least of its map: a flat
map has no target. The rule moves IoU by a factor of 1.5 to 3: it belongs to a figure.
Folded into the map, a rule leaves a map that everybody cuts at a half (`graded`):

    p = (s - min) / (T - min) / 2  below T,   1/2 + (s - T) / (max - T) / 2  above (4)

Sources: (1) the statement of BasicIRSTD for its table, whose rows (2) comes nearer to;
(3) as in the papers of LCM, TLLCM and others, each with its k.
"""

import functools

import jax.numpy as jnp
import numpy as np

AXES = (1, 2, 3)
ABOVE_HALF = np.nextafter(np.float32(0.5), np.float32(1))
CANDIDATES = tuple(n / 2 for n in range(1, 61))  # of k


def half(saliency):
    """Eq. 1: maps (b, h, w, 1) -> thresholds (b, 1, 1, 1)."""
    s = _positive(saliency)
    return (s.min(AXES, keepdims=True) + s.max(AXES, keepdims=True)) / 2


def peak(saliency):
    """Eq. 2: maps (b, h, w, 1) -> thresholds (b, 1, 1, 1)."""
    most = _positive(saliency).max(AXES, keepdims=True)
    return jnp.maximum(0.7 * most, deviations(saliency, 0.5))


def deviations(saliency, k):
    """Eq. 3: maps (b, h, w, 1) -> thresholds (b, 1, 1, 1)."""
    s = _positive(saliency)
    return s.mean(AXES, keepdims=True) + k * s.std(AXES, keepdims=True)


def _positive(saliency):
    return jnp.maximum(saliency, 0)


RULES = {"half": half, "peak": peak, "deviations": deviations}


def build(name, **fields):
    """The rule `name`, maps -> thresholds; "deviations" wants its k."""
    if name not in RULES:
        raise ValueError(f"unknown rule {name!r}; choose from {sorted(RULES)}")
    wanted = {"k"} if name == "deviations" else set()
    if set(fields) != wanted:
        raise ValueError(
            f"the rule {name} takes {sorted(wanted)}, not {sorted(fields)}"
        )
    return functools.partial(RULES[name], **fields)


def mask(saliency, rule):
    """Where maps (b, h, w, 1) are above the thresholds of a rule: bool (b, h, w, 1)."""
    s = _positive(saliency)
    return (s > rule(saliency)) & (s > s.min(AXES, keepdims=True))


def graded(saliency, rule):
    """Eq. 4: maps (b, h, w, 1) -> [0, 1], above .5 where `mask` is, and 0 if flat.

    It rises with the saliency. By the rule `half` it is the map scaled to [0, 1].
    """
    s, threshold = _positive(saliency), rule(saliency)
    low, high = s.min(AXES, keepdims=True), s.max(AXES, keepdims=True)
    threshold = jnp.maximum(threshold, low)
    below = jnp.minimum(_share(s - low, threshold - low) / 2, 0.5)
    above = (1 + _share(s - threshold, high - threshold)) / 2
    # So little above the threshold may a pixel be that its half rounds.
    return jnp.where(s > threshold, jnp.clip(above, ABOVE_HALF, 1), below)


def _share(part, whole):
    return part / jnp.where(whole > 0, whole, 1)


def best_k(pairs, candidates=CANDIDATES):
    """The k of Eq. 3 of highest IoU, pooled over training images; the least of equals.

    On the host, as the images of a set have many sizes.

    Args:
      pairs: iterable of a map and its mask, of one size each pair, any sizes; masks are
        above 0 on targets.
      candidates: the k to choose from, rising.
    Returns:
      k and its IoU.
    Raises:
      ValueError: no candidate finds a pixel of a target, or there is none.
    """
    k = np.asarray(candidates)
    both = either = np.zeros(len(k))
    for saliency, truth in pairs:
        s = np.maximum(np.asarray(saliency, np.float64), 0).ravel()
        target = s[np.ravel(truth) > 0]
        threshold = np.maximum(s.mean() + k * s.std(), s.min())
        hit = _above(target, threshold)
        both = both + hit
        either = either + _above(s, threshold) + target.size - hit
    if not both.any():
        raise ValueError("k cannot be chosen: no candidate finds a pixel of a target")
    shares = both / np.maximum(either, 1)
    best = int(np.argmax(shares))
    return candidates[best], float(shares[best])


def _above(values, thresholds):
    """How many values are above each threshold."""
    return values.size - np.searchsorted(np.sort(values), thresholds, side="right")
