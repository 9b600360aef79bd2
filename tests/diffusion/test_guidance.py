"""Guidance: where it moves, when, and that it does what the released code does."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from irstd_jax.diffusion import guidance, noise_schedule, sample, samplers, spacing

SCHEDULE = noise_schedule("scaled_linear", 1000)


def test_share_is_that_of_repeated_gradient_steps():
    scale, x0, target = 0.03, 2.0, 5.0
    for _ in range(5):
        gradient = jax.grad(lambda x: scale * (x - target) ** 2)(x0)
        x0 = x0 - gradient
    np.testing.assert_allclose((x0 - 2) / 3, guidance.share(scale, 5), rtol=1e-5)
    # The released scale on a latent of 4 x 64 x 64: 22 % of the way.
    np.testing.assert_allclose(guidance.share(400 / 16384, 5), 0.2214, atol=1e-4)


def test_only_late_times_are_guided():
    weights = guidance.weights(SCHEDULE, 50, 0.02, rule="x0")
    assert (weights[:199] == guidance.share(0.02, 5)).all() and not weights[199:].any()
    released = guidance.weights(SCHEDULE, 50, 0.02)
    assert np.flatnonzero(released).tolist() == [
        0, 20, 41, 61, 82, 102, 122, 143, 163, 183
    ]  # fmt: skip


def released_chain(denoise, target, scale, x, draw):
    """The released loop: five gradient steps, and half of them on the mean."""
    t, a, s = spacing.noise_levels(SCHEDULE, 50)
    a_next, s_next = np.append(a[1:], 1.0), np.append(s[1:], 0.0)
    for i in range(50):
        x0 = denoise(x, t[i])
        beta = 1 - (a[i] / a_next[i]) ** 2
        mean = a_next[i] * beta / s[i] ** 2 * x0
        mean = mean + a[i] / a_next[i] * s_next[i] ** 2 / s[i] ** 2 * x
        if -1 < t[i] + 1 < 200:
            for _ in range(5):
                step = 2 * scale * (target - x0)
                x0, mean = x0 + step, mean + 0.5 * step
        variance = beta * s_next[i] ** 2 / s[i] ** 2
        x = mean + np.sqrt(variance) * draw(i)
    return x


def test_the_released_rule_is_what_its_code_does():
    key, scale = jax.random.key(3), 400 / 16384
    start = np.array(jax.random.normal(key, (1, 4, 4, 1)), np.float64)
    target = np.full((1, 4, 4, 1), 0.7)

    def denoise(x, t):
        return 0.3 * x + 0.1

    weights = guidance.weights(SCHEDULE, 50, scale)
    toward = guidance.guided(denoise, jnp.asarray(target, jnp.float32), weights)
    keys = jax.random.split(jax.random.key(0), 1)
    found = sample(
        toward,
        SCHEDULE,
        keys,
        (4, 4, 1),
        steps=50,
        variance="small",
        clip=None,
        start=jnp.asarray(start, jnp.float32),
    )
    _, step_keys = jax.vmap(jax.random.split, out_axes=1)(keys)

    def draw(i):
        folded = jax.vmap(jax.random.fold_in, (0, None))(step_keys, i)
        return np.asarray(samplers.draw(folded, (4, 4, 1)), np.float64)

    expected = released_chain(denoise, target, scale, start, draw)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("rule", guidance.RULES)
def test_samples_move_toward_the_target(rule):
    """The more guidance, the nearer; gaussian data, of which the target is no part."""
    target = jnp.full((8, 4, 4, 1), 3.0)

    def denoise(x, t):
        signal = jnp.asarray(SCHEDULE.alpha, jnp.float32)[t][:, None, None, None]
        return signal * x  # exact for data N(0, 1)

    def distance(scale):
        weights = guidance.weights(SCHEDULE, 20, scale, rule=rule)
        found = sample(
            guidance.guided(denoise, target, weights),
            SCHEDULE,
            jax.random.split(jax.random.key(1), 8),
            (4, 4, 1),
            steps=20,
            variance="small",
            clip=None,
        )
        return float(jnp.square(found - target).mean())

    distances = [distance(scale) for scale in (0.0, 0.01, 0.03, 0.1)]
    assert all(np.diff(distances) < 0)
    assert distances[-1] < 0.5 * distances[0]


def test_refusals():
    with pytest.raises(ValueError, match="unknown guidance rule 'rgb'"):
        guidance.weights(SCHEDULE, 50, 0.1, rule="rgb")
    with pytest.raises(ValueError, match=r"must lie in \[0, 0.5\], got 400"):
        guidance.weights(SCHEDULE, 50, 400)
