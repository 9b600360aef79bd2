"""UIU-Net: a U-Net of U-Nets (Wu, Hong, Chanussot, TIP 2023).

Encoder and decoder stages are the residual U-blocks of U2-Net. Between decoder output H
(enlarged) and encoder feature L stands an interactive fusion (not at the top, where
both are concatenated): with H' = ReLU(BN(conv H)),

    D = sigmoid of a bottleneck of the mean of H' over the image        (b, 1, 1, c)
    U = sigmoid of a 3x3 convolution of [mean, max] over the channels of
        a narrowed L D                                                  (b, h, w, 1)
    out = [post(2 L D), post(2 H' U)],   the same post = ReLU BN conv 3x3

Side heads on all decoder stages and the last encoder stage give a map each, a 1x1
convolution fuses them: seven logit maps. Pools round up, so any size goes through as it
is. The default fields are the published configuration, 50,541,461 parameters.
"""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from irstd_jax.models.layers import Conv, ConvNorm, check_channels, gate, log_odds
from irstd_jax.models.rsu import RSU
from irstd_jax.ops import resize

# (hidden, out) of the stages at base width 64, and heights of their RSUs (0: RSU4F).
HEIGHTS = (7, 6, 5, 4, 0, 0)
ENCODER = ((32, 64), (32, 128), (64, 256), (128, 512), (256, 512), (256, 512))
DECODER = ((16, 64), (32, 64), (64, 128), (128, 256), (256, 512))
BASE = 64


class Fusion(nn.Module):
    """(b, h, w, c), (b, h, w, c) -> (b, h, w, 2c)."""

    dtype: Any = jnp.float32
    axis: str | None = None

    @nn.compact
    def __call__(self, high, low, train=False):
        c = low.shape[-1]
        common = {"bias": True, "dtype": self.dtype, "axis": self.axis}
        high = ConvNorm(c, 1, name="high", **common)(high, train)
        mean = high.mean((1, 2), keepdims=True)
        down = gate(mean, c // 4, "down", train, **common)
        up = ConvNorm(c // 4, 1, name="up_in", **common)(low * down, train)
        up = jnp.concatenate(
            [up.mean(-1, keepdims=True), up.max(-1, keepdims=True)], -1
        )
        up = nn.sigmoid(Conv(1, bias=False, dtype=self.dtype, name="up_out")(up))
        post = ConvNorm(c, name="post", **common)
        parts = post(2 * low * down, train), post(2 * high * up, train)
        return jnp.concatenate(parts, axis=-1)


class UIUNet(nn.Module):
    """The network; see `detectors` for its interface. Logits: [fused, sides 1 to 6].

    Fields:
      channels: base to which all widths are proportional (published: 64).
      heights: of the stages' RSUs, 0 for RSU4F; fewer make it shallower.
      prior: share of target pixels that the untrained network's sides expect.
      remat: recompute stages in the backward pass instead of keeping their insides.
      norm_axis: pmap axis over which BatchNorm shares its batch statistics.
    """

    in_channels: int = 3
    channels: int = BASE
    heights: tuple[int, ...] = HEIGHTS
    prior: float = 0.5
    remat: bool = False
    dtype: Any = jnp.float32
    norm_axis: str | None = None

    multiple = 1  # any size goes through without padding

    @nn.compact
    def __call__(self, image, train=False, keys=None):
        self.check(image)
        skips = self.encode(image, train)
        maps = self.decode(skips, train)
        sides = [
            resize.bilinear(self.head(x, 3, f"side_{i}"), image.shape[1:3])
            for i, x in enumerate(maps, 1)
        ]
        sides = jnp.concatenate(sides, axis=-1)
        return jnp.concatenate([self.head(sides, 1, "fuse"), sides], axis=-1)

    def encode(self, image, train):
        """Features of the encoder's stages, each half as large as the one before."""
        n, features, x = len(self.heights), [], image.astype(self.dtype)
        for i in range(n):
            if i:
                x = resize.max_pool(x)
            # The last stage keeps the width of the one before, as the sixth does.
            hidden, out = ENCODER[i][0], ENCODER[min(i, n - 2)][1]
            x = self.stage(i, hidden, out, f"en_{i + 1}")(x, train)
            features.append(x)
        return features

    def decode(self, skips, train):
        """Of the decoder's stages, the largest first, and the last encoder's."""
        skips = list(skips)
        maps = [skips.pop()]
        for i in range(len(skips) - 1, -1, -1):
            skip = skips.pop()
            x = resize.bilinear(maps[0], skip.shape[1:3])
            if i:
                fusion = Fusion(self.dtype, self.norm_axis, name=f"fuse_{i + 1}")
                x = fusion(x, skip, train)
            else:
                x = jnp.concatenate([x, skip], axis=-1)
            maps.insert(0, self.stage(i, *DECODER[i], f"de_{i + 1}")(x, train))
        return maps

    def stage(self, i, hidden, features, name):
        Block = nn.remat(RSU, static_argnums=(2,)) if self.remat else RSU
        hidden, features = (n * self.channels // BASE for n in (hidden, features))
        height, common = self.heights[i], (self.dtype, self.norm_axis)
        return Block(height, hidden, features, *common, bias=True, name=name)

    def head(self, x, kernel, name):
        start = log_odds(self.prior)
        x = Conv(1, kernel, start=start, dtype=self.dtype, name=name)(x)
        return x.astype(jnp.float32)

    def check(self, image):
        n, heights = len(self.heights), self.heights
        if not 3 <= n <= len(ENCODER) or any(0 != h < 3 for h in heights):
            raise ValueError(
                "heights are 3 to 6 numbers, each 3 or more, or 0 for RSU4F, not "
                f"{heights}"
            )
        if self.channels < 4 or self.channels % 4:
            raise ValueError(f"channels must divide by 4, not {self.channels}")
        check_channels(image, in_channels=self.in_channels)
