"""Does p mean p: reliability, ECE, Brier and NLL of pixel probabilities, and risk.

Of the pixels of a bin b, n_b of n, let p_b be the mean probability and y_b the share
that is target. Then, over pixels with probability p and truth y,

    (1)  ECE   = sum_b n_b / n |y_b - p_b|
    (2)  Brier = mean (p - y)^2
    (3)  NLL   = - mean (y log p + (1 - y) log (1 - p)),   p within [1e-6, 1 - 1e-6]

Bins are 15 of equal width, or 15 of about equal numbers of pixels. 99.9 % of all pixels
are background that nobody doubts, which pins (1) to 0 whatever the network does: the
figures proper are over "relevant" pixels, with p > 0.01 or within 10 px (Chebyshev) of
a target, and those over all pixels stand beside them as NAME_all.

A share of N votes may be 0 where the probability is not: for (3), and only there, it is
smoothed to (N p + 1/2) / (N + 1).

The state of an image is a fine histogram, equidistant in log-odds, so that the bins of
equal numbers can tell 1e-5 from 1e-3; the edges of the 15 bins are among its edges, so
(1) with equal widths is exact.

Guo et al., "On Calibration of Modern Neural Networks", ICML 2017; for risk over
coverage Geifman & El-Yaniv, NeurIPS 2017.
"""

from typing import NamedTuple

import numpy as np
from scipy import ndimage

from irstd_jax.metrics import overlap, targets

BINS = 15
LEAST, RADIUS = 0.01, 10  # of relevant pixels
CLIP = 1e-6
LOGITS = np.linspace(-14, 14, 281)
WIDE = np.arange(1, BINS) / BINS
EDGES = np.unique(np.concatenate([WIDE, 1 / (1 + np.exp(-LOGITS))]))
COVERAGES = np.arange(1, 21) / 20
REGIONS = {"": 0, "_all": 1}  # suffix of a figure: place on the leading axis


class Reliability(NamedTuple):
    """By bin of probability: how many, the sum of p, and how many are target."""

    count: np.ndarray
    probability: np.ndarray
    targets: np.ndarray


class Counts(NamedTuple):
    """Additive counts of a probability map; of `REGIONS` on the leading axis.

    entropy: the sum over all pixels of the binary entropy of p, in nats.
    """

    reliability: Reliability
    brier: np.ndarray
    nll: np.ndarray
    entropy: np.ndarray


def count(probability, truth, votes=0):
    """Counts of one image: probability in [0, 1], truth in {0, 1}, (h, w) or (h, w, 1).

    Args:
      votes: N where the probability is a share of N votes; 0 where it is not.
    """
    p = overlap.plane(probability, "probability").astype(np.float64)
    y = overlap.binary(truth, "truth")
    overlap.same_shape(p, y)
    error = (p - y) ** 2
    clipped = np.clip(p, CLIP, 1 - CLIP)
    smooth = (votes * p + 0.5) / (votes + 1) if votes else clipped
    surprise = -np.log(np.where(y, smooth, 1 - smooth))
    index = np.searchsorted(EDGES, p, side="right")
    regions = relevant(p, y), np.ones_like(y)
    tallies = [tally(index[region], p[region], y[region]) for region in regions]
    return Counts(
        reliability=Reliability(*map(np.stack, zip(*tallies, strict=True))),
        brier=np.array([error[region].sum() for region in regions]),
        nll=np.array([surprise[region].sum() for region in regions]),
        entropy=entropy(clipped).sum(),
    )


def relevant(probability, truth):
    """Pixels that are worth a look: p > 0.01, or within 10 px of a target."""
    region = probability > LEAST
    if truth.any():
        near = ndimage.maximum_filter(truth.astype(np.uint8), 2 * RADIUS + 1)
        region |= near > 0
    return region


def tally(index, probability, truth):
    """The `Reliability` of pixels by their fine bins."""
    n = len(EDGES) + 1
    return Reliability(
        np.bincount(index, minlength=n),
        np.bincount(index, probability, minlength=n),
        np.bincount(index[truth], minlength=n),
    )


def entropy(p):
    """Binary entropy of p in (0, 1), elementwise, in nats."""
    return -p * np.log(p) - (1 - p) * np.log1p(-p)


def equal_width(fine):
    """The 15 bins of equal width [k/15, (k + 1)/15) of a fine histogram."""
    lowest = np.append(0, EDGES)
    return grouped(fine, np.searchsorted(WIDE, lowest, side="right"))


def equal_mass(fine):
    """Bins of about equal numbers, as far as fine bins can be told apart."""
    middle = np.cumsum(fine.count) - fine.count / 2
    share = middle / max(fine.count.sum(), 1)
    return grouped(fine, np.minimum(BINS * share, BINS - 1).astype(int))


def grouped(fine, groups):
    """A histogram (..., bins) whose bins are joined by their groups 0..14."""
    member = groups[:, None] == np.arange(BINS)
    return Reliability(*(x @ member for x in fine))


def ece(bins):
    """The expected calibration error (1) of a `Reliability` (..., bins)."""
    gap = np.abs(bins.targets - bins.probability).sum(-1)
    return overlap.ratio(gap, bins.count.sum(-1))


def compute(counts):
    """ECE, ECE_equal_mass, Brier and NLL of (merged) counts, and each NAME_all."""
    values = {}
    for suffix, place in REGIONS.items():
        fine = Reliability(*(x[place] for x in counts.reliability))
        number = fine.count.sum()
        values |= {
            "ECE" + suffix: ece(equal_width(fine)),
            "ECE_equal_mass" + suffix: ece(equal_mass(fine)),
            "Brier" + suffix: overlap.ratio(counts.brier[place], number),
            "NLL" + suffix: overlap.ratio(counts.nll[place], number),
        }
    return {name: float(value) for name, value in values.items()}


def curve(counts):
    """Over relevant pixels, by bins of equal width: see `described`."""
    return described(equal_width(Reliability(*(x[0] for x in counts.reliability))))


def described(bins):
    """{"probability": mean p, "share" that is target, "count"} by bin; nan if empty."""
    return {
        "probability": overlap.ratio(bins.probability, bins.count),
        "share": overlap.ratio(bins.targets, bins.count),
        "count": bins.count.astype(np.int64),
    }


def risk_coverage(states, found):
    """Pd and Fa of the images that a network is surest of, against their share.

    Args:
      states: `Counts` of n images, stacked; the mean entropy of a pixel ranks them.
      found: their `targets.TargetCounts`, stacked.

    Returns:
      {"coverage", "Pd", "Fa"}, (20,) each; the last is the whole set.
    """
    pixels = states.reliability.count[:, REGIONS["_all"]].sum(-1)
    order = np.argsort(states.entropy / pixels, kind="stable")
    last = np.ceil(COVERAGES * len(order)).astype(int) - 1
    sums = (np.cumsum(x[order], axis=0)[last] for x in found)
    values = targets.compute(targets.TargetCounts(*sums))
    return {"coverage": COVERAGES, "Pd": values["Pd"], "Fa": values["Fa"]}
