"""The names of LatentUNet's and ControlNet's weights, by CompVis and by diffusers.

Published: 686 and 324 arrays, in a whole checkpoint behind `model.diffusion_model.` and
`control_model.`. Diffusers names layers by level and place in it, where CompVis counts
blocks through; the map between the two follows from the depth, read from the names.
"""

import re

import jax
import jax.numpy as jnp

from irstd_jax.models import build
from irstd_jax.weights import engine, names

PREFIXES = {
    "latent_unet": "model.diffusion_model.",
    "control_net": "control_model.",
}
# First inside of blocks, then where the blocks are.
RENAMINGS = (
    (r"(kernel|scale)$", "weight"),
    (r"/norm_in/", "/in_layers.0/"),
    (r"/conv_in/", "/in_layers.2/"),
    (r"/time/", "/emb_layers.1/"),
    (r"/norm_out/", "/out_layers.0/"),
    (r"/conv_out/", "/out_layers.3/"),
    (r"/skip/", "/skip_connection/"),
    (r"/norm(\d)/", r"/transformer_blocks.0.norm\1/"),
    (r"/self/", "/transformer_blocks.0.attn1/"),
    (r"/cross/", "/transformer_blocks.0.attn2/"),
    (r"/([qkv])/", r"/to_\1/"),
    (r"/proj/", "/to_out.0/"),
    (r"/ff_in/", "/transformer_blocks.0.ff.net.0.proj/"),
    (r"/ff_out/", "/transformer_blocks.0.ff.net.2/"),
    (r"^encoder/", ""),
    (r"^time_in/", "time_embed.0/"),
    (r"^time_out/", "time_embed.2/"),
    (r"^norm/", "out.0/"),
    (r"^out/", "out.2/"),
    (r"^mid_(\d)/", r"middle_block.\1/"),
    (r"^in_(\d+)_down/", r"input_blocks.\1.0.op/"),
    (r"^in_(\d+)_attention/", r"input_blocks.\1.1/"),
    (r"^in_(\d+)/", r"input_blocks.\1.0/"),
    (r"^out_(\d+)_attention_up/", r"output_blocks.\1.2.conv/"),
    (r"^out_(\d+)_attention/", r"output_blocks.\1.1/"),
    (r"^out_(\d+)_up/", r"output_blocks.\1.1.conv/"),
    (r"^out_(\d+)/", r"output_blocks.\1.0/"),
    (r"^zero_mid/", "middle_block_out.0/"),
    (r"^zero_(\d+)/", r"zero_convs.\1.0/"),
)
RESNET = (
    (r"\.norm1\.", ".in_layers.0."),
    (r"\.conv1\.", ".in_layers.2."),
    (r"\.time_emb_proj\.", ".emb_layers.1."),
    (r"\.norm2\.", ".out_layers.0."),
    (r"\.conv2\.", ".out_layers.3."),
    (r"\.conv_shortcut\.", ".skip_connection."),
)
ENDS = (
    (r"^time_embedding\.linear_1\.", "time_embed.0."),
    (r"^time_embedding\.linear_2\.", "time_embed.2."),
    (r"^conv_in\.", "input_blocks.0.0."),
    (r"^conv_norm_out\.", "out.0."),
    (r"^conv_out\.", "out.2."),
    (r"^mid_block\.resnets\.0\.", "middle_block.0."),
    (r"^mid_block\.attentions\.0\.", "middle_block.1."),
    (r"^mid_block\.resnets\.1\.", "middle_block.2."),
    (r"^controlnet_down_blocks\.(\d+)\.", r"zero_convs.\1.0."),
    (r"^controlnet_mid_block\.", "middle_block_out.0."),
)


def canonical(state_dict, **fields):
    """The weights under CompVis' names, from either spelling."""
    state_dict = names.bare(state_dict, engine.PREFIX)
    last = names.highest(state_dict, r"^down_blocks\.0\.resnets\.(\d+)\.")
    if last < 0:
        return state_dict
    rules = (*places(state_dict, last + 1), *ENDS)

    def rename(name):
        inside = RESNET if ".resnets." in name else ()
        return names.substituted(name, (*inside, *rules))

    return names.renamed(state_dict, rename)


def places(state_dict, n):
    """Rules for the blocks of levels, of n residual blocks each (n + 1 going up)."""

    def down(offset, layer):
        return lambda m: (
            f"input_blocks.{(n + 1) * int(m[1]) + int(m[2]) + offset}.{layer}."
        )

    def up(layer):
        return lambda m: f"output_blocks.{(n + 1) * int(m[1]) + int(m[2])}.{layer}."

    def enlarging(match):
        level = int(match[1])
        pattern = rf"^up_blocks\.{level}\.attentions\."
        attends = any(re.match(pattern, name) for name in state_dict)
        return f"output_blocks.{(n + 1) * level + n}.{2 if attends else 1}.conv."

    return (
        (r"^down_blocks\.(\d+)\.resnets\.(\d+)\.", down(1, 0)),
        (r"^down_blocks\.(\d+)\.attentions\.(\d+)\.", down(1, 1)),
        (r"^down_blocks\.(\d+)\.downsamplers\.(0)\.conv\.", down(n + 1, "0.op")),
        (r"^up_blocks\.(\d+)\.resnets\.(\d+)\.", up(0)),
        (r"^up_blocks\.(\d+)\.attentions\.(\d+)\.", up(1)),
        (r"^up_blocks\.(\d+)\.upsamplers\.0\.conv\.", enlarging),
    )


def torch_name(path, leaf):
    """CompVis' name of a Flax path and the kind of its axes (engine.KINDS)."""
    name = names.substituted("/".join(path), RENAMINGS)
    return name.replace("/", "."), names.kind(path, leaf)


def table(name, **fields):
    """The entries of "latent_unet" or "control_net"; the published ones by default."""
    network = build(name, **fields)
    size = network.multiple
    z = jnp.zeros((1, size, size, network.latent_channels))
    given = [jnp.zeros(1), jnp.zeros((1, 1, network.context_dim))]
    if name == "control_net":
        given.insert(0, jnp.zeros((1, size, size, network.hint_channels)))
    variables = jax.eval_shape(network.init, jax.random.key(0), z, *given)
    return engine.table(variables, torch_name)
