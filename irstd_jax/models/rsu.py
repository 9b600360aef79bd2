"""Residual U-blocks: a small U-Net inside each stage (U2-Net, Qin et al. 2020).

    y = conv_in(x),   output = y + U(y)

RSU(height L): an encoder of L convolutions, the inner L - 2 behind a max-pool and the
last one dilated, and a decoder of L - 1, each on [deeper, skip]; the deeper map is
resized to the skip. RSU4F: no pooling, dilations 1, 2, 4, 8 instead.
"""

from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from irstd_jax.models.layers import ConvNorm
from irstd_jax.ops import resize


class RSU(nn.Module):
    """(b, h, w, c) -> (b, h, w, features), any size; pools round up.

    `height` is L, or 0 for RSU4F.
    """

    height: int
    hidden: int
    features: int
    dtype: Any = jnp.float32
    axis: str | None = None
    bias: bool = False

    @nn.compact
    def __call__(self, x, train=False):
        def conv(x, features, dilation, name):
            layer = ConvNorm(
                features,
                dilation=dilation,
                bias=self.bias,
                dtype=self.dtype,
                axis=self.axis,
                name=name,
            )
            return layer(x, train)

        down, up, pooled = plan(self.height)
        x = conv(x, self.features, 1, "conv_in")
        y, skips = x, []
        for i, dilation in enumerate(down):
            if i in pooled:
                y = resize.max_pool(y)
            y = conv(y, self.hidden, dilation, f"down_{i}")
            skips.append(y)
        y = skips.pop()
        for i, dilation in enumerate(up):
            skip = skips.pop()
            y = resize.bilinear(y, skip.shape[1:3])
            features = self.features if i == len(up) - 1 else self.hidden
            y = jnp.concatenate([y, skip], axis=-1)
            y = conv(y, features, dilation, f"up_{i}")
        return x + y


def plan(height) -> tuple[Sequence[int], Sequence[int], Sequence[int]]:
    """Dilations of encoder and decoder, and which encoder steps pool before."""
    if height == 0:
        return (1, 2, 4, 8), (4, 2, 1), ()
    return (1,) * (height - 1) + (2,), (1,) * (height - 1), range(1, height - 1)
