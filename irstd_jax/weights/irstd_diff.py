"""The names of IRSTD-Diff's published weights: 998 parameters and 322 statistics.

Each Flax path, joined by "/", becomes the released name by the renamings below, which
are tried in their order. They hold for every configuration of the network.
"""

import re

import jax
import jax.numpy as jnp

from irstd_jax.models import build
from irstd_jax.weights import engine


def counted_from(n, name):
    """A replacement "name.(n - index)", for modules numbered the other way round."""
    return lambda match: f"{name}.{n - int(match[1])}"


# First what stands anywhere, then inside of blocks, then where the blocks are.
LEAVES = (
    (r"(kernel|scale)$", "weight"),
    (r"(mean|var)$", r"running_\1"),
    (r"bias_table$", "relative_position_bias_table"),
)
CONDITIONAL_ENCODER = (
    (r"ipof_(\d)/(conv_\d)_in/conv/", r"ipof_\1/\2.0/"),
    (r"ipof_(\d)/(conv_\d)_in/norm/", r"ipof_\1/\2.1/"),
    (r"ipof_(\d)/(conv_\d)_out/conv/", r"ipof_\1/\2.3/"),
    (r"ipof_(\d)/(conv_\d)_out/norm/", r"ipof_\1/\2.4/"),
    (r"ipof_(\d)/out/conv/", r"ipof_\1/out.0/"),
    (r"ipof_(\d)/out/norm/", r"ipof_\1/out.1/"),
    (r"widen_in/", "conv_up.0/"),
    (r"widen_in_norm/", "conv_up.1/"),
    (r"widen_out/", "conv_up.3/"),
    (r"widen_out_norm/", "conv_up.4/"),
    (r"doda/", "DODA.conv/"),
    (r"liw/conv_in/", "liw/conv/"),
    (r"liw/up_(\d)/", r"liw/up_conv_blocks.\1/"),
    (r"swin_(\d)/", r"swin_blocks.\1/"),
    (r"attention/", "attn/"),
    (r"mlp_in/", "mlp.fc1/"),
    (r"mlp_out/", "mlp.fc2/"),
    (r"/down_(\d)/", r"/encode_modules.\1/"),
    (r"/up_(\d)/", r"/decode_modules.\1/"),
    (r"/norm/", "/bn/"),
    (r"encoder/en_(\d)/", lambda m: f"CE/encode_modules.{int(m[1]) - 1}/"),
    (r"encoder/de_(\d)", counted_from(5, "CE/decode_modules")),
    (r"encoder/ipof_(\d)", counted_from(5, "CE/ipof_modules")),
    (r"encoder/side_(\d)", counted_from(6, "CE/side_modules")),
    (r"encoder/fuse/", "CE/out_conv/"),
    (r"encoder/fused_norm/", "CE/bn/"),
    (r"encoder/", "CE/"),
)
UNET = (
    (r"norm_in/", "in_layers.0/"),
    (r"conv_in/", "in_layers.2/"),
    (r"time/", "emb_layers.1/"),
    (r"norm_out/", "out_layers.0/"),
    (r"conv_out/", "out_layers.3/"),
    (r"skip/", "skip_connection/"),
    (r"proj/", "proj_out/"),
    (r"unet/time_in/", "time_embed.0/"),
    (r"unet/time_out/", "time_embed.2/"),
    (r"unet/norm/", "out.0/"),
    (r"unet/out/", "out.2/"),
    (r"unet/mid_(\d)/", r"middle_block.\1/"),
    (r"unet/in_(\d+)_down/", r"input_blocks.\1.0.op/"),
    (r"unet/in_(\d+)_attention/", r"input_blocks.\1.1/"),
    (r"unet/in_(\d+)/", r"input_blocks.\1.0/"),
    (r"unet/out_(\d+)_attention_up/", r"output_blocks.\1.2.conv/"),
    (r"unet/out_(\d+)_attention/", r"output_blocks.\1.1/"),
    (r"unet/out_(\d+)_up/", r"output_blocks.\1.1.conv/"),
    (r"unet/out_(\d+)/", r"output_blocks.\1.0/"),
)


def torch_name(path, leaf):
    """The released name of a Flax path and the kind of its axes (engine.KINDS)."""
    name = "/".join(path)
    for old, new in LEAVES + (UNET if path[0] == "unet" else CONDITIONAL_ENCODER):
        name = re.sub(old, new, name)
    return name.replace("/", "."), kind(path, leaf)


def kind(path, leaf):
    module, name = path[-2:]
    if module == "doda":
        return "channel_conv"
    if module in ("widen_in_norm", "widen_out_norm"):
        return "channels_first"
    if name != "kernel":
        return "same"
    if leaf.ndim == 4:
        return "conv"
    # Attention of the U-Net was made of Conv1d with kernels of length 1.
    return "pointwise" if path[0] == "unet" and module in ("qkv", "proj") else "linear"


def table(**fields):
    """The entries for IRSTDDiff(**fields); the published ones by default."""
    network = build("irstd_diff", **fields)
    size = network.multiple
    image = jnp.zeros((1, size, size, network.image_channels))
    mask, t = jnp.zeros((1, size, size, 1)), jnp.zeros(1, jnp.int32)
    variables = jax.eval_shape(network.init, jax.random.key(0), image, mask, t)
    return engine.table(variables, torch_name)
