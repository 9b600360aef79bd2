"""What the tables of detectors share: convolutions and norms alone, one image in."""

import re

import jax
import jax.numpy as jnp

from irstd_jax.weights import engine, names

# What frameworks that wrap the network put before its names in their checkpoints.
PREFIX = "net."
COLLECTION = "model."  # BasicIRSTD
LEAVES = ((r"(kernel|scale)$", "weight"), (r"(mean|var)$", r"running_\1"))
# Names of trunk.py's layers, and of a residual block's in two spellings.
TRUNK = (
    (r"norm_in/", "stem.0/"),
    (r"stem_(\d)/conv/", lambda m: f"stem.{3 * int(m[1]) + 1}/"),
    (r"stem_(\d)/norm/", lambda m: f"stem.{3 * int(m[1]) + 2}/"),
    (r"layer(\d)_(\d+)/", r"layer\1.\2/"),
    (r"head_in/conv/", "head.block.0/"),
    (r"head_in/norm/", "head.block.1/"),
    (r"head_out/", "head.block.4/"),
)
SHORTCUT = (
    (r"shortcut/conv/", "downsample.0/"),
    (r"shortcut/norm/", "downsample.1/"),
)
BODY = (
    (r"conv_in/conv/", "body.0/"),
    (r"conv_in/norm/", "body.1/"),
    (r"conv_out/conv/", "body.3/"),
    (r"conv_out/norm/", "body.4/"),
    *SHORTCUT,
)
BASIC = (
    (r"conv_in/conv/", "conv1/"),
    (r"conv_in/norm/", "bn1/"),
    (r"conv_out/conv/", "conv2/"),
    (r"conv_out/norm/", "bn2/"),
    *SHORTCUT,
)
# MXNet's words for the weight and bias of a normalisation.
GLUON = ((r"\.gamma$", ".weight"), (r"\.beta$", ".bias"))


def gate(ours, theirs, pooled):
    """Renamings of layers.gate: a pool in front of it moves its numbers by one."""
    parts = {"in/conv": 0, "in/norm": 1, "out/conv": 3, "out/norm": 4}
    return tuple(
        (f"/{ours}_{part}/", f"/{theirs}.{place + pooled}/")
        for part, place in parts.items()
    )


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


def canonical(state_dict, **fields):
    """Weights of MXNet under the names that PyTorch would give them."""
    return names.renamed(state_dict, lambda name: names.substituted(name, GLUON))
