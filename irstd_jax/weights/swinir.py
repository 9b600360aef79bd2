"""The names of SwinIR's weights, as in DiffBIR's `general_swinir_v1.ckpt`.

They hold for every configuration. Inside a checkpoint of the whole Diff-Mosaic system
each name begins with `preprocess_model.`.
"""

import jax
import jax.numpy as jnp

from irstd_jax.models import build
from irstd_jax.weights import engine, names

PREFIX = "preprocess_model."
RENAMINGS = (
    (r"(kernel|scale)$", "weight"),
    (r"bias_table$", "relative_position_bias_table"),
    (r"attention/", "attn/"),
    (r"mlp_in/", "mlp.fc1/"),
    (r"mlp_out/", "mlp.fc2/"),
    (r"group_(\d+)/block_(\d+)/", r"layers.\1.residual_group.blocks.\2/"),
    (r"group_(\d+)/", r"layers.\1/"),
    (r"embed_norm/", "patch_embed.norm/"),
    (r"conv_first/", "conv_first.1/"),  # behind the unshuffling
    (r"conv_before_up/", "conv_before_upsample.0/"),
    (r"conv_up_(\d+)/", r"conv_up\1/"),
)


def torch_name(path, leaf):
    """The released name of a Flax path and the kind of its axes (engine.KINDS)."""
    name = names.substituted("/".join(path), RENAMINGS)
    return name.replace("/", "."), names.kind(path, leaf)


def table(**fields):
    """The entries for SwinIR(**fields); the published ones by default."""
    network = build("swinir", **fields)
    image = jnp.zeros((1, network.multiple, network.multiple, network.in_channels))
    variables = jax.eval_shape(network.init, jax.random.key(0), image)
    return engine.table(variables, torch_name)
