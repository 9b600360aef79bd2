"""ACM: asymmetric contextual modulation (Dai et al., WACV 2021), as U-Net and FPN.

A short residual encoder gives c1, c2, c3, each half as large as the one before. On the
way up, deeper features H and shallower ones L are fused by two gates of each other:

    out = ReLU(BN(conv(2 L * D(H) + 2 H * U(L))))

D and U are bottlenecks of two pointwise convolutions with a sigmoid behind. asym_bi: D
sees the mean of H over the image, U each pixel of L; bi_local: both each pixel;
bi_global: both the mean. The U-Net kind enlarges by transposed convolutions and refines
by residual blocks, the FPN kind does neither, the kind "deconv" only enlarges, once
more behind the last fusion.

The default fields are the authors' PyTorch code: 519,843 (U-Net) and 387,187 (FPN)
parameters. Their first code, of MXNet, has stem="full" and project=False. What
benchmarks run under these names is BasicIRSTD's, also LESPS's: of one channel, without
projections, with running statistics that keep a tenth; as "ACM" the U-Net of three
blocks a level (397,823), as "ALCNet" the kind "deconv" (426,961), which has no local
contrast and is not ALCNet (alcnet.py).
"""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from irstd_jax.models.detectors import trunk
from irstd_jax.models.layers import ConvNorm, ConvTranspose, check_channels, gate
from irstd_jax.ops import resize

# Which gates see the mean over the image: (D, U).
FUSIONS = {
    "asym_bi": (True, False),
    "bi_local": (False, False),
    "bi_global": (True, True),
}
STEMS = {"quarter": 4, "full": 1}  # how much they shrink the image
DECODERS = ("deconv", "fpn", "unet")


class Fusion(nn.Module):
    """The exchange of two features: (b, h, w, *), (b, h, w, c) -> (b, h, w, c).

    With `project` the high feature passes a 1x1 convolution first, which makes its
    channels the low one's; without, it must have c channels.
    """

    kind: str = "asym_bi"
    project: bool = True
    dtype: Any = jnp.float32
    axis: str | None = None
    momentum: float = 0.9

    @nn.compact
    def __call__(self, high, low, train=False):
        c = low.shape[-1]
        fields = {name: getattr(self, name) for name in ("dtype", "axis", "momentum")}
        fields["bias"] = True

        def seen(x, pooled):
            return x.mean((1, 2), keepdims=True) if pooled else x

        if self.project:
            high = ConvNorm(c, 1, name="high", **fields)(high, train)
        down_pooled, up_pooled = FUSIONS[self.kind]
        down = gate(seen(high, down_pooled), c // 4, "down", train, **fields)
        up = gate(seen(low, up_pooled), c // 4, "up", train, **fields)
        return ConvNorm(c, name="post", **fields)(2 * (low * down + high * up), train)


class ACM(nn.Module):
    """The network; see `detectors` for its interface.

    Images are padded inside, mirrored, to `multiple`. Fields:
      decoder: a name in DECODERS.
      channels: two widths of the stem, of which the second is also c1's, then c2's
        and c3's.
      blocks: residual blocks a level.
      fusion: a name in FUSIONS.
      project: a 1x1 convolution on the deeper feature before each fusion.
      stem: "quarter" works at a quarter of the image's size, "full" at all of it.
      dropout: rate in the head, element by element.
      prior: share of target pixels that the untrained network expects.
      momentum: what a step keeps of the running statistics outside residual blocks.
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
    momentum: float = 0.9
    dtype: Any = jnp.float32
    norm_axis: str | None = None

    @nn.compact
    def __call__(self, image, train=False, keys=None):
        self.check(image)
        b, h, w, c = image.shape
        x = resize.pad_to_multiple(image, self.multiple)
        size = x.shape[1:3]
        narrow, *widths = self.channels
        narrow = narrow if self.stem == "quarter" else 0
        x = trunk.encode(x, widths, self.blocks, narrow, train, self.common)
        x = getattr(self, self.decoder)(*x, train)
        x = trunk.head(x, self.prior, self.dropout, train, keys, self.common)
        return resize.crop(resize.bilinear(x, size), h, w)

    def unet(self, c1, c2, c3, train):
        x = self.enlarge(c3, c2, "deconv2")
        x = self.fuse("fuse2")(x, c2, train)
        x = self.refine(x, "uplayer2", train)
        x = self.enlarge(x, c1, "deconv1")
        x = self.fuse("fuse1")(x, c1, train)
        return self.refine(x, "uplayer1", train)

    def fpn(self, c1, c2, c3, train):
        x = self.fuse("fuse23")(resize.bilinear(c3, c2.shape[1:3]), c2, train)
        return self.fuse("fuse12")(resize.bilinear(x, c1.shape[1:3]), c1, train)

    def deconv(self, c1, c2, c3, train):
        x = self.fuse("fuse23")(self.enlarge(c3, c2, "deconv2"), c2, train)
        x = self.fuse("fuse12")(self.enlarge(x, c1, "deconv1"), c1, train)
        return ConvTranspose(self.channels[0], self.dtype, name="deconv0")(x)

    def enlarge(self, x, like, name):
        return ConvTranspose(like.shape[-1], self.dtype, name=name)(x)

    def refine(self, x, name, train):
        return trunk.level(x, x.shape[-1], self.blocks, 1, name, train, self.common)

    def fuse(self, name):
        return Fusion(self.fusion, self.project, **self.common, name=name)

    @property
    def common(self):
        """What all layers with a normalisation are told."""
        return {
            "dtype": self.dtype,
            "axis": self.norm_axis,
            "momentum": self.momentum,
        }

    @property
    def multiple(self):
        """What the sides of the padded image divide by."""
        return STEMS[self.stem] * (2 if self.decoder == "fpn" else 4)

    def check(self, image):
        for field, choices in (
            ("decoder", DECODERS),
            ("fusion", FUSIONS),
            ("stem", STEMS),
        ):
            if getattr(self, field) not in choices:
                raise ValueError(
                    f"unknown {field} {getattr(self, field)!r}; choose from "
                    f"{sorted(choices)}"
                )
        check_channels(image, in_channels=self.in_channels)
        if len(self.channels) != 4 or min(self.channels) < 4:
            raise ValueError(
                f"channels must be four widths of 4 or more, not {self.channels}"
            )
        if self.decoder == "fpn" and not self.project:
            raise ValueError("the FPN's features differ in width: it needs project")
