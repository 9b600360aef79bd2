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
      ema: moving averages {"params", "batch_stats"}, from the initial values on. The
        released code averages the parameters alone, and its average then meets the
        statistics of another network: at step 400 of `nuaa_sirst.py:small` that moved
        the mean logit of target pixels from -0.4 to -8.6.
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
        ema={"params": params, "batch_stats": batch_stats},
        opt_state=optimizer.init(params),
    )
