"""ACM: asymmetric contextual modulation (Dai et al., WACV 2021), as U-Net and FPN.

A short residual encoder gives c1, c2, c3, each half as large as the one before. On the
way up, deeper features H and shallower ones L are fused by two gates of each other:

    out = ReLU(BN(conv(2 L * D(H) + 2 H * U(L))))

D and U are bottlenecks of two pointwise convolutions with a sigmoid behind. asym_bi: D
sees the mean of H over the image, U each pixel of L; bi_local: both each pixel;
bi_global: both the mean. The U-Net kind enlarges by transposed convolutions and refines
by residual blocks, the FPN kind does neither.

The default fields are the authors' PyTorch code: 519,843 (U-Net) and 387,187 (FPN)
parameters.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from irstd_jax.models.layers import (
    Conv,
    ConvNorm,
    ConvTranspose,
    ResidualBlock,
    batch_norm,
    log_odds,
)
from irstd_jax.ops import resize

# Which gates see the mean over the image: (D, U).
FUSIONS = {
    "asym_bi": (True, False),
    "bi_local": (False, False),
    "bi_global": (True, True),
}
STEMS = {"quarter": 4, "full": 1}  # how much they shrink the image


class Fusion(nn.Module):
    """The exchange of two features: (b, h, w, *), (b, h, w, c) -> (b, h, w, c).

    With `project` the high feature passes a 1x1 convolution first, which makes its
    channels the low one's; without, it must have c channels.
    """

    kind: str = "asym_bi"
    project: bool = True
    dtype: Any = jnp.float32
    axis: str | None = None

    @nn.compact
    def __call__(self, high, low, train=False):
        c = low.shape[-1]
        common = {"bias": True, "dtype": self.dtype, "axis": self.axis}
        down_pooled, up_pooled = FUSIONS[self.kind]

        def gate(x, pooled, name):
            if pooled:
                x = x.mean((1, 2), keepdims=True)
            x = ConvNorm(c // 4, 1, name=f"{name}_in", **common)(x, train)
            last = {**common, "activation": nn.sigmoid}
            return ConvNorm(c, 1, name=f"{name}_out", **last)(x, train)

        if self.project:
            high = ConvNorm(c, 1, name="high", **common)(high, train)
        down, up = gate(high, down_pooled, "down"), gate(low, up_pooled, "up")
        return ConvNorm(c, name="post", **common)(2 * (low * down + high * up), train)


class ACM(nn.Module):
    """The network; see `detectors` for its interface.

    Images are padded inside, mirrored, to `multiple`. Fields:
      decoder: "unet" or "fpn".
      channels: two widths of the stem, of which the second is also c1's, then c2's
        and c3's.
      blocks: residual blocks a level.
      fusion: a name in FUSIONS.
      project: a 1x1 convolution on the deeper feature before each fusion.
      stem: "quarter" works at a quarter of the image's size, "full" at all of it.
      dropout: rate in the head, element by element.
      prior: share of target pixels that the untrained network expects.
      norm_axis: pmap axis over which BatchNorm shares its batch statistics.
    """

    decoder: str = "unet"
    in_channels: int = 3
    channels: tuple[int, ...] = (8, 16, 32, 64)
    blocks: int = 4
    fusion: str = "asym_bi"
    project: bool = True
    stem: str = "quarter"
    dropout: float = 0.1
    prior: float = 0.5
    dtype: Any = jnp.float32
    norm_axis: str | None = None

    @nn.compact
    def __call__(self, image, train=False, keys=None):
        self.check(image)
        b, h, w, c = image.shape
        x = resize.pad_to_multiple(image, self.multiple)
        size = x.shape[1:3]
        features = self.encode(x, train)
        x = (self.unet if self.decoder == "unet" else self.fpn)(*features, train)
        logits = self.head(x, train, keys).astype(jnp.float32)
        return resize.crop(resize.bilinear(logits, size), h, w)

    def encode(self, x, train):
        """c1, c2, c3."""
        first, *widths = self.channels
        x = batch_norm(train, self.dtype, self.norm_axis, "norm_in")(x)
        if self.stem == "quarter":
            x = self.conv(first, "stem_0", stride=2)(x, train)
            x = self.conv(first, "stem_1")(x, train)
            x = self.conv(widths[0], "stem_2")(x, train)
            x = resize.max_pool_3x3(x)
        else:
            x = self.conv(widths[0], "stem_0")(x, train)
        c1 = self.layer(x, widths[0], 1, "layer1", train)
        c2 = self.layer(c1, widths[1], 2, "layer2", train)
        return c1, c2, self.layer(c2, widths[2], 2, "layer3", train)

    def unet(self, c1, c2, c3, train):
        x = ConvTranspose(c2.shape[-1], self.dtype, name="deconv2")(c3)
        x = self.fuse("fuse2")(x, c2, train)
        x = self.layer(x, c2.shape[-1], 1, "uplayer2", train)
        x = ConvTranspose(c1.shape[-1], self.dtype, name="deconv1")(x)
        x = self.fuse("fuse1")(x, c1, train)
        return self.layer(x, c1.shape[-1], 1, "uplayer1", train)

    def fpn(self, c1, c2, c3, train):
        x = self.fuse("fuse23")(resize.bilinear(c3, c2.shape[1:3]), c2, train)
        return self.fuse("fuse12")(resize.bilinear(x, c1.shape[1:3]), c1, train)

    def head(self, x, train, keys):
        """(b, h, w, c) -> (b, h, w, 1) at the same size."""
        x = self.conv(x.shape[-1] // 4, "head_in")(x, train)
        if train and self.dropout:
            x = dropped(x, keys, self.dropout)
        start = log_odds(self.prior)
        return Conv(1, 1, start=start, dtype=self.dtype, name="head_out")(x)

    def layer(self, x, features, stride, name, train):
        for i in range(self.blocks):
            block = ResidualBlock(
                features,
                stride if i == 0 else 1,
                self.dtype,
                self.norm_axis,
                name=f"{name}_{i}",
            )
            x = block(x, train)
        return x

    def conv(self, features, name, stride=1):
        common = {"dtype": self.dtype, "axis": self.norm_axis}
        return ConvNorm(features, stride=stride, name=name, **common)

    def fuse(self, name):
        return Fusion(self.fusion, self.project, self.dtype, self.norm_axis, name=name)

    @property
    def multiple(self):
        """What the sides of the padded image divide by."""
        return STEMS[self.stem] * (4 if self.decoder == "unet" else 2)

    def check(self, image):
        for field, choices in (
            ("decoder", ("unet", "fpn")),
            ("fusion", FUSIONS),
            ("stem", STEMS),
        ):
            if getattr(self, field) not in choices:
                raise ValueError(
                    f"unknown {field} {getattr(self, field)!r}; choose from "
                    f"{sorted(choices)}"
                )
        if image.shape[-1] != self.in_channels:
            raise ValueError(f"in_channels={self.in_channels}, but {image.shape=}")
        if len(self.channels) != 4 or min(self.channels) < 4:
            raise ValueError(
                f"channels must be four widths of 4 or more, not {self.channels}"
            )
        if self.decoder == "fpn" and not self.project:
            raise ValueError("the FPN's features differ in width: it needs project")


def dropped(x, keys, rate):
    """Each number zero with chance `rate`, else enlarged so that the mean stays.

    Args:
      x: (b, h, w, c).
      keys: (b,), one an example: what falls out depends on nothing else.
    """
    if keys is None:
        raise ValueError("dropout in training needs keys, one an example")
    kept = jax.vmap(lambda key: jax.random.bernoulli(key, 1 - rate, x.shape[1:]))(keys)
    return jnp.where(kept, x / (1 - rate), 0)
