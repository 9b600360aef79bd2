"""Judging samples: a posterior that is known, one that is too sure, perfect ones."""

import numpy as np
import pytest

from irstd_jax import metrics
from irstd_jax.metrics import samples, targets

N = 16


def spots(lit):
    """Masks (n, 160, 160) of lit (n, 256): one place in a grid of 10 px each."""
    n = len(lit)
    masks = np.zeros((n, 16, 10, 16, 10), bool)
    masks[:, :, 4:6, :, 4:6] = lit.reshape(n, 16, 1, 16, 1)
    return masks.reshape(n, 160, 160)


def world(seed, certain=False):
    """Spots that exist with probabilities from 0 to 1, and samples that know them.

    A `certain` posterior is one draw, told N times.
    """
    rng = np.random.default_rng(seed)
    share = rng.random(256)
    lit = rng.random((N + 1, 256)) < share
    if certain:
        lit[1:-1] = lit[0]
    return samples.count(spots(lit[:-1]), spots(lit[-1:])[0])


@pytest.fixture(scope="module")
def honest():
    return [world(seed) for seed in range(4)]


def test_a_known_posterior_is_calibrated(honest):
    total = metrics.merge(honest)
    # Of uniform shares, n votes of N mean (n + 1) / (N + 2): up to 1/18 from n / N.
    assert samples.compute(total)["target_ECE"] < 0.06
    curve = samples.pd_fa(total)
    np.testing.assert_allclose(
        curve["expected_false_per_image"],
        curve["false_alarms_per_image"],
        rtol=0.15,
        atol=2,
    )


def test_one_that_is_too_sure_is_not():
    """Of spots that one draw has lit, E p^2 / E p = 2/3 exist: a third is wrong."""
    total = metrics.merge(world(seed, certain=True) for seed in range(4))
    values = samples.compute(total)
    assert values["target_ECE"] == pytest.approx(1 / 3, abs=0.05)
    assert values["diversity"] == values["spread"] == 0
    curve = samples.pd_fa(total)
    expected, real = curve["expected_false_per_image"], curve["false_alarms_per_image"]
    assert (expected < real / 5).all()


def test_the_truth_itself_is_perfect_at_every_tau():
    truth = spots(np.random.default_rng(0).random((1, 256)) < 0.2)
    counts = samples.count(np.repeat(truth, 3, 0)[..., None], truth[0])
    values = samples.compute(counts)
    assert values == dict.fromkeys(values, 0) and len(values) == 5
    curve = samples.pd_fa(counts)
    assert curve["Pd"].tolist() == [1] * 3 and curve["Fa"].tolist() == [0] * 3
    np.testing.assert_allclose(curve["tau"], [1 / 3, 2 / 3, 1])


def test_the_sweep_gives_up_targets_and_false_alarms(honest):
    curve = samples.pd_fa(metrics.merge(honest))
    assert (np.diff(curve["Pd"]) <= 0).all() and (np.diff(curve["Fa"]) <= 0).all()
    assert curve["Pd"][0] > 0.95 > 0.2 > curve["Pd"][-1]
    # Spots are apart, so all that is kept is a component: count them by hand.
    state = honest[0]
    kept = np.cumsum(state.clusters[::-1])[::-1][1:]
    real = np.cumsum(state.matched[::-1])[::-1][1:]
    np.testing.assert_array_equal(state.sweep.detected, real)
    np.testing.assert_array_equal(state.sweep.false_alarms, kept - real)
    np.testing.assert_array_equal(state.sweep.false_pixels, 4 * (kept - real))


def test_brier_of_targets_by_hand():
    lit = np.zeros((4, 256), bool)
    lit[:4, 0] = lit[:3, 1] = lit[:1, 2] = True
    truth = np.zeros((1, 256), bool)
    truth[0, [0, 2]] = True
    values = samples.compute(samples.count(spots(lit), spots(truth)[0]))
    assert values["target_Brier"] == pytest.approx((0 + 0.75**2 + 0.75**2) / 3)
    # Bins of P: 1 is right, 3/4 is never real, 1/4 always.
    assert values["target_ECE"] == pytest.approx((0.75 + 0.75) / 3)


def test_without_targets_and_samples_figures_are_missing():
    counts = samples.count(np.zeros((2, 8, 8)), np.zeros((8, 8)))
    values = samples.compute(counts)
    assert np.isnan([values[k] for k in ("target_ECE", "target_Brier", "spread")]).all()
    assert values["GED2"] == 0 and np.isnan(samples.pd_fa(counts)["Pd"]).all()


def test_intervals_are_over_images(honest):
    values = samples.compute(metrics.merge(honest))
    bounds = metrics.intervals(metrics.stack(honest), samples.compute, repeats=50)
    for name in ("target_Brier", "GED2", "diversity"):
        low, high = bounds[name]
        assert low <= values[name] <= high and low < high


def test_the_rule_of_matching_is_the_one_asked_for():
    truth = np.zeros((16, 16), bool)
    truth[8, 2:12] = True
    half = np.zeros((2, 16, 16))
    half[:, 8, 2:5] = 1  # touches the target, its centre is far
    counts = {rule: samples.count(half, truth, rule) for rule in targets.MATCHING}
    found = {rule: int(c.sweep.detected[0]) for rule, c in counts.items()}
    assert found == {"centroid": 0, "overlap": 1, "shooting": 1}


def test_false_alarms_at_equal_detection():
    curve = {"Pd": np.array([0.9, 0.8, 0.5]), "Fa": np.array([3e-5, 2e-5, 1e-5])}
    wanted = {"Pd": np.array([0.95, 0.9, 0.7, 0.1])}
    np.testing.assert_array_equal(
        samples.fa_at_equal_pd(curve, wanted), [np.nan, 3e-5, 2e-5, 1e-5]
    )
