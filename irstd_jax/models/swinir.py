"""SwinIR, the Pixel-Prior of Diff-Mosaic: a degraded image to a clean, smooth one.

    F0 = Conv(unshuffle(x - mean))                    1/8 of the size, 192 -> 180
    F  = F0 + Conv(LN(RSTB_8(... RSTB_1(LN(F0)))))    RSTB: 6 Swin layers, Conv, + input
    y  = mean + tail(F)                               3 times (nearest x2, Conv)

Every second Swin layer shifts its windows by half. Source: Liang et al., SwinIR (ICCVW
2021), as DiffBIR configures it; the released Diff-Mosaic trains it by Eq. 3.
"""

import functools
import math
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from irstd_jax.models.layers import Conv, layer_norm
from irstd_jax.models.swin import SwinBlock
from irstd_jax.ops import resize

MEAN = (0.4488, 0.4371, 0.4040)  # of ImageNet-like sets; not among the weights
Linear = functools.partial(nn.Dense, kernel_init=nn.initializers.truncated_normal(0.02))


def pixel_unshuffle(x, r):
    """Blocks of r x r pixels to channels: (b, h, w, c) -> (b, h/r, w/r, c r r).

    Pixel (i, j) of a block of channel k goes to channel k r^2 + i r + j, as in PyTorch.
    """
    b, h, w, c = x.shape
    x = x.reshape(b, h // r, r, w // r, r, c).transpose(0, 1, 3, 5, 2, 4)
    return x.reshape(b, h // r, w // r, c * r * r)


class ResidualGroup(nn.Module):
    """RSTB: `depth` Swin layers and a convolution, added to their input.

    `keep` (depth, 2, b) is the drop path of the layers, None outside training.
    """

    depth: int
    heads: int
    window: int
    mlp_ratio: float
    remat: bool = False
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x, keep=None):
        Block = nn.remat(SwinBlock) if self.remat else SwinBlock
        y = x
        for i in range(self.depth):
            block = Block(
                self.heads,
                self.window,
                self.dtype,
                shift=i % 2 * (self.window // 2),
                mlp_ratio=self.mlp_ratio,
                scale_by="head",
                linear=Linear,
                name=f"block_{i}",
            )
            y = block(y, None if keep is None else keep[i])
        return x + Conv(x.shape[-1], dtype=self.dtype, name="conv")(y)


class SwinIR(nn.Module):
    """The network; the default fields are the published 15,792,587 parameters.

    Fields:
      embed_dim: width of a token, divides by every entry of `heads`.
      depths, heads: Swin layers and attention heads of each group (RSTB).
      unshuffle: how much smaller the map of tokens is; a power of 2.
      features: width of the tail, which works at up to full size.
      drop_path: share of branches that the last layer drops in training; 0 in the
        first, linear between.
      residual: the tail gives what is added to the image, not the image: a small
        network need not learn to copy first. Not published.
      dtype: of the arithmetic; parameters, softmax and output are float32.
      remat: recompute Swin layers in the backward pass instead of keeping them.
    """

    in_channels: int = 3
    embed_dim: int = 180
    depths: tuple[int, ...] = (6,) * 8
    heads: tuple[int, ...] = (6,) * 8
    window: int = 8
    mlp_ratio: float = 2
    unshuffle: int = 8
    features: int = 64
    drop_path: float = 0.1
    residual: bool = False
    dtype: Any = jnp.float32
    remat: bool = False

    @nn.compact
    def __call__(self, image, keys=None):
        """The restored image, float32 and not clamped, (b, h, w, c) as `image`.

        Args:
          image: (b, h, w, in_channels) in [0, 1], of any size: it is mirrored inside to
            a multiple of unshuffle * window, which the release leaves to its caller.
          keys: (b,) keys, one an image, of the drop path: given in training alone.
        """
        b, h, w, c = image.shape
        self.check(c)
        mean = jnp.asarray(MEAN if c == 3 else 0.0, jnp.float32)
        padded = resize.pad_to_multiple(image, self.multiple)
        x = pixel_unshuffle((padded - mean).astype(self.dtype), self.unshuffle)
        x = Conv(self.embed_dim, dtype=self.dtype, name="conv_first")(x)
        x = x + self.body(x, keys)
        y = self.tail(x, c).astype(jnp.float32) + (padded if self.residual else mean)
        return resize.crop(y, h, w)

    def body(self, x, keys):
        """The groups of Swin layers and what ends them."""
        y = layer_norm(self.dtype, "embed_norm")(x)
        keep, first = self.kept_branches(keys), 0
        for i, (depth, heads) in enumerate(zip(self.depths, self.heads, strict=True)):
            group = ResidualGroup(
                depth,
                heads,
                self.window,
                self.mlp_ratio,
                self.remat,
                self.dtype,
                name=f"group_{i}",
            )
            y = group(y, None if keep is None else keep[first : first + depth])
            first += depth
        y = layer_norm(self.dtype, "norm")(y)
        return Conv(self.embed_dim, dtype=self.dtype, name="conv_after_body")(y)

    def kept_branches(self, keys):
        """0 for a dropped branch, else 1 / (1 - rate): (layers, 2, b), or None.

        What image i loses depends on keys[i] alone.
        """
        if keys is None or not self.drop_path:
            return None
        layers = sum(self.depths)
        kept = 1 - jnp.linspace(0, self.drop_path, layers)[:, None]
        draw = jax.vmap(lambda key: jax.random.bernoulli(key, kept, (layers, 2)))
        return jnp.moveaxis(draw(keys) / kept, 0, -1)

    def tail(self, x, channels):
        """From tokens to an image `unshuffle` times as large."""

        def conv(features, name):
            return Conv(features, dtype=self.dtype, name=name)

        x = nn.leaky_relu(conv(self.features, "conv_before_up")(x), 0.01)
        for stage in range(1, self.doublings + 1):
            x = conv(self.features, f"conv_up_{stage}")(resize.nearest_double(x))
            x = nn.leaky_relu(x, 0.2)
        x = nn.leaky_relu(conv(self.features, "conv_hr")(x), 0.2)
        return conv(channels, "conv_last")(x)

    @property
    def doublings(self):
        return int(math.log2(self.unshuffle))

    @property
    def multiple(self):
        """What the sides of the padded image divide by."""
        return self.unshuffle * self.window

    def check(self, channels):
        if channels != self.in_channels:
            raise ValueError(
                f"in_channels={self.in_channels}, but an image has {channels} channels"
            )
        if self.unshuffle != 2**self.doublings:
            raise ValueError(f"unshuffle={self.unshuffle} must be a power of 2")
        if len(self.depths) != len(self.heads):
            raise ValueError(
                f"depths={self.depths} and heads={self.heads} differ in length"
            )
