"""A transformer block on the pixels of a feature map, which reads a context.

    tokens = W_in GN(x)
    tokens += Attention(LN(tokens), LN(tokens))          among the pixels
    tokens += Attention(LN(tokens), context)             pixels ask the context
    tokens += W_2 (a * gelu(g)),   (a, g) = W_1 LN(tokens)    width 4, exact GELU
    output = x + W_out tokens

Source: Rombach et al., latent diffusion (CVPR 2022), in the form of Stable Diffusion
2.1, whose maps in and out are linear; the gated unit is Shazeer's (2020).
"""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from irstd_jax.models.layers import Dense, GroupNorm, layer_norm
from irstd_jax.models.swin import attend


class CrossAttention(nn.Module):
    """x (b, n, c) asks y (b, n', c') -> (b, n, c), scaled by head width^-1/2."""

    heads: int
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x, y):
        b, n, c = x.shape
        d = c // self.heads

        def heads(tokens, name):
            project = Dense(c, bias=False, dtype=self.dtype, name=name)
            return project(tokens).reshape(b, -1, self.heads, d)

        q, k, v = heads(x, "q"), heads(y, "k"), heads(y, "v")
        z = attend(q, k, v, d**-0.5, 0.0).reshape(b, n, c)
        return Dense(c, dtype=self.dtype, name="proj")(z)


class SpatialTransformer(nn.Module):
    """x (b, h, w, c), context (b, n, c') -> (b, h, w, c), residual."""

    heads: int
    dtype: Any = jnp.float32
    groups: int = 32

    @nn.compact
    def __call__(self, x, context):
        b, h, w, c = x.shape
        y = GroupNorm(self.groups, 1e-6, dtype=self.dtype, name="norm")(x)
        y = Dense(c, dtype=self.dtype, name="proj_in")(y.reshape(b, h * w, c))
        z = self.norm("norm1")(y)
        y = y + CrossAttention(self.heads, self.dtype, name="self")(z, z)
        z = self.norm("norm2")(y)
        y = y + CrossAttention(self.heads, self.dtype, name="cross")(z, context)
        z = self.norm("norm3")(y)
        value, gate = jnp.split(Dense(8 * c, dtype=self.dtype, name="ff_in")(z), 2, -1)
        z = value * nn.gelu(gate, approximate=False)
        y = y + Dense(c, dtype=self.dtype, name="ff_out")(z)
        y = Dense(c, zero=True, dtype=self.dtype, name="proj_out")(y)
        return x + y.reshape(b, h, w, c)

    def norm(self, name):
        return layer_norm(self.dtype, name)
