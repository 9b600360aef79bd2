"""What a run carries from one step to the next."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp


class TrainState(NamedTuple):
    """A pytree: everything that a step reads and replaces.

    Attributes:
      step: () int32, the number of updates so far.
      params: the trained parameters.
      batch_stats: BatchNorm's running statistics (empty without BatchNorm).
      ema: the moving average of `params`, from their initial values on.
      opt_state: of the optimiser.
    """

    step: jax.Array
    params: Any
    batch_stats: Any
    ema: Any
    opt_state: Any


def create(variables, optimizer):
    """The state at step 0 of a network's initial variables."""
    params, batch_stats = variables["params"], variables.get("batch_stats", {})
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        params=params,
        batch_stats=batch_stats,
        ema=jax.tree.map(jnp.copy, params),
        opt_state=optimizer.init(params),
    )
