"""Target fidelity: are the labelled targets of a mosaic still in its augmented image?

An augmented image is compared with the mosaic that it was made from, under the
mosaic's mask. Of each labelled target (8-connected component), in either image:

    ring        the pixels 3 to 7 px from it (Chebyshev), 3 px or more from all others
    contrast    mean of its pixels - median of the ring                            (1)
    SCR         contrast / max(standard deviation of the ring, 1/255)              (2)

and with c the contrast in the mosaic, c' and med' those of the augmented image:

    ratio       c' / c; kept where it lies in [1/2, 2], lost where it is below 1/4 (3)
    area        its pixels above med' + c/2, over those of the mosaic above med + c/2
    shift       distance in px of the two centroids of what lies above med + contrast/2
                within 2 px of the component, weighted by the excess; targets that are
                not lost

A target of less contrast than one grey level in the mosaic ("faint": it is no bright
spot there) is counted, and left out of all of this.

New blobs: bright spots that are no target, and that the mosaic did not have. The scale
is that of the labels: sigma = sqrt(A / 2 pi) for the median area A, which for a disc is
its radius / sqrt 2, and with it

    (4)  L = -sigma^2 laplacian (G_sigma * image)

is 2 a s^2 sigma^2 / (s^2 + sigma^2)^2 at the centre of a Gaussian spot of height a and
width s. A blob is a component of L > the 10 % quantile of the targets' peaks of L in
the mosaic, and above 5 deviations of L in the augmented image (1.4826 median |L|), for
else one faint target would make a blob of every grain of noise. It is new where its
peak lies more than 3 px from all labels and L of the mosaic does not reach half of it
within 3 px.
"""

from typing import NamedTuple

import numpy as np
from scipy import ndimage

from irstd_jax.metrics import overlap
from irstd_jax.metrics.targets import components

GAP, REACH = 2, 7  # the ring is what lies further than GAP and no further than REACH
FAINT = 1 / 255  # one grey level: less is no contrast, and no scatter
KEPT = (0.5, 2.0)
LOST = 0.25
NEAR = 3  # px within which two bright spots are the same
COUNTERPART = 0.5  # of a blob's strength, in the mosaic
QUANTILE = 0.1
DEVIATIONS = 5 * 1.4826  # of the median of |L|
BINS, WIDTH = 400, 0.01  # of the histograms of ratios


class Measures(NamedTuple):
    """Of n targets in one image, in label order: (n,) each."""

    contrast: np.ndarray
    scr: np.ndarray
    background: np.ndarray


class Targets(NamedTuple):
    """Of n targets, mosaic against augmented image; nan where it is undefined."""

    centroid: np.ndarray
    before: Measures
    after: Measures
    ratio: np.ndarray
    area: np.ndarray
    shift: np.ndarray


class Counts(NamedTuple):
    """Additive counts of images; `metrics.merge`, `stack` and `intervals` take them.

    The histograms have bins about 0, WIDTH, ... BINS * WIDTH; what lies outside is in
    the first and the last. Sums are over the targets that are not faint.
    """

    images: np.ndarray
    pixels: np.ndarray
    targets: np.ndarray
    faint: np.ndarray
    kept: np.ndarray
    lost: np.ndarray
    contrast_before: np.ndarray
    contrast_after: np.ndarray
    scr_before: np.ndarray
    scr_after: np.ndarray
    area: np.ndarray
    shift: np.ndarray
    shifted: np.ndarray
    ratios: np.ndarray
    scr_ratios: np.ndarray
    blobs: np.ndarray
    images_with_blobs: np.ndarray


def count(augmented, mosaic, mask):
    """The counts of one image: augmented and mosaic in [0, 1], mask in {0, 1}.

    All (h, w) or (h, w, 1), of one size.
    """
    found = compare(augmented, mosaic, mask)
    blobs = len(new_blobs(augmented, mosaic, mask))
    measured = np.isfinite(found.ratio)
    ratio, shift = found.ratio[measured], found.shift[measured]
    before, after = (
        Measures(*(values[measured] for values in side))
        for side in (found.before, found.after)
    )
    return Counts(
        images=np.int64(1),
        pixels=np.int64(np.size(mask)),
        targets=np.int64(measured.size),
        faint=np.int64(np.count_nonzero(~measured)),
        kept=np.int64(np.count_nonzero((ratio >= KEPT[0]) & (ratio <= KEPT[1]))),
        lost=np.int64(np.count_nonzero(ratio < LOST)),
        contrast_before=before.contrast.sum(),
        contrast_after=after.contrast.sum(),
        scr_before=before.scr.sum(),
        scr_after=after.scr.sum(),
        area=found.area[measured].sum(),
        shift=np.nansum(shift),
        shifted=np.int64(np.isfinite(shift).sum()),
        ratios=histogram(ratio),
        scr_ratios=histogram(after.scr / before.scr),
        blobs=np.int64(blobs),
        images_with_blobs=np.int64(blobs > 0),
    )


def compute(counts):
    """The figures of (merged) counts as floats; nan where there is nothing to measure.

    Shares are of the targets that are not faint. Medians are exact to half a bin.
    Leading axes of the counts are kept.
    """
    ratio = overlap.ratio
    measured = counts.targets - counts.faint
    values = {
        "targets": counts.targets,
        "faint_share": ratio(counts.faint, counts.targets),
        "contrast_ratio": median(counts.ratios),
        "SCR_ratio": median(counts.scr_ratios),
        "kept": ratio(counts.kept, measured),
        "lost": ratio(counts.lost, measured),
        "area_kept": ratio(counts.area, measured),
        "centroid_shift": ratio(counts.shift, counts.shifted),
        "contrast_mosaic": ratio(counts.contrast_before, measured),
        "contrast_augmented": ratio(counts.contrast_after, measured),
        "SCR_mosaic": ratio(counts.scr_before, measured),
        "SCR_augmented": ratio(counts.scr_after, measured),
        "new_blobs_per_image": ratio(counts.blobs, counts.images),
        "new_blobs_per_megapixel": 1e6 * ratio(counts.blobs, counts.pixels),
        "images_with_new_blobs": ratio(counts.images_with_blobs, counts.images),
    }
    return overlap.plain(values)


def histogram(ratios):
    """Counts (BINS + 1,) of ratios."""
    bins = np.clip(np.rint(ratios / WIDTH), 0, BINS).astype(np.int64)
    return np.bincount(bins, minlength=BINS + 1)


def median(bins):
    """The middle of the bin that holds the (lower) median; nan of none."""
    total = bins.sum(-1, keepdims=True)
    below = (np.cumsum(bins, -1) < total / 2).sum(-1)
    return np.where(total[..., 0] == 0, np.nan, below * WIDTH)


def compare(augmented, mosaic, mask):
    """The `Targets` of one image, by (1) to (3)."""
    augmented, mosaic, mask = planes(augmented, mosaic, mask)
    found = components(mask)
    near_labels = grown(mask, GAP)
    rows = [
        target(augmented, mosaic, found.labels == k + 1, near_labels, found.box[k])
        for k in range(len(found.area))
    ]
    table = np.array(rows).reshape(len(rows), 9).T
    return Targets(
        found.centroid, Measures(*table[:3]), Measures(*table[3:6]), *table[6:]
    )


def planes(augmented, mosaic, mask):
    """The three arrays as (h, w) of one size, images in float64."""
    augmented = overlap.plane(augmented, "augmented").astype(np.float64)
    mosaic = overlap.plane(mosaic, "mosaic").astype(np.float64)
    mask = overlap.binary(mask, "mask")
    overlap.same_shape(augmented, mosaic)
    overlap.same_shape(augmented, mask)
    return augmented, mosaic, mask


def grown(mask, radius):
    """What lies within `radius` px of a mask (Chebyshev)."""
    side = 2 * radius + 1
    return ndimage.maximum_filter(mask, size=(side, side), mode="constant")


def target(augmented, mosaic, own, near_labels, box):
    """(3 measures of the mosaic, 3 of the image, ratio, area, shift) of a target."""
    y0, x0, y1, x1 = box
    y, x = max(y0 - REACH, 0), max(x0 - REACH, 0)
    window = slice(y, y1 + REACH), slice(x, x1 + REACH)
    own, near_labels = own[window], near_labels[window]
    ring = grown(own, REACH) & ~near_labels
    before, after = (measure(a[window], own, ring) for a in (mosaic, augmented))
    if not before[0] >= FAINT:
        return *before, *after, np.nan, np.nan, np.nan
    ratio = after[0] / before[0]
    half = before[0] / 2
    stands, stood = (
        np.count_nonzero(a[window][own] > background + half)
        for a, (_, _, background) in ((augmented, after), (mosaic, before))
    )
    shift = np.nan
    if ratio >= LOST:
        zone = grown(own, GAP)
        ends = [
            centroid(a[window], zone, background + contrast / 2)
            for a, (contrast, _, background) in ((augmented, after), (mosaic, before))
        ]
        shift = np.hypot(*(ends[0] - ends[1]))
    return *before, *after, ratio, stands / stood, shift


def measure(image, own, ring):
    """(contrast, SCR, background) by (1) and (2); nan where no ring is left."""
    if not ring.any():
        return np.nan, np.nan, np.nan
    around = image[ring]
    background = np.median(around)
    contrast = image[own].mean() - background
    return contrast, contrast / max(around.std(), FAINT), background


def centroid(image, zone, level):
    """The centroid (2,) of what lies above `level` in a zone."""
    excess = np.where(zone, np.maximum(image - level, 0), 0)
    return np.array([(excess * grid).sum() for grid in np.indices(image.shape)]) / (
        excess.sum()
    )


def new_blobs(augmented, mosaic, mask):
    """Peaks (n, 2), as y, x, of the new blobs of one image; none without targets."""
    augmented, mosaic, mask = planes(augmented, mosaic, mask)
    found = components(mask)
    if not len(found.area):
        return np.zeros((0, 2), np.int64)
    sigma = np.sqrt(np.median(found.area) / (2 * np.pi))
    there, here = strength(mosaic, sigma), strength(augmented, sigma)
    names = range(1, len(found.area) + 1)
    weakest = np.quantile(ndimage.maximum(there, found.labels, names), QUANTILE)
    threshold = max(weakest, DEVIATIONS * np.median(np.abs(here)), FAINT)
    labels, n = ndimage.label(here > threshold, np.ones((3, 3)))
    if n == 0:
        return np.zeros((0, 2), np.int64)
    peaks = np.array(ndimage.maximum_position(here, labels, range(1, n + 1)), np.int64)
    at = tuple(peaks.T)
    counterpart = ndimage.maximum_filter(there, 2 * NEAR + 1)[at]
    new = ~grown(mask, NEAR)[at] & (counterpart < COUNTERPART * here[at])
    return peaks[new]


def strength(image, sigma):
    """L of (4), in the units of the image."""
    return -(sigma**2) * ndimage.gaussian_laplace(image, sigma, mode="nearest")
