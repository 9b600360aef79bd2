"""Which times are visited: the properties that every grid must have."""

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

from irstd_jax.diffusion.schedule import noise_schedule
from irstd_jax.diffusion.spacing import LEVELS, noise_levels


@pytest.mark.parametrize("levels", LEVELS)
@hypothesis.settings(max_examples=60, deadline=None)
@hypothesis.given(data=st.data())
def test_respaced_times(levels, data):
    name = data.draw(st.sampled_from(["linear", "cosine"]))
    schedule = noise_schedule(name, data.draw(st.integers(21, 300)))
    steps = data.draw(st.integers(1, schedule.steps))
    grid = noise_levels(schedule, steps, levels=levels)
    assert len(grid.t) == steps
    assert grid.t[0] == schedule.steps - 1
    assert steps == 1 or grid.t[-1] == 0
    assert np.all(np.diff(grid.t) < 0)
    np.testing.assert_array_equal(grid.alpha, schedule.alpha[grid.t])
    np.testing.assert_array_equal(grid.sigma, schedule.sigma[grid.t])


@pytest.mark.parametrize("levels", LEVELS)
def test_all_times(levels):
    schedule = noise_schedule("linear", 100)
    grid = noise_levels(schedule, levels=levels)
    np.testing.assert_array_equal(grid.t, np.arange(100)[::-1])


def test_even_steps():
    schedule = noise_schedule("linear", 1000)
    index = noise_levels(schedule, 10, levels="uniform")
    assert np.all(np.isin(-np.diff(index.t), [111]))
    even = noise_levels(schedule, 10, levels="logsnr")
    gaps = np.diff(schedule.logsnr[even.t])
    assert gaps.max() / gaps.min() < 1.15  # integer times cannot do better


def test_rebuilt_is_the_short_schedule_with_raw_times():
    grid = noise_levels(noise_schedule("linear", 100), 40, spacing="rebuilt")
    short = noise_schedule("linear", 40)
    np.testing.assert_array_equal(grid.t, np.arange(40)[::-1])
    np.testing.assert_array_equal(grid.alpha, short.alpha[::-1])
    np.testing.assert_array_equal(grid.sigma, short.sigma[::-1])


def test_rebuilt_goes_beyond_training():
    """The oversampling of Table VII: times up to 299 for a network trained to 99."""
    grid = noise_levels(noise_schedule("linear", 100), 300, spacing="rebuilt")
    assert grid.t[0] == 299


def test_refusals():
    schedule = noise_schedule("linear", 100)
    with pytest.raises(ValueError, match="101 steps asked .* at most 100 steps"):
        noise_levels(schedule, 101)
    with pytest.raises(ValueError, match="take more than 20 steps"):
        noise_levels(schedule, 20, spacing="rebuilt")
    with pytest.raises(ValueError, match="at least 1 step, got 0"):
        noise_levels(schedule, 0)
    with pytest.raises(ValueError, match="unknown spacing 'even'"):
        noise_levels(schedule, 5, spacing="even")
    with pytest.raises(ValueError, match="unknown levels 'karras'"):
        noise_levels(schedule, 5, levels="karras")
