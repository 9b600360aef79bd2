"""FID against closed forms and scipy's root, KID against its definition."""

import itertools
import json

import numpy as np
import pytest
import scipy.linalg
from hypothesis import given, settings
from hypothesis import strategies as st

from irstd_jax.metrics import frechet


def normal(seed, n, d=4, shift=0.0, scale=1.0):
    return np.random.default_rng(seed).normal(shift, scale, (n, d))


def random_covariance(seed, d, rank=None):
    factor = np.random.default_rng(seed).normal(size=(d, rank or 2 * d))
    return factor @ factor.T


def exact(mean, covariance, count=1000):
    """The moments of a set whose sample mean and covariance are just these."""
    mean = np.asarray(mean, np.float64)
    return frechet.Moments(count, mean, (count - 1) * np.asarray(covariance))


def test_commuting_gaussians():
    """Diagonal covariances: |m - m'|^2 + sum (s - s')^2."""
    a, b = np.array([1.0, 2.0, 0.0]), np.array([3.0, 0.5, 0.0])
    found = frechet.fid(
        exact([0, 0, 1], np.diag(a**2)), exact([1, 2, 1], np.diag(b**2))
    )
    assert found == pytest.approx(5 + ((a - b) ** 2).sum(), rel=1e-12)


@pytest.mark.parametrize("d", [2, 7, 30])
def test_the_root_is_scipys(d):
    first, second = random_covariance(0, d), random_covariance(1, d)
    mean = normal(2, 1, d)[0]
    root = scipy.linalg.sqrtm(first @ second).real
    expected = mean @ mean + np.trace(first + second - 2 * root)
    found = frechet.gaussians((np.zeros(d), first), (mean, second))
    assert found == pytest.approx(expected, rel=1e-9)


def test_zero_for_equal_sets_even_of_lower_rank():
    values = normal(0, 50, 6) @ random_covariance(1, 6, rank=3)
    state = frechet.moments(values)
    assert frechet.fid(state, state) <= 1e-10 * np.trace(state.scatter / 49)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000))
def test_symmetric_and_unmoved_by_a_common_rotation(seed):
    x, y = normal(seed, 30), normal(seed + 1, 40, shift=0.5, scale=2)
    turn = np.linalg.qr(normal(seed + 2, 4))[0]
    found = frechet.fid(frechet.moments(x), frechet.moments(y))
    assert found >= 0
    for a, b in ((y, x), (x @ turn, y @ turn), (x + 7, y + 7)):
        again = frechet.fid(frechet.moments(a), frechet.moments(b))
        assert again == pytest.approx(found, rel=1e-8)


def test_merged_parts_are_the_whole():
    values = normal(0, 60) + 1e4
    parts = [frechet.moments(part) for part in np.split(values, [1, 20, 33])]
    merged, whole = frechet.merge(parts), frechet.moments(values)
    assert merged.count == whole.count == 60
    np.testing.assert_allclose(merged.mean, whole.mean, rtol=1e-14)
    np.testing.assert_allclose(merged.scatter, whole.scatter, rtol=1e-9, atol=1e-7)
    np.testing.assert_allclose(frechet.covariance(whole), np.cov(values.T), rtol=1e-9)


def test_too_few_images_are_refused():
    few, many = frechet.moments(normal(0, 4)), frechet.moments(normal(1, 5))
    with pytest.raises(ValueError, match="4 images are too few for FID in 4 features"):
        frechet.fid(many, few)
    with pytest.raises(ValueError, match="4 images are too few to extrapolate.* 9 are"):
        frechet.extrapolated(normal(0, 4), normal(1, 50))
    frechet.extrapolated(normal(0, 9), normal(1, 9))
    with pytest.raises(ValueError, match="of 4 numbers and generated of 3"):
        frechet.fid(many, frechet.moments(normal(1, 5, 3)))
    with pytest.raises(ValueError, match="nan or infinity"):
        frechet.moments(np.full((3, 2), np.nan))


@pytest.mark.parametrize(("shift", "scale"), [(0.0, 1.0), (0.3, 1.5)])
def test_extrapolation_takes_the_bias_away(shift, scale):
    """Truth: d shift^2 + d (scale - 1)^2; plain FID of 100 images lies far above."""
    d, n = 10, 100
    truth = d * shift**2 + d * (scale - 1) ** 2
    plain, limit = [], []
    for seed in range(12):
        x, y = normal(2 * seed, n, d), normal(2 * seed + 1, n, d, shift, scale)
        plain.append(frechet.fid(frechet.moments(x), frechet.moments(y)))
        limit.append(frechet.extrapolated(x, y, seed=seed).value)
    bias, rest = np.mean(plain) - truth, np.mean(limit) - truth
    assert bias > 0.5
    assert abs(rest) < 0.2 * bias


def test_squared_discrepancy_by_its_sums():
    x, y = normal(0, 5, 3), normal(1, 6, 3, 1.0)

    def kernel(a, b):
        return (a @ b / 3 + 1) ** 3

    within = [
        np.mean([kernel(a, b) for a, b in itertools.permutations(side, 2)])
        for side in (x, y)
    ]
    across = np.mean([kernel(a, b) for a in x for b in y])
    found = frechet.squared_discrepancy(x, y)
    assert found == pytest.approx(sum(within) - 2 * across, rel=1e-12)


@settings(max_examples=15, deadline=None)
@given(st.randoms(use_true_random=False))
def test_the_order_of_images_does_not_matter(random):
    x, y = normal(0, 12), normal(1, 9, shift=0.4)
    i, j = random.sample(range(12), 12), random.sample(range(9), 9)
    found = frechet.squared_discrepancy(x, y)
    assert frechet.squared_discrepancy(x[i], y[j]) == pytest.approx(found, rel=1e-10)
    assert frechet.squared_discrepancy(y, x) == pytest.approx(found, rel=1e-10)


def test_kid_is_unbiased():
    """Over many pairs of small sets of one distribution the mean is zero."""
    pairs = [(normal(2 * k, 8), normal(2 * k + 1, 8)) for k in range(600)]
    values = np.array([frechet.squared_discrepancy(x, y) for x, y in pairs])
    error = values.std() / np.sqrt(len(values))
    assert abs(values.mean()) < 3 * error
    assert values.min() < 0 < values.max()


def test_kid_of_a_shift_is_that_of_the_distributions():
    """d = 1, N(0, 1) against N(c, 1): E (xy + 1)^3 - differences of moments.

    (xy + 1)^3 = sum_j w_j (xy)^j, w = 1, 3, 3, 1; so KID = sum_j w_j (E x^j - E y^j)^2.
    """
    c = 0.8
    gaps = np.array([c, c**2, c**3 + 3 * c])
    truth = np.array([3, 3, 1]) @ gaps**2
    found = frechet.kid(normal(0, 4000, 1), normal(1, 4000, 1, c), subsets=15)
    assert found.size == 1000
    assert found.mean == pytest.approx(truth, rel=0.1)


def test_subsets_of_kid_are_seeded_and_halve_small_sets():
    x, y = normal(0, 30), normal(1, 21, shift=0.5)
    once, again = frechet.kid(x, y), frechet.kid(x, y)
    assert once == again != frechet.kid(x, y, seed=1)
    assert once.size == 10 and once.subsets == 100 and once.std > 0
    whole = frechet.kid(x, x[:21], subsets=3, size=21)
    assert whole.size == 21
    with pytest.raises(ValueError, match="3 images are too few for KID"):
        frechet.kid(x[:3], y)
    with pytest.raises(ValueError, match="subsets of 22 do not lie in 2 to 21"):
        frechet.kid(x, y, size=22)


def test_report_holds_the_figures_or_says_why_not():
    full = frechet.report(normal(0, 40), normal(1, 30), "haar_statistics")
    assert full["notes"] == [] and full["extractor"] == "haar_statistics"
    assert full["FID"] > full["FID_infinity"]
    few = frechet.report(normal(0, 40), normal(1, 4), "haar_statistics")
    assert few["FID"] is None and few["FID_infinity"] is None
    assert isinstance(few["KID"], float) and len(few["notes"]) == 2
    json.dumps([full, few], allow_nan=False)
