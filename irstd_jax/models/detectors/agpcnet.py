"""AGPCNet: attention-guided pyramid context (Zhang et al., TAES 2023).

A ResNet-18 without pooling gives c1, c2, c3 at 1/2, 1/4 and 1/8 of the image. Of c3,
narrowed to z, context blocks of several scales s look at z cut into s x s patches:

    a_s = ReLU(z + gamma BN(conv(G_s(i, j) A(z_ij))))
    A(x) = x + gamma' softmax(Q(x) K(x)^T) V(x)     over the pixels of one patch
    G_s  = sigmoid of a bottleneck of A'(max of z over an s x s grid)       the guide

[z, a_s, ...], widened, goes up by two fusions of a deeper H and a shallower L:

    out = ReLU(BN(conv(L + H'))) C(mean H') P(L),       H' = ReLU(BN(W H))

C and P are bottlenecks with a sigmoid behind, as ACM's. All enlargement is bilinear and
keeps the corner pixels. Every gamma begins at 0, so that a_s = ReLU(z).

The default fields are the published configuration "agpcnet_1", 12,360,461 parameters;
"agpcnet_2" has the scales (10, 6, 5, 4).
"""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from irstd_jax.models.detectors import trunk
from irstd_jax.models.layers import Conv, ConvNorm, check_channels, gate
from irstd_jax.ops import resize

BLOCKS = 2  # residual blocks a level, of ResNet-18
REDUCTION = 16  # of c3's channels for the context
BOTTLENECK = 4  # of the channels in attentions and gates


class NonLocal(nn.Module):
    """A of the module over all pixels: (b, h, w, c) -> (b, h, w, c)."""

    reduction: int = 1
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x):
        b, h, w, c = x.shape

        def tokens(features, name):
            layer = Conv(features, 1, dtype=self.dtype, name=name)
            return layer(x).reshape(b, h * w, features)

        query = tokens(c // self.reduction, "query")
        key = tokens(c // self.reduction, "key")
        energy = jnp.einsum("bqd,bkd->bqk", query, key).astype(jnp.float32)
        weights = nn.softmax(energy).astype(self.dtype)
        seen = jnp.einsum("bqk,bkc->bqc", weights, tokens(c, "value"))
        return x + gamma(self, seen.reshape(x.shape))


class Context(nn.Module):
    """a_s of the module at one scale: (b, h, w, c) -> (b, h, w, c); h, w >= scale."""

    scale: int
    dtype: Any = jnp.float32
    axis: str | None = None

    @nn.compact
    def __call__(self, x, train=False):
        c, common = x.shape[-1], {"dtype": self.dtype, "axis": self.axis}
        guide = resize.adaptive_max_pool(x, self.scale)
        guide = NonLocal(1, self.dtype, name="guide_attention")(guide)
        guide = gate(guide, c // BOTTLENECK, "guide", train, **common)
        attention = NonLocal(BOTTLENECK, self.dtype, name="attention")
        rows, columns = (zones(n, self.scale) for n in x.shape[1:3])
        y = jnp.concatenate(
            [
                jnp.concatenate(
                    [guided(attention, x, guide, row, column) for column in columns],
                    axis=2,
                )
                for row in rows
            ],
            axis=1,
        )
        mix = ConvNorm(c, bias=True, activation=None, name="mix", **common)
        return nn.relu(x + gamma(self, mix(y, train)))


def gamma(module, x):
    """x times a learnt scalar of the module that begins at 0."""
    return x * module.param("gamma", nn.initializers.zeros, (1,)).astype(x.dtype)


def zones(n, count):
    """[(patches before, patches, pixels of each)]: n pixels as `count` patches.

    All are of n // count pixels, but the last takes what remains.
    """
    side = n // count
    last = n - (count - 1) * side
    if last == side or count == 1:
        return [(0, count, last)]
    return [(0, count - 1, side), (count - 1, 1, last)]


def guided(attention, x, guide, rows, columns):
    """G_s(i, j) A(z_ij) of the patches in two of `zones`, which are equally large.

    x (b, h, w, c) and guide (b, s, s, c) -> (b, h', w', c), the part of x that they
    cover.
    """
    b, h, w, c = x.shape
    (i, m, height), (j, n, width) = rows, columns
    # All patches before a zone are of the common size.
    top, left = i * (h // guide.shape[1]), j * (w // guide.shape[2])
    x = x[:, top : top + m * height, left : left + n * width]
    x = x.reshape(b, m, height, n, width, c).swapaxes(2, 3)
    x = attention(x.reshape(b * m * n, height, width, c))
    x = x.reshape(b, m, n, height, width, c)
    x = x * guide[:, i : i + m, j : j + n, None, None]
    return x.swapaxes(2, 3).reshape(b, m * height, n * width, c)


class Fusion(nn.Module):
    """The last formula of the module: (b, h, w, *), (b, h, w, c) -> (b, h, w, c)."""

    dtype: Any = jnp.float32
    axis: str | None = None

    @nn.compact
    def __call__(self, high, low, train=False):
        c = low.shape[-1]
        common = {"bias": True, "dtype": self.dtype, "axis": self.axis}
        high = ConvNorm(c, 1, name="high", **common)(high, train)
        mean = high.mean((1, 2), keepdims=True)
        down = gate(mean, c // BOTTLENECK, "down", train, **common)
        up = gate(low, c // BOTTLENECK, "up", train, **common)
        return ConvNorm(c, name="post", **common)(low + high, train) * down * up


class AGPCNet(nn.Module):
    """The network; see `detectors` for its interface.

    Any size goes through as it is, but that smaller sides than `least` are padded,
    mirrored: c3 must have a pixel for each patch. Fields:
      channels: width of the first convolution, then of the four levels.
      scales: patches along a side, of each context block.
      dropout: rate in the head, element by element.
      prior: share of target pixels that the untrained network expects.
      norm_axis: pmap axis over which BatchNorm shares its batch statistics.
    """

    in_channels: int = 3
    channels: tuple[int, ...] = (64, 64, 128, 256, 512)
    scales: tuple[int, ...] = (10, 6, 5, 3)
    dropout: float = 0.1
    prior: float = 0.5
    dtype: Any = jnp.float32
    norm_axis: str | None = None

    multiple = 1  # sides need no padding to divide

    @nn.compact
    def __call__(self, image, train=False, keys=None):
        self.check(image)
        b, h, w, c = image.shape
        x = resize.pad_to(image, max(h, self.least), max(w, self.least))
        size = x.shape[1:3]
        c1, c2, c3 = self.encode(x, train)
        x = self.context(c3, train)
        for low, name in ((c2, "fuse23"), (c1, "fuse12")):
            x = resize.bilinear_corners(x, low.shape[1:3])
            x = Fusion(name=name, **self.common)(x, low, train)
        settings = self.prior, self.dropout, train, keys, self.common
        x = trunk.head(x, *settings, bias=True)
        return resize.crop(resize.bilinear_corners(x, size), h, w)

    def encode(self, x, train):
        """c1, c2, c3."""
        first, *widths = self.channels
        x = ConvNorm(first, 7, name="stem", **self.common)(x, train)
        features = []
        for i, width in enumerate(widths, 1):
            stride, name = 1 if i == 1 else 2, f"layer{i}"
            x = trunk.level(x, width, BLOCKS, stride, name, train, self.common)
            features.append(x)
        return features[1:]

    def context(self, x, train):
        """(b, h, w, c) -> (b, h, w, c)."""
        c, common = x.shape[-1], self.common | {"bias": True}
        z = ConvNorm(c // REDUCTION, 1, name="context_in", **common)(x, train)
        parts = [
            Context(scale, name=f"context_{i}", **self.common)(z, train)
            for i, scale in enumerate(self.scales)
        ]
        x = jnp.concatenate([z, *parts], axis=-1)
        return ConvNorm(c, 1, name="context_out", **common)(x, train)

    @property
    def common(self):
        """What all layers with a normalisation are told."""
        return {"dtype": self.dtype, "axis": self.norm_axis}

    @property
    def least(self):
        """The smallest side whose eighth has a pixel for each patch."""
        return 8 * (max(self.scales) - 1) + 1

    def check(self, image):
        check_channels(image, in_channels=self.in_channels)
        narrowest = REDUCTION * BOTTLENECK
        if len(self.channels) != 5 or self.channels[-1] < narrowest:
            raise ValueError(
                f"channels must be five widths, of which the last is {narrowest} or "
                f"more, not {self.channels}"
            )
        if not self.scales or min(self.scales) < 1:
            raise ValueError(f"scales must be 1 or more patches, not {self.scales}")
