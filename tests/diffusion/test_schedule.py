"""The schedules against the paper's numbers and the chain that defines them."""

import math

import jax
import numpy as np
import pytest

from irstd_jax.diffusion import process, samplers
from irstd_jax.diffusion.schedule import SCHEDULES, noise_schedule


def test_the_papers_schedule():
    schedule = noise_schedule("linear", 100)
    assert schedule.betas[[0, -1]] == pytest.approx([1e-3, 0.2], rel=1e-12)
    assert schedule.alpha_bar[-1] == pytest.approx(2.04e-5, rel=2e-3)
    assert 1 / schedule.alpha[-1] == pytest.approx(221, abs=0.5)


@pytest.mark.parametrize("steps, factor", [(30, 939), (1000, 157)])
def test_noise_amplification_of_other_lengths(steps, factor):
    alpha = noise_schedule("linear", steps).alpha
    assert 1 / alpha[-1] == pytest.approx(factor, abs=0.5)


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("steps", [30, 1000])
def test_tables_are_those_of_the_chain(name, steps):
    """Walks x_t = sqrt(1 - beta) x_{t-1} + sqrt(beta) eps by its moments."""
    schedule = noise_schedule(name, steps)
    factor, variance = 1.0, 0.0
    for t, beta in enumerate(schedule.betas):
        factor *= math.sqrt(1 - beta)
        variance = (1 - beta) * variance + beta
        assert schedule.alpha[t] == pytest.approx(factor, rel=1e-9)
        assert schedule.sigma[t] == pytest.approx(math.sqrt(variance), rel=1e-9)
        assert schedule.logsnr[t] == pytest.approx(
            math.log(factor**2 / variance), rel=1e-9, abs=1e-9
        )
    assert schedule.steps == steps
    assert np.all(np.diff(schedule.logsnr) < 0)
    for table in (schedule.betas, schedule.alpha, schedule.sigma, schedule.logsnr):
        assert table.dtype == np.float64 and table.shape == (steps,)


def test_cosine_is_half_gone_in_the_middle():
    """cos^2(pi/4) is 1/2; the offset of 0.008 moves it a little."""
    schedule = noise_schedule("cosine", 1000)
    middle = math.cos(math.pi / 2 * 0.508 / 1.008) ** 2
    start = math.cos(math.pi / 2 * 0.008 / 1.008) ** 2
    assert schedule.alpha_bar[499] == pytest.approx(middle / start, rel=1e-9)
    assert schedule.betas[-1] == 0.999


def test_latent_diffusions_schedule():
    betas = noise_schedule("scaled_linear", 1000).betas
    assert betas[[0, -1]] == pytest.approx([0.00085, 0.012], rel=1e-12)
    assert np.diff(np.sqrt(betas)) == pytest.approx(np.diff(np.sqrt(betas))[0])


@pytest.mark.parametrize("steps", [2, 19, 20])
def test_where_beta_reaches_one_is_refused(steps):
    with pytest.raises(ValueError, match="its beta reaches .* take more than 20 steps"):
        noise_schedule("linear", steps)


def test_the_first_length_that_works():
    assert noise_schedule("linear", 21).betas.max() < 1


def test_refusals():
    with pytest.raises(ValueError, match="unknown schedule 'liner'; choose from"):
        noise_schedule("liner", 100)
    with pytest.raises(ValueError, match="at least 2 steps, got 1"):
        noise_schedule("cosine", 1)


def test_ddim_takes_the_euler_steps_of_a_rectified_flow():
    """On data N(0.3, 0.5^2), whose best guess of x0 is known."""
    schedule = noise_schedule("rectified", 9)
    u = np.arange(1, 10) / 10
    np.testing.assert_allclose(schedule.alpha / schedule.sigma, (1 - u) / u)

    def guess(x, a, s):
        return 0.3 + a * 0.25 * (x - 0.3 * a) / (0.25 * a**2 + s**2)

    def denoise(x, t):
        return guess(x, *process.signal_and_noise(schedule, t, x))

    start = np.linspace(-2, 2, 7).astype(np.float32).reshape(1, 1, 7, 1)
    keys = jax.random.split(jax.random.key(0), 1)
    drawn = samplers.sample(
        denoise,
        schedule,
        keys,
        (1, 7, 1),
        sampler="ddim",
        clip=None,
        start=start,
    )
    flow = start * np.hypot(0.1, 0.9)
    for now in u[:0:-1]:
        velocity = (flow - guess(flow, 1 - now, now)) / now
        flow = flow - 0.1 * velocity
    np.testing.assert_allclose(drawn, guess(flow, 0.9, 0.1), atol=1e-5)
