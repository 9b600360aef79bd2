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
      fixed: further collections of variables {name: tree}, such as networks trained
        before, which the loss reads and no step changes.
    """

    step: jax.Array
    params: Any
    batch_stats: Any
    ema: Any
    opt_state: Any
    fixed: Any

    def variables(self, params):
        """What the task's functions take, with these parameters."""
        return {"params": params, "batch_stats": self.batch_stats} | self.fixed


def create(variables, optimizer):
    """The state at step 0 of a network's initial variables."""
    params, batch_stats = variables["params"], variables.get("batch_stats", {})
    trained = ("params", "batch_stats")
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        params=params,
        batch_stats=batch_stats,
        ema=jax.tree.map(jnp.copy, params),
        opt_state=optimizer.init(params),
        fixed={name: v for name, v in variables.items() if name not in trained},
    )
