"""The step is the same on one device, on eight mapped and on eight sharded ones."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import toy_task

from irstd_jax.tasks.mask_diffusion import Sampling
from irstd_jax.training import parallel, state

BATCH = 16
OPTIMIZER = optax.adamw(1e-2)


def batch():
    rng = np.random.default_rng(0)
    mask = (rng.random((BATCH, 8, 8, 1)) > 0.9).astype(np.float32)
    noise = rng.standard_normal(mask.shape).astype(np.float32)
    return {"image": mask + noise, "mask": mask}


def task(axis=None):
    return toy_task.ToyTask(toy_task.ToyNetwork(axis), Sampling())


def first_state():
    return state.create(task().init(jax.random.key(0)), OPTIMIZER)


def on_one_device(steps=2):
    """The definition: the whole batch, all its keys, no mapping."""
    key, current = jax.random.key(1), first_state()
    for _ in range(steps):
        keys = parallel.example_keys(key, current.step, BATCH)
        grads, terms, stats = parallel.gradients(task().loss, current, batch(), keys, 1)
        current = parallel.update(current, grads, stats, OPTIMIZER, 0.9)
    return current, terms


def on_eight_devices(backend, accumulate=1, steps=2):
    assert jax.device_count() == 8
    step = parallel.train_step(
        backend,
        task(parallel.norm_axis(backend)).loss,
        OPTIMIZER,
        ema=0.9,
        accumulate=accumulate,
        batch_size=BATCH,
    )
    current, key = parallel.place((first_state(), jax.random.key(1)))
    for _ in range(steps):
        current, terms = step(current, batch(), key)
    return current, terms


def assert_same(a, b, atol=2e-6):
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_allclose(np.asarray(x), np.asarray(y), atol=atol, rtol=1e-5)


@pytest.mark.parametrize("backend", sorted(parallel.BACKENDS))
def test_eight_devices_equal_one(backend):
    one, one_terms = on_one_device()
    eight, eight_terms = on_eight_devices(backend)
    assert_same(one, eight)
    assert_same(one_terms, eight_terms)


@pytest.mark.parametrize("backend", sorted(parallel.BACKENDS))
def test_the_step_compiles_once(backend):
    traces, task_loss = [], task(parallel.norm_axis(backend)).loss

    def loss(*args):
        traces.append(1)
        return task_loss(*args)

    step = parallel.train_step(
        backend, loss, OPTIMIZER, ema=0.9, accumulate=1, batch_size=BATCH
    )
    current, key = parallel.place((first_state(), jax.random.key(1)))
    for _ in range(3):
        current, _ = step(current, batch(), key)
    assert len(traces) == 1


def test_batch_statistics_are_of_the_global_batch():
    state_of_eight, _ = on_eight_devices("pmap", steps=1)
    _, changed = task().network.apply(
        {"params": first_state().params, "batch_stats": first_state().batch_stats},
        batch()["image"]
        + 0.1
        * jax.vmap(lambda k: jax.random.normal(k, (8, 8, 1)))(
            parallel.example_keys(jax.random.key(1), 0, BATCH)
        ),
        True,
        mutable=["batch_stats"],
    )
    assert_same(state_of_eight.batch_stats, changed["batch_stats"])


def test_accumulation_is_the_same_in_both_ways():
    assert_same(on_eight_devices("pmap", 2), on_eight_devices("sharded", 2))


def test_accumulated_gradient_is_the_mean():
    """Of a loss without BatchNorm, parts of a batch give the gradient of the whole."""

    def loss(variables, batch, keys):
        value = jnp.mean(jnp.square(batch["x"] * variables["params"]["w"] - 1))
        return value, {"terms": {"loss": value}, "batch_stats": {}}

    current = state.create({"params": {"w": jnp.float32(0.3)}}, OPTIMIZER)
    data, keys = {"x": jnp.arange(8.0)}, jax.random.split(jax.random.key(0), 8)
    whole, _, _ = parallel.gradients(loss, current, data, keys, 1)
    parts, _, _ = parallel.gradients(loss, current, data, keys, 4)
    np.testing.assert_allclose(whole["w"], parts["w"], rtol=1e-6)


def test_average_starts_from_the_initial_parameters():
    before, (after, _) = first_state(), on_one_device(1)
    expected = jax.tree.map(
        lambda old, new: 0.9 * old + 0.1 * new, before.params, after.params
    )
    assert_same(after.ema, expected)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"backend": "tpu"}, "unknown parallel 'tpu'; choose from"),
        ({"batch_size": 12}, "data.batch_size 12 is not a multiple of 8 devices"),
        ({"accumulate": 4}, "optimizer.accumulate 4"),
    ],
)
def test_what_cannot_work_is_refused(fields, message):
    settings = {"backend": "pmap", "batch_size": BATCH, "accumulate": 1} | fields
    backend = settings.pop("backend")
    with pytest.raises(ValueError, match=message):
        parallel.train_step(backend, task().loss, OPTIMIZER, ema=0.9, **settings)


@pytest.mark.parametrize("backend", sorted(parallel.BACKENDS))
def test_what_is_fixed_is_read_and_not_changed(backend):
    def loss(variables, batch, keys):
        value = jnp.mean((variables["params"]["w"] - variables["frozen"]["y"]) ** 2)
        return value, {"terms": {"loss": value}, "batch_stats": {}}

    variables = {"params": {"w": jnp.zeros(3)}, "frozen": {"y": jnp.ones(3)}}
    step = parallel.train_step(
        backend, loss, optax.sgd(0.5), ema=0.9, accumulate=1, batch_size=BATCH
    )
    begun = parallel.place((state.create(variables, optax.sgd(0.5)), jax.random.key(1)))
    after, terms = step(begun[0], batch(), begun[1])
    assert float(terms["loss"]) == 1
    np.testing.assert_allclose(after.params["w"], 1 / 3, rtol=1e-6)
    assert after.fixed is begun[0].fixed
