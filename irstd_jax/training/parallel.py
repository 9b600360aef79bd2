"""One training step, put on many devices in one of two ways.

The step is a pure function of (state, global batch, key). Example i of step s draws
from the key `split(fold_in(key, s), b)[i]`, so that neither the number of devices nor
the way changes what is drawn; BatchNorm's statistics are those of the global batch in
both. `pmap` maps the step over the devices of this host and averages gradients itself;
`sharded` lets the compiler split one program over the devices of all hosts.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

AXIS = "batch"


def example_keys(key, step, count):
    """(count,) keys, one an example of the global batch at this step."""
    return jax.random.split(jax.random.fold_in(key, step), count)


def gradients(loss, state, batch, keys, accumulate):
    """Mean gradient, terms and new statistics over `accumulate` parts of the batch."""

    def of_part(batch_stats, part):
        batch, keys = part
        now = state._replace(batch_stats=batch_stats)
        value = lambda params: loss(now.variables(params), batch, keys)  # noqa: E731
        (_, aux), grads = jax.value_and_grad(value, has_aux=True)(state.params)
        return aux["batch_stats"], (grads, aux["terms"])

    if accumulate == 1:
        batch_stats, means = of_part(state.batch_stats, (batch, keys))
        return *means, batch_stats
    # Part p takes every accumulate-th example, so that a device's share stays its own.
    parts = jax.tree.map(
        lambda x: jnp.swapaxes(x.reshape(-1, accumulate, *x.shape[1:]), 0, 1),
        (batch, keys),
    )
    batch_stats, stacked = jax.lax.scan(of_part, state.batch_stats, parts)
    return *jax.tree.map(lambda x: x.mean(0), stacked), batch_stats


def update(state, grads, batch_stats, optimizer, decay):
    """The next state, without what is fixed: one step of optimiser and average."""
    updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
    params = optax.apply_updates(state.params, updates)
    ema = jax.tree.map(lambda e, p: decay * e + (1 - decay) * p, state.ema, params)
    return state._replace(
        step=state.step + 1,
        params=params,
        batch_stats=batch_stats,
        ema=ema,
        opt_state=opt_state,
        fixed={},
    )


def with_fixed(result, state):
    """A step's result with what the step only read: it is not copied every time."""
    following, terms = result
    return following._replace(fixed=state.fixed), terms


def pmapped(loss, optimizer, decay, accumulate):
    """The step mapped over the local devices, with the state kept once (unstacked)."""
    count = jax.local_device_count()

    @functools.partial(
        jax.pmap, axis_name=AXIS, in_axes=(None, 0, None), out_axes=(None, None)
    )
    def step(state, batch, key):
        local = len(batch["mask"])
        keys = example_keys(key, state.step, local * jax.device_count())
        keys = jax.lax.dynamic_slice_in_dim(
            keys, jax.lax.axis_index(AXIS) * local, local
        )
        grads, terms, stats = gradients(loss, state, batch, keys, accumulate)
        grads, terms, stats = jax.lax.pmean((grads, terms, stats), AXIS)
        return update(state, grads, stats, optimizer, decay), terms

    def put(batch):
        return jax.tree.map(lambda x: x.reshape(count, -1, *x.shape[1:]), batch)

    return lambda state, batch, key: with_fixed(step(state, put(batch), key), state)


def sharded(loss, optimizer, decay, accumulate):
    """The step as one program over a mesh of all devices of all processes."""
    mesh = Mesh(np.array(jax.devices()), (AXIS,))
    whole = NamedSharding(mesh, PartitionSpec())
    rows = NamedSharding(mesh, PartitionSpec(AXIS))

    @functools.partial(
        jax.jit, in_shardings=(whole, rows, whole), out_shardings=(whole, whole)
    )
    def step(state, batch, key):
        keys = example_keys(key, state.step, len(batch["mask"]))
        grads, terms, stats = gradients(loss, state, batch, keys, accumulate)
        return update(state, grads, stats, optimizer, decay), terms

    def put(batch):
        place = lambda x: jax.make_array_from_process_local_data(rows, x)  # noqa: E731
        return jax.tree.map(place, batch)

    return lambda state, batch, key: with_fixed(step(state, put(batch), key), state)


BACKENDS = {"pmap": pmapped, "sharded": sharded}


def place(tree):
    """The same tree, held once on each device: as the step returns it.

    A tree placed otherwise would make the second step compile again.
    """
    whole = NamedSharding(Mesh(np.array(jax.devices()), (AXIS,)), PartitionSpec())
    # Not device_put, which refuses devices of other processes.
    return jax.jit(lambda tree: tree, out_shardings=whole)(tree)


def norm_axis(backend):
    """The axis over which BatchNorm averages by itself: only `pmap` needs one."""
    return AXIS if backend == "pmap" else None


def train_step(backend, loss, optimizer, *, ema, accumulate, batch_size):
    """`step(state, local batch, key) -> (state, mean loss terms)` on all devices.

    Args:
      backend: a name in BACKENDS.
      loss: `(variables, batch, keys) -> (scalar, {"terms": .., "batch_stats": ..})`.
      optimizer: an optax transformation.
      ema: decay of the moving average, in [0, 1).
      accumulate: parts into which a device's batch is cut to save memory.
      batch_size: of the global batch.

    Raises:
      ValueError: unknown backend, or a batch that does not divide.
    """
    if backend not in BACKENDS:
        raise ValueError(
            f"unknown parallel {backend!r}; choose from {sorted(BACKENDS)}"
        )
    if backend == "pmap" and jax.process_count() > 1:
        raise ValueError("several processes need --config.parallel=sharded")
    if batch_size % (jax.device_count() * accumulate):
        raise ValueError(
            f"data.batch_size {batch_size} is not a multiple of {jax.device_count()} "
            f"devices times optimizer.accumulate {accumulate}"
        )
    return BACKENDS[backend](loss, optimizer, ema, accumulate)
