"""CE: the conditional encoder of IRSTD-Diff, a U-Net of residual U-blocks.

Six encoder and five decoder stages (Table II), a 2x2 max-pool between encoder stages;
`encoder_heights` makes it shallower.
A decoder stage takes E, the deeper output resized, and D, the skip:

    De_i = RSU(IPOF(E, D))

Six side heads give a map each, a 1x1 convolution fuses them: seven logit maps for deep
supervision. IPOF and DODA are not in the paper; they come from its released code (and
the authors' ILNet). LIW cleans the skip of En2; De2 is what the denoiser sees.
"""

import math
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from irstd_jax.models.layers import (
    Conv,
    ConvNorm,
    batch_norm,
    layer_norm,
    log_odds,
    uniform,
)
from irstd_jax.models.liw import LIW
from irstd_jax.models.rsu import RSU
from irstd_jax.ops import resize

# Table II at base width 64: heights of the RSUs (0 is RSU4F) of En1..En6, and widths
# (hidden, out) of encoder and decoder stages. Between them De_i is as high as En_i.
HEIGHTS = (7, 6, 5, 4, 0, 0)
ENCODER = ((16, 64), (16, 64), (32, 128), (32, 256), (32, 256), (64, 256))
DECODER = ((16, 64), (16, 64), (32, 64), (32, 128), (64, 256))
BASE = 64


def stages(heights):
    """(height, hidden, out) of the encoder's and of the decoder's stages.

    Fewer heights than six give a shallower encoder for small networks and short
    compilations: the first rows of Table II, whose last stage keeps the width of the
    one before, as En6 does, because IPOF joins maps of one width.
    """
    n = len(heights)
    if not 3 <= n <= len(ENCODER):
        raise ValueError(f"encoder_heights must have 3 to 6 entries, not {heights}")
    if any(height != 0 and height < 3 for height in heights):
        raise ValueError(
            f"encoder_heights are 3 or more, or 0 for RSU4F, not {heights}"
        )
    encoder = list(zip(heights, *zip(*ENCODER[:n], strict=True), strict=True))
    encoder[-1] = (*encoder[-1][:2], encoder[-2][2])
    decoder = list(zip(heights[:-1], *zip(*DECODER[: n - 1], strict=True), strict=True))
    return encoder, decoder


class DODA(nn.Module):
    """x + sigmoid(K * ... * K * x): one short kernel along the channels, reused.

    (b, c) -> (b, c). Kernel length and number of uses grow with log2(c); the rule gives
    the released (5, 4), (3, 3), (3, 3) at c = 128, 64, 32.
    """

    @nn.compact
    def __call__(self, x):
        c = x.shape[-1]
        uses = max(1, int((math.log2(c) + 1) / 2))
        size = uses + 1 - uses % 2
        kernel = self.param("kernel", uniform(size), (size,))
        # As a band matrix: the converter to ONNX knows no padding of open batches.
        band = sum(kernel[i] * jnp.eye(c, k=size // 2 - i) for i in range(size))
        y = x
        for _ in range(uses):
            y = jnp.matmul(y, band, precision="highest")
        return x + nn.sigmoid(y)


class IPOF(nn.Module):
    """Fuses deeper E and skip D, both (b, h, w, c), into (b, h, w, 2c).

        channel = D * sigmoid(widen(DODA(sum_hw conv_2(D) softmax_hw(conv_1(E)))))
        weight = softmax_c(DODA(mean_hw conv_3(E)))
        spatial = E * sigmoid(LN_hw(sum_c conv_4(D) weight))

    Both are added and convolved. Sums and softmaxes are float32.
    """

    dtype: Any = jnp.float32
    axis: str | None = None

    @nn.compact
    def __call__(self, deep, skip, train=False):
        b, h, w, c = skip.shape
        inner = c // 2
        common = {"dtype": self.dtype, "axis": self.axis}

        def pointwise(x, features, name):
            x = ConvNorm(inner, 1, name=f"{name}_in", **common)(x, train)
            x = ConvNorm(features, 1, name=f"{name}_out", **common)(x, train)
            return x.astype(jnp.float32)

        doda = DODA(name="doda")
        where = nn.softmax(pointwise(deep, 1, "conv_1"), axis=(1, 2))
        context = (pointwise(skip, inner, "conv_2") * where).sum((1, 2))
        gate = nn.sigmoid(self.widen(doda(context), c))[:, None, None]
        which = nn.softmax(doda(pointwise(deep, inner, "conv_3").mean((1, 2))))
        place = (pointwise(skip, inner, "conv_4") * which[:, None, None]).sum(-1)
        place = nn.sigmoid(standardise(place))[..., None]
        y = deep * place.astype(self.dtype) + skip * gate.astype(self.dtype)
        return ConvNorm(2 * c, bias=True, name="out", **common)(y, train)

    def widen(self, x, c):
        """(b, c / 2) -> (b, c), by way of c / 8."""
        x = Conv(c // 8, 1, name="widen_in")(x[:, None, None])
        x = nn.relu(layer_norm(name="widen_in_norm")(x))
        x = Conv(c, 1, name="widen_out")(x)
        return layer_norm(name="widen_out_norm")(x)[:, 0, 0]


def standardise(x):
    """Mean 0 and variance 1 over (h, w) of each image."""
    x = x - x.mean((1, 2), keepdims=True)
    return x * jax.lax.rsqrt(jnp.square(x).mean((1, 2), keepdims=True) + 1e-5)


class ConditionalEncoder(nn.Module):
    """image (b, h, w, c) -> feature De2 (b, h/2, w/2, channels), logits (b, h, w, 7).

    h and w must divide by 2^(stages - 1), 32 as published, and by LIW's 2^(K + 1).
    `channels` is the base to which all widths of Table II are proportional (published:
    64). Logits: [fused, De1, ..., De5, En6], float32; untrained, they expect a share of
    `prior` of target pixels.
    """

    channels: int = BASE
    heights: tuple[int, ...] = HEIGHTS
    liw: bool = True
    liw_levels: int = 2
    token_layout: str = "spatial"
    heads: int = 4
    prior: float = 0.5
    remat: bool = False
    dtype: Any = jnp.float32
    axis: str | None = None

    def setup(self):
        self.fused_norm = batch_norm(train=False, name=None)

    @nn.compact
    def __call__(self, image, train=False):
        if self.channels < 8 or self.channels % 8:
            raise ValueError(f"encoder_channels must divide by 8, not {self.channels}")
        skips = self.encode(image, train)
        maps = self.decode(skips, train)
        logits = self.sides(maps, image.shape[1:3])
        if self.is_initializing():
            self.released_fused(logits)
        return maps[1], logits

    def encode(self, image, train):
        """Features of En1..En6, each half as large as the one before."""
        features, x = [], image.astype(self.dtype)
        for i, stage in enumerate(stages(self.heights)[0], 1):
            if i > 1:
                x = resize.max_pool(x)
            x = self.block(stage, f"en_{i}")(x, train)
            features.append(x)
        return features

    def decode(self, skips, train):
        """[De1, ..., De5, En6]."""
        skips, decoder = list(skips), stages(self.heights)[1]
        maps = [skips.pop()]
        Fusion = nn.remat(IPOF, static_argnums=(3,)) if self.remat else IPOF
        for i in range(len(decoder), 0, -1):
            skip = skips.pop()
            if i == 2 and self.liw:
                skip = self.isolate(skip, train)
            deep = resize.bilinear(maps[0], skip.shape[1:3])
            fusion = Fusion(self.dtype, self.axis, name=f"ipof_{i}")
            x = fusion(deep, skip, train)
            maps.insert(0, self.block(decoder[i - 1], f"de_{i}")(x, train))
        return maps

    def block(self, stage, name):
        height, hidden, features = stage
        Block = nn.remat(RSU, static_argnums=(2,)) if self.remat else RSU
        hidden, features = (n * self.channels // BASE for n in (hidden, features))
        return Block(height, hidden, features, self.dtype, self.axis, name=name)

    def isolate(self, x, train):
        layer = LIW(
            self.liw_levels,
            self.token_layout,
            self.heads,
            remat=self.remat,
            dtype=self.dtype,
            axis=self.axis,
            name="liw",
        )
        return layer(x, train)

    def sides(self, maps, size):
        """The six side logits at full size, and their fusion in front."""
        start = log_odds(self.prior)
        sides = [
            resize.bilinear(Conv(1, start=start, name=f"side_{i}")(x), size)
            for i, x in enumerate(maps, 1)
        ]
        sides = jnp.concatenate(sides, axis=-1)
        fused = Conv(1, 1, start=start, name="fuse")(sides)
        return jnp.concatenate([fused, sides], axis=-1)

    def released_fused(self, logits):
        """The fused logits as the released code gives them in inference: (b, h, w, 1).

        There, one more BatchNorm follows, which no training step ever runs: its
        statistics stay 0 and 1, so it multiplies by 0.999995. It is kept that
        published weights convert whole, and is no part of `__call__`.
        """
        return self.fused_norm(logits[..., :1])
