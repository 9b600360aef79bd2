"""The course of the learning rate, and refusals."""

import jax.numpy as jnp
import pytest
from ml_collections import ConfigDict

from irstd_jax.training import optimizer


def settings(**fields):
    defaults = {
        "learning_rate": 1e-4,
        "decay": "linear",
        "warmup": 0,
        "weight_decay": 0.0,
        "clip": 0.0,
    }
    return ConfigDict(defaults | fields)


def test_linear_decay_is_the_paper_s():
    rate = optimizer.linear(1e-4, 80_000, 0)
    assert rate(0) == pytest.approx(1e-4)
    assert rate(40_000) == pytest.approx(5e-5)
    assert rate(80_000) == 0


@pytest.mark.parametrize("decay", sorted(optimizer.DECAYS))
def test_warm_up_then_the_peak(decay):
    rate = optimizer.DECAYS[decay](1.0, 100, 10)
    assert rate(0) == 0
    assert rate(5) == pytest.approx(0.5)
    assert rate(10) == pytest.approx(1.0)
    assert rate(100) == pytest.approx(1.0 if decay == "constant" else 0.0, abs=1e-6)


def test_clip_bounds_the_gradient_s_norm():
    params = {"w": jnp.zeros(4)}
    clipped = optimizer.make_optimizer(settings(clip=1.0, decay="constant"), 10)
    state = clipped.init(params)
    _, state = clipped.update({"w": jnp.full(4, 100.0)}, state, params)
    first_moment = state[1][0].mu["w"]
    assert jnp.linalg.norm(first_moment) == pytest.approx(0.1, rel=1e-5)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"decay": "steps"}, "unknown optimizer.decay 'steps'; choose from"),
        ({"warmup": 10}, "optimizer.warmup 10 must be less than num_steps 10"),
    ],
)
def test_what_cannot_work_is_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        optimizer.make_optimizer(settings(**fields), 10)
