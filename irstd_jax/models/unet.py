"""The denoiser: a U-Net with time-dependent group normalisation and attention.

    embedding(t) = MLP([cos(t w_i), sin(t w_i)]),   w_i = 10000^(-i / half)       (1)
    ResBlock:  h = conv(silu(GN(x)))
               h = conv(silu(GN(h) * (1 + scale) + shift)),  from silu(embedding) (2)
               output = skip(x) + h

Source: the U-Net of guided diffusion (Dhariwal and Nichol, NeurIPS 2021) as set up by
IRSTD-Diff, Table I. Blocks are numbered as they run: in_0.., mid_0..2, out_0...

SegDiff, MedSegDiff and CIMD (models/generative) take the same network: other sizes,
time that is added (`scale_shift=False`), more outputs, and what their encoders say of
the image at the first convolution (`stem`) or before the middle (`bridge`).
"""

import math
from functools import partial
from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from irstd_jax.models.layers import Conv, Dense, GroupNorm
from irstd_jax.models.swin import attend
from irstd_jax.ops import resize


def sinusoids(t, dim):
    """(b,) times -> (b, dim), cosines first (Eq. 1)."""
    half = dim // 2
    frequency = jnp.exp(-math.log(10000) / half * jnp.arange(half))
    angle = t.astype(jnp.float32)[:, None] * frequency
    return jnp.concatenate([jnp.cos(angle), jnp.sin(angle)], axis=-1)


class ResBlock(nn.Module):
    """Eq. (2): x (b, h, w, c), embedding (b, e) -> (b, h, w, features).

    Without `scale_shift` the embedding is added before the second norm instead.
    """

    features: int
    dtype: Any = jnp.float32
    scale_shift: bool = True
    groups: int = 32

    @nn.compact
    def __call__(self, x, embedding):
        f, dtype = self.features, self.dtype
        Norm = partial(GroupNorm, self.groups, dtype=dtype)
        h = nn.silu(Norm(name="norm_in")(x))
        h = Conv(f, dtype=dtype, name="conv_in")(h)
        norm, time = Norm(name="norm_out"), nn.silu(embedding)
        if self.scale_shift:
            modulation = Dense(2 * f, name="time")(time)
            h = norm(h, *jnp.split(modulation, 2, axis=-1))
        else:
            h = norm(h + Dense(f, name="time")(time)[:, None, None])
        h = nn.silu(h)
        h = Conv(f, zero=True, dtype=dtype, name="conv_out")(h)
        if x.shape[-1] != f:
            x = Conv(f, 1, dtype=dtype, name="skip")(x)
        return x + h


class Attention(nn.Module):
    """Self-attention over all pixels of a feature map, residual."""

    heads: int
    dtype: Any = jnp.float32
    groups: int = 32

    @nn.compact
    def __call__(self, x):
        b, h, w, c = x.shape
        if c % self.heads:
            raise ValueError(f"{c} channels do not divide into num_heads={self.heads}")
        norm = GroupNorm(self.groups, dtype=self.dtype, name="norm")
        y = norm(x).reshape(b, h * w, c)
        qkv = Dense(3 * c, dtype=self.dtype, name="qkv")(y)
        # Each head's q, k and v lie together: the order of the published weights.
        qkv = qkv.reshape(b, h * w, self.heads, 3, c // self.heads)
        q, k, v = (qkv[:, :, :, i] for i in range(3))
        # Half the scale on q and half on k keeps bfloat16 scores in range.
        root = (c // self.heads) ** -0.25
        y = attend(q, k * root, v, root, 0.0).reshape(b, h, w, c)
        return x + Dense(c, zero=True, dtype=self.dtype, name="proj")(y)


def fields(network):
    """The fields of a `UNet` that a network around one has under the same names."""
    names = "channels channel_mult num_res_blocks num_heads attention_downsamplings"
    names = *names.split(), "remat", "dtype"
    return {name: getattr(network, name) for name in names}


class UNet(nn.Module):
    """x (b, h, w, c), t (b,) -> (b, h, w, out_channels) float32.

    h and w must divide by 2^(levels - 1). What may join, None for nothing:

      feature  (b, h/2, w/2, f), added on level 1 before the level's second decoder
               block, that is before its skip is joined
      stem     (b, h, w, channels), added to the output of the first convolution, also
               where that is a skip
      bridge   a function of the first features of levels 1, 2, ..., largest first, to
               what is added to the deepest feature before the middle, in no skip

    Time that is added stands before a group normalisation, which takes out what a whole
    group has in common: a level of no more channels than `groups` is blind to it.
    """

    channels: int = 64
    channel_mult: tuple[int, ...] = (1, 1, 2, 2, 4, 4)
    num_res_blocks: int = 2
    num_heads: int = 4
    attention_downsamplings: tuple[int, ...] = (16,)
    remat: bool = False
    dtype: Any = jnp.float32
    out_channels: int = 1
    scale_shift: bool = True
    groups: int = 32

    @nn.compact
    def __call__(self, x, t, feature=None, stem=None, bridge=None):
        embedding = self.embed(t)
        skips = self.encode(x, embedding, stem)
        x = skips[-1]
        if bridge is not None:
            firsts = skips[self.num_res_blocks + 1 :: self.num_res_blocks + 1]
            x = x + bridge(firsts).astype(x.dtype)
        x = self.block(x, embedding, self.width(-1), "mid_0")
        x = self.attend(x, "mid_1")
        x = self.block(x, embedding, self.width(-1), "mid_2")
        x = self.decode(x, skips, embedding, feature)
        x = nn.silu(GroupNorm(self.groups, name="norm")(x))
        return Conv(self.out_channels, zero=True, name="out")(x)

    def embed(self, t):
        width = 4 * self.channels
        x = Dense(width, name="time_in")(sinusoids(t, self.channels))
        return Dense(width, name="time_out")(nn.silu(x))

    def encode(self, x, embedding, stem=None):
        """The outputs of all input blocks, in the order of their making."""
        x = Conv(self.channels, dtype=self.dtype, name="in_0")(x)
        if stem is not None:
            x = x + stem.astype(x.dtype)
        skips = [x]
        for level in range(len(self.channel_mult)):
            if level:
                name = f"in_{len(skips)}_down"
                x = Conv(x.shape[-1], stride=2, dtype=self.dtype, name=name)(x)
                skips.append(x)
            for _ in range(self.num_res_blocks):
                name = f"in_{len(skips)}"
                x = self.stage(x, embedding, level, name)
                skips.append(x)
        return skips

    def decode(self, x, skips, embedding, feature):
        skips, i = list(skips), 0
        for level in reversed(range(len(self.channel_mult))):
            for j in range(self.num_res_blocks + 1):
                if level == 1 and j == 1 and feature is not None:
                    x = x + feature.astype(x.dtype)
                x = jnp.concatenate([x, skips.pop()], axis=-1)
                name = f"out_{i}"
                x = self.stage(x, embedding, level, name)
                i += 1
            if level:
                # Published names count the layers of a block, attention included.
                name += "_attention_up" if self.attends(level) else "_up"
                up = Conv(x.shape[-1], dtype=self.dtype, name=name)
                x = up(resize.nearest_double(x))
        return x

    def stage(self, x, embedding, level, name):
        """A ResBlock, and attention where the level has it."""
        x = self.block(x, embedding, self.width(level), name)
        if self.attends(level):
            x = self.attend(x, f"{name}_attention")
        return x

    def block(self, x, embedding, features, name):
        Block = nn.remat(ResBlock) if self.remat else ResBlock
        layer = Block(features, self.dtype, self.scale_shift, self.groups, name=name)
        return layer(x, embedding)

    def attend(self, x, name):
        Block = nn.remat(Attention) if self.remat else Attention
        return Block(self.num_heads, self.dtype, self.groups, name=name)(x)

    def attends(self, level):
        return 2**level in self.attention_downsamplings

    def width(self, level):
        return self.channels * self.channel_mult[level]
