"""The boundary, the teacher's step, and students whose perfect teacher is known."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from irstd_jax.diffusion import consistency, process, samplers
from irstd_jax.diffusion.process import at
from irstd_jax.diffusion.schedule import Schedule, noise_schedule

MU, TAU = 0.3, 0.5
SHORT = noise_schedule("linear", 100)
GRID = consistency.times(SHORT, 20)
SHAPE = (4, 4, 1)
ROUNDS = 600


def gaussian(schedule=SHORT):
    """A and B of E[x0 | x_t] = A_t x + B_t for data N(MU, TAU^2), (T,) each."""
    gain = schedule.alpha * TAU**2 / spread(schedule) ** 2
    return gain, MU * (1 - gain * schedule.alpha)


def spread(schedule=SHORT):
    """The standard deviation of x_t, data and noise together."""
    return np.sqrt((schedule.alpha * TAU) ** 2 + schedule.sigma**2)


def two_points(share):
    """A and B of E[x0 | x_t] = tanh(A_t x + B_t): +1 with this probability, else -1."""
    gain = SHORT.alpha / SHORT.sigma**2
    return gain, np.full_like(gain, np.arctanh(2 * share - 1))


def denoiser(table, squash=lambda y: y):
    """x0^ = squash(A_t x + B_t)."""
    return lambda x, t: squash(at(table[0], t, x) * x + at(table[1], t, x))


def keys(count, seed=1):
    return jax.random.split(jax.random.key(seed), count)


def draws(count=2, seed=0):
    """Data about [-1, 1] and noise, (count, *SHAPE) each."""
    return jax.random.normal(jax.random.key(seed), (2, count, *SHAPE))


# --- times ----------------------------------------------------------------------------


@pytest.mark.parametrize("even", consistency.TIMES)
@pytest.mark.parametrize("count", [2, 20, 40, 100])
def test_a_grid_rises_from_the_first_time_to_the_last(even, count):
    grid = consistency.times(SHORT, count, even)
    assert (grid[0], grid[-1]) == (0, 99) and np.all(np.diff(grid) > 0)
    assert len(grid) == count or (even == "karras" and len(grid) > count // 2)


def test_karras_times_are_even_in_the_seventh_root_of_sigma():
    long = noise_schedule("linear", 1000)
    root = (long.sigma / long.alpha) ** (1 / 7)
    steps = np.diff(root[consistency.times(long, 9, "karras")])
    # Integer times are at most one time away from the level that is asked for.
    np.testing.assert_allclose(steps, steps.mean(), atol=2 * np.diff(root[3:]).max())


# --- the boundary ---------------------------------------------------------------------


@pytest.mark.parametrize("deviation", [0.5, 1.0])
@pytest.mark.parametrize("name", consistency.BOUNDARIES)
def test_at_the_first_time_nothing_changes(name, deviation):
    """Whatever the denoiser says, which here is nonsense."""
    x, noise = draws()
    tables = consistency.scalings(SHORT, name, deviation)
    found = consistency.function(lambda x, t: 50 * noise, tables)(x, jnp.zeros(2, int))
    scale = SHORT.alpha[0] if name == "karras" else 1.0
    np.testing.assert_allclose(found, x / scale, rtol=1e-6)


@pytest.mark.parametrize("deviation", [0.5, 1.0])
def test_karras_is_the_published_form(deviation):
    """c_skip X + c_out F for a network F of the published scalings, by its x0."""
    sigma, F = SHORT.sigma / SHORT.alpha, 0.7  # noqa: N806
    X, m = np.linspace(-2, 2, 100), sigma[0]  # noqa: N806
    root = np.sqrt(sigma**2 + deviation**2)
    x0 = deviation**2 / root**2 * X + sigma * deviation / root * F
    expected = deviation**2 / ((sigma - m) ** 2 + deviation**2) * X
    expected += deviation * (sigma - m) / root * F
    skip, out = consistency.scalings(SHORT, "karras", deviation)
    np.testing.assert_allclose(skip * SHORT.alpha * X + out * x0, expected, atol=1e-12)


def test_the_vp_shortcut():
    """d = 1: F is -v, and what Eq. 5 would be for m = 0 is a x - s v."""
    x, v = 0.4, -1.1
    a, s = SHORT.alpha, SHORT.sigma
    X, sigma, F = x / a, s / a, -v  # noqa: N806
    x0 = X / (sigma**2 + 1) + sigma / np.sqrt(sigma**2 + 1) * F
    np.testing.assert_allclose(x0, process.to_x0("v", v, x, a, s), rtol=1e-12)


def test_a_wide_deviation_is_one_step_of_ddim_to_the_first_time():
    skip, out = consistency.scalings(SHORT, "karras", 1e6)
    for t in (1, 30, 99):
        jump = consistency.path(SHORT, np.array([0, t]))
        found = np.array([skip[t], out[t]]) * SHORT.alpha[0]
        np.testing.assert_allclose(found, [jump.x[0], jump.x0[0]], rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("name", consistency.BOUNDARIES)
def test_far_from_the_first_time_the_function_is_the_denoiser(name):
    skip, out = consistency.scalings(SHORT, name)
    assert abs(skip[-1] / SHORT.alpha[-1]) < 1e-3 and abs(out[-1] - 1) < 1e-3


# --- the teacher's step ---------------------------------------------------------------


def even_levels(count):
    """A schedule whose every time is a step of one size in log-SNR, from 8 to -8."""
    half = np.linspace(4, -4, count)
    alpha_bar = 1 / (1 + np.exp(-2 * half))
    return Schedule("even", 1 - alpha_bar / np.append(1.0, alpha_bar[:-1]))


def teacher_errors(count):
    """The largest error of the whole chain, and of its middle step, in float64."""
    schedule = even_levels(count)
    steps = consistency.path(schedule, np.arange(count))
    (gain, shift), deviation = gaussian(schedule), spread(schedule)
    start = np.linspace(-3, 3, 9)

    def step(n, x):
        t = steps.late[n]
        return steps.x[n] * x + steps.x0[n] * (gain[t] * x + shift[t])

    def error(t, early, found):
        exact = deviation[early] / deviation[t] * (start - schedule.alpha[t] * MU)
        return np.abs(found - exact - schedule.alpha[early] * MU).max()

    x = start
    for n in range(count - 1)[::-1]:
        x = step(n, x)
    middle = count // 2
    return error(count - 1, 0, x), error(middle, middle - 1, step(middle - 1, start))


def test_the_teacher_s_steps_follow_the_flow_with_order_one():
    """The chain's errors fall with order 1, and so those of one step with 2."""
    counts = np.array([41, 81, 161, 321])
    errors = np.array([teacher_errors(count) for count in counts])
    for found, order in zip(errors.T, (1, 2), strict=True):
        slope = -np.polyfit(np.log(counts - 1), np.log(found), 1)[0]
        assert slope == pytest.approx(order, abs=0.05)


@pytest.mark.parametrize("taught", [True, False])
def test_a_pair_is_one_step_apart(taught):
    """By a teacher that errs; without one, the data with less of the same noise."""
    x0, eps = draws(3)
    n = jnp.array([0, 7, 18])
    late, early = GRID[n + 1], GRID[n]
    same = lambda x, t: x  # noqa: E731
    found, wanted = consistency.pair(
        SHORT, consistency.path(SHORT, GRID), n, x0, eps, same, same,
        (lambda x, t: x0 + 1) if taught else None,
    )  # fmt: skip
    np.testing.assert_allclose(found, process.q_sample(SHORT, x0, late, eps), rtol=1e-6)
    told = x0 + 1 if taught else x0
    alpha, sigma = process.signal_and_noise(SHORT, late, x0)
    noise = (found - alpha * told) / sigma
    expected = process.q_sample(SHORT, told, early, noise)
    np.testing.assert_allclose(wanted, expected, atol=1e-5)


def test_only_the_student_learns():
    x0, eps = draws()
    steps, n = consistency.path(SHORT, GRID), jnp.array([3, 12])

    def loss(student, target, teacher):
        of = lambda scale: lambda x, t: scale * x  # noqa: E731
        sides = (of(student), of(target), of(teacher))
        found, wanted = consistency.pair(SHORT, steps, n, x0, eps, *sides)
        return jnp.sum(consistency.distance("l2", found, wanted))

    grads = jax.grad(loss, (0, 1, 2))(0.5, 0.6, 0.7)
    assert grads[0] != 0 and grads[1] == grads[2] == 0


# --- distances ------------------------------------------------------------------------


def test_distances_by_hand():
    found, wanted = (jnp.array(v).reshape(1, 2, 1, 1) for v in ([0.6, 0.0], [0.2, 1.0]))
    square = (0.16 + 1.0) / 2
    p, q = np.array([0.8, 0.5]), np.array([0.6, 1 - 1e-4])
    entropy = -(q * np.log(p) + (1 - q) * np.log(1 - p)).mean()
    c = 0.00054 * np.sqrt(2)
    expected = {
        "bce": entropy,
        "l2": square,
        "pseudo_huber": (np.sqrt(2 * square + c**2) - c) / np.sqrt(2),
    }
    for name in consistency.DISTANCES:
        value = consistency.distance(name, found, wanted)
        np.testing.assert_allclose(value, [expected[name]], rtol=1e-5)


@pytest.mark.parametrize("name", consistency.DISTANCES)
def test_a_distance_falls_toward_what_is_wanted(name):
    """From both sides and from beyond [-1, 1], with a finite gradient."""
    wanted = jnp.array([-1.0, -0.3, 0.9, 1.0])

    def value(found, wanted):
        images = (x.reshape(1, 1, 1, 1) for x in (found, wanted))
        return consistency.distance(name, *images)[0]

    slope = jax.jit(jax.vmap(jax.grad(value)))
    for found in (jnp.full(4, -1.6), wanted - 0.05):
        assert np.all(slope(found, wanted) < 0)
    for found in (jnp.full(4, 1.6), wanted + 0.05):
        assert np.all(slope(found, wanted) > 0)
        assert np.all(slope(found, wanted) < 1e4)


def test_weights_count():
    found, wanted = jnp.zeros((1, 1, 2, 1)), jnp.array([1.0, 2.0]).reshape(1, 1, 2, 1)
    value = consistency.distance("l2", found, wanted, jnp.array([[[[3.0], [1.0]]]]))
    np.testing.assert_allclose(value, [(3 + 4) / 2])


# --- students of a teacher that is known ----------------------------------------------


def identity(y):
    return y


@functools.partial(jax.jit, static_argnums=range(7))
def distilled(count, boundary, distance, squash, taught, optimiser, data, exact):
    """(A, B) of a student x0^ = squash(A_t x + B_t) after ROUNDS rounds.

    It begins as the teacher, and has a grid of `count` times. data: (key, shape) -> x0.
    """
    steps = consistency.path(SHORT, consistency.times(SHORT, count))
    tables = consistency.scalings(SHORT, boundary)
    n = jnp.tile(jnp.arange(count - 1), 16)
    teacher = denoiser(exact, squash) if taught else None

    def loss(table, key):
        x0_key, eps_key = jax.random.split(key)
        x0 = data(x0_key, (len(n), *SHAPE))
        eps = jax.random.normal(eps_key, x0.shape)
        f = consistency.function(denoiser(table, squash), tables)
        sides = consistency.pair(SHORT, steps, n, x0, eps, f, f, teacher)
        return jnp.mean(consistency.distance(distance, *sides))

    def descend(carry, key):
        table, state = carry
        updates, state = optimiser.update(jax.grad(loss)(table, key), state, table)
        return (optax.apply_updates(table, updates), state), None

    start = tuple(jnp.asarray(column, jnp.float32) for column in exact)
    (table, _), _ = jax.lax.scan(
        descend, (start, optimiser.init(start)), keys(ROUNDS, seed=3)
    )
    return table


def chain(count, exact, x, squash=identity):
    """Where the teacher's steps over `count` times take x at the last: x at t_1."""
    steps = consistency.path(SHORT, consistency.times(SHORT, count))
    for n in range(len(steps.late))[::-1]:
        t = steps.late[n]
        x = steps.x[n] * x + steps.x0[n] * squash(exact[0][t] * x + exact[1][t])
    return x


def normal(key, shape):
    return MU + TAU * jax.random.normal(key, shape)


def signs(key, shape):
    return jnp.where(jax.random.uniform(key, shape) < 0.2, 1.0, -1.0)


def falling(rate):
    return optax.cosine_decay_schedule(rate, ROUNDS)


@pytest.mark.parametrize(
    "boundary, taught, least", [("karras", True, 5e-3), ("lcm", False, 0.02)]
)
def test_one_evaluation_goes_the_way_of_the_flow(boundary, taught, least):
    """x_0 = mu + tau / S_T (x - a_T mu), within 2 deviations of x and .1 deviations.

    .04 of it is the teacher's, who takes 49 steps of DDIM; the student is as good as it
    by `least`. In the plain x0^ nothing of the noise is left.
    """
    count, exact = 50, gaussian()
    # The curvature of a level's own loss is about 2 / (count - 1).
    optimiser = optax.sgd(falling(0.25 * (count - 1)))
    gain, shift = distilled(
        count, boundary, "l2", identity, taught, optimiser, normal, exact
    )
    x = np.linspace(-2, 2, 9)
    skip, out = consistency.scalings(SHORT, boundary)
    found = skip[-1] * x + out[-1] * (float(gain[-1]) * x + float(shift[-1]))
    flow = MU + TAU / spread()[-1] * (x - SHORT.alpha[-1] * MU)
    np.testing.assert_allclose(found, chain(count, exact, x), atol=least)
    np.testing.assert_allclose(found, flow, atol=0.1 * TAU)
    assert np.ptp(exact[0][-1] * x + exact[1][-1]) < 0.01 * np.ptp(flow)


def test_one_evaluation_decides_as_the_teacher_s_chain_does():
    """Of two points: a share of .186 of the noise goes to +1, whose share is .2.

    The plain x0^ says -.6 to all of it.
    """
    count, exact = 20, two_points(0.2)
    optimiser = optax.adam(falling(0.15))
    gain, shift = distilled(
        count, "lcm", "bce", jnp.tanh, True, optimiser, signs, exact
    )
    x = np.random.default_rng(0).standard_normal(100_000)
    found = np.tanh(float(gain[-1]) * x + float(shift[-1]))
    taught = chain(count, exact, x, np.tanh)
    assert (taught > 0).mean() == pytest.approx(0.186, abs=0.005)
    assert (found > 0).mean() == pytest.approx((taught > 0).mean(), abs=0.015)
    assert np.mean(np.abs(found) > 0.5) > 0.8
    assert np.all(np.tanh(exact[0][-1] * x + exact[1][-1]) < -0.5)


# --- sampling -------------------------------------------------------------------------


def consistent():
    """The exact consistency function of the Gaussian data, as a denoiser.

    With the boundary "karras" and f = MU + TAU (x - a MU) / S, x0^ is what Eq. 3 asks.
    """
    skip, out = consistency.scalings(SHORT, "karras")
    slope = TAU / spread()
    gain = np.divide(slope - skip, out, out=np.zeros_like(out), where=out > 0)
    rest = MU * (1 - SHORT.alpha * slope)
    shift = np.divide(rest, out, out=np.zeros_like(out), where=out > 0)
    return denoiser((gain, shift))


def test_visited_times():
    assert consistency.visited(GRID, 1).tolist() == [99]
    assert consistency.visited(GRID, 2).tolist() == [99, GRID[10]]
    every = consistency.visited(GRID, len(GRID) - 1)
    np.testing.assert_array_equal(every, GRID[:0:-1])
    for steps in (0, len(GRID)):
        with pytest.raises(ValueError, match="allows 1 to 19 steps, not"):
            consistency.visited(GRID, steps)


@pytest.mark.parametrize("steps", [1, 2, 5])
def test_an_exact_function_draws_the_data(steps):
    """Within four standard errors of N(MU, TAU^2), over 16384 independent pixels."""
    draw = functools.partial(
        consistency.sample, consistent(), SHORT, grid=GRID, boundary="karras",
        steps=steps, clip=None, trajectory=True,
    )  # fmt: skip
    x0, every = jax.jit(lambda k: draw(k, (64, 64, 1)))(keys(4))
    assert every.shape == (steps, 4, 64, 64, 1)
    assert x0.mean() == pytest.approx(MU, abs=4 * TAU / np.sqrt(x0.size))
    assert x0.std() == pytest.approx(TAU, abs=4 * TAU / np.sqrt(2 * x0.size))
    np.testing.assert_array_equal(x0, every[-1])


def test_one_step_is_the_function_of_the_samplers_noise():
    """So that a student and its teacher can be compared sample by sample."""
    settings = {"grid": GRID, "boundary": "lcm", "clip": None}
    same = lambda x, t: x  # noqa: E731
    found = consistency.sample(same, SHORT, keys(2), SHAPE, **settings)
    noise = samplers.sample(
        same, SHORT, keys(2), SHAPE, sampler="ddim", steps=1, clip=None
    )
    skip, out = consistency.scalings(SHORT, "lcm")
    np.testing.assert_allclose(found, (skip[-1] + out[-1]) * noise, rtol=1e-6)


def test_an_example_depends_on_its_key_alone():
    draw = jax.jit(
        lambda k: consistency.sample(consistent(), SHORT, k, SHAPE, grid=GRID, steps=3)
    )
    together = draw(keys(4))
    np.testing.assert_array_equal(together[2:3], draw(keys(4)[2:3]))
    assert np.abs(together[0] - together[1]).max() > 0.1
    assert np.abs(together).max() <= 1


# --- refusals -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda: consistency.times(SHORT, 9, "even"), "unknown spacing 'even'; choose"),
        (lambda: consistency.times(SHORT, 101), "2 to T = 100 times, not 101"),
        (lambda: consistency.scalings(SHORT, "edm"), "unknown boundary 'edm'; choose"),
        (lambda: consistency.scalings(SHORT, "lcm", 0.0), "must be positive, got 0.0"),
        (lambda: consistency.distance("lpips", 0, 0), "unknown distance 'lpips'; cho"),
    ],
)
def test_unknown_names(call, words):
    with pytest.raises(ValueError, match=words):
        call()
