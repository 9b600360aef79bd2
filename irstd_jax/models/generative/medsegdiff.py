"""MedSegDiff: a denoiser anchored by a map that the image alone gives, as released.

    [a_0, a_1], P = encoder(I)                                  once an image
    eps, v = UNet(conv([I, x_t]) + stopgrad [a_0, a_0, a_1], t) once a step

P is the calibration map, learnt by 10 |sigmoid(P) - m|^2 alone: the anchors carry no
gradient (`detach_condition`). v is of the learned variance (diffusion/variational.py).
This is the code's version "new", 129,400,450 parameters. Its second paper (Wu et al.,
AAAI 2024) tells of SS-Former, a neural band-pass filter and uncertain attention, which
no public code has.

Its first version is `highway` (medsegdiff_v1): the encoder is filtered by the U-Net's
own features (calibration.py, Eq. 5) and its bottom is added before the U-Net's middle,

    eps, v, P = UNet([I, x_t], t, bridge = conv1x1(bottom))

so that all of it depends on x_t and t, P too: it is a loss in training, and no map of
an image. In the release that 1x1 convolution is drawn at random in every forward pass,
and is neither learnt nor saved: two calls differ. Here it is learnt (`bridge`).
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from irstd_jax.models import unet
from irstd_jax.models.generative.calibration import CalibrationUNet
from irstd_jax.models.layers import Conv, check_channels, uniform
from irstd_jax.ops import resize

BRIDGES = ("learnt", "random")


class MedSegDiff(nn.Module):
    """The network; see `condition`, `denoise` and `__call__`.

    Images are padded inside (mirrored, to a multiple of 32 at the published depth) and
    cropped again; with `highway` to `highway_size`, for which its filters are made.

    Fields:
      encoder_widths: of the encoder's stages; 2 * first + second must be `channels`,
        which the three anchors fill.
      dropout: share of the encoder's channels that fall out in training.
      detach_condition: no gradient from the denoiser to the encoder, as released;
        nothing is detached with `highway`.
      highway: the first version; one level more than encoder_widths has entries.
      bridge: of `highway`: "learnt", or "random" for published weights: a convolution
        drawn once and for all, in the place of the release's, drawn at every call.
      groups, dtype, remat, norm_axis: as of `IRSTDDiff` and `UNet`.
    """

    image_channels: int = 3
    channels: int = 128
    channel_mult: tuple[int, ...] = (1, 1, 2, 2, 4, 4)
    num_res_blocks: int = 2
    num_heads: int = 1
    attention_downsamplings: tuple[int, ...] = (16,)
    groups: int = 32
    encoder_widths: tuple[int, ...] = (32, 64, 128, 256, 480)
    dropout: float = 0.5
    detach_condition: bool = True
    highway: bool = False
    highway_size: tuple[int, int] = (256, 256)
    bridge: str = "learnt"
    dtype: Any = jnp.float32
    remat: bool = False
    norm_axis: str | None = None

    learned_variance = True

    def setup(self):
        self.check()
        self.unet = unet.UNet(
            **unet.fields(self),
            out_channels=2,
            scale_shift=False,
            groups=self.groups,
        )
        self.encoder = CalibrationUNet(
            tuple(self.encoder_widths), self.dropout, self.dtype, self.norm_axis
        )
        if self.highway and self.bridge == "learnt":
            width = self.channels * self.channel_mult[-1]
            self.widen = Conv(width, 1, dtype=self.dtype)

    def __call__(self, image, x_t, t, train=False, keys=None):
        """Both halves: -> (output of `denoise`, logits (b, h, w, 1) or None)."""
        feature, logits = self.condition(image, train, keys)
        return self.denoise(x_t, t, image, feature, train, keys), logits

    def condition(self, image, train=False, keys=None):
        """What depends on the image alone; (None, None) with `highway`.

        Args:
          image: (b, h, w, image_channels), normalised.
          train: BatchNorm takes the statistics of the batch, channels fall out.
          keys: (b,), one an image, where they do.

        Returns:
          feature: the anchors (b, H, W, channels) of the padded image H x W.
          logits: (b, h, w, 1) float32, the calibration map.
        """
        b, h, w, c = image.shape
        check_channels(image, image_channels=self.image_channels)
        if self.highway:
            return None, None
        image = self.pad(image)
        (_, first, second, *_), _, logits = self.encoder(image, train, keys)
        first, second = (resize.bilinear(a, image.shape[1:3]) for a in (first, second))
        anchors = jnp.concatenate([first, first, second], axis=-1)
        return anchors, resize.crop(logits, h, w)

    def denoise(self, x_t, t, image, feature, train=False, keys=None):
        """The raw output for x_t (b, h, w, 1) at times t (b,), float32.

        `feature` is `condition`'s; `train` and `keys` are of `highway`.

        Returns:
          (b, h, w, 2): what the parameterisation says, and v; with `highway` a third
          channel, the calibration map as a logit.
        """
        b, h, w, c = x_t.shape
        x = self.pad(jnp.concatenate([image, x_t.astype(image.dtype)], axis=-1))
        if not self.highway:
            if self.detach_condition:
                feature = jax.lax.stop_gradient(feature)
            return resize.crop(self.unet(x, t, stem=feature), h, w)
        seen = {}

        def bridge(firsts):
            given = x[..., :-1], train, keys, firsts[:-1]
            _, bottom, seen["logits"] = self.encoder(*given)
            return self.bridged(bottom)

        output = self.unet(x, t, bridge=bridge)
        return resize.crop(jnp.concatenate([output, seen["logits"]], axis=-1), h, w)

    def bridged(self, bottom):
        """The bottom of the encoder at the width of the U-Net's middle."""
        if self.bridge == "learnt":
            return self.widen(bottom)
        c, width = bottom.shape[-1], self.channels * self.channel_mult[-1]
        keys = jax.random.split(jax.random.key(0))
        kernel, bias = map(uniform(c), keys, ((c, width), (width,)))
        return bottom @ kernel.astype(bottom.dtype) + bias.astype(bottom.dtype)

    @property
    def estimates(self):
        """Whether `condition` gives maps of the mask."""
        return not self.highway

    def pad(self, x):
        if not self.highway:
            return resize.pad_to_multiple(x, self.multiple)
        b, h, w, c = x.shape
        if h > self.highway_size[0] or w > self.highway_size[1]:
            raise ValueError(
                f"images of {h}x{w}, but the highway's filters are made for "
                f"highway_size={tuple(self.highway_size)}: resize images, or tile them"
            )
        return resize.pad_to(x, *self.highway_size)

    @property
    def multiple(self):
        """What the sides of the padded image divide by."""
        deepest = max(len(self.channel_mult) - 1, len(self.encoder_widths))
        return 2**deepest

    def check(self):
        widths, levels = self.encoder_widths, len(self.channel_mult)
        if self.bridge not in BRIDGES:
            raise ValueError(
                f"unknown bridge {self.bridge!r}; choose from {sorted(BRIDGES)}"
            )
        if self.highway and levels != len(widths) + 1:
            raise ValueError(
                f"highway: {levels} levels want {levels - 1} encoder_widths, not "
                f"{widths}"
            )
        if self.highway and any(side % self.multiple for side in self.highway_size):
            raise ValueError(
                f"highway_size={tuple(self.highway_size)} must divide by "
                f"{self.multiple}"
            )
        if not self.highway and (
            len(widths) < 3 or 2 * widths[0] + widths[1] != self.channels
        ):
            raise ValueError(
                f"encoder_widths={tuple(widths)} must be three or more, and twice the "
                f"first and the second must make channels={self.channels}: the anchors "
                "are added to the first convolution"
            )
