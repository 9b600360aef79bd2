"""Targets found and false alarms: Pd and Fa under three matching rules.

Targets and detections are the 8-connected components of the two masks. Over a set,

    (1)  Pd = targets found / targets
    (2)  Fa = false pixels / all pixels of all images

and the rule says which targets are found and which pixels are false:

    centroid   each target, in label order, takes the first unused detection whose
               centroid is nearer than 3 px (DNANet and most codes since); false are
               the pixels of the detections that were not taken
    overlap    a target is found where it shares a pixel with any detection; false
               are the pixels of the detections that touch no target
    shooting   a target is found where a detected pixel lies in the 3x3 box of one of
               its pixels; false are the detected pixels outside the 9x9 boxes of all
               target pixels (Li et al., TNNLS 2023); between the boxes nothing counts

The published codes decide "not taken" by the VALUE of the area: a false detection is
forgiven where it has as many pixels as any taken one of its image. `reference` counts
that way, always by the centroid rule, to compare with printed numbers only.
"""

from typing import NamedTuple

import numpy as np
from scipy import ndimage

from irstd_jax.metrics import overlap

DISTANCE = 3.0
HIT_RADIUS, GUARD_RADIUS = 1, 4
BANDS = (9, 25, 81)
BAND_NAMES = ("1_to_9", "10_to_25", "26_to_81", "82_and_more")


class Components(NamedTuple):
    """The 8-connected components of a mask, in raster order of their first pixel.

    labels (h, w) int32, 0 = background, component i has i + 1; area (n,) in pixels;
    centroid (n, 2) as y, x; box (n, 4) as y0, x0, y1, x1, the ends exclusive.
    """

    labels: np.ndarray
    area: np.ndarray
    centroid: np.ndarray
    box: np.ndarray


class Matches(NamedTuple):
    """Who found whom in one image.

    assigned (targets,): index of the detection that found the target, or -1;
    matched (detections,): false where the detection is a false alarm; false_pixels:
    what counts for Fa (under "shooting" a matched detection may have some as well).
    """

    assigned: np.ndarray
    matched: np.ndarray
    false_pixels: int
    prediction: Components
    truth: Components


class TargetCounts(NamedTuple):
    """Additive counts at target level; any leading axes (rules, thresholds) are kept.

    The two last fields have one more axis: the target's area, in the bands of `BANDS`.
    """

    targets: np.ndarray
    detected: np.ndarray
    false_alarms: np.ndarray
    false_pixels: np.ndarray
    reference: np.ndarray
    pixels: np.ndarray
    images: np.ndarray
    band_targets: np.ndarray
    band_detected: np.ndarray


def components(mask):
    """The components of a mask (h, w) or (h, w, 1) of {0, 1}."""
    mask = overlap.binary(mask)
    return joined(np.flatnonzero(mask), mask.shape)


def joined(where, shape):
    """The components of pixels of an image (h, w), by their flat indices, rising."""
    axes = np.divmod(where, shape[1])
    owner, n = owners(*axes)
    labels = np.zeros(shape, np.int32)
    labels[axes] = owner + 1
    area = np.bincount(owner, minlength=n)
    sums = [np.bincount(owner, weights=axis, minlength=n) for axis in axes]
    return Components(
        labels=labels,
        area=area,
        centroid=np.stack(sums, -1) / area[:, None],
        box=boxes(owner, axes, n),
    )


def owners(y, x):
    """The component of each pixel, and their number; only their box is searched."""
    if y.size == 0:
        return y, 0
    y, x = y - y[0], x - x.min()
    part = np.zeros((y[-1] + 1, x.max() + 1), bool)
    part[y, x] = True
    labels, n = ndimage.label(part, structure=np.ones((3, 3)))
    return labels[y, x] - 1, n


def boxes(owner, axes, n):
    """Boxes (n, 4) of n components from the owner and y, x of each of their pixels."""
    low, high = np.full((2, n), np.iinfo(np.int64).max), np.zeros((2, n), np.int64)
    for i, axis in enumerate(axes):
        np.minimum.at(low[i], owner, axis)
        np.maximum.at(high[i], owner, axis + 1)
    return np.concatenate([low, high]).T


def by_centroid(prediction, truth):
    """First unused detection nearer than 3 px, target by target in label order."""
    assigned = np.full(len(truth.area), -1)
    matched = np.zeros(len(prediction.area), bool)
    for i, centre in enumerate(truth.centroid):
        dy, dx = (prediction.centroid - centre).T
        free = np.flatnonzero((np.sqrt(dy * dy + dx * dx) < DISTANCE) & ~matched)
        if free.size:
            assigned[i] = free[0]
            matched[free[0]] = True
    return assigned, matched, prediction.area[~matched].sum()


def by_overlap(prediction, truth):
    """Any shared pixel; a target is assigned the detection that shares most."""
    both = (prediction.labels > 0) & (truth.labels > 0)
    shared = np.zeros((len(truth.area), len(prediction.area)), np.int64)
    np.add.at(shared, (truth.labels[both] - 1, prediction.labels[both] - 1), 1)
    matched = shared.any(axis=0)
    return most(shared), matched, prediction.area[~matched].sum()


def by_shooting(prediction, truth):
    """A hit within 1 px of a target, a false alarm beyond 4 px of all (Chebyshev)."""
    n = len(prediction.area)
    hits = np.zeros((len(truth.area), n), np.int64)
    beyond = prediction.labels > 0
    for i, box in enumerate(truth.box):
        window, near = grown(truth, i, box, HIT_RADIUS)
        inside = prediction.labels[window][near]
        hits[i] = np.bincount(inside, minlength=n + 1)[1:]
        window, near = grown(truth, i, box, GUARD_RADIUS)
        beyond[window] &= ~near
    outside = np.bincount(prediction.labels[beyond], minlength=n + 1)[1:]
    return most(hits), outside < prediction.area, np.count_nonzero(beyond)


def most(shared):
    """Per row of (targets, detections) the column with most pixels, -1 for none."""
    if shared.shape[1] == 0:
        return np.full(len(shared), -1)
    return np.where(shared.any(axis=1), shared.argmax(axis=1), -1)


def grown(truth, index, box, radius):
    """The window around a component, and in it what is within `radius` of it."""
    (y0, x0, y1, x1), (h, w) = box, truth.labels.shape
    window = (
        slice(max(y0 - radius, 0), min(y1 + radius, h)),
        slice(max(x0 - radius, 0), min(x1 + radius, w)),
    )
    own = (truth.labels[window] == index + 1).astype(np.uint8)
    return window, ndimage.maximum_filter(own, 2 * radius + 1, mode="constant") > 0


MATCHING = {"centroid": by_centroid, "overlap": by_overlap, "shooting": by_shooting}


def match(prediction, truth, rule="centroid"):
    """Matches two masks (h, w) of {0, 1} by a rule of `MATCHING`."""
    prediction = overlap.binary(prediction, "prediction")
    truth = overlap.binary(truth, "truth")
    overlap.same_shape(prediction, truth)
    return pair(components(prediction), components(truth), rule)


def pair(prediction, truth, rule):
    """Matches the components of one image by a rule of `MATCHING`."""
    if rule not in MATCHING:
        raise ValueError(
            f"unknown matching rule {rule!r}; choose from {sorted(MATCHING)}"
        )
    assigned, matched, false_pixels = MATCHING[rule](prediction, truth)
    return Matches(assigned, matched, int(false_pixels), prediction, truth)


def count(prediction, truth, rule="centroid"):
    """Target counts of one image from its `Components`."""
    found = pair(prediction, truth, rule)
    taken = found.matched if rule == "centroid" else by_centroid(prediction, truth)[1]
    forgiven = np.isin(prediction.area, prediction.area[taken])
    band = np.searchsorted(BANDS, truth.area)
    hit = found.assigned >= 0
    return TargetCounts(
        targets=np.int64(hit.size),
        detected=np.int64(np.count_nonzero(hit)),
        false_alarms=np.int64(np.count_nonzero(~found.matched)),
        false_pixels=np.int64(found.false_pixels),
        reference=np.int64(prediction.area[~forgiven].sum()),
        pixels=np.int64(truth.labels.size),
        images=np.int64(1),
        band_targets=np.bincount(band, minlength=len(BAND_NAMES)),
        band_detected=np.bincount(band[hit], minlength=len(BAND_NAMES)),
    )


def compute(counts):
    """Pd, Fa, Fa_reference, false alarms an image and Pd by target area.

    Values keep the leading axes of the counts. Pd is nan where there is no target.
    """
    bands = overlap.ratio(counts.band_detected, counts.band_targets)
    return {
        "Pd": overlap.ratio(counts.detected, counts.targets),
        "Fa": overlap.ratio(counts.false_pixels, counts.pixels),
        "Fa_reference": overlap.ratio(counts.reference, counts.pixels),
        "false_alarms_per_image": overlap.ratio(counts.false_alarms, counts.images),
        **{f"Pd_{name}": bands[..., i] for i, name in enumerate(BAND_NAMES)},
    }
