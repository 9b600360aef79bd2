"""The names of AutoencoderKL's weights: CompVis (the table's) and diffusers.

Published: 248 arrays, in a whole checkpoint behind `first_stage_model.`; in diffusers'
folder vae/ under other names, with the attention's maps as matrices.
"""

import jax
import jax.numpy as jnp

from irstd_jax.models import build
from irstd_jax.weights import engine, names

PREFIX = "first_stage_model."
RENAMINGS = (
    (r"(kernel|scale)$", "weight"),
    (r"/proj/", "/proj_out/"),
    (r"/skip/", "/nin_shortcut/"),
    (r"encoder/level_(\d+)_(\d+)/", r"encoder.down.\1.block.\2/"),
    (r"encoder/down_(\d+)/", r"encoder.down.\1.downsample.conv/"),
    (r"decoder/level_(\d+)_(\d+)/", r"decoder.up.\1.block.\2/"),
    (r"decoder/up_(\d+)/", r"decoder.up.\1.upsample.conv/"),
    (r"/mid_0/", "/mid.block_1/"),
    (r"/mid_1/", "/mid.attn_1/"),
    (r"/mid_2/", "/mid.block_2/"),
    (r"coder/in/", "coder/conv_in/"),
    (r"coder/norm/", "coder/norm_out/"),
    (r"coder/out/", "coder/conv_out/"),
    (r"quant/", "quant_conv/"),
)
DIFFUSERS = (
    (r"^encoder\.down_blocks\.(\d+)\.resnets\.", r"encoder.down.\1.block."),
    (
        r"^encoder\.down_blocks\.(\d+)\.downsamplers\.0\.",
        r"encoder.down.\1.downsample.",
    ),
    (r"(up\.\d+)\.resnets\.", r"\1.block."),
    (r"(up\.\d+)\.upsamplers\.0\.", r"\1.upsample."),
    (r"mid_block\.resnets\.0\.", "mid.block_1."),
    (r"mid_block\.resnets\.1\.", "mid.block_2."),
    (r"mid_block\.attentions\.0\.", "mid.attn_1."),
    (r"attn_1\.group_norm\.", "attn_1.norm."),
    (r"attn_1\.(to_q|query)\.", "attn_1.q."),
    (r"attn_1\.(to_k|key)\.", "attn_1.k."),
    (r"attn_1\.(to_v|value)\.", "attn_1.v."),
    (r"attn_1\.(to_out\.0|proj_attn)\.", "attn_1.proj_out."),
    (r"conv_shortcut", "nin_shortcut"),
    (r"conv_norm_out", "norm_out"),
)


def canonical(state_dict, **fields):
    """The weights under CompVis' names, from either spelling."""
    state_dict = names.bare(state_dict, engine.PREFIX)
    lowest = names.highest(state_dict, r"^decoder\.up_blocks\.(\d+)\.")
    if lowest < 0:
        return state_dict

    def level(match):  # diffusers counts in the order of running
        return f"decoder.up.{lowest - int(match[1])}."

    rules = ((r"^decoder\.up_blocks\.(\d+)\.", level), *DIFFUSERS)
    state_dict = names.renamed(state_dict, lambda n: names.substituted(n, rules))
    return {name: as_conv(name, array) for name, array in state_dict.items()}


def as_conv(name, array):
    """A matrix of the attention as a 1x1 convolution; anything else as it is."""
    matrix = ".attn_1." in name and array.ndim == 2
    return array[:, :, None, None] if matrix else array


def torch_name(path, leaf):
    """CompVis' name of a Flax path and the kind of its axes (engine.KINDS)."""
    name = names.substituted("/".join(path), RENAMINGS)
    return name.replace("/", "."), names.kind(path, leaf)


def table(**fields):
    """The entries for AutoencoderKL(**fields); the published ones by default."""
    network = build("autoencoder_kl", **fields)
    image = jnp.zeros((1, network.factor, network.factor, network.channels_in))
    variables = jax.eval_shape(network.init, jax.random.key(0), image)
    return engine.table(variables, torch_name)
