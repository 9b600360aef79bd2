"""Pixel overlap of masks: IoU, nIoU, precision, recall and F1 from exact counts.

With TP, FP and FN the pixels of one image, summed over the images of a set:

    (1)  IoU       = sum TP / sum (TP + FP + FN)        (often printed as "mIoU")
    (2)  nIoU      = mean over images of TP / (TP + FP + FN)
    (3)  precision = sum TP / sum (TP + FP)
    (4)  recall    = sum TP / sum (TP + FN)
    (5)  F1        = 2 sum TP / sum (2 TP + FP + FN)

A ratio whose denominator is zero is nan: there was nothing to measure. In (2) an
image without target and without detection needs a rule, `EMPTY_SCORES`: "one" is
what it deserves, "zero" is what the published codes give it.
"""

from typing import NamedTuple

import numpy as np

EMPTY_SCORES = {"one": 1.0, "zero": 0.0}


class OverlapCounts(NamedTuple):
    """Additive pixel counts; `scores` is the sum of the images' own IoU."""

    true_positive: np.ndarray
    false_positive: np.ndarray
    false_negative: np.ndarray
    scores: np.ndarray
    images: np.ndarray


def ratio(numerator, denominator):
    """Elementwise division in float64 in which x / 0 is nan, without a warning."""
    numerator, denominator = np.broadcast_arrays(
        np.asarray(numerator, np.float64), np.asarray(denominator, np.float64)
    )
    out = np.full(numerator.shape, np.nan)
    return np.divide(numerator, denominator, out=out, where=denominator != 0)


def plain(values):
    """Figures of one set as floats; those of several sets as they are, arrays."""
    return {name: v if np.ndim(v) else float(v) for name, v in values.items()}


def binary(mask, what="mask"):
    """A mask (h, w) or (h, w, 1) of {0, 1} as bool (h, w); anything else is refused."""
    mask = plane(mask, what)
    if mask.dtype != bool:
        if not np.all((mask == 0) | (mask == 1)):
            raise ValueError(
                f"{what} holds values other than 0 and 1; binarise it by a stated "
                "mask rule first (for 8-bit masks: mask > 127)"
            )
        mask = mask != 0
    return mask


def plane(array, what):
    """An array (h, w) or (h, w, 1) as (h, w)."""
    array = np.asarray(array)
    if array.ndim == 3 and array.shape[-1] == 1:
        array = array[..., 0]
    if array.ndim != 2 or array.size == 0:
        raise ValueError(
            f"{what} has shape {array.shape}; give one image, (h, w) or (h, w, 1)"
        )
    return array


def same_shape(prediction, truth):
    """Raises where prediction and truth are of different sizes."""
    if prediction.shape != truth.shape:
        raise ValueError(
            f"prediction {prediction.shape} and truth {truth.shape} differ in size; "
            "bring both to one size first"
        )


def count(prediction, truth, empty="one"):
    """Overlap counts of one predicted mask against one true mask, (h, w) of {0, 1}."""
    if empty not in EMPTY_SCORES:
        raise ValueError(
            f"unknown empty rule {empty!r}; choose from {sorted(EMPTY_SCORES)}"
        )
    prediction, truth = binary(prediction, "prediction"), binary(truth, "truth")
    same_shape(prediction, truth)
    shared = np.count_nonzero(prediction & truth)
    predicted, true = np.count_nonzero(prediction), np.count_nonzero(truth)
    union = predicted + true - shared
    return OverlapCounts(
        true_positive=np.int64(shared),
        false_positive=np.int64(predicted - shared),
        false_negative=np.int64(true - shared),
        scores=np.float64(shared / union if union else EMPTY_SCORES[empty]),
        images=np.int64(1),
    )


def compute(counts):
    """IoU, nIoU, precision, recall and F1 of (merged) counts, by (1) to (5)."""
    hit, false, missed = counts[:3]
    return {
        "IoU": ratio(hit, hit + false + missed),
        "nIoU": ratio(counts.scores, counts.images),
        "precision": ratio(hit, hit + false),
        "recall": ratio(hit, hit + missed),
        "F1": ratio(2 * hit, 2 * hit + false + missed),
    }
