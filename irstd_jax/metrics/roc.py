"""Curves over thresholds by merged sums: pixel ROC, precision-recall, Pd over Fa.

A pixel is detected at threshold tau where p > tau. With n bins, pixel p falls into
bin ceil(n p) in 0..n, so that

    (1)  #{p > k / n} = sum of the bins above k,   k = 0..n,

exactly, for positives and negatives alike; the point "everything detected" closes the
curve at (1, 1), and k = n is (0, 0). The state of an image is two histograms, however
many images are merged. The area is the trapezoid's,

    (2)  AUC = sum_k (FPR_k-1 - FPR_k) (TPR_k-1 + TPR_k) / 2,

which gives tied pixels half a point, and average precision is

    (3)  AP = sum_k (recall_k - recall_k+1) precision_k.

Pd over Fa needs a matching per threshold; detections at growing thresholds are nested,
so equal pixel counts mean equal masks, and those are matched once.
"""

from typing import NamedTuple

import jax
import numpy as np

from irstd_jax.metrics import overlap, targets

FA_LIMIT = 1e-4
LOG_ODDS = np.log(2000)


class PixelHistogram(NamedTuple):
    """Pixels by probability, (n + 1,) int64 each: of targets and of background."""

    positive: np.ndarray
    negative: np.ndarray


def histogram(probability, truth, bins=1000):
    """Histograms of probability (h, w) in [0, 1] under truth (h, w) bool."""
    index = np.ceil(np.asarray(probability, np.float64) * bins).astype(np.int64)
    everything = np.bincount(index.ravel(), minlength=bins + 1)
    positive = np.bincount(index[truth], minlength=bins + 1)
    return PixelHistogram(positive, everything - positive)


def above(bins):
    """Counts at the thresholds "all", 0, 1/n, ..., 1: (..., n + 1) -> (..., n + 2)."""
    more = np.cumsum(bins[..., ::-1], axis=-1)[..., ::-1]
    return np.concatenate([more, np.zeros_like(more[..., :1])], axis=-1)


def roc(counts):
    """Threshold (n + 2,), FPR and TPR (..., n + 2), from (1, 1) down to (0, 0).

    The first threshold, -1 / n, stands for "everything detected".
    """
    hit, false = above(counts.positive), above(counts.negative)
    n = counts.positive.shape[-1] - 1
    return {
        "threshold": np.arange(-1, n + 1) / n,
        "FPR": overlap.ratio(false, false[..., :1]),
        "TPR": overlap.ratio(hit, hit[..., :1]),
    }


def precision_recall(counts):
    """Threshold (n + 2,), precision, recall (..., n + 2); no detection is precise."""
    hit, false = above(counts.positive), above(counts.negative)
    n = counts.positive.shape[-1] - 1
    precision = overlap.ratio(hit, hit + false)
    return {
        "threshold": np.arange(-1, n + 1) / n,
        "precision": np.where(hit + false == 0, 1.0, precision),
        "recall": overlap.ratio(hit, hit[..., :1]),
    }


def area(counts):
    """Area under the pixel ROC by (2); nan where a class has no pixel."""
    hit, false = above(counts.positive), above(counts.negative)
    # Kept in whole numbers to the end, so that a perfect map has exactly 1.
    steps = -np.diff(false, axis=-1)
    doubled = np.sum(steps * (hit[..., :-1] + hit[..., 1:]), axis=-1)
    return overlap.ratio(doubled, 2 * hit[..., 0] * false[..., 0])


def average_precision(counts):
    """Average precision by (3); nan where there is no target pixel."""
    curve = precision_recall(counts)
    steps = -np.diff(curve["recall"], axis=-1)
    return np.sum(steps * curve["precision"][..., :-1], axis=-1)


def grid(n):
    """The thresholds of a Pd-Fa curve of n points, even in log-odds.

    They cut the log-odds from -LOG_ODDS to LOG_ODDS into n + 1 equal parts; 1/2 is one
    of them if n is odd. Networks that learn by overlap are sure of nearly everything:
    even steps of the probability would move their curve over its first bit alone.
    """
    odds = np.linspace(-LOG_ODDS, LOG_ODDS, n + 2)[1:-1]
    return 1 / (1 + np.exp(-odds))


def sweep(probability, truth, rule="centroid", points=21):
    """Target counts of one image with a leading axis of `points` thresholds.

    probability (h, w) float64 in [0, 1], truth: its `targets.Components`.
    """
    thresholds, counts, previous = grid(points), [], -1
    where = np.flatnonzero(probability > thresholds[0])
    values = probability.ravel()[where]
    for threshold in thresholds:
        kept = where[values > threshold]
        if kept.size != previous:
            found = targets.joined(kept, probability.shape)
            current = targets.count(found, truth, rule)
        counts.append(current)
        previous = kept.size
    return jax.tree.map(lambda *leaves: np.stack(leaves), *counts)


def pd_fa(counts):
    """Threshold (points,), Pd, Fa, false alarms an image (..., points) of a sweep."""
    values = targets.compute(counts)
    names = ("Pd", "Fa", "false_alarms_per_image")
    return {
        "threshold": grid(counts.targets.shape[-1]),
        **{name: values[name] for name in names},
    }


def pd_fa_area(counts, limit=FA_LIMIT):
    """Mean over Fa in [0, limit] of the best Pd that a threshold reaches within it.

    Fa has no natural end at 1 (the useful range is 1e-6 to 1e-4), hence the limit.
    """
    curve = pd_fa(counts)
    order = np.argsort(curve["Fa"], axis=-1)
    fa, pd = (np.take_along_axis(curve[name], order, -1) for name in ("Fa", "Pd"))
    best = np.maximum.accumulate(pd, axis=-1)
    ends = np.minimum(np.concatenate([fa, np.full_like(fa[..., :1], limit)], -1), limit)
    return np.sum(np.diff(ends, axis=-1) * best, axis=-1) / limit
