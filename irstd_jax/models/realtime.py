"""A mask-diffusion network for CPUs: all its work is done at half resolution or below.

The orthonormal Haar transform (ops/haar.py) is the stem: four numbers a 2x2 block lose
nothing, where a strided convolution or a pool would blur a target of two pixels, and
its inverse is the head. In between, on maps of 1/2, 1/4, ... of the sides,

  condition  a residual U-Net on the image, run once an image: its last map is the
             feature, and maps of every scale give logits for deep supervision
  denoise    the same, smaller, on Haar(x_t) and the feature, run once a step

The way down is made of residual blocks (layers.py), modulated by t in `denoise`, the
way up of one convolution a level. Batch, not group normalisation: in inference it is
one multiply-add. No attention. What the shapes cost on a CPU chose them (2 Zen 1 cores,
jax 0.10.2, a 3x3 convolution at 128 x 128): 16 to 16 channels take 1.7 ms, 16 to 4 take
2.6, so the heads are 1x1; 20 to 16 take 2.4, so `denoise` joins its inputs by a 1x1.

It offers what IRSTDDiff offers (irstd_diff.py), so the task and all verbs are the same.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from irstd_jax.models.layers import (
    Conv,
    ConvNorm,
    Dense,
    ResidualBlock,
    check_channels,
    log_odds,
)
from irstd_jax.models.unet import sinusoids
from irstd_jax.ops import haar, resize

TIME_WIDTH = 32  # of the embedding of t


class HaarUNet(nn.Module):
    """A residual U-Net: (b, h, w, c) -> maps of every level, the largest first.

    Level i has sides h / 2^i and `widths[i]` channels, and `blocks[i]` blocks on the
    way down; one convolution takes the enlarged deeper map and the skip on the way up.
    """

    widths: tuple[int, ...]
    blocks: tuple[int, ...]
    dtype: Any = jnp.float32
    axis: str | None = None

    @nn.compact
    def __call__(self, x, embedding=None, train=False):
        skips = []
        for level, (width, count) in enumerate(
            zip(self.widths, self.blocks, strict=True)
        ):
            for i in range(count):
                stride = 2 if level and not i else 1
                block = ResidualBlock(
                    width, stride, self.dtype, self.axis, name=f"down_{level}_{i}"
                )
                x = block(x, train, embedding)
            skips.append(x)
        maps = [skips.pop()]
        for level in range(len(skips) - 1, -1, -1):
            width, common = self.widths[level], {"dtype": self.dtype}
            deep = Conv(width, 1, name=f"deep_{level}", **common)
            x = resize.nearest_double(deep(maps[0])) + skips.pop()
            up = ConvNorm(width, axis=self.axis, name=f"up_{level}", **common)
            maps.insert(0, up(x, train))
        return maps


class HaarHead(nn.Module):
    """A map of half the size to one channel of the full size, by the inverse transform.

    (b, h, w, c) -> (b, 2h, 2w, 1) float32; untrained, it expects `prior` of targets.
    """

    prior: float = 0.5

    @nn.compact
    def __call__(self, x):
        bands = Conv(4, 1, bias=False, name="bands")(x).astype(jnp.float32)
        low, *high = jnp.split(bands, 4, axis=-1)
        start = nn.initializers.constant(log_odds(self.prior))
        return haar.idwt(low, high) + self.param("bias", start, (1,))


class RealtimeDiff(nn.Module):
    """The network; `condition`, `denoise` and `__call__` as of `IRSTDDiff`.

    Images of any size are padded inside, mirrored, to `multiple`, and cropped again.

    Fields:
      image_channels: of the image.
      widths, blocks: of the levels of `condition`, from half resolution down.
      denoiser_widths, denoiser_blocks: of `denoise`.
      detach_condition: no gradient from the denoiser to the encoder.
      prior: share of target pixels that the untrained heads expect, the denoiser's too:
        its output is made to be a logit (task.parameterisation).
      dtype: of the arithmetic; parameters and outputs are float32.
      norm_axis: pmap axis over which BatchNorm shares its batch statistics.
    """

    image_channels: int = 1
    widths: tuple[int, ...] = (16, 32, 64, 96)
    blocks: tuple[int, ...] = (1, 1, 1, 1)
    denoiser_widths: tuple[int, ...] = (16,)
    denoiser_blocks: tuple[int, ...] = (1,)
    detach_condition: bool = False
    prior: float = 0.01
    dtype: Any = jnp.float32
    norm_axis: str | None = None

    estimates = True  # of the mask, by `condition`

    def setup(self):
        self.check()
        common = {"dtype": self.dtype, "axis": self.norm_axis}
        self.encoder = HaarUNet(tuple(self.widths), tuple(self.blocks), **common)
        self.unet = HaarUNet(
            tuple(self.denoiser_widths), tuple(self.denoiser_blocks), **common
        )
        self.join = Conv(self.denoiser_widths[0], 1, dtype=self.dtype)
        self.time_in = Dense(TIME_WIDTH)
        self.time_out = Dense(TIME_WIDTH)
        self.head = HaarHead(self.prior)
        start = log_odds(self.prior)
        self.sides = [Conv(1, start=start) for _ in self.widths[1:]]
        self.out = HaarHead(self.prior)

    def __call__(self, image, x_t, t, train=False):
        """Both halves: -> (output (b, h, w, 1), logits (b, h, w, levels))."""
        feature, logits = self.condition(image, train)
        return self.denoise(x_t, t, image, feature, train), logits

    def condition(self, image, train=False):
        """What depends on the image alone.

        Args:
          image: (b, h, w, image_channels), normalised.
          train: BatchNorm takes the statistics of the batch and updates its own.

        Returns:
          feature: (b, H/2, W/2, widths[0]) of the padded image H x W.
          logits: (b, h, w, levels) float32: the full resolution first, then of deeper
            levels, enlarged.
        """
        b, h, w, c = image.shape
        check_channels(image, image_channels=self.image_channels)
        x = resize.pad_to_multiple(image, self.multiple)
        feature, *deeper = self.encoder(self.bands(x), None, train)
        sides = [
            resize.bilinear(side(deep).astype(jnp.float32), x.shape[1:3])
            for side, deep in zip(self.sides, deeper, strict=True)
        ]
        logits = jnp.concatenate([self.head(feature), *sides], axis=-1)
        return feature, resize.crop(logits, h, w)

    def denoise(self, x_t, t, image, feature, train=False):
        """The raw output (b, h, w, 1) float32 for x_t (b, h, w, 1) at times t (b,)."""
        b, h, w, c = x_t.shape
        if self.detach_condition:
            feature = jax.lax.stop_gradient(feature)
        embedding = self.time_in(sinusoids(t, TIME_WIDTH))
        embedding = nn.silu(self.time_out(nn.silu(embedding)))
        x = self.bands(resize.pad_to_multiple(x_t, self.multiple))
        x = self.join(jnp.concatenate([x, feature], axis=-1))
        return resize.crop(self.out(self.unet(x, embedding, train)[0]), h, w)

    def bands(self, x):
        """The four bands of each channel, (b, h/2, w/2, 4c)."""
        low, high = haar.dwt(x.astype(self.dtype))
        return jnp.concatenate([low, *high], axis=-1)

    @property
    def multiple(self):
        """What the sides of the padded image divide by."""
        return 2 ** max(len(self.widths), len(self.denoiser_widths))

    def check(self):
        for name in ("widths", "denoiser_widths"):
            blocks = {"widths": "blocks"}.get(name, "denoiser_blocks")
            widths, counts = getattr(self, name), getattr(self, blocks)
            if not widths or len(widths) != len(counts) or min(counts) < 1:
                raise ValueError(
                    f"{name} and {blocks} want one number a level, of blocks 1 or "
                    f"more: not {widths} and {counts}"
                )
