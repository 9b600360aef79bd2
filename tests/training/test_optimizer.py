"""The course of the learning rate, PyTorch's rules by hand, and refusals."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
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
    end = {"constant": 1.0, "steps": 0.01}.get(decay, 0.0)
    assert rate(100) == pytest.approx(end, abs=1e-6)


def test_poly_is_its_formula():
    rate = optimizer.poly(0.05, 200, 0)
    for step in (0, 50, 150, 199):
        assert rate(step) == pytest.approx(0.05 * (1 - step / 200) ** 0.9, rel=1e-5)
    assert optimizer.poly(1.0, 200, 0, power=2.0)(100) == pytest.approx(0.25)


def test_steps_fall_at_shares_of_the_run():
    """BasicIRSTD: a tenth at epochs 200 and 300 of 400."""
    rate = optimizer.steps(5e-4, 400, 20)
    expected = {10: 2.5e-4, 199: 5e-4, 200: 5e-5, 299: 5e-5, 300: 5e-6}
    for step, value in expected.items():
        assert rate(step) == pytest.approx(value, rel=1e-5)


def test_options_of_a_decay_come_from_the_settings():
    given = settings(decay="steps", milestones=(0.25,), factor=0.5, learning_rate=1.0)
    rate = optimizer.schedule(given, 8)
    assert [float(rate(step)) for step in (0, 1, 2, 7)] == [1.0, 1.0, 0.5, 0.5]


# --- the rules of torch.optim, written down again in float64 ----------------------


def adam(p, g, t, memory, rate, decay):
    g = g + decay * p
    return adam_step(p, g, t, memory, rate)


def adamw(p, g, t, memory, rate, decay):
    return adam_step(p * (1 - rate * decay), g, t, memory, rate)


def adam_step(p, g, t, memory, rate):
    memory["m"] = 0.9 * memory.get("m", 0) + 0.1 * g
    memory["v"] = 0.999 * memory.get("v", 0) + 0.001 * g**2
    m, v = memory["m"] / (1 - 0.9**t), memory["v"] / (1 - 0.999**t)
    return p - rate * m / (np.sqrt(v) + 1e-8)


def adagrad(p, g, t, memory, rate, decay):
    g = g + decay * p
    memory["sum"] = memory.get("sum", 0) + g**2
    return p - rate * g / (np.sqrt(memory["sum"]) + 1e-10)


def sgd(p, g, t, memory, rate, decay):
    g = g + decay * p
    memory["u"] = 0.9 * memory["u"] + g if "u" in memory else g
    return p - rate * memory["u"]


RULES = {"adam": adam, "adamw": adamw, "adagrad": adagrad, "sgd": sgd}


@pytest.mark.parametrize("decay", [0.0, 0.1])
@pytest.mark.parametrize("name", sorted(optimizer.OPTIMIZERS))
def test_ten_steps_are_those_of_torch(name, decay):
    rng = np.random.default_rng(0)
    fields = {"learning_rate": 0.05, "decay": "constant", "weight_decay": decay}
    made = optimizer.make_optimizer(settings(name=name, **fields), 10)
    params = jnp.asarray(rng.normal(size=5), jnp.float32)
    state, p, memory = made.init(params), np.float64(params), {}
    for t in range(1, 11):
        # Tiny gradients too: an epsilon in another place would show.
        g = rng.normal(size=5) * [1, 1e-3, 1e-6, 1e-8, 0]
        updates, state = made.update(jnp.asarray(g, jnp.float32), state, params)
        params = optax.apply_updates(params, updates)
        p = RULES[name](p, g, t, memory, 0.05, decay)
    # 1 - 0.999^t has four digits in float32, and steps are 0.05.
    np.testing.assert_allclose(params, p, rtol=2e-5, atol=1e-5)


def test_the_default_is_adamw():
    chosen = optimizer.make_optimizer(settings(name="adamw", weight_decay=0.1), 10)
    default = optimizer.make_optimizer(settings(weight_decay=0.1), 10)
    params, g = jnp.ones(3), jnp.arange(3.0)
    for made in (chosen, default):
        updates, _ = made.update(g, made.init(params), params)
        np.testing.assert_allclose(updates, -1e-4 * (np.sign(g) + 0.1), rtol=1e-4)


def test_clip_bounds_the_gradient_s_norm():
    params = {"w": jnp.zeros(4)}
    clipped = optimizer.make_optimizer(settings(clip=1.0, decay="constant"), 10)
    state = clipped.init(params)
    _, state = clipped.update({"w": jnp.full(4, 100.0)}, state, params)
    first_moment = state[1][0].mu["w"]
    assert jnp.linalg.norm(first_moment) == pytest.approx(0.1, rel=1e-5)


@pytest.mark.parametrize("name", sorted(optimizer.OPTIMIZERS))
def test_one_flat_vector_of_weights_goes_the_same_way(name):
    rng = np.random.default_rng(0)
    fields = {"weight_decay": 0.1, "clip": 1.0, "learning_rate": 0.05}
    params = {"w": rng.normal(size=(2, 3)), "b": {"c": rng.normal(size=4)}}
    params = jax.tree.map(jnp.float32, params)

    def after(flat):
        made = optimizer.make_optimizer(settings(name=name, flat=flat, **fields), 10)
        p, state = params, made.init(params)
        # Of ten cosines: the first gradient is shorter than clip, the others are not.
        for scale in (0.1, 1.0, 10.0):
            g = jax.tree.map(partial(lambda scale, x: scale * jnp.cos(x), scale), p)
            updates, state = made.update(g, state, p)
            p = optax.apply_updates(p, updates)
        return p, state

    same = partial(np.testing.assert_allclose, rtol=1e-6, atol=1e-7)
    (expected, _), (found, state) = after(False), after(True)
    jax.tree.map(same, found, expected)
    assert {leaf.shape for leaf in jax.tree.leaves(state)} <= {(), (10,)}


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"decay": "stairs"}, "unknown optimizer.decay 'stairs'; choose from"),
        ({"name": "lion"}, "unknown optimizer.name 'lion'; choose from"),
        ({"warmup": 10}, "optimizer.warmup 10 must be less than num_steps 10"),
    ],
)
def test_what_cannot_work_is_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        optimizer.make_optimizer(settings(**fields), 10)
