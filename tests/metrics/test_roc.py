"""Curves against their definitions: counting pixels, pairs, and matches."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from irstd_jax.metrics import roc, targets


@st.composite
def maps(draw):
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    levels = draw(st.sampled_from([2, 10, 1000]))
    shape = draw(st.tuples(st.integers(1, 9), st.integers(1, 9)))
    probability = rng.integers(0, levels + 1, shape) / levels
    return probability.astype(np.float32), rng.random(shape) < 0.3


@settings(max_examples=60, deadline=None, derandomize=True)
@given(maps(), st.sampled_from([1, 7, 10, 64]))
def test_every_point_is_what_its_threshold_gives(pair, bins):
    probability, truth = pair
    counts = roc.histogram(probability, truth, bins)
    hit, false = roc.above(counts.positive), roc.above(counts.negative)
    exact = probability.astype(np.float64) * bins
    for k in range(-1, bins + 1):
        assert hit[k + 1] == np.count_nonzero((exact > k) & truth)
        assert false[k + 1] == np.count_nonzero((exact > k) & ~truth)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(maps())
def test_area_is_the_chance_that_a_target_pixel_outscores_background(pair):
    """Mann-Whitney: over all pairs, ties count a half (on levels that fit the bins)."""
    probability, truth = pair
    coarse = np.round(probability * 8) / 8
    area = roc.area(roc.histogram(coarse, truth, 8))
    wins = [
        (p > n) + 0.5 * (p == n)
        for p in coarse[truth].tolist()
        for n in coarse[~truth].tolist()
    ]
    assert area == pytest.approx(np.mean(wins)) if wins else np.isnan(area)


def test_areas_of_maps_known_by_hand():
    truth = np.eye(8, dtype=bool)
    perfect = roc.histogram(truth.astype(np.float32), truth)
    assert roc.area(perfect) == roc.average_precision(perfect) == 1
    constant = roc.histogram(np.full((8, 8), 0.3), truth)
    assert roc.area(constant) == 0.5
    assert roc.average_precision(constant) == pytest.approx(8 / 64)
    assert roc.area(roc.histogram(1.0 - truth, truth)) == 0


def test_average_precision_by_hand():
    """Ranked hit, miss, hit: (1/1 + 2/3) / 2."""
    probability = np.array([[0.9, 0.8, 0.7, 0.1]])
    truth = np.array([[True, False, True, False]])
    value = roc.average_precision(roc.histogram(probability, truth, 10))
    assert value == pytest.approx((1 + 2 / 3) / 2)


def test_curves_run_from_everything_to_nothing():
    rng = np.random.default_rng(0)
    curve = roc.roc(roc.histogram(rng.random((16, 16)), rng.random((16, 16)) < 0.1))
    assert curve["FPR"][0] == curve["TPR"][0] == 1
    assert curve["FPR"][-1] == curve["TPR"][-1] == 0
    assert (np.diff(curve["FPR"]) <= 0).all() and (np.diff(curve["TPR"]) <= 0).all()
    assert len(curve["threshold"]) == len(curve["FPR"]) == 1002


def test_areas_without_a_class_are_nan():
    nothing = roc.histogram(np.full((4, 4), 0.5), np.zeros((4, 4), bool))
    assert np.isnan(roc.area(nothing)) and np.isnan(roc.average_precision(nothing))


@pytest.mark.parametrize("rule", sorted(targets.MATCHING))
def test_a_sweep_is_the_counts_at_every_threshold(rule):
    rng = np.random.default_rng(1)
    probability = np.kron(rng.random((8, 8)), np.ones((3, 3))).round(1)
    truth = targets.components(rng.random((24, 24)) < 0.02)
    swept = roc.sweep(probability, truth, rule, points=21)
    for k, threshold in enumerate(roc.grid(21)):
        found = targets.components(probability > threshold)
        expected = targets.count(found, truth, rule)
        for name in targets.TargetCounts._fields:
            value = getattr(swept, name)[k]
            np.testing.assert_array_equal(value, getattr(expected, name))


def test_thresholds_are_even_in_log_odds():
    found = roc.grid(21)
    assert len(found) == 21 and found[10] == 0.5
    assert 0 < found[0] < 0.002 and 0.998 < found[-1] < 1
    odds = np.log(found) - np.log1p(-found)
    np.testing.assert_allclose(np.diff(odds), np.diff(odds).mean())
    assert roc.grid(1).tolist() == [0.5]


def test_equal_masks_are_matched_once(monkeypatch):
    calls = []
    inner = targets.count
    monkeypatch.setattr(targets, "count", lambda *a: calls.append(a) or inner(*a))
    mask = np.eye(16)
    roc.sweep(mask * 0.5, targets.components(mask), points=21)
    assert len(calls) == 2


def test_pd_fa_area_by_hand():
    """Pd .5 from Fa 0 and 1 from Fa 4e-5, of the range to 1e-4: .5 x .4 + 1 x .6.

    The point at Fa 7e-5 finds less than an earlier one, and so takes nothing away.
    """
    zero = np.zeros(4, np.int64)
    counts = targets.TargetCounts(
        targets=zero + 4,
        detected=np.array([4, 1, 4, 2]),
        false_alarms=zero,
        false_pixels=np.array([5000, 70, 40, 0]),
        reference=zero,
        pixels=zero + 1_000_000,
        images=zero + 1,
        band_targets=np.zeros((4, 4)),
        band_detected=np.zeros((4, 4)),
    )
    assert roc.pd_fa_area(counts) == pytest.approx(0.5 * 0.4 + 1 * 0.6)
    assert roc.pd_fa(counts)["Fa"].tolist() == [0.005, 0.00007, 0.00004, 0]
