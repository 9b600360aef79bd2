"""Energy distance and spread: by sets of pixels, and for known distributions."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from irstd_jax.metrics import diversity


def distance(one, other):
    one, other = ({*zip(*np.nonzero(m), strict=True)} for m in (one, other))
    return 1 - len(one & other) / len(one | other) if one | other else 0


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**31), st.integers(2, 5), st.sampled_from([0, 0.1, 0.6]))
def test_it_is_the_mean_over_pairs(seed, n, density):
    rng = np.random.default_rng(seed)
    truth, *masks = rng.random((n + 1, 4, 6)) < density
    to_truth = np.mean([distance(m, truth) for m in masks])
    between = np.mean([distance(a, b) for a, b in itertools.permutations(masks, 2)])
    found = diversity.ged_squared(np.stack(masks), truth)
    assert found == pytest.approx((2 * to_truth - between, between), abs=1e-12)


def test_samples_of_the_truths_own_distribution_have_none_on_average():
    """One pixel, lit half the time: E d = 1/2 for every pair."""
    rng = np.random.default_rng(0)
    lit = rng.random((4000, 5)) < 0.5
    values = [
        diversity.ged_squared(row[:4, None, None], row[4, None, None])[0] for row in lit
    ]
    assert np.mean(values) == pytest.approx(0.5, abs=0.02)  # 2/2 - 1/2: Y is but one


def test_the_number_of_samples_does_not_move_the_mean():
    rng = np.random.default_rng(1)
    lit, truth = rng.random((4000, 8, 1, 1)) < 0.3, np.zeros((1, 1), bool)
    means = [
        np.mean([diversity.ged_squared(row[:n], truth)[1] for row in lit])
        for n in (2, 8)
    ]
    assert means == pytest.approx([2 * 0.3 * 0.7] * 2, abs=0.02)


def test_one_sample_has_no_diversity():
    mask = np.eye(3, dtype=bool)
    assert diversity.ged_squared(mask[None], mask) == (0, 0)
    assert diversity.ged_squared(mask[None], ~mask) == (2, 0)


def test_spread_is_over_what_any_sample_holds():
    samples = np.zeros((2, 4, 4))
    samples[:, 0, 0] = 1
    samples[0, 1, 1] = 0.8
    samples[:, 3, 3] = 0.4, 0.2  # below the threshold in both
    total, pixels = diversity.spread(samples, diversity.binary(samples, 0.5))
    assert (total, pixels) == (pytest.approx(0.4), 2)


def test_samples_have_a_channel_or_not():
    samples = np.random.default_rng(0).random((3, 4, 5))
    flat, deep = (diversity.binary(x, 0.5) for x in (samples, samples[..., None]))
    np.testing.assert_array_equal(flat, deep)
    assert flat.dtype == bool and flat.shape == (3, 4, 5)
