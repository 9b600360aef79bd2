"""SegDiff: two encoders, of the image and of x_t, added (Amit et al., 2021).

    f(I) = RRDB(I)                          once an image
    eps  = UNet(conv(x_t) + f(I), t)        once a sampling step

Source: arXiv 2112.00390 and its code, which runs RRDB anew at each of its 100 steps,
51 % of its arithmetic.

The default fields are its network for Vaihingen at 256 px, 159,838,209 parameters; 12
blocks make 164,154,753. That of Cityscapes at 128 px has 15 blocks and one level less,
162,766,017: channel_mult=(1, 1, 2, 2, 4, 4), attention_downsamplings=(8, 16).
"""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from irstd_jax.models import unet
from irstd_jax.models.generative.rrdb import RRDB
from irstd_jax.models.layers import check_channels
from irstd_jax.ops import resize


class SegDiff(nn.Module):
    """The network; see `condition`, `denoise` and `__call__`.

    Images of any size are padded inside (mirrored, to a multiple of 64 at the published
    depth) and cropped again.

    Fields:
      groups: of the group normalisations (unet.py says what narrow networks want).
      rrdb_blocks, rrdb_channels, rrdb_growth: of the encoder (rrdb.py).
      dtype, remat: as of `IRSTDDiff`.
      norm_axis: not used; there is no BatchNorm.
    """

    image_channels: int = 3
    channels: int = 128
    channel_mult: tuple[int, ...] = (1, 1, 1, 2, 2, 4, 4)
    num_res_blocks: int = 3
    num_heads: int = 4
    attention_downsamplings: tuple[int, ...] = (16, 32)
    groups: int = 32
    rrdb_blocks: int = 6
    rrdb_channels: int = 64
    rrdb_growth: int = 32
    dtype: Any = jnp.float32
    remat: bool = False
    norm_axis: str | None = None

    estimates = False  # of the mask, by `condition`

    def setup(self):
        self.unet = unet.UNet(
            **unet.fields(self),
            scale_shift=False,
            groups=self.groups,
        )
        self.rrdb = RRDB(
            self.channels,
            self.rrdb_blocks,
            self.rrdb_channels,
            self.rrdb_growth,
            self.remat,
            self.dtype,
        )

    def __call__(self, image, x_t, t, train=False):
        """Both halves: -> (output (b, h, w, 1), None)."""
        feature, logits = self.condition(image, train)
        return self.denoise(x_t, t, image, feature, train), logits

    def condition(self, image, train=False):
        """(feature (b, H, W, channels) of the padded image H x W, None).

        Args:
          image: (b, h, w, image_channels), normalised.
          train: changes nothing, here as in `denoise`.
        """
        check_channels(image, image_channels=self.image_channels)
        return self.rrdb(self.pad(image)), None

    def denoise(self, x_t, t, image, feature, train=False):
        """The raw output (b, h, w, 1) float32 for x_t (b, h, w, 1) at times t (b,).

        `feature` is `condition`'s; the image itself is not looked at.
        """
        b, h, w, c = x_t.shape
        return resize.crop(self.unet(self.pad(x_t), t, stem=feature), h, w)

    def pad(self, x):
        return resize.pad_to_multiple(x, self.multiple)

    @property
    def multiple(self):
        """What the sides of the padded image divide by."""
        return 2 ** (len(self.channel_mult) - 1)
