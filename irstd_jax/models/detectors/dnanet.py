"""DNANet: densely nested attention (Li et al., TIP 2023).

A triangle of nodes x_i^j, i levels down and j columns to the right. Each takes all
nodes to the left in its row, the one below, enlarged, and, except in row 0, the one
above in its own column, shrunk:

    x_i^0 = B(pool(x_{i-1}^0))
    x_i^j = B([x_i^0, ..., x_i^{j-1}, up(x_{i+1}^{j-1}), down(x_{i-1}^j)])

B are residual blocks with channel and spatial attention. Both resizes are bilinear and
keep the corner pixels. The diagonal x_4^0, ..., x_0^4, enlarged and of one width, gives
the prediction; x_0^1, x_0^2, x_0^3 have heads for deep supervision.

The default fields are the published configuration ("three", ResNet-18): 4,696,888
parameters.
"""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from irstd_jax.models.layers import Conv, ConvNorm, check_channels, log_odds
from irstd_jax.ops import resize

WIDTHS = {
    "one": (4, 8, 16, 32, 64),
    "two": (8, 16, 32, 64, 128),
    "three": (16, 32, 64, 128, 256),
    "four": (32, 64, 128, 256, 512),
}
BACKBONES = {  # blocks of the nodes in rows 1 to 4; row 0 has one
    "resnet_10": (1, 1, 1, 1),
    "resnet_18": (2, 2, 2, 2),
    "resnet_34": (3, 4, 6, 3),
}
REDUCTION = 16  # of the channels in the channel attention


class Block(nn.Module):
    """relu(A_s(A_c(y)) + x), y two convolutions of x, A_c and A_s the attentions."""

    features: int
    dtype: Any = jnp.float32
    axis: str | None = None

    @nn.compact
    def __call__(self, x, train=False):
        c = self.features
        common = {"bias": True, "dtype": self.dtype, "axis": self.axis}
        plain = common | {"activation": None}
        y = ConvNorm(c, name="conv_in", **common)(x, train)
        y = ConvNorm(c, name="conv_out", **plain)(y, train)
        y = y * self.channels(y)
        y = y * self.places(y)
        if x.shape[-1] != c:
            x = ConvNorm(c, 1, name="shortcut", **plain)(x, train)
        return nn.relu(x + y)

    def channels(self, x):
        """(b, 1, 1, c): of the image's mean and maximum by one bottleneck."""
        c = x.shape[-1]
        common = {"bias": False, "dtype": self.dtype}
        narrow = Conv(c // REDUCTION, 1, name="channel_in", **common)
        widen = Conv(c, 1, name="channel_out", **common)
        mean, most = (f(x, (1, 2), keepdims=True) for f in (jnp.mean, jnp.max))
        return nn.sigmoid(widen(nn.relu(narrow(mean))) + widen(nn.relu(narrow(most))))

    def places(self, x):
        """(b, h, w, 1): of the channels' mean and maximum around each pixel."""
        x = jnp.concatenate([x.mean(-1, keepdims=True), x.max(-1, keepdims=True)], -1)
        return nn.sigmoid(Conv(1, 7, bias=False, dtype=self.dtype, name="place")(x))


class DNANet(nn.Module):
    """The network; see `detectors` for its interface. Logits: [final, x_0^3, 2, 1].

    Images are padded inside, mirrored, to multiples of 16. Fields:
      channels: widths of the rows, a name in WIDTHS or a tuple; 16 or more each.
      blocks: a name in BACKBONES, or blocks of a node in rows 1, 2, ...
      deep_supervision: the three further maps.
      prior: share of target pixels that the untrained network expects.
      remat: recompute blocks in the backward pass instead of keeping their insides.
      norm_axis: pmap axis over which BatchNorm shares its batch statistics.
    """

    in_channels: int = 3
    channels: str | tuple[int, ...] = "three"
    blocks: str | tuple[int, ...] = "resnet_18"
    deep_supervision: bool = True
    prior: float = 0.5
    remat: bool = False
    dtype: Any = jnp.float32
    norm_axis: str | None = None

    @nn.compact
    def __call__(self, image, train=False, keys=None):
        self.check(image)
        b, h, w, c = image.shape
        x = resize.pad_to_multiple(image, self.multiple)
        nodes = self.triangle(x, train)
        rows = len(self.widths)
        maps = [self.final(nodes, x.shape[1:3], train)]
        if self.deep_supervision:
            columns = range(rows - 2, 0, -1)
            maps += [self.head(nodes[0, j], f"final_{j}") for j in columns]
        return resize.crop(jnp.concatenate(maps, axis=-1), h, w)

    def triangle(self, x, train):
        """{(i, j): x_i^j}."""
        rows, nodes = len(self.widths), {}
        for i in range(rows):
            below = resize.max_pool(nodes[i - 1, 0]) if i else x
            nodes[i, 0] = self.node(below, i, f"node_{i}_0", train)
        for j in range(1, rows):
            for i in range(rows - j):
                size = nodes[i, 0].shape[1:3]
                parts = [nodes[i, k] for k in range(j)]
                parts.append(resize.bilinear_corners(nodes[i + 1, j - 1], size))
                if i:
                    parts.append(resize.bilinear_corners(nodes[i - 1, j], size))
                x = jnp.concatenate(parts, axis=-1)
                nodes[i, j] = self.node(x, i, f"node_{i}_{j}", train)
        return nodes

    def node(self, x, row, name, train):
        Layer = nn.remat(Block, static_argnums=(2,)) if self.remat else Block
        for i in range((1, *self.depths)[row]):
            width = self.widths[row]
            x = Layer(width, self.dtype, self.norm_axis, name=f"{name}_{i}")(x, train)
        return x

    def final(self, nodes, size, train):
        """The logits of the diagonal, deepest first."""
        last = len(self.widths) - 1
        parts = []
        for i in range(last, 0, -1):
            x = nodes[i, last - i]
            x = Conv(self.widths[0], 1, dtype=self.dtype, name=f"level_{i}")(x)
            parts.append(resize.bilinear_corners(x, size))
        x = jnp.concatenate([*parts, nodes[0, last]], axis=-1)
        return self.head(self.node(x, 0, "final_node", train), f"final_{last}")

    def head(self, x, name):
        start = log_odds(self.prior)
        x = Conv(1, 1, start=start, dtype=self.dtype, name=name)(x)
        return x.astype(jnp.float32)

    @property
    def widths(self):
        return WIDTHS.get(self.channels, self.channels)

    @property
    def depths(self):
        return BACKBONES.get(self.blocks, self.blocks)

    @property
    def multiple(self):
        """What the sides of the padded image divide by."""
        return 2 ** (len(self.widths) - 1)

    def check(self, image):
        for field, choices in (("channels", WIDTHS), ("blocks", BACKBONES)):
            value = getattr(self, field)
            if isinstance(value, str) and value not in choices:
                raise ValueError(
                    f"unknown {field} {value!r}; choose from {sorted(choices)} or give "
                    "numbers"
                )
        if min(self.widths) < REDUCTION:
            raise ValueError(
                f"channels {self.channels!r} is {self.widths}, but the channel "
                f"attention needs {REDUCTION} or more: it leaves 1/{REDUCTION} of them "
                'inside. ("one" and "two" are published, and never ran.)'
            )
        if len(self.widths) < 3 or len(self.depths) != len(self.widths) - 1:
            raise ValueError(
                f"give three widths or more, not {self.widths}, and as many numbers of "
                f"blocks but one, not {self.depths}"
            )
        check_channels(image, in_channels=self.in_channels)
