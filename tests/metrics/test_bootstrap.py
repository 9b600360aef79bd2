"""Intervals against the normal theory of a mean, and their dependence on n."""

from typing import NamedTuple

import numpy as np
import pytest

from irstd_jax.metrics import bootstrap, overlap


class Sums(NamedTuple):
    value: np.ndarray
    images: np.ndarray


def sample(n, seed=0):
    values = np.random.default_rng(seed).normal(2.0, 0.5, n)
    return Sums(values, np.ones(n, np.int64))


def mean(sums):
    return {"mean": sums.value / sums.images}


@pytest.mark.parametrize("level", [0.8, 0.95])
def test_the_interval_of_a_mean_is_the_normal_one(level):
    states = sample(400)
    low, high = bootstrap.intervals(states, mean, 4000, level)["mean"]
    error = states.value.std() / 20
    z = {0.8: 1.2816, 0.95: 1.9600}[level]
    assert low == pytest.approx(states.value.mean() - z * error, abs=0.1 * error)
    assert high == pytest.approx(states.value.mean() + z * error, abs=0.1 * error)


def test_the_interval_shrinks_as_one_over_root_n():
    widths = [
        np.ptp(bootstrap.intervals(sample(n), mean, 2000)["mean"])
        for n in (50, 200, 800)
    ]
    assert widths[0] / widths[1] == pytest.approx(2, rel=0.2)
    assert widths[1] / widths[2] == pytest.approx(2, rel=0.2)


def test_a_resample_holds_as_many_images_as_the_set():
    seen = []
    bootstrap.intervals(sample(7), lambda s: seen.append(s.images) or mean(s), 50)
    assert [n.tolist() for n in seen] == [[7] * 50]


def test_the_seed_decides():
    states = sample(30)
    once, again = (bootstrap.intervals(states, mean, 200, seed=5) for _ in range(2))
    other = bootstrap.intervals(states, mean, 200, seed=6)
    assert once == again != other


def test_undefined_repeats_are_left_out():
    states = Sums(np.array([1.0, 1.0]), np.array([1, 0]))

    def compute(sums):
        never = np.full(sums.images.shape, np.nan)
        return {"never": never, "sometimes": overlap.ratio(sums.value, sums.images)}

    intervals = bootstrap.intervals(states, compute, 200)
    assert np.isnan(intervals["never"]).all()
    assert intervals["sometimes"] == (1.0, 2.0)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [({"level": 95}, "level 95 is not"), ({"repeats": 0}, "evaluation.bootstrap must")],
)
def test_senseless_settings_are_refused(wrong, words):
    with pytest.raises(ValueError, match=words):
        bootstrap.intervals(sample(3), mean, **wrong)
