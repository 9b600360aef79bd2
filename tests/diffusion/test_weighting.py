"""Weights of times are those of the losses they are named after; times are drawn so."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special, stats

from irstd_jax.diffusion import weighting
from irstd_jax.diffusion.schedule import noise_schedule

SCHEDULE = noise_schedule("rectified", 50)


@pytest.mark.parametrize("name", weighting.SCHEMES)
def test_the_weights_are_those_of_the_losses(name):
    """Errors of eps, v, x0 and of a flow's velocity for one guess, by definition."""
    rng = np.random.default_rng(0)
    x0, eps, found = rng.standard_normal((3, 50))
    alpha = 0.6
    sigma, snr = (1 - alpha**2) ** 0.5, alpha**2 / (1 - alpha**2)
    x = alpha * x0 + sigma * eps
    eps_found = (x - alpha * found) / sigma
    v, v_found = alpha * eps - sigma * x0, alpha * eps_found - sigma * found
    # The same point on the straight path (1 - u) x0 + u eps, where both shrink alike.
    u = sigma / (alpha + sigma)
    along = (1 - u) * x0 + u * eps
    velocity, found_velocity = eps - x0, (along - found) / u
    errors = {
        "eps": eps_found - eps,
        "flow": found_velocity - velocity,
        "min_snr": eps_found - eps,  # snr is below 5
        "v": v_found - v,
        "x0": found - x0,
    }
    weight = weighting.SCHEMES[name](jnp.float32(snr))
    if name == "sigmoid":
        assert weight == pytest.approx(special.expit(np.log(snr)))
        biased = weighting.SCHEMES[name](jnp.float32(snr), -2.0)
        assert biased == pytest.approx(np.exp(-2) * special.expit(np.log(snr) + 2))
        return
    expected = (errors[name] ** 2).mean()
    np.testing.assert_allclose(weight * ((found - x0) ** 2).mean(), expected, rtol=1e-5)
    if name == "min_snr":
        assert weighting.SCHEMES[name](jnp.float32(100.0)) == 5


def test_a_table_of_all_times():
    table = weighting.weights(SCHEDULE, "eps")
    np.testing.assert_allclose(table, np.exp(SCHEDULE.logsnr), rtol=1e-5)
    with pytest.raises(ValueError, match="unknown weighting 'soft'; choose from"):
        weighting.weights(SCHEDULE, "soft")


DENSITIES = {  # P(r' < x) of the rules, r' in (0, 1)
    "logit_normal": lambda x: stats.norm.cdf(special.logit(x) - 1),
    "power": np.square,
    "shift": lambda x: x / (3 - 2 * x),
    "uniform": lambda x: x,
}


@pytest.mark.parametrize("name", weighting.TIMES)
def test_times_follow_their_rule(name):
    keys = jax.random.split(jax.random.key(0), 8000)
    draw = jax.jit(jax.vmap(lambda key: weighting.draw_time(key, 20, name)))
    t = np.asarray(draw(keys))
    assert t.dtype == np.int32 and t.min() >= 0 and t.max() <= 19
    found = np.cumsum(np.bincount(t, minlength=20)) / len(t)
    expected = [*DENSITIES[name](np.arange(1, 20) / 20), 1.0]
    np.testing.assert_allclose(found, expected, atol=4 * 0.5 / 8000**0.5)


def test_the_last_time_takes_its_share():
    keys = jax.random.split(jax.random.key(0), 8000)
    draw = jax.vmap(lambda key: weighting.draw_time(key, 20, "uniform", 0.3))
    share = np.mean(np.asarray(draw(keys)) == 19)
    assert share == pytest.approx(0.3 + 0.7 / 20, abs=0.02)


@pytest.mark.parametrize(
    "fields, words",
    [
        ({"times": "late"}, "unknown times 'late'; choose from"),
        ({"last_share": 1.5}, "last_share must lie in"),
    ],
)
def test_what_cannot_be_drawn_is_refused(fields, words):
    with pytest.raises(ValueError, match=words):
        weighting.draw_time(jax.random.key(0), 20, **fields)
