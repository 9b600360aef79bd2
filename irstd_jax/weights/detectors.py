"""What the tables of detectors share: convolutions and norms alone, one image in."""

import re

import jax
import jax.numpy as jnp

from irstd_jax.weights import engine

PREFIX = "net."  # of the names in checkpoints of frameworks that wrap the network
LEAVES = ((r"(kernel|scale)$", "weight"), (r"(mean|var)$", r"running_\1"))


def table(network, renamings):
    """The entries of a detector whose Flax paths become names by `renamings`.

    Args:
      network: the Linen module.
      renamings: (pattern, replacement) of paths joined by "/", tried in their order.
    """

    def torch_name(path, leaf):
        name = "/".join(path)
        for old, new in (*renamings, *LEAVES):
            name = re.sub(old, new, name)
        # A transposed convolution's kernel is kept as its convolution's: also "conv".
        return name.replace("/", "."), "conv" if leaf.ndim == 4 else "same"

    side = network.multiple
    image = jnp.zeros((1, side, side, network.in_channels))
    variables = jax.eval_shape(network.init, jax.random.key(0), image)
    return engine.table(variables, torch_name)
