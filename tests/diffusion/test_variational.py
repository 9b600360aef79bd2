"""The bound against closed forms: both ends of the variance, KL of Gaussians, bins."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from irstd_jax.diffusion import process, schedule, variational

LONG = schedule.noise_schedule("linear", 1000)
TIMES = jnp.array([0, 1, 500, 999])


def normal(*shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


def constant(value):
    return jnp.full((4, 2, 2, 1), value)


@pytest.mark.parametrize("v, name", [(1.0, "large"), (-1.0, "small")])
def test_the_ends_of_the_range_are_the_fixed_variances(v, name):
    found = jnp.exp(variational.log_variance(LONG, TIMES, constant(v)))[:, 0, 0, 0]
    expected = process.VARIANCES[name](LONG)[np.asarray(TIMES)]
    # At t = 0 the small one is 0, and the large one is stored as beta~_1 (process.py).
    expected[0] = LONG.betas[0] if v == 1 else process.small_variance(LONG)[1]
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_kl_is_that_of_gaussians():
    """By numerical integration."""
    x = np.linspace(-30, 30, 200_001)
    for (m, a), (n, b) in (
        ((0.3, 0.5), (-1.0, 2.0)),
        ((0, 1), (0, 1)),
        ((2, 3), (0, 1)),
    ):
        q, p = stats.norm(m, a), stats.norm(n, b)
        expected = np.trapezoid(q.pdf(x) * (q.logpdf(x) - p.logpdf(x)), x)
        found = variational.gaussian_kl(m, 2 * np.log(a), n, 2 * np.log(b))
        assert found == pytest.approx(expected, abs=1e-5)


def test_the_bound_is_the_kl_of_the_posteriors():
    """Both in closed form, with the error of x0 and the variance at their places."""
    t = jnp.array([1, 40, 500, 999])
    x0, x_t = constant(0.5), normal(4, 2, 2, 1)
    found = variational.bound(LONG, x0, x0 - 0.2, x_t, t, constant(0.4))
    at = np.asarray(t)
    before = LONG.alpha_bar[at - 1]
    weight = np.sqrt(before) * LONG.betas[at] / (1 - LONG.alpha_bar[at])
    small = LONG.betas[at] * (1 - before) / (1 - LONG.alpha_bar[at])
    variance = LONG.betas[at] ** 0.7 * small**0.3
    nats = 0.5 * (
        np.log(variance / small) + small / variance + (0.2 * weight) ** 2 / variance - 1
    )
    np.testing.assert_allclose(found, nats / np.log(2), rtol=1e-3, atol=1e-6)


def test_a_perfect_network_of_the_small_variance_has_no_bound():
    t = jnp.array([1, 40, 500, 999])
    x0 = normal(4, 2, 2, 1, seed=1)
    found = variational.bound(LONG, x0, x0, normal(4, 2, 2, 1), t, constant(-1.0))
    np.testing.assert_allclose(found, 0, atol=1e-5)


def test_bins_add_up_to_one():
    """Of any Gaussian, inside of [-1, 1] or not: the outer bins are open."""
    levels = jnp.linspace(-1, 1, 256)
    for mean, deviation in ((0.0, 0.3), (0.9, 0.05), (-2.0, 1.0), (0.1, 0.01)):
        nll = variational.bin_nll(levels, mean, 2 * np.log(deviation))
        assert float(jnp.exp(-nll).sum()) == pytest.approx(1, abs=2e-3)


def test_bins_are_exact_far_from_the_mean():
    """Where the mass is 0 in float32, and the released 1e-12 has no gradient."""
    for x0, mean in ((0.0, 1.0), (0.5, -0.2), (-1.0, 0.4), (1.0, 0.6)):
        low, high = x0 - variational.BIN / 2, x0 + variational.BIN / 2
        p = stats.norm(mean, 0.02)
        low = -np.inf if x0 == -1 else low
        # On the side of the small tail, where scipy is exact.
        above = p.logsf(low), p.logsf(np.inf if x0 == 1 else high)
        below = p.logcdf(np.inf if x0 == 1 else high), p.logcdf(low)
        large, less = above if x0 > mean else below
        expected = -(large + np.log(-np.expm1(less - large)))
        found, slope = jax.value_and_grad(variational.bin_nll, 1)(
            x0, mean, 2 * np.log(0.02)
        )
        assert found == pytest.approx(expected, rel=1e-4)
        assert np.sign(slope) == np.sign(mean - x0)


def test_only_v_learns_by_the_bound():
    t, x0, x_t = TIMES, constant(1.0), normal(4, 2, 2, 1)

    def total(guess, v):
        return variational.bound(LONG, x0, guess, x_t, t, v).sum()

    by_guess, by_v = jax.jit(jax.grad(total, (0, 1)))(0.9 * x0, constant(0.3))
    assert jnp.abs(by_guess).max() == 0
    assert (jnp.abs(by_v) > 0).all() and jnp.isfinite(by_v).all()
