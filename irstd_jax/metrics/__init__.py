"""How good is it: per-image counts that add up, and the figures they give.

    states = [metrics.count(p, m, settings) for p, m in pairs]
    metrics.compute(metrics.merge(states))
    metrics.intervals(metrics.stack(states))

Everything is numpy on the host. Counts are integers (and one sum of image IoUs), so
that any grouping of images, processes or runs gives the same figures.
"""

import dataclasses
from typing import NamedTuple

import jax
import numpy as np

from irstd_jax.metrics import (
    bootstrap,
    calibration,
    overlap,
    posterior,
    roc,
    samples,
    targets,
)
from irstd_jax.metrics.protocol import Protocol
from irstd_jax.metrics.targets import MATCHING, components, match

__all__ = [
    "MATCHING",
    "Counts",
    "Protocol",
    "Settings",
    "calibration",
    "components",
    "compute",
    "count",
    "curves",
    "intervals",
    "match",
    "merge",
    "posterior",
    "samples",
    "stack",
    "total",
]


@dataclasses.dataclass(frozen=True)
class Settings:
    """How an image is scored; the fields are those of `Protocol` by the same names.

    threshold: a pixel is detected where p > threshold; matching: a rule of `MATCHING`;
    empty_rule: "one" or "zero", nIoU of an image without target and detection; bins:
    of the pixel curves; points: of the Pd-Fa curve (`roc.grid`).
    """

    threshold: float = 0.5
    matching: str = "centroid"
    empty_rule: str = "one"
    bins: int = 1000
    points: int = 21

    def __post_init__(self):
        if not 0 <= self.threshold < 1:
            raise ValueError(f"threshold {self.threshold} is outside [0, 1)")
        if self.matching not in MATCHING:
            raise ValueError(
                f"unknown matching rule {self.matching!r}; "
                f"choose from {sorted(MATCHING)}"
            )
        if self.empty_rule not in overlap.EMPTY_SCORES:
            raise ValueError(
                f"unknown empty rule {self.empty_rule!r}; "
                f"choose from {sorted(overlap.EMPTY_SCORES)}"
            )
        if self.bins < 1 or self.points < 1:
            raise ValueError("bins and points must be at least 1")


DEFAULTS = Settings()


class Counts(NamedTuple):
    """All that is counted of an image; the sum over images is the state of a set.

    targets: by the rule of the settings; rules: by each of `MATCHING`, leading axis;
    sweep: over the thresholds of the Pd-Fa curve, leading axis.
    """

    overlap: overlap.OverlapCounts
    targets: targets.TargetCounts
    rules: targets.TargetCounts
    sweep: targets.TargetCounts
    pixels: roc.PixelHistogram


def count(probability, truth, settings=DEFAULTS):
    """Counts of one image: probability in [0, 1], truth in {0, 1}, (h, w) or (h, w, 1).

    Raises ValueError for other shapes, sizes that differ, values outside their range.
    """
    probability = overlap.plane(probability, "probability").astype(np.float64)
    truth = overlap.binary(truth, "truth")
    overlap.same_shape(probability, truth)
    if not (probability.min() >= 0 and probability.max() <= 1):
        raise ValueError(
            f"probability lies in [{probability.min()}, {probability.max()}], not in "
            "[0, 1]; apply a sigmoid to logits, and look for nan"
        )
    mask = probability > settings.threshold
    found, true = components(mask), components(truth)
    rules = {rule: targets.count(found, true, rule) for rule in MATCHING}
    return Counts(
        overlap=overlap.count(mask, truth, settings.empty_rule),
        targets=rules[settings.matching],
        rules=stack(list(rules.values())),
        sweep=roc.sweep(probability, true, settings.matching, settings.points),
        pixels=roc.histogram(probability, truth, settings.bins),
    )


def merge(states):
    """The sum of several counts."""
    return combine(sum, states)


def stack(states):
    """Several counts along a new leading axis."""
    return combine(np.stack, states)


def total(states):
    """The sum of stacked counts over their leading axis."""
    return jax.tree.map(lambda leaf: leaf.sum(0), states)


def combine(function, states):
    """Applies a function of a list of arrays to each field of several counts."""
    states = list(states)
    if not states:
        raise ValueError("no counts were given: the set has no images")
    return jax.tree.map(lambda *leaves: function(leaves), *states)


def compute(counts):
    """All figures of (merged) counts, floats in [0, 1], but false alarms an image.

    A figure without anything to measure is nan (Pd of a set without targets).
    Pd_RULE and Fa_RULE give every matching rule beside the chosen one. Leading axes of
    the counts are kept: of several sets each has its figures.
    """
    by_rule = targets.compute(counts.rules)
    values = {
        **overlap.compute(counts.overlap),
        **targets.compute(counts.targets),
        "AUC": roc.area(counts.pixels),
        "AP": roc.average_precision(counts.pixels),
        "AUC_Pd_Fa": roc.pd_fa_area(counts.sweep),
    }
    for i, rule in enumerate(MATCHING):
        values[f"Pd_{rule}"] = by_rule["Pd"][..., i]
        values[f"Fa_{rule}"] = by_rule["Fa"][..., i]
    return overlap.plain(values)


def curves(counts):
    """The curves of (merged) counts: {"roc", "precision_recall", "pd_fa"} of arrays."""
    return {
        "roc": roc.roc(counts.pixels),
        "precision_recall": roc.precision_recall(counts.pixels),
        "pd_fa": roc.pd_fa(counts.sweep),
    }


def intervals(states, compute=compute, repeats=1000, level=0.95, seed=0):
    """Bootstrap intervals {name: (low, high)} over the images of stacked counts."""
    return bootstrap.intervals(states, compute, repeats, level, seed)
