"""ISNet: shape matters for infrared targets (Zhang et al., CVPR 2022).

ACM's U-Net, with another exchange on the way up, and an edge branch beside it. Between
the enlarged deeper feature and the encoder's, H and L after one pair of 1x1
convolutions for both, stands

    out = 2 H + (sigmoid(V(H)) + sigmoid(R(H))) L

V and R are deformable convolutions of 3x1 and 1x3 taps: tap k at the pixel p reads H,
bilinearly, at p + k + o_k(p), where the offsets o are a convolution of H; version 2
also weighs each tap by a sigmoid m_k(p). The edge branch starts from the image's
gradient m and takes, by three blocks, one after the other, a map s of c3 and of the two
refined features. With t = BN conv ReLU BN conv of its input x,

    a = ReLU(t(x) + x),   b = ReLU(t'(a)),   alpha = a bottleneck of [b, s], one map
    out = 3 ReLU(t(x)) + b + W (b (1 + alpha))

Its last map is the edge, by whose probability e the trunk's last feature u becomes
u (1 + e) before the head. Maps: [the prediction, the edge].

The default fields are BasicIRSTD's copy (version 1, 985,810 parameters that run);
PAL's has version 2 and three channels.
"""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
import numpy as np

from irstd_jax.models.detectors import trunk
from irstd_jax.models.layers import (
    Conv,
    ConvNorm,
    ConvTranspose,
    batch_norm,
    check_channels,
    uniform,
)
from irstd_jax.ops import between, edges, resize


class DeformableConv(nn.Module):
    """V or R of the module: (b, h, w, c) -> (b, h, w, features).

    Untrained offsets are 0, as is what the sigmoid of version 2 sees.
    """

    features: int
    kernel: tuple[int, int]
    modulated: bool = False
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x):
        b, h, w, c = x.shape
        kh, kw = self.kernel
        n = kh * kw
        shifts = Conv(
            n * (3 if self.modulated else 2),
            self.kernel,
            zero=True,
            dtype=self.dtype,
            name="offset",
        )(x).astype(jnp.float32)
        dy, dx = shifts[..., : 2 * n : 2], shifts[..., 1 : 2 * n : 2]
        down, right = np.mgrid[:kh, :kw].reshape(2, n)
        y = np.arange(h)[:, None, None] + (down - kh // 2) + dy
        z = np.arange(w)[:, None] + (right - kw // 2) + dx
        taps = between.bilinear_at(
            x.astype(self.dtype), y.reshape(b, -1), z.reshape(b, -1)
        ).reshape(b, h, w, n, c)
        if self.modulated:
            taps = taps * nn.sigmoid(shifts[..., 2 * n :, None]).astype(self.dtype)
        init = uniform(n * c)
        kernel = self.param("kernel", init, (kh, kw, c, self.features))
        bias = self.param("bias", nn.initializers.zeros, (self.features,))
        kernel = kernel.astype(self.dtype).reshape(n, c, self.features)
        return jnp.einsum("bhwnc,ncf->bhwf", taps, kernel) + bias.astype(self.dtype)


class Exchange(nn.Module):
    """The first formula: (b, h, w, c), (b, h, w, c) -> (b, h, w, c)."""

    modulated: bool = False
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, high, low):
        c = low.shape[-1]
        narrow = Conv(c // 2, 1, dtype=self.dtype, name="narrow")
        widen = Conv(c, 1, dtype=self.dtype, name="widen")
        high, low = widen(narrow(high)), widen(narrow(low))
        column, row = (
            nn.sigmoid(
                DeformableConv(c, kernel, self.modulated, self.dtype, name=name)(high)
            )
            for kernel, name in (((3, 1), "column"), ((1, 3), "row"))
        )
        return 2 * high + (column + row) * low


class EdgeBlock(nn.Module):
    """The second: (b, h, w, c), a map (b, h, w, 1) -> (b, h, w, c)."""

    dtype: Any = jnp.float32
    axis: str | None = None

    @nn.compact
    def __call__(self, x, s, train=False):
        t = self.pair(x, "first", train)
        b = nn.relu(self.pair(nn.relu(t + x), "second", train))
        alpha = self.alpha(jnp.concatenate([b, s], axis=-1), train)
        gated = Conv(x.shape[-1], 1, bias=False, dtype=self.dtype, name="gated")
        return 3 * nn.relu(t) + b + gated(b * (alpha + 1))

    def pair(self, x, name, train):
        common = {"dtype": self.dtype, "axis": self.axis}
        c = x.shape[-1]
        x = ConvNorm(c, name=f"{name}_in", **common)(x, train)
        return ConvNorm(c, activation=None, name=f"{name}_out", **common)(x, train)

    def alpha(self, x, train):
        c, common = x.shape[-1], {"dtype": self.dtype, "axis": self.axis}
        x = batch_norm(train, name="alpha_norm", **common)(x)
        x = nn.relu(Conv(c, 1, dtype=self.dtype, name="alpha_in")(x))
        last = {"bias": True, "activation": nn.sigmoid} | common
        return ConvNorm(1, 1, name="alpha_out", **last)(x, train)


class ISNet(nn.Module):
    """The network; see `detectors` for its interface. Logits: [prediction, edge].

    Images are padded inside, mirrored, to multiples of 16. Fields:
      channels: two widths of the stem, of which the second is also c1's, then c2's
        and c3's.
      blocks: residual blocks a level.
      edge_channels: width of the edge branch, which works at full size.
      modulated: version 2 of the deformable convolution.
      dropout: rate in the head, element by element.
      prior: share of target pixels that the untrained network expects.
      norm_axis: pmap axis over which BatchNorm shares its batch statistics.
    """

    in_channels: int = 1
    channels: tuple[int, ...] = (8, 16, 32, 64)
    blocks: int = 4
    edge_channels: int = 64
    modulated: bool = False
    dropout: float = 0.1
    prior: float = 0.5
    dtype: Any = jnp.float32
    norm_axis: str | None = None

    multiple = 16  # what the sides of the padded image divide by
    edge_maps = 1  # of the logits, the last

    @nn.compact
    def __call__(self, image, train=False, keys=None):
        self.check(image)
        b, h, w, c = image.shape
        x = resize.pad_to_multiple(image, self.multiple)
        narrow, *widths = self.channels
        c1, c2, c3 = trunk.encode(x, widths, self.blocks, narrow, train, self.common)
        u2 = self.up(c3, c2, 2, train)
        u1 = self.up(u2, c1, 1, train)
        edge = self.edge(x, (c3, u2, u1), train)
        u = resize.bilinear(u1, x.shape[1:3])
        u = u * (1 + nn.sigmoid(edge).astype(u.dtype))
        logits = trunk.head(u, self.prior, self.dropout, train, keys, self.common)
        return resize.crop(jnp.concatenate([logits, edge], axis=-1), h, w)

    def up(self, high, low, level, train):
        c = low.shape[-1]
        x = ConvTranspose(c, self.dtype, name=f"deconv{level}")(high)
        x = Exchange(self.modulated, self.dtype, name=f"fuse{level}")(x, low)
        name = f"uplayer{level}"
        return trunk.level(x, c, self.blocks, 1, name, train, self.common)

    def edge(self, image, features, train):
        """The logits of the edge, (b, h, w, 1) float32."""
        x = Conv(self.edge_channels, 1, dtype=self.dtype, name="gradient")(
            edges.gradient(image)
        )
        for i, feature in enumerate(features, 1):
            s = Conv(1, 1, dtype=self.dtype, name=f"side_{i}")(feature)
            s = resize.bilinear_corners(s, image.shape[1:3])
            x = EdgeBlock(name=f"edge_{i}", **self.common)(x, s, train)
        x = Conv(1, 1, bias=False, dtype=self.dtype, name="edge")(x)
        return x.astype(jnp.float32)

    @property
    def common(self):
        """What all layers with a normalisation are told."""
        return {"dtype": self.dtype, "axis": self.norm_axis}

    def check(self, image):
        check_channels(image, in_channels=self.in_channels)
        if len(self.channels) != 4 or min(self.channels) < 4:
            raise ValueError(
                f"channels must be four widths of 4 or more, not {self.channels}"
            )
