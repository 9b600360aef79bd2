"""Samplers against data whose denoiser, and whose whole trajectory, are exact."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from irstd_jax.diffusion import process, samplers
from irstd_jax.diffusion.samplers import SAMPLERS, evaluations, sample
from irstd_jax.diffusion.schedule import noise_schedule
from irstd_jax.diffusion.spacing import Grid, noise_levels

MU, TAU = 0.3, 0.5
SHORT, LONG = noise_schedule("linear", 100), noise_schedule("linear", 1000)


def spread(levels):
    """The standard deviation of x_t, data and noise together."""
    return np.sqrt((levels.alpha * TAU) ** 2 + levels.sigma**2)


def gaussian(levels):
    """E[x0 | x_t] for data N(MU, TAU^2), on the tables of a schedule or a grid."""
    gain = levels.alpha * TAU**2 / spread(levels) ** 2

    def denoise(x, t):
        alpha, slope = process.at(levels.alpha, t, x), process.at(gain, t, x)
        return MU + slope * (x - alpha * MU)

    return denoise


def two_points(levels, share):
    """E[x0 | x_t] for data +1 with the given probability, -1 otherwise."""

    def denoise(x, t):
        alpha, sigma = process.signal_and_noise(levels, t, x)
        return jnp.tanh(alpha * x / sigma**2 + np.arctanh(2 * share - 1))

    return denoise


def times(x, t):
    """A denoiser whose prediction is the time that it was told."""
    return jnp.broadcast_to(t[:, None, None, None], x.shape).astype(x.dtype)


def keys(count, seed=1):
    return jax.random.split(jax.random.key(seed), count)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_gaussian_data_are_met(sampler):
    """Within four standard errors of N(MU, TAU^2), over 16384 independent pixels."""
    draw = functools.partial(sample, gaussian(LONG), LONG, sampler=sampler, clip=None)
    x0 = np.asarray(jax.jit(lambda k: draw(k, (64, 64, 1)))(keys(4)))
    assert x0.mean() == pytest.approx(MU, abs=4 * TAU / np.sqrt(x0.size))
    assert x0.std() == pytest.approx(TAU, abs=4 * TAU / np.sqrt(2 * x0.size))


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_rare_targets_are_met(sampler):
    """5 % of the pixels are targets; 100 steps find them to four standard errors.

    DDIM misses some (0.0486 in the limit of many pixels): it gets that much more.
    """
    draw = functools.partial(sample, two_points(SHORT, 0.05), SHORT, sampler=sampler)
    x0 = np.asarray(jax.jit(lambda k: draw(k, (64, 64, 1)))(keys(8)))
    error = np.sqrt(0.05 * 0.95 / x0.size)
    assert (x0 > 0).mean() == pytest.approx(0.05, abs=4 * error + 0.0016)
    assert np.abs(x0).min() > 0.5  # and every pixel has decided


def error_of(sampler, steps, long=1):
    """The largest error in x0 after `steps` steps in log-SNR from -8 to 8.

    Every second step is `long` times the others.
    """
    gaps = np.where(np.arange(steps) % 2, long, 1)
    half = np.append(0, 8 * np.cumsum(gaps) / gaps.sum()) - 4
    alpha, sigma = np.sqrt(1 / (1 + np.exp([-2 * half, 2 * half])))
    grid = Grid(np.arange(steps + 1), alpha, sigma)
    with jax.enable_x64(True):
        x = jnp.linspace(-3, 3, 16, dtype=jnp.float64).reshape(1, 4, 4, 1)
        found, _ = samplers.integrate(
            gaussian(grid), SAMPLERS[sampler](grid), keys(1), x, None
        )
        end = alpha[-1] * MU + spread(grid)[-1] / spread(grid)[0] * (x - alpha[0] * MU)
        exact = gaussian(grid)(end, jnp.array([steps]))
        return float(jnp.abs(found - exact).max())


@pytest.mark.parametrize(
    "sampler, order, long",
    [
        ("ddim", 1, 1),
        ("dpm_solver", 2, 1),
        ("edm_heun", 2, 1),
        ("pndm", 2, 1),
        ("dpm_solver", 2, 2),
    ],
)
def test_order_of_convergence(sampler, order, long):
    """Even steps: slopes 0.990, 1.993, 2.021, 2.016; dpm_solver keeps it if uneven."""
    steps = np.array([40, 80, 160, 320])
    errors = [error_of(sampler, n, long) for n in steps]
    slope = -np.polyfit(np.log(steps), np.log(errors), 1)[0]
    assert slope == pytest.approx(order, abs=0.05)


def test_dpm_solver_looks_to_the_middle_of_its_step():
    """Eq. 4: on uneven steps D is x0 extrapolated to lambda + h / 2."""
    grid = noise_levels(SHORT, 12, levels="uniform")
    table, half = samplers.dpm_solver(grid), np.log(grid.alpha / grid.sigma)
    share = table.x0[1:-1] / table.x0[1:-1].sum(1, keepdims=True)
    place = share[:, 0] * half[1:-1] + share[:, 1] * half[:-2]
    np.testing.assert_allclose(place, (half[1:-1] + half[2:]) / 2, rtol=1e-9)


@pytest.mark.parametrize("weights", samplers.ADAMS_BASHFORTH)
def test_adams_bashforth_integrates_polynomials(weights):
    """k past values at 0, -1, .. give the integral over [0, 1] up to degree k - 1."""
    for degree in range(len(weights)):
        found = sum(w * (-float(j)) ** degree for j, w in enumerate(weights))
        assert found == pytest.approx(1 / (degree + 1), abs=1e-12)


@pytest.mark.parametrize("spacing, steps", [("respaced", 100), ("respaced", 7)])
def test_ddpm_with_small_variance_is_ddim_with_eta_one(spacing, steps):
    draw = functools.partial(
        sample, two_points(SHORT, 0.3), SHORT, keys(2), (8, 8, 1), steps=steps
    )
    np.testing.assert_allclose(
        draw(sampler="ddpm", variance="small"),
        draw(sampler="ddim", eta=1.0),
        rtol=1e-5,
        atol=1e-5,
    )


@pytest.mark.parametrize("f, variance", [(1.0, "large"), (0.0, "small")])
@pytest.mark.parametrize("steps", [100, 7])
def test_ddpm_of_a_learned_variance_has_the_fixed_ones_at_its_ends(f, variance, steps):
    guess = two_points(SHORT, 0.3)
    given = SHORT, keys(2), (8, 8, 1)

    def learned(x, t):
        return guess(x, t), jnp.full_like(x, f)

    np.testing.assert_allclose(
        sample(learned, *given, steps=steps, variance="learned_range"),
        sample(guess, *given, steps=steps, variance=variance),
        rtol=1e-5,
        atol=1e-5,
    )


def test_a_learned_variance_is_of_each_pixel_and_not_bounded():
    """sqrt(beta) (s' / s)^(1 - f), also beyond the ends; the last step has no noise."""
    share = jnp.array([-1.0, 0.25, 0.5, 3.0]).reshape(1, 2, 2, 1)
    table = samplers.ddpm(noise_levels(SHORT, 100), samplers.RANGE)
    row = samplers.Table(*(column[90:91] for column in table))
    # A second row would return its prediction: here x0 = x, so x after the first.
    both = samplers.Table(
        *(np.concatenate([c, table[i][-1:]]) for i, c in enumerate(row))
    )

    def denoise(x, t):
        return x, jnp.broadcast_to(share, x.shape)

    many = jax.random.split(jax.random.key(0), 4000)
    x, _ = jax.jit(
        lambda keys: samplers.integrate(
            denoise, both, keys, jnp.zeros((4000, 2, 2, 1)), None
        )
    )(many)
    expected = row.noise[0] * row.shrink[0] ** (1 - np.asarray(share)[0])
    np.testing.assert_allclose(x.std(0), expected, rtol=0.05)
    assert table.noise[-1] == 0 and table.shrink[-1] == 1


def test_first_order_dpm_solver_is_ddim():
    grid = noise_levels(SHORT, 12)
    first, ddim = samplers.dpm_solver(grid, order=1), samplers.ddim(grid)
    np.testing.assert_allclose(first.x[:, :1], ddim.x, rtol=1e-12)
    np.testing.assert_allclose(first.x0[:, :1], ddim.x0, rtol=1e-9)
    np.testing.assert_array_equal(first.x0[:, 1], 0)


def test_ddpm_is_the_released_chain():
    """Eq. 10 and 14 step by step: clip x0, posterior mean, sqrt(beta) noise."""

    def denoise(x, t):
        alpha, sigma = process.signal_and_noise(SHORT, t, x)
        return process.to_x0("eps", jnp.sin(3 * x), x, alpha, sigma)

    start_keys, step_keys = jax.vmap(jax.random.split, out_axes=1)(keys(2))
    x = samplers.draw(start_keys, (4, 4, 1))

    @jax.jit
    def step(x, t, z):
        t = jnp.full(2, t)
        x0 = jnp.clip(denoise(x, t), -1, 1)
        mean, _ = process.posterior(SHORT, x0, x, t)
        return (
            mean
            + jnp.where(t[0] > 0, 1, 0) * process.at(np.sqrt(SHORT.betas), t, x) * z
        )

    for i, t in enumerate(range(99, -1, -1)):
        call = jax.vmap(jax.random.fold_in, (0, None))(step_keys, i)
        x = step(x, t, samplers.draw(call, (4, 4, 1)))
    np.testing.assert_allclose(
        sample(denoise, SHORT, keys(2), (4, 4, 1)), x, rtol=1e-3, atol=1e-3
    )


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("steps", [1, 2, 9])
def test_calls_and_their_times(sampler, steps):
    x0, every = sample(
        times,
        SHORT,
        keys(2),
        (2, 2, 1),
        sampler=sampler,
        steps=steps,
        clip=None,
        trajectory=True,
    )
    told = np.asarray(every[:, 0, 0, 0, 0]).astype(int)
    levels = "logsnr" if sampler in ("dpm_solver", "edm_heun") else "uniform"
    visited = list(noise_levels(SHORT, steps, levels=levels).t)
    if sampler == "edm_heun":  # all but the first are met twice
        visited = [t for t in visited for _ in range(2)][1:]
    assert list(told) == visited
    assert len(told) == evaluations(sampler, steps)
    np.testing.assert_array_equal(x0, every[-1])


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_one_step_returns_the_prediction(sampler):
    start = jax.random.normal(jax.random.key(3), (2, 4, 4, 1))
    x0 = sample(
        gaussian(SHORT),
        SHORT,
        keys(2),
        (4, 4, 1),
        sampler=sampler,
        steps=1,
        start=start,
    )
    expected = gaussian(SHORT)(start, jnp.full(2, 99))
    np.testing.assert_allclose(x0, expected, rtol=1e-5)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_an_example_depends_on_its_key_alone(sampler):
    draw = jax.jit(
        lambda k: sample(
            two_points(SHORT, 0.3), SHORT, k, (4, 4, 1), sampler=sampler, steps=10
        )
    )
    together = draw(keys(8))
    np.testing.assert_array_equal(together, draw(keys(8)))
    np.testing.assert_array_equal(together[3:4], draw(keys(8)[3:4]))
    assert np.abs(together[0] - together[1]).max() > 0.1


@pytest.mark.skipif(len(jax.devices()) < 8, reason="needs 8 (simulated) devices")
def test_the_number_of_devices_does_not_matter():
    mesh = jax.make_mesh((8,), ("b",))
    spread_out = jax.device_put(
        keys(8), jax.NamedSharding(mesh, jax.sharding.PartitionSpec("b"))
    )
    draw = jax.jit(lambda k: sample(two_points(SHORT, 0.3), SHORT, k, (4, 4, 1)))
    np.testing.assert_array_equal(draw(keys(8)), draw(spread_out))


def test_the_network_is_traced_once():
    """All samplers are one scan: compiling one costs one network."""
    for sampler in SAMPLERS:
        calls = []

        def denoise(x, t, calls=calls):
            calls.append(t.shape)
            return x

        jax.jit(
            lambda k, d=denoise, s=sampler: sample(d, SHORT, k, (2, 2, 1), sampler=s)
        ).lower(keys(3))
        assert calls == [(3,)]


def test_rebuilt_tells_raw_times():
    """Oversampling of Table VII: a network of 100 times is told 149 .. 0."""
    _, every = sample(
        times,
        SHORT,
        keys(1),
        (1, 1, 1),
        steps=150,
        spacing="rebuilt",
        clip=None,
        trajectory=True,
    )
    np.testing.assert_array_equal(every.ravel(), np.arange(150)[::-1])


def test_predictions_are_clipped():
    _, every = sample(
        lambda x, t: 50 * x, SHORT, keys(2), (4, 4, 1), clip=(0.0, 1.0), trajectory=True
    )
    assert every.min() == 0 and every.max() == 1


def test_state_stays_float32_for_a_half_precision_network():
    x0 = sample(lambda x, t: x.astype(jnp.bfloat16), SHORT, keys(1), (2, 2, 1), steps=3)
    assert x0.dtype == jnp.float32


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"sampler": "dddim"}, "unknown sampler 'dddim'; choose from"),
        ({"variance": "learned"}, "unknown variance 'learned'; choose from"),
        ({"steps": 101}, "at most 100 steps"),
        ({"steps": 20, "spacing": "rebuilt"}, "take more than 20 steps"),
        ({"eta": 0.5}, "eta belongs to the sampler 'ddim', not to 'ddpm'"),
        ({"sampler": "ddim", "eta": 1.5}, r"eta must lie in \[0, 1\]"),
        ({"start": np.zeros((1, 2, 2, 1))}, r"expected \(2, 2, 2, 1\)"),
        ({"levels": "karras"}, "unknown levels 'karras'"),
    ],
)
def test_refusals(settings, message):
    with pytest.raises(ValueError, match=message):
        sample(times, SHORT, keys(2), (2, 2, 1), **settings)


def test_keys_must_be_typed_and_one_an_example():
    for wrong in (jax.random.key(0), jnp.zeros((2, 2), jnp.uint32)):
        with pytest.raises(ValueError, match="typed PRNG keys"):
            sample(times, SHORT, wrong, (2, 2, 1))
    with pytest.raises(ValueError, match="unknown sampler"):
        evaluations("euler", 3)


# --- beginning in the middle ----------------------------------------------------------


def test_strength_runs_the_last_levels_from_noised_data():
    """A denoiser that knows the answer is asked at these levels, and about that x."""
    grid = noise_levels(SHORT, 10)
    start = jnp.full((4, 8, 8, 1), 2.0)
    seen = []

    def denoise(x, t):
        jax.debug.callback(lambda x, t: seen.append((int(t[0]), np.array(x))), x, t)
        return start

    found = sample(
        denoise, SHORT, keys(4), (8, 8, 1), sampler="ddim", steps=10, clip=None,
        start=start, strength=0.3,
    )  # fmt: skip
    jax.effects_barrier()
    np.testing.assert_allclose(found, start, rtol=1e-6)
    seen.sort(key=lambda call: -call[0])
    assert [t for t, _ in seen] == grid.t[-3:].tolist()
    first = seen[0][1]
    assert abs(first.mean() - 2 * grid.alpha[-3]) < 4 * grid.sigma[-3] / 16
    np.testing.assert_allclose(first.std(), grid.sigma[-3], rtol=0.2)


def test_strength_needs_data_and_a_share():
    with pytest.raises(ValueError, match="needs clean data"):
        sample(times, SHORT, keys(1), (2, 2, 1), strength=0.5)
    with pytest.raises(ValueError, match=r"strength must lie in \(0, 1\], got 0"):
        sample(times, SHORT, keys(1), (2, 2, 1), strength=0)
