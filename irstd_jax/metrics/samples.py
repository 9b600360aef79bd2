"""Judging the samples of a posterior: are its targets real as often as it says?

P_k, the share of the N samples that hold target k (posterior.py), is calibrated if of
all targets with P_k = P, over all images, the share P is real: nearer than 3 px to a
true target that no surer one has taken. Keeping the targets with P_k >= tau, for tau
from 1/N to 1, gives a curve of Pd over Fa, to lay beside that of a map's thresholds.

State, merge, compute: `metrics.merge`, `stack` and `intervals` take these counts too.
"""

from typing import NamedTuple

import numpy as np

from irstd_jax.metrics import calibration, diversity, overlap, posterior, targets


class Counts(NamedTuple):
    """Additive counts of the samples of an image.

    clusters and matched (N + 1,): targets by their votes, and how many are real; sweep:
    at tau = 1/N, 2/N, ... 1, leading axis; ged, diversity: sums over images; deviation:
    summed over the pixels `held` by any sample.
    """

    clusters: np.ndarray
    matched: np.ndarray
    sweep: targets.TargetCounts
    ged: np.ndarray
    diversity: np.ndarray
    deviation: np.ndarray
    held: np.ndarray
    images: np.ndarray


def count(samples, truth, rule="centroid", threshold=0.5):
    """`Counts` of one image: samples (n, h, w) or (n, h, w, 1) in [0, 1], truth (h, w).

    Args:
      rule: of `targets.MATCHING`, for the sweep over tau.
      threshold: a sample holds the pixels above it.
    """
    masks = diversity.binary(samples, threshold)
    truth = overlap.binary(truth, "truth")
    overlap.same_shape(masks[0], truth)
    found, true, n = posterior.cluster(masks), targets.components(truth), len(masks)
    _, real, _ = targets.by_centroid(found, true)
    ged, between = diversity.ged_squared(masks, truth)
    deviation, held = diversity.spread(np.reshape(samples, masks.shape), masks)
    return Counts(
        clusters=np.bincount(found.votes, minlength=n + 1),
        matched=np.bincount(found.votes[real], minlength=n + 1),
        sweep=sweep(found, true, rule),
        ged=np.float64(ged),
        diversity=np.float64(between),
        deviation=np.float64(deviation),
        held=held,
        images=np.int64(1),
    )


def sweep(clusters, truth, rule="centroid"):
    """Target counts at tau = 1/N, ... 1 on a leading axis; truth: its Components.

    What is matched is the union of the masks that are kept, as a detector's would be.
    """
    n, counts, previous = clusters.samples, [], -1
    for votes in range(1, n + 1):
        k = np.count_nonzero(clusters.votes >= votes)
        if k != previous:
            part = posterior.first(clusters, k)
            found = targets.components(posterior.mask(part))
            current = targets.count(found, truth, rule)
        counts.append(current)
        previous = k
    return targets.TargetCounts(*map(np.stack, zip(*counts, strict=True)))


def reliability(counts):
    """P_k against what is real, as `calibration.Reliability` of 15 equal bins.

    Leading axes of the counts are kept, here and in `compute`.
    """
    n = counts.clusters.shape[-1] - 1
    share = np.arange(n + 1) / n
    groups = np.searchsorted(calibration.WIDE, share, side="right")
    fine = calibration.Reliability(
        counts.clusters, share * counts.clusters, counts.matched
    )
    return calibration.grouped(fine, groups)


def compute(counts):
    """target_ECE, target_Brier, GED2, diversity and spread of (merged) counts."""
    n, clusters = counts.clusters.shape[-1] - 1, counts.clusters
    share = np.arange(n + 1) / n
    error = counts.matched * (1 - share) ** 2 + (clusters - counts.matched) * share**2
    values = {
        "target_ECE": calibration.ece(reliability(counts)),
        "target_Brier": overlap.ratio(error.sum(-1), clusters.sum(-1)),
        "GED2": overlap.ratio(counts.ged, counts.images),
        "diversity": overlap.ratio(counts.diversity, counts.images),
        "spread": overlap.ratio(counts.deviation, counts.held),
    }
    return overlap.plain(values)


def pd_fa(counts):
    """tau, Pd, Fa and false alarms an image, and how many of these P_k lets expect.

    {name: (N,)}. What is expected is `posterior.expected_false` of the kept targets.
    """
    n, values = counts.clusters.size - 1, targets.compute(counts.sweep)
    doubt = counts.clusters * (1 - posterior.smoothed(np.arange(n + 1), n))
    expected = np.cumsum(doubt[:0:-1])[::-1]
    return {
        "tau": np.arange(1, n + 1) / n,
        "Pd": values["Pd"],
        "Fa": values["Fa"],
        "false_alarms_per_image": values["false_alarms_per_image"],
        "expected_false_per_image": overlap.ratio(expected, counts.images),
    }


def fa_at_equal_pd(curve, other):
    """Of a curve {"Pd", "Fa"}: the least Fa at which it finds as much as `other`.

    Returns (len(other["Pd"]),); nan where it never finds that much.
    """
    pd, fa = np.asarray(curve["Pd"]), np.asarray(curve["Fa"])
    least = [np.min(fa[pd >= wanted], initial=np.inf) for wanted in other["Pd"]]
    return np.where(np.isfinite(least), least, np.nan)
