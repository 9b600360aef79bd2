"""A Swin block without shift: attention inside windows, then a two-layer perceptron.

    y = x + Attention(LN(x))          over windows of m x m tokens
    z = y + MLP(LN(y))                width ratio 4, exact (erf) GELU

    Attention = softmax(q k^T * scale + B) v,  B a learnt bias per head and offset.

Source: Liu et al., Swin Transformer (ICCV 2021). IRSTD-Diff scales by dim^-1/2, the
width of the whole token and not of one head.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from irstd_jax.models.layers import Dense, layer_norm
from irstd_jax.ops import windows

MASKED = -1e9  # finite, so that a gradient through softmax is never inf - inf


def attend(q, k, v, scale, bias):
    """softmax(q k^T scale + bias) v in float32 softmax; q, k, v are (..., t, k, d).

    `bias` broadcasts against the scores (..., heads, t, t).
    """
    scores = jnp.einsum("...ikd,...jkd->...kij", q * scale, k)
    weights = jax.nn.softmax(scores.astype(jnp.float32) + bias, axis=-1)
    return jnp.einsum("...kij,...jkd->...ikd", weights.astype(v.dtype), v)


class WindowAttention(nn.Module):
    """Multi-head attention inside each window, (b, n, m * m, c) -> same shape.

    `inside` (n, m * m) marks the tokens that may be attended to; None means all.
    """

    heads: int
    window: int
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x, inside=None):
        b, n, t, c = x.shape
        q, k, v = jnp.moveaxis(
            Dense(3 * c, dtype=self.dtype, name="qkv")(x).reshape(
                b, n, t, 3, self.heads, c // self.heads
            ),
            3,
            0,
        )
        table = self.param(
            "bias_table",
            nn.initializers.truncated_normal(0.02),
            ((2 * self.window - 1) ** 2, self.heads),
        )
        bias = table[windows.relative_positions(self.window)].transpose(2, 0, 1)
        if inside is not None:
            bias = bias + jnp.where(inside, 0.0, MASKED)[:, None, None]
        y = attend(q, k, v, c**-0.5, bias).reshape(b, n, t, c)
        return Dense(c, dtype=self.dtype, name="proj")(y)


class SwinBlock(nn.Module):
    """One block on a map of tokens (b, h, w, c) of any size.

    Where windows do not fit, the map is padded after the normalisation, as in Swin,
    but nobody attends to the padding.
    """

    heads: int = 4
    window: int = 4
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x):
        c = x.shape[-1]
        if c % self.heads:
            raise ValueError(f"{c} channels do not divide into heads={self.heads}")
        x = x + self.attention(layer_norm(self.dtype, "norm1")(x))
        y = layer_norm(self.dtype, "norm2")(x)
        y = Dense(4 * c, dtype=self.dtype, name="mlp_in")(y)
        y = nn.gelu(y, approximate=False)
        return x + Dense(c, dtype=self.dtype, name="mlp_out")(y)

    def attention(self, x):
        b, h, w, c = x.shape
        m = self.window
        below, right = -h % m, -w % m
        padded = below or right
        inside = windows.inside(h, w, m) if padded else None
        if padded:
            x = jnp.pad(x, ((0, 0), (0, below), (0, right), (0, 0)))
        layer = WindowAttention(self.heads, m, self.dtype, name="attention")
        x = layer(windows.partition(x, m), inside)
        return windows.merge(x, h + below, w + right)[:, :h, :w]
