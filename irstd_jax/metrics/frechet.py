"""FID and KID: how far apart two sets of images are, in the features of a network.

With N(m, C) fitted to each set of features in R^d, real (r) and generated (g),

    (1)  FID = |m_r - m_g|^2 + tr C_r + tr C_g - 2 tr (C_r^1/2 C_g C_r^1/2)^1/2
    (2)  KID = mean_{i != j} k(x_i, x_j) + mean_{i != j} k(y_i, y_j)
               - 2 mean_{i, j} k(x_i, y_j),     k(x, y) = (x . y / d + 1)^3

(1): Heusel et al., NeurIPS 2017, the squared Frechet distance of two Gaussians (Dowson
& Landau, 1982). (2): Binkowski et al., ICLR 2018, the unbiased estimate of a squared
maximum mean discrepancy; it may be negative.

FID is biased upwards: of two samples of ONE distribution it is positive, by about a/N
where a grows as d^2. So figures of different N, or of different features, must not be
compared, and the hundreds of images of our sets are few. `extrapolated` takes the
leading term away (Chong & Forsyth, CVPR 2020). KID has no bias, only scatter.
"""

from typing import NamedTuple

import numpy as np

SUBSET = 1000  # the usual size of the subsets of KID
SMALLEST_SHARE = 0.25  # of the images in the smallest subset of `extrapolated`


class Moments(NamedTuple):
    """What FID needs of a set: n, the mean (d,), the scatter sum (x - m)(x - m)^T."""

    count: np.ndarray
    mean: np.ndarray
    scatter: np.ndarray


class Kernel(NamedTuple):
    """KID: mean and standard deviation over `subsets` subsets of `size` images each.

    The deviation is that of one subset, not of the mean.
    """

    mean: float
    std: float
    size: int
    subsets: int


class Extrapolation(NamedTuple):
    """FID without end: `value` at infinitely many images, `slope` over 1 / share."""

    value: float
    slope: float


def checked(values):
    """Features as float64 (n, d); refuses other shapes and what is not finite."""
    values = np.asarray(values, np.float64)
    if values.ndim != 2 or values.size == 0:
        raise ValueError(f"features have shape {values.shape}, not (n, d)")
    if not np.isfinite(values).all():
        raise ValueError("features hold nan or infinity: look at the extractor")
    return values


def moments(values):
    """The `Moments` of features (n, d)."""
    values = checked(values)
    mean = values.mean(0)
    centred = values - mean
    return Moments(np.int64(len(values)), mean, centred.T @ centred)


def merge(states):
    """The moments of several sets together, without the features themselves."""
    states = list(states)
    if not states:
        raise ValueError("no moments were given")
    count = sum(state.count for state in states)
    mean = sum(state.count * state.mean for state in states) / count
    scatter = sum(
        state.scatter + state.count * np.outer(state.mean - mean, state.mean - mean)
        for state in states
    )
    return Moments(count, mean, scatter)


def covariance(state):
    """The unbiased covariance (d, d); refuses fewer images than fix one."""
    (d,) = state.mean.shape
    if state.count <= d:
        raise ValueError(
            f"{state.count} images are too few for FID in {d} features, which needs "
            f"more than {d}: use more images or tiles of them, an extractor with "
            "fewer features, or KID"
        )
    return state.scatter / (state.count - 1)


def fid(real, generated):
    """FID of the `Moments` of two sets, by (1)."""
    if real.mean.shape != generated.mean.shape:
        raise ValueError(
            f"real features are of {real.mean.size} numbers and generated of "
            f"{generated.mean.size}: take both by one extractor"
        )
    return gaussians(
        (real.mean, covariance(real)), (generated.mean, covariance(generated))
    )


def gaussians(first, second):
    """The squared Frechet distance of two Gaussians (mean (d,), covariance (d, d)).

    The trace of the root in (1) is the sum of the singular values of C_r^1/2 C_g^1/2:
    nothing is squared only to take a root of it again.
    """
    (mean, cov), (other_mean, other_cov) = first, second
    shared = np.linalg.svd(root(cov) @ root(other_cov), compute_uv=False).sum()
    difference = mean - other_mean
    value = difference @ difference + np.trace(cov) + np.trace(other_cov) - 2 * shared
    return max(float(value), 0.0)


def root(cov):
    """The symmetric square root of a positive semi-definite matrix."""
    values, vectors = np.linalg.eigh((cov + cov.T) / 2)
    # The root would blow rounding errors of zeros up from 1e-16 to 1e-8.
    noise = len(values) * np.finfo(np.float64).eps * np.abs(values).max()
    values = np.where(values > noise, values, 0)
    return vectors * np.sqrt(values) @ vectors.T


def extrapolated(real, generated, points=8, repeats=4, seed=0):
    """FID at infinitely many images: a line over 1 / share, continued to zero.

    Both feature sets (n, d) are cut to the same share of their images, from the least
    that (1) allows (a quarter, or d + 2 images) to all, at `points` shares evenly
    spaced in 1 / share, `repeats` random subsets each. The bias a/n + b/m is linear
    in 1 / share, for n and m together. Raises ValueError where the least is not below
    three quarters of the smaller set. The value may be negative, as an unbiased one
    of zero must.
    """
    real, generated = checked(real), checked(generated)
    fewest = min(len(real), len(generated))
    least = max(SMALLEST_SHARE, (real.shape[1] + 2) / fewest)
    if least > 0.75:
        raise ValueError(
            f"{fewest} images are too few to extrapolate FID in {real.shape[1]} "
            f"features: {int((real.shape[1] + 2) / 0.75) + 1} are needed"
        )
    rng = np.random.default_rng(seed)
    inverse = np.repeat(np.linspace(1, 1 / least, points), repeats)
    values = [
        fid(*(moments(subset(rng, side, 1 / x)) for side in (real, generated)))
        for x in inverse
    ]
    slope, value = np.polyfit(inverse, values, 1)
    return Extrapolation(float(value), float(slope))


def subset(rng, values, share):
    """A random share of the rows, none twice."""
    return rng.permutation(values)[: max(int(np.ceil(share * len(values))), 1)]


def squared_discrepancy(x, y):
    """The unbiased KID of features (n, d) and (m, d), by (2)."""
    x, y = checked(x), checked(y)
    if min(len(x), len(y)) < 2:
        raise ValueError("KID needs at least 2 images on each side")
    (n, d), m = x.shape, len(y)
    if y.shape[1] != d:
        raise ValueError(f"features are of {d} and of {y.shape[1]} numbers")
    within_x, within_y, across = (
        (a @ b.T / d + 1) ** 3 for a, b in ((x, x), (y, y), (x, y))
    )
    own = (within_x.sum() - np.trace(within_x)) / (n * (n - 1))
    own += (within_y.sum() - np.trace(within_y)) / (m * (m - 1))
    return float(own - 2 * across.mean())


def kid(real, generated, subsets=100, size=0, seed=0):
    """The `Kernel` of two feature sets over random subsets, no image twice in one.

    size 0: the usual 1000, but at most half of the smaller set, since subsets that
    are the whole set would show no scatter.
    """
    real, generated = checked(real), checked(generated)
    fewest = min(len(real), len(generated))
    if fewest < 4:
        raise ValueError(f"{fewest} images are too few for KID: give at least 4")
    size = size or min(SUBSET, fewest // 2)
    if not 2 <= size <= fewest:
        raise ValueError(f"subsets of {size} do not lie in 2 to {fewest} images")
    rng = np.random.default_rng(seed)
    values = [
        squared_discrepancy(
            rng.permutation(real)[:size], rng.permutation(generated)[:size]
        )
        for _ in range(subsets)
    ]
    return Kernel(float(np.mean(values)), float(np.std(values)), size, subsets)


def report(real, generated, extractor, seed=0):
    """All figures of two feature sets as JSON holds them, with their conditions.

    A figure that the images are too few for is None, and `notes` says why.
    """
    real, generated = checked(real), checked(generated)
    notes = []

    def attempt(figure):
        try:
            return figure()
        except ValueError as error:
            notes.append(str(error))
            return None

    limit = attempt(lambda: extrapolated(real, generated, seed=seed))
    kernel = attempt(lambda: kid(real, generated, seed=seed))
    return {
        "extractor": extractor,
        "features": real.shape[1],
        "real_images": len(real),
        "generated_images": len(generated),
        "FID": attempt(lambda: fid(moments(real), moments(generated))),
        "FID_infinity": limit and limit.value,
        "KID": kernel and kernel.mean,
        "KID_std": kernel and kernel.std,
        "KID_subset": kernel and kernel.size,
        "seed": seed,
        "notes": notes,
    }
