"""RRDB: residual dense blocks at full resolution, without normalisation.

    dense(x) = x + 0.2 y_5,  y_i = lrelu(conv([x, y_1, ..., y_(i-1)]))             (1)
    block(x) = x + 0.2 dense(dense(dense(x)))                                      (2)
    u = conv(image),  z = u + conv(block(...(block(u))))                           (3)
    feature = conv(lrelu(conv(z)))                                                 (4)

with no activation on y_5, and LeakyReLU of slope 0.2. Source: the generator of ESRGAN
(Wang et al., ECCV Workshops 2018) as SegDiff took it over, at one size throughout.
"""

from functools import partial
from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from irstd_jax.models.layers import Conv

SCALE = 0.2  # of both residuals


def leaky(x):
    return nn.leaky_relu(x, 0.2)


class DenseBlock(nn.Module):
    """Eq. (1): (b, h, w, c) -> the same; `growth` channels join at each convolution."""

    growth: int
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x):
        layer, joined = partial(Conv, dtype=self.dtype), x
        for i in range(1, 5):
            y = leaky(layer(self.growth, name=f"conv_{i}")(joined))
            joined = jnp.concatenate([joined, y], axis=-1)
        return x + SCALE * layer(x.shape[-1], name="conv_5")(joined)


class Block(nn.Module):
    """Eq. (2)."""

    growth: int
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x):
        y = x
        for i in range(1, 4):
            y = DenseBlock(self.growth, self.dtype, name=f"dense_{i}")(y)
        return x + SCALE * y


class RRDB(nn.Module):
    """Eq. (3), (4): image (b, h, w, c) -> (b, h, w, features), any h and w.

    Fields:
      features: of the output.
      blocks: their number; nearly all of the work, 45 GMAC each at 256 x 256.
      channels, growth: widths inside.
      remat: recompute blocks in the backward pass instead of keeping their insides.
    """

    features: int
    blocks: int = 6
    channels: int = 64
    growth: int = 32
    remat: bool = False
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, image):
        layer = partial(Conv, dtype=self.dtype)
        Layer = nn.remat(Block) if self.remat else Block
        x = first = layer(self.channels, name="conv_first")(image)
        for i in range(self.blocks):
            x = Layer(self.growth, self.dtype, name=f"block_{i}")(x)
        x = first + layer(self.channels, name="conv_trunk")(x)
        x = leaky(layer(self.channels, name="conv_high")(x))
        return layer(self.features, name="conv_last")(x)
