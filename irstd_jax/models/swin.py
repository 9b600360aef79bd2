"""A Swin block: attention inside windows, then a two-layer perceptron.

    y = x + Attention(LN(x))          over windows of m x m tokens
    z = y + MLP(LN(y))                exact (erf) GELU

    Attention = softmax(q k^T * scale + B) v,  B a learnt bias per head and offset.

With a shift s the map is rolled by s up and left before it is cut into windows and
back afterwards, so that the next block's windows bridge the borders of this one's; what
the roll brought together from opposite sides does not see each other.

Source: Liu et al., Swin Transformer (ICCV 2021). IRSTD-Diff scales by dim^-1/2, the
width of the whole token and not of one head, and never shifts.
"""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from irstd_jax.models.layers import Dense, layer_norm
from irstd_jax.ops import windows

MASKED = -1e9  # finite, so that a gradient through softmax is never inf - inf
APART = -100.0  # between regions of a shifted window, as Swin has it


def attend(q, k, v, scale, bias):
    """softmax(q k^T scale + bias) v in float32 softmax; q, k, v are (..., t, k, d).

    `bias` broadcasts against the scores (..., heads, t, t).
    """
    scores = jnp.einsum("...ikd,...jkd->...kij", q * scale, k)
    weights = jax.nn.softmax(scores.astype(jnp.float32) + bias, axis=-1)
    return jnp.einsum("...kij,...jkd->...ikd", weights.astype(v.dtype), v)


class WindowAttention(nn.Module):
    """Multi-head attention inside each window, (b, n, m * m, c) -> same shape.

    `mask`, of shape (n, m * m, m * m) or one that broadcasts to it, is added to the
    scores; None means that all tokens see all. `linear` makes the layers.
    """

    heads: int
    window: int
    dtype: Any = jnp.float32
    scale_by: str = "token"
    linear: Callable = Dense

    @nn.compact
    def __call__(self, x, mask=None):
        b, n, t, c = x.shape
        qkv = self.linear(3 * c, dtype=self.dtype, name="qkv")(x)
        q, k, v = jnp.moveaxis(
            qkv.reshape(b, n, t, 3, self.heads, c // self.heads), 3, 0
        )
        table = self.param(
            "bias_table",
            nn.initializers.truncated_normal(0.02),
            ((2 * self.window - 1) ** 2, self.heads),
        )
        bias = table[windows.relative_positions(self.window)].transpose(2, 0, 1)
        if mask is not None:
            bias = bias + mask[:, None]
        width = {"token": c, "head": c // self.heads}[self.scale_by]
        y = attend(q, k, v, width**-0.5, bias).reshape(b, n, t, c)
        return self.linear(c, dtype=self.dtype, name="proj")(y)


class SwinBlock(nn.Module):
    """One block on a map of tokens (b, h, w, c) of any size.

    Where windows do not fit, the map is padded after the normalisation, as in Swin,
    but nobody attends to the padding.

    Fields:
      shift: of the windows, 0 to window - 1.
      mlp_ratio: width of the perceptron over that of a token.
      scale_by: "token", or "head" as in Swin: whose width^-1/2 scales the scores.
      linear: what makes the linear layers, for another initialisation.
    """

    heads: int = 4
    window: int = 4
    dtype: Any = jnp.float32
    shift: int = 0
    mlp_ratio: float = 4
    scale_by: str = "token"
    linear: Callable = Dense

    @nn.compact
    def __call__(self, x, keep=None):
        """`keep` (2, b) multiplies what each half adds to each image (drop path)."""
        c = x.shape[-1]
        if c % self.heads:
            raise ValueError(f"{c} channels do not divide into heads={self.heads}")

        def branch(y, index):
            if keep is None:
                return y
            return y * keep[index, :, None, None, None].astype(y.dtype)

        x = x + branch(self.attention(layer_norm(self.dtype, "norm1")(x)), 0)
        return x + branch(self.perceptron(layer_norm(self.dtype, "norm2")(x)), 1)

    def perceptron(self, x):
        c = x.shape[-1]
        hidden = int(self.mlp_ratio * c)
        y = self.linear(hidden, dtype=self.dtype, name="mlp_in")(x)
        y = nn.gelu(y, approximate=False)
        return self.linear(c, dtype=self.dtype, name="mlp_out")(y)

    def attention(self, x):
        b, h, w, c = x.shape
        m, shift = self.window, self.shift
        below, right = -h % m, -w % m
        if below or right:
            x = jnp.pad(x, ((0, 0), (0, below), (0, right), (0, 0)))
        if shift:
            x = jnp.roll(x, (-shift, -shift), (1, 2))
        layer = WindowAttention(
            self.heads, m, self.dtype, self.scale_by, self.linear, name="attention"
        )
        x = layer(windows.partition(x, m), self.mask(h, w))
        x = windows.merge(x, h + below, w + right)
        if shift:
            x = jnp.roll(x, (shift, shift), (1, 2))
        return x[:, :h, :w]

    def mask(self, h, w):
        """What is added to the scores of an h x w map: (n, 1 or t, t), or None."""
        m, shift = self.window, self.shift
        below, right = -h % m, -w % m
        mask = None
        if below or right:
            inside = windows.inside(h, w, m, shift)
            mask = jnp.where(inside, 0.0, MASKED)[:, None]
        if shift:
            region = jnp.asarray(windows.regions(h + below, w + right, m, shift))
            together = region[:, :, None] == region[:, None, :]
            apart = jnp.where(together, 0.0, APART)
            mask = apart if mask is None else mask + apart
        return mask
