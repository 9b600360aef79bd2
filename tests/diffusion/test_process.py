"""The forward process against Bayes' rule on a line, conversions by their cycles."""

import itertools

import hypothesis
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import strategies as st

from irstd_jax.diffusion import process
from irstd_jax.diffusion.schedule import noise_schedule

SCHEDULE = noise_schedule("linear", 100)
PAIRS = list(itertools.product(process.PARAMETERISATIONS, repeat=2))


def bayes(beta, alpha_before, sigma_before, x0, x):
    """Moments of q(x_{t-1} | x_t, x0) by integration of prior times likelihood."""
    line = np.linspace(-12, 12, 400_001)
    prior = -((line - alpha_before * x0) ** 2) / (2 * sigma_before**2)
    likelihood = -((x - np.sqrt(1 - beta) * line) ** 2) / (2 * beta)
    log = prior + likelihood
    weight = np.exp(log - log.max())
    weight /= weight.sum()
    mean = (weight * line).sum()
    return mean, (weight * (line - mean) ** 2).sum()


@pytest.mark.parametrize("t", [1, 2, 37, 99])
@pytest.mark.parametrize("x0, x", [(1.0, 0.4), (-0.3, 2.0)])
def test_posterior_is_bayes_rule(t, x0, x):
    mean, variance = process.posterior(
        SCHEDULE,
        jnp.full((1, 2, 2, 1), x0),
        jnp.full((1, 2, 2, 1), x),
        jnp.array([t]),
    )
    before = SCHEDULE.alpha[t - 1], SCHEDULE.sigma[t - 1]
    expected = bayes(SCHEDULE.betas[t], *before, x0, x)
    assert mean.shape == (1, 2, 2, 1) and variance.shape == (1, 1, 1, 1)
    np.testing.assert_allclose(mean, expected[0], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(variance, expected[1], rtol=1e-5)


def test_posterior_at_the_first_time_is_x0():
    x0, x = jax.random.normal(jax.random.key(0), (2, 3, 4, 4, 1))
    mean, variance = process.posterior(SCHEDULE, x0, x, jnp.zeros(3, int))
    np.testing.assert_allclose(mean, x0, rtol=1e-6)
    np.testing.assert_array_equal(variance, 0)


def test_fixed_variances():
    small, large = (process.VARIANCES[name](SCHEDULE) for name in ("small", "large"))
    np.testing.assert_array_equal(large[1:], SCHEDULE.betas[1:])
    assert small[0] == 0 and large[0] == small[1] > 0
    assert np.all(small[1:] < large[1:])


def test_each_example_has_its_own_time():
    x0, eps = jax.random.normal(jax.random.key(0), (2, 3, 4, 5, 2))
    t = jnp.array([0, 50, 99])
    x = process.q_sample(SCHEDULE, x0, t, eps)
    for i, j in enumerate(t):
        alpha, sigma = SCHEDULE.alpha[j], SCHEDULE.sigma[j]
        np.testing.assert_allclose(x[i], alpha * x0[i] + sigma * eps[i], rtol=1e-5)


@pytest.mark.parametrize("source, destination", PAIRS)
@hypothesis.settings(max_examples=20, deadline=None)
@hypothesis.given(
    x0=st.floats(-1, 1), eps=st.floats(-4, 4), logsnr=st.floats(-10, 10), t=st.data()
)
def test_conversions_agree_with_the_targets(source, destination, x0, eps, logsnr, t):
    """Any network's exact output converts to any other's, and to x0."""
    alpha, sigma = np.sqrt(1 / (1 + np.exp([-logsnr, logsnr])))
    x = alpha * x0 + sigma * eps
    output = process.target(source, x0, eps, alpha, sigma)
    assert process.to_x0(source, output, x, alpha, sigma) == pytest.approx(x0, abs=1e-9)
    other = process.convert(source, destination, output, x, alpha, sigma)
    expected = process.target(destination, x0, eps, alpha, sigma)
    assert other == pytest.approx(expected, abs=1e-9)
    back = process.convert(destination, source, other, x, alpha, sigma)
    assert back == pytest.approx(output, abs=1e-9)


def test_v_is_the_velocity_on_the_circle():
    """With alpha = cos a, sigma = sin a, v is dx_t / da."""
    x0, eps, a, step = 0.7, -1.3, 0.9, 1e-6
    x = [np.cos(b) * x0 + np.sin(b) * eps for b in (a - step, a + step)]
    v = process.target("v", x0, eps, np.cos(a), np.sin(a))
    assert v == pytest.approx((x[1] - x[0]) / (2 * step), rel=1e-8)


def test_unknown_parameterisation():
    with pytest.raises(ValueError, match="unknown parameterisation 'noise'; choose"):
        process.to_x0("noise", 0.0, 0.0, 1.0, 0.0)
