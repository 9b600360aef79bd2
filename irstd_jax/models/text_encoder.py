"""The text tower whose output is the context of the published latent prior.

    x_0 = E[tokens] + P
    x_{l+1} = y + W_2 gelu(W_1 LN(y)),   y = x_l + Attention(LN(x_l))     width 4
    context = LN(x_L)

Attention is causal, GELU exact. Source: OpenCLIP ViT-H-14 (Cherti et al., CVPR 2023) as
Stable Diffusion 2.1 uses it: the last of its 24 blocks, its projection and its
temperature do not run, and are not held here.

Diff-Mosaic's prompt is always the empty string, whose tokens are EMPTY: the tower is
needed once, for one constant context of shape (77, 1024).
"""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
import numpy as np

from irstd_jax.models.layers import Dense, layer_norm
from irstd_jax.models.swin import MASKED, attend

START, END, LENGTH = 49406, 49407, 77
EMPTY = (START, END) + (0,) * (LENGTH - 2)  # what the tokeniser makes of ""


class TextBlock(nn.Module):
    """Causal self-attention and a perceptron on tokens (b, n, c), both residual."""

    heads: int
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x):
        c = x.shape[-1]
        x = x + self.attention(layer_norm(self.dtype, "norm1")(x))
        y = layer_norm(self.dtype, "norm2")(x)
        y = Dense(4 * c, dtype=self.dtype, name="mlp_in")(y)
        y = nn.gelu(y, approximate=False)
        return x + Dense(c, dtype=self.dtype, name="mlp_out")(y)

    def attention(self, x):
        b, n, c = x.shape
        qkv = Dense(3 * c, dtype=self.dtype, name="qkv")(x)
        q, k, v = jnp.moveaxis(qkv.reshape(b, n, 3, self.heads, c // self.heads), 2, 0)
        later = np.triu(np.full((n, n), MASKED, np.float32), 1)
        y = attend(q, k, v, (c // self.heads) ** -0.5, later).reshape(b, n, c)
        return Dense(c, dtype=self.dtype, name="proj")(y)


class TextEncoder(nn.Module):
    """Tokens (b, n <= length), whole numbers below `vocabulary` -> (b, n, width).

    `layers` are the blocks that run: 23 of the published tower's 24.
    """

    vocabulary: int = 49408
    length: int = LENGTH
    width: int = 1024
    layers: int = 23
    heads: int = 16
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, tokens):
        b, n = tokens.shape
        if n > self.length:
            raise ValueError(f"{n} tokens, but there are places for {self.length}")
        if self.width % self.heads:
            raise ValueError(f"width={self.width} must divide by heads={self.heads}")
        tokens_init = nn.initializers.normal(0.02)
        places_init = nn.initializers.normal(0.01)
        shape = self.vocabulary, self.width
        embedding = self.param("token_embedding", tokens_init, shape)
        shape = self.length, self.width
        places = self.param("positional_embedding", places_init, shape)
        x = (embedding[tokens] + places[:n]).astype(self.dtype)
        for i in range(self.layers):
            x = TextBlock(self.heads, self.dtype, name=f"block_{i}")(x)
        return layer_norm(name="norm")(x)
