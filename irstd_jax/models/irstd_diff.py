"""IRSTD-Diff: a conditional encoder and a denoiser of target masks (JSTARS 2024).

    f(I), P = CE(I)                       once an image
    eps     = UNet([I, x_t], t, f(I))     once a sampling step              (Eq. 15)

The default fields are the published configuration, 39,559,317 parameters.
"""

import math
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from irstd_jax.models import conditional_encoder, unet
from irstd_jax.models.conditional_encoder import ConditionalEncoder
from irstd_jax.models.layers import check_channels
from irstd_jax.ops import resize


class IRSTDDiff(nn.Module):
    """The network; see `condition`, `denoise` and `__call__`.

    Images of any size are padded inside (mirrored at bottom and right, to a multiple
    of 32 at the published depth) and cropped again; a size that fits is left alone.
    With token_layout="reference" the padded size must also fit LIW's windows.

    Fields:
      encoder_channels: base of all widths of CE; must equal channels * channel_mult[1].
      encoder_heights: of the RSUs of CE's stages, 0 for RSU4F; fewer make it shallower.
      liw_levels: K of the wavelet transform, 1 to 4.
      detach_condition: no gradient from the denoiser to CE, as released.
      prior: share of target pixels that the untrained encoder's maps expect.
      token_layout: "spatial", or "reference" for published weights (liw.py).
      dtype: of the arithmetic; parameters, softmax, norm statistics and outputs are
        float32.
      remat: recompute blocks in the backward pass instead of keeping their insides.
      norm_axis: pmap axis over which BatchNorm shares its batch statistics.
    """

    image_channels: int = 3
    channels: int = 64
    channel_mult: tuple[int, ...] = (1, 1, 2, 2, 4, 4)
    num_res_blocks: int = 2
    num_heads: int = 4
    attention_downsamplings: tuple[int, ...] = (16,)
    encoder_channels: int = 64
    encoder_heights: tuple[int, ...] = conditional_encoder.HEIGHTS
    conditional_encoder: bool = True
    liw: bool = True
    liw_levels: int = 2
    detach_condition: bool = True
    prior: float = 0.5
    token_layout: str = "spatial"
    dtype: Any = jnp.float32
    remat: bool = False
    norm_axis: str | None = None

    def setup(self):
        self.check()
        self.unet = unet.UNet(**unet.fields(self))
        if self.conditional_encoder:
            self.encoder = ConditionalEncoder(
                self.encoder_channels,
                tuple(self.encoder_heights),
                self.liw,
                self.liw_levels,
                self.token_layout,
                prior=self.prior,
                remat=self.remat,
                dtype=self.dtype,
                axis=self.norm_axis,
            )

    def __call__(self, image, x_t, t, train=False):
        """Both halves: -> (output (b, h, w, 1), logits (b, h, w, 7) or None)."""
        feature, logits = self.condition(image, train)
        return self.denoise(x_t, t, image, feature, train), logits

    def condition(self, image, train=False):
        """What depends on the image alone; (None, None) without CE.

        Args:
          image: (b, h, w, image_channels), normalised.
          train: BatchNorm takes the statistics of the batch and updates its own.

        Returns:
          feature: (b, H/2, W/2, encoder_channels) of the padded image H x W.
          logits: (b, h, w, 7) float32: fused, De1, ..., De5, En6; one more than
            encoder_heights has entries.
        """
        b, h, w, c = image.shape
        check_channels(image, image_channels=self.image_channels)
        if not self.conditional_encoder:
            return None, None
        feature, logits = self.encoder(self.pad(image), train)
        return feature, resize.crop(logits, h, w)

    def denoise(self, x_t, t, image, feature, train=False):
        """The raw output (b, h, w, 1) float32 for x_t (b, h, w, 1) at times t (b,).

        `feature` is `condition`'s. `train` changes nothing (no dropout, no BatchNorm).
        """
        b, h, w, c = x_t.shape
        if self.conditional_encoder and feature is None:
            raise ValueError("conditional_encoder=True: denoise needs the feature")
        if feature is not None and self.detach_condition:
            feature = jax.lax.stop_gradient(feature)
        x = self.pad(jnp.concatenate([image, x_t.astype(image.dtype)], axis=-1))
        return resize.crop(self.unet(x, t, feature), h, w)

    def released_fused(self, logits):
        """Fused logits (b, h, w, 1) behind the released code's last, idle BatchNorm."""
        return self.encoder.released_fused(logits)

    @property
    def estimates(self):
        """Whether `condition` gives maps of the mask."""
        return self.conditional_encoder

    def pad(self, x):
        return resize.pad_to_multiple(x, self.multiple)

    @property
    def multiple(self):
        """What the sides of the padded image divide by."""
        needed = 2 ** (len(self.channel_mult) - 1)
        if self.conditional_encoder:
            needed = math.lcm(needed, 2 ** (len(self.encoder_heights) - 1))
            if self.liw:
                # LIW halves the feature of level 1 another `liw_levels` times.
                needed = math.lcm(needed, 2 ** (1 + self.liw_levels))
        return needed

    def check(self):
        if not self.conditional_encoder:
            return
        if len(self.channel_mult) < 2:
            raise ValueError(
                "the encoder's feature enters level 1 of the U-Net: give channel_mult "
                f"two levels or more, not {self.channel_mult}"
            )
        joined = self.channels * self.channel_mult[1]
        if self.encoder_channels != joined:
            raise ValueError(
                f"encoder_channels={self.encoder_channels} must equal channels * "
                f"channel_mult[1] = {joined}: the feature is added to level 1"
            )
