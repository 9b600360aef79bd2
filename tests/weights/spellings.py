"""Diffusers' names beside CompVis', written layer by layer, and weights of such names.

`unet` and `autoencoder` give {CompVis' name: diffusers' name}, without ".weight" and
".bias", of a network with `levels` levels of `n` residual blocks.
"""

import numpy as np

RESNET = {
    "in_layers.0": "norm1",
    "in_layers.2": "conv1",
    "emb_layers.1": "time_emb_proj",
    "out_layers.0": "norm2",
    "out_layers.3": "conv2",
    "skip_connection": "conv_shortcut",
}
ASK = ("to_q", "to_k", "to_v", "to_out.0")
TRANSFORMER = (
    "norm",
    "proj_in",
    *(f"transformer_blocks.0.attn{i}.{part}" for i in (1, 2) for part in ASK),
    *(f"transformer_blocks.0.norm{i}" for i in (1, 2, 3)),
    "transformer_blocks.0.ff.net.0.proj",
    "transformer_blocks.0.ff.net.2",
    "proj_out",
)


def resnet(old, new):
    return {f"{old}.{a}": f"{new}.{b}" for a, b in RESNET.items()}


def transformer(old, new):
    return {f"{old}.{part}": f"{new}.{part}" for part in TRANSFORMER}


def unet(levels, n, attending):
    """`attending` are the levels with attention, 0 = the finest."""
    pairs = {
        "time_embed.0": "time_embedding.linear_1",
        "time_embed.2": "time_embedding.linear_2",
        "input_blocks.0.0": "conv_in",
        "out.0": "conv_norm_out",
        "out.2": "conv_out",
    }
    pairs |= resnet("middle_block.0", "mid_block.resnets.0")
    pairs |= transformer("middle_block.1", "mid_block.attentions.0")
    pairs |= resnet("middle_block.2", "mid_block.resnets.1")
    block = 0
    for level in range(levels):
        for r in range(n):
            block += 1
            new = f"down_blocks.{level}"
            pairs |= resnet(f"input_blocks.{block}.0", f"{new}.resnets.{r}")
            if level in attending:
                pairs |= transformer(f"input_blocks.{block}.1", f"{new}.attentions.{r}")
        if level < levels - 1:
            block += 1
            pairs[f"input_blocks.{block}.0.op"] = f"{new}.downsamplers.0.conv"
    block = -1
    for place, level in enumerate(reversed(range(levels))):
        new, attends = f"up_blocks.{place}", level in attending
        for r in range(n + 1):
            block += 1
            old = f"output_blocks.{block}"
            pairs |= resnet(f"{old}.0", f"{new}.resnets.{r}")
            if attends:
                pairs |= transformer(f"{old}.1", f"{new}.attentions.{r}")
        if level:
            pairs[f"{old}.{2 if attends else 1}.conv"] = f"{new}.upsamplers.0.conv"
    return pairs


def autoencoder(levels, n):
    pairs = {name: name for name in ("quant_conv", "post_quant_conv")}
    for half in ("encoder", "decoder"):
        down = half == "encoder"
        pairs |= {
            f"{half}.conv_in": f"{half}.conv_in",
            f"{half}.norm_out": f"{half}.conv_norm_out",
            f"{half}.conv_out": f"{half}.conv_out",
            f"{half}.mid.attn_1.norm": f"{half}.mid_block.attentions.0.group_norm",
            f"{half}.mid.attn_1.q": f"{half}.mid_block.attentions.0.to_q",
            f"{half}.mid.attn_1.k": f"{half}.mid_block.attentions.0.to_k",
            f"{half}.mid.attn_1.v": f"{half}.mid_block.attentions.0.to_v",
            f"{half}.mid.attn_1.proj_out": f"{half}.mid_block.attentions.0.to_out.0",
        }
        blocks = {
            f"{half}.mid.block_1": f"{half}.mid_block.resnets.0",
            f"{half}.mid.block_2": f"{half}.mid_block.resnets.1",
        }
        for level in range(levels):
            place = level if down else levels - 1 - level
            old = f"{half}.{'down' if down else 'up'}.{level}"
            new = f"{half}.{'down' if down else 'up'}_blocks.{place}"
            for r in range(n if down else n + 1):
                blocks[f"{old}.block.{r}"] = f"{new}.resnets.{r}"
            if down and level < levels - 1:
                pairs[f"{old}.downsample.conv"] = f"{new}.downsamplers.0.conv"
            if not down and level > 0:
                pairs[f"{old}.upsample.conv"] = f"{new}.upsamplers.0.conv"
        for old, new in blocks.items():
            same = ("norm1", "conv1", "norm2", "conv2")
            pairs |= {f"{old}.{part}": f"{new}.{part}" for part in same}
            pairs[f"{old}.nin_shortcut"] = f"{new}.conv_shortcut"
    return pairs


def respelled(state_dict, pairs):
    """CompVis' state dict under diffusers' names; a name without partner fails."""
    result = {}
    for name, array in state_dict.items():
        stem, leaf = name.rsplit(".", 1)
        result[f"{pairs[stem]}.{leaf}"] = array
    return result


def drawn(entries):
    """{name: array} of random numbers for a table."""
    rng = np.random.default_rng(0)
    return {e.name: rng.normal(size=e.shape).astype(np.float32) for e in entries}


def hollow(entries):
    """{name: array} of the right shapes that takes no memory."""
    return {e.name: np.broadcast_to(np.float32(0), e.shape) for e in entries}


def same(a, b):
    """Whether two dicts hold the same arrays under the same names."""
    return a.keys() == b.keys() and all(np.array_equal(a[name], b[name]) for name in a)
