"""ALCNet: attentional local contrast (Dai et al., TGRS 2021), the authors' network.

A short residual encoder gives c1 at the image's size, c2 and c3 each half as large. Of
each not the feature F itself goes on, but its contrast C to what lies d pixels away: a
target is brighter (or darker) than both of two opposite neighbours, an edge is not,

    C(F)(p) = max_d min_a (F(p + d a) - F(p)) (F(p - d a) - F(p))

over four axes a (0, 45, 90, 135 degrees) and shifts d, channel by channel; beyond the
border lies the opposite side. Contrasts of one width W_i C(c_i) are then joined on the
way up, the shallower L deciding by a gate U what comes of the deeper H, enlarged:

    out = U(BN L) BN(H) + BN(L)

The default fields are those of the published MXNet weights (the shifts 13 and 17 give
their published masks), 374,929 numbers with the running statistics. What benchmarks
call ALCNet is another network: acm.py.
"""

import functools
from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from irstd_jax.models.detectors import trunk
from irstd_jax.models.layers import ConvNorm, batch_norm, check_channels, gate
from irstd_jax.ops import resize

AXES = ((0, 1), (1, 0), (1, 1), (1, -1))


def contrast(x, shifts):
    """C of the module, (b, h, w, c) -> (b, h, w, c), over shifts in pixels."""
    _, h, w, _ = x.shape
    m = max(shifts)
    # Cut out of one wider map: rolled ones take twice as long to learn by.
    wide = jnp.pad(x, ((0, 0), (m, m), (m, m), (0, 0)), mode="wrap")

    def along(axis, shift):
        dy, dx = (shift * step for step in axis)
        corners = ((m - dy, m - dx), (m + dy, m + dx))
        one, other = (wide[:, i : i + h, j : j + w] - x for i, j in corners)
        return one * other

    darkest = (
        functools.reduce(jnp.minimum, [along(axis, shift) for axis in AXES])
        for shift in shifts
    )
    return functools.reduce(jnp.maximum, darkest)


class Fusion(nn.Module):
    """The joining of two contrasts: (b, h, w, c), (b, h, w, c) -> (b, h, w, c)."""

    dtype: Any = jnp.float32
    axis: str | None = None

    @nn.compact
    def __call__(self, high, low, train=False):
        common = {"dtype": self.dtype, "axis": self.axis}
        high = batch_norm(train, name="norm_high", **common)(high)
        low = batch_norm(train, name="norm_low", **common)(low)
        return gate(low, low.shape[-1], "up", train, **common) * high + low


class ALCNet(nn.Module):
    """The network; see `detectors` for its interface.

    Images are padded inside, mirrored, to multiples of 4. Fields:
      channels: widths of c1, c2 and c3; contrasts have the first.
      blocks: residual blocks a level.
      shifts: of the contrast, in pixels of each level.
      dropout: rate in the head, element by element.
      prior: share of target pixels that the untrained network expects.
      norm_axis: pmap axis over which BatchNorm shares its batch statistics.
    """

    in_channels: int = 3
    channels: tuple[int, ...] = (16, 32, 64)
    blocks: int = 4
    shifts: tuple[int, ...] = (13, 17)
    dropout: float = 0.1
    prior: float = 0.5
    dtype: Any = jnp.float32
    norm_axis: str | None = None

    multiple = 4  # what the sides of the padded image divide by

    @nn.compact
    def __call__(self, image, train=False, keys=None):
        self.check(image)
        b, h, w, c = image.shape
        common = {"dtype": self.dtype, "axis": self.norm_axis}
        x = resize.pad_to_multiple(image, self.multiple)
        features = trunk.encode(x, self.channels, self.blocks, 0, train, common)
        width = self.channels[0]
        c1, c2, c3 = (contrast(x, self.shifts) for x in features)
        c2 = ConvNorm(width, 1, name="narrow_2", **common)(c2, train)
        x = ConvNorm(width, 1, name="narrow_3", **common)(c3, train)
        for low, name in ((c2, "fuse_2"), (c1, "fuse_1")):
            x = resize.bilinear_corners(x, low.shape[1:3])
            x = Fusion(name=name, **common)(x, low, train)
        x = trunk.head(x, self.prior, self.dropout, train, keys, common)
        return resize.crop(x, h, w)

    def check(self, image):
        check_channels(image, in_channels=self.in_channels)
        if len(self.channels) != 3 or min(self.channels) < 4:
            raise ValueError(
                f"channels must be three widths of 4 or more, not {self.channels}"
            )
        if not self.shifts or min(self.shifts) < 1:
            raise ValueError(f"shifts must be 1 or more pixels, not {self.shifts}")
