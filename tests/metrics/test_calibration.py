"""Calibration: known distributions, loops over pixels, and what background hides."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from irstd_jax import metrics
from irstd_jax.metrics import calibration

BINS = calibration.BINS


def drawn(side, claim=lambda p: p, seed=0):
    """A map that claims `claim(p)` of pixels that are target with probability p."""
    rng = np.random.default_rng(seed)
    p = rng.random((side, side))
    return claim(p), rng.random((side, side)) < p


def logit_scaled(p, factor):
    odds = factor * np.log(p / (1 - p))
    return 1 / (1 + np.exp(-odds))


@pytest.mark.parametrize("name", ["ECE", "ECE_equal_mass", "ECE_all"])
def test_what_is_calibrated_has_no_error_and_less_with_more_pixels(name):
    few, many = (
        np.mean(
            [
                calibration.compute(calibration.count(*drawn(side, seed=seed)))[name]
                for seed in range(8)
            ]
        )
        for side in (32, 256)
    )
    # The error left is chance: of the order sqrt(bins / pixels), 1/8 of it at 8 sides.
    assert many < math.sqrt(BINS / 256**2)
    assert few / many == pytest.approx(8, rel=0.35)


@pytest.mark.parametrize("name", ["ECE", "ECE_equal_mass"])
def test_a_claim_of_p_squared_is_wrong_by_a_sixth(name):
    values = calibration.compute(calibration.count(*drawn(256, np.square)))
    assert values[name + "_all"] == pytest.approx(1 / 6, abs=0.005)
    # The tenth of the pixels whose p^2 is below 0.01 errs by less.
    assert values[name] >= values[name + "_all"]


def test_overconfidence_is_seen_by_every_figure():
    claim, truth = drawn(128)
    honest, bold = (
        calibration.compute(calibration.count(logit_scaled(claim, factor), truth))
        for factor in (1, 3)
    )
    assert bold["ECE"] > 5 * honest["ECE"]
    for name in ("Brier", "NLL"):
        assert bold[name] > 1.1 * honest[name]


def by_hand(p, y):
    """ECE, Brier, NLL over all pixels and over relevant ones, by loops."""
    height, width = p.shape
    points = [(i, j) for i in range(height) for j in range(width)]
    true = [point for point in points if y[point]]

    def near(i, j):
        return any(max(abs(i - u), abs(j - v)) <= 10 for u, v in true)

    result = {}
    for suffix, region in {
        "": [q for q in points if p[q] > 0.01 or near(*q)],
        "_all": points,
    }.items():
        bins = {}
        for q in region:
            bins.setdefault(min(int(p[q] * BINS), BINS - 1), []).append(q)
        n = len(region) or math.nan
        gaps = [
            abs(sum(int(y[q]) for q in b) - sum(p[q] for q in b)) for b in bins.values()
        ]
        result["ECE" + suffix] = sum(gaps) / n
        result["Brier" + suffix] = sum((p[q] - y[q]) ** 2 for q in region) / n
        safe = {q: min(max(p[q], 1e-6), 1 - 1e-6) for q in region}
        surprise = [-math.log(safe[q] if y[q] else 1 - safe[q]) for q in region]
        result["NLL" + suffix] = sum(surprise) / n
    return result


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**31), st.integers(1, 26), st.integers(1, 26))
def test_counting_is_that_of_loops(seed, height, width):
    rng = np.random.default_rng(seed)
    p = rng.random((height, width)) ** rng.choice([1, 8])
    p[rng.random(p.shape) < 0.2] = rng.choice([0, 1, 0.5, 0.009])
    y = rng.random(p.shape) < rng.choice([0, 0.005, 0.3])
    values = calibration.compute(calibration.count(p, y))
    for name, value in by_hand(p, y).items():
        assert values[name] == pytest.approx(value, rel=1e-9, abs=1e-12, nan_ok=True)


def test_background_hides_what_relevant_pixels_show():
    p, y = np.full((2, 256, 256), 1e-6)
    y = np.zeros_like(p, bool)
    y[100:103, 100:103] = True
    p[150:153, 150:153] = 0.9  # a false alarm, and the target is not seen
    values = calibration.compute(calibration.count(p, y))
    assert values["ECE_all"] < 3e-4
    # Relevant are 23 x 23 pixels about the target and the 9 of the false alarm.
    assert values["ECE"] == pytest.approx((9 + 9 * 0.9) / (23 * 23 + 9), rel=1e-3)


def test_bins_of_equal_numbers_tell_small_probabilities_apart():
    """All below 1/15: one bin of equal width, in which the two errors cancel."""
    p = np.repeat([[1e-4], [0.05]], 3000, axis=1)
    y = np.zeros_like(p, bool)
    y[0, :150] = True
    counts = calibration.count(p, y)
    values = calibration.compute(counts)
    assert values["ECE_all"] < 1e-3
    assert values["ECE_equal_mass_all"] == pytest.approx(0.05, rel=0.01)


def test_shares_of_votes_are_smoothed_in_the_likelihood_alone():
    p, y = np.zeros((8, 8)), np.ones((8, 8), bool)
    sure = calibration.compute(calibration.count(p, y))
    votes = calibration.compute(calibration.count(p, y, votes=4))
    assert sure["NLL"] == pytest.approx(-math.log(1e-6))
    assert votes["NLL"] == pytest.approx(-math.log(0.5 / 5))
    assert votes["Brier"] == sure["Brier"] == 1


def test_parts_make_the_whole():
    p, y = drawn(64)
    whole = calibration.compute(calibration.count(p, y))
    parts = zip(np.split(p, 64), np.split(y, 64), strict=True)
    values = calibration.compute(metrics.merge(calibration.count(*q) for q in parts))
    for name in ("ECE_all", "ECE_equal_mass_all", "Brier_all", "NLL_all"):
        assert values[name] == pytest.approx(whole[name], rel=1e-12)


def test_the_curve_of_what_is_calibrated_is_the_diagonal():
    curve = calibration.curve(calibration.count(*drawn(256)))
    np.testing.assert_allclose(curve["share"], curve["probability"], atol=0.03)
    assert curve["count"].sum() == pytest.approx(256**2, rel=0.02)
    nothing = calibration.curve(calibration.count(np.zeros((4, 4)), np.zeros((4, 4))))
    assert np.isnan(nothing["share"]).all() and not nothing["count"].any()


def test_who_is_sure_takes_little_risk():
    """Two images are sure and right, two are unsure: a false alarm, and a miss."""
    truth = np.zeros((16, 16), bool)
    truth[4:6, 4:6] = True
    wrong = np.roll(truth, 8, 1)
    maps = [0.4 * truth, truth * 1.0, truth + 0.6 * wrong, truth * 1.0]
    states = metrics.stack([calibration.count(p, truth) for p in maps])
    found = metrics.stack([metrics.count(p, truth).targets for p in maps])
    curve = calibration.risk_coverage(states, found)
    points = zip(*(curve[name].tolist() for name in ("Pd", "Fa")), strict=True)
    at = dict(zip(curve["coverage"].tolist(), points, strict=True))
    assert at[0.5] == (1, 0)
    assert at[1.0] == (0.75, 4 / 1024)
    assert at[0.05] == at[0.25]  # of four images there are no twentieths


def test_entropy_is_largest_at_one_half():
    p = np.array([0.5, 0.1, 1e-6])
    expected = [math.log(2), 0.325083, 1.48155e-5]
    np.testing.assert_allclose(calibration.entropy(p), expected, rtol=1e-3)


def test_sizes_that_differ_are_refused():
    with pytest.raises(ValueError, match="differ in size"):
        calibration.count(np.zeros((4, 4)), np.zeros((4, 5)))
