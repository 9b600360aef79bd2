"""MedSegDiff's encoder: a convolutional U-Net that says where the targets are.

    unit(x) = lrelu(BN(drop(conv(x)))),   LeakyReLU of slope 0.01                  (1)
    down:  x_d = unit(unit(x)), max-pool 2;  at the bottom  unit(unit(x))          (2)
    up:    y = unit(unit([double(y), x_d])), to d's width, then to that of d - 1   (3)
    P = conv1x1(y_0), without bias                                                 (4)

`drop` leaves out whole channels, on the way down and at the bottom alone. (4) is the
calibration map, as a logit. Each y but the last is an anchor.

In the first version of the network the way down is filtered by what the denoiser's own
encoder sees: h_d, its first feature at half, quarter, ... size, goes through FF-Parser,
a learnt filter of frequencies, and after the pool of stage d, but the last,

    h = FF(conv1x1(h_d)),   x = x * conv1x1(h) * mean_hw(h)                        (5)

Source: MedSegDiff (Wu et al., MIDL 2023) and its released code, whose two versions
these are; the papers' SS-Former and uncertain attention are in neither.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from irstd_jax.models.layers import Conv, batch_norm, dropped, kaiming
from irstd_jax.ops import fourier, resize

SLOPE = 0.01


class Unit(nn.Module):
    """Eq. (1): (b, h, w, c) -> (b, h, w, features)."""

    features: int
    dropout: float = 0.0
    dtype: Any = jnp.float32
    axis: str | None = None

    @nn.compact
    def __call__(self, x, train=False, keys=None):
        x = convolution(self.features, 3, self.dtype, "conv")(x)
        if train and self.dropout:
            whole = jnp.ones((len(x), 1, 1, x.shape[-1]), x.dtype)
            x = x * dropped(whole, keys, self.dropout)
        x = batch_norm(train, self.dtype, self.axis)(x)
        return nn.leaky_relu(x, SLOPE)


def convolution(features, kernel, dtype, name, **fields):
    """A convolution with the first values of the release."""
    init = {"kernel_init": kaiming(SLOPE), "bias_init": nn.initializers.zeros}
    return Conv(features, kernel, dtype=dtype, name=name, **init, **fields)


class FFParser(nn.Module):
    """A learnt filter of frequencies, near zero at first: (b, h, w, c) -> the same.

    It is made for one size of the map.
    """

    @nn.compact
    def __call__(self, x):
        b, h, w, c = x.shape
        init = nn.initializers.normal(0.02)
        weight = self.param("weight", init, (h, w // 2 + 1, c, 2))
        return fourier.filtered(x, weight)


class CalibrationUNet(nn.Module):
    """Eq. (1) to (5). Sides must divide by 2^len(widths).

    Fields:
      widths: of the stages, the largest map first; the bottom has that of the last.
      dropout: share of the channels that fall out in training.
    """

    widths: tuple[int, ...] = (32, 64, 128, 256, 480)
    dropout: float = 0.5
    dtype: Any = jnp.float32
    axis: str | None = None

    @nn.compact
    def __call__(self, image, train=False, keys=None, highway=None):
        """Image (b, h, w, c) -> (maps, bottom, logits).

        Args:
          train: BatchNorm takes the statistics of the batch, channels fall out.
          keys: (b,), one an image, where they do.
          highway: None, or h_d of all stages but the last.

        Returns:
          maps: of Eq. (3), the largest first: (b, h, w, widths[0]), (b, h/2, w/2,
            widths[0]), (b, h/4, w/4, widths[1]), ...
          bottom: (b, h/2^n, w/2^n, widths[-1]).
          logits: (b, h, w, 1) float32.
        """

        def unit(x, features, name, dropout=0.0):
            nonlocal keys
            if train and dropout and keys is not None:
                keys = jax.vmap(jax.random.fold_in, (0, None))(keys, 1)
            layer = Unit(features, dropout, self.dtype, self.axis, name=name)
            return layer(x, train, keys)

        x, skips = image, []
        for d, width in enumerate(self.widths):
            for i in range(2):
                x = unit(x, width, f"down_{d}_{i}", self.dropout)
            skips.append(x)
            x = resize.max_pool(x)
            if highway is not None and d < len(highway):
                x = self.gated(x, highway[d], d)
        for i in range(2):
            x = unit(x, self.widths[-1], f"bottom_{i}", self.dropout)
        maps = [x]
        for d in reversed(range(len(self.widths))):
            skip = skips.pop()
            x = resize.bilinear(maps[0], skip.shape[1:3])
            x = jnp.concatenate([x, skip], axis=-1)
            # Published names count from the bottom.
            u = len(self.widths) - 1 - d
            x = unit(x, self.widths[d], f"up_{u}_0")
            maps.insert(0, unit(x, self.widths[max(d - 1, 0)], f"up_{u}_1"))
        head = convolution(1, 1, jnp.float32, "head", bias=False)
        return maps[:-1], maps[-1], head(maps[0])

    def gated(self, x, h, d):
        """Eq. (5)."""
        h = convolution(x.shape[-1], 1, self.dtype, f"narrow_{d}")(h)
        h = FFParser(name=f"filter_{d}")(h).astype(x.dtype)
        gate = convolution(1, 1, self.dtype, f"gate_{d}")(h)
        return x * gate * h.mean((1, 2), keepdims=True)
