"""The autoencoder whose latents the latent diffusion prior works on.

    (mean, logvar) = moments(image),   latent ~ N(mean, exp(logvar))                (1)
    image = decode(latent)

Encoder and decoder are residual convolution blocks with one attention in the middle;
each level after the first halves the size. Images are (b, h, w, c) in [-1, 1].

Source: Kingma and Welling (ICLR 2014) for Eq. (1); Rombach et al., latent diffusion
(CVPR 2022) for the network. The defaults are those of Stable Diffusion 2.1.
"""

from functools import partial
from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from irstd_jax.models.layers import Conv, GroupNorm
from irstd_jax.models.swin import attend
from irstd_jax.ops import resize

Norm = partial(GroupNorm, epsilon=1e-6)


def posterior(moments):
    """Moments (..., 2z) -> (mean, logvar), both (..., z); logvar within -30..20."""
    mean, logvar = jnp.split(moments, 2, axis=-1)
    return mean, jnp.clip(logvar, -30.0, 20.0)


class Block(nn.Module):
    """conv(silu(norm(.))) twice, residual: (b, h, w, c) -> (b, h, w, features)."""

    features: int
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x):
        f, dtype = self.features, self.dtype
        h = nn.silu(Norm(dtype=dtype, name="norm1")(x))
        h = Conv(f, dtype=dtype, name="conv1")(h)
        h = nn.silu(Norm(dtype=dtype, name="norm2")(h))
        h = Conv(f, dtype=dtype, name="conv2")(h)
        if x.shape[-1] != f:
            x = Conv(f, 1, dtype=dtype, name="skip")(x)
        return x + h


class Attention(nn.Module):
    """Self-attention of one head over all pixels, residual."""

    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x):
        b, h, w, c = x.shape
        y = Norm(dtype=self.dtype, name="norm")(x)
        q, k, v = (
            Conv(c, 1, dtype=self.dtype, name=name)(y).reshape(b, h * w, 1, c)
            for name in ("q", "k", "v")
        )
        y = attend(q, k, v, c**-0.5, 0.0).reshape(b, h, w, c)
        return x + Conv(c, 1, dtype=self.dtype, name="proj")(y)


class Half(nn.Module):
    """What encoder and decoder share."""

    features_out: int
    channels: int
    channel_mult: tuple[int, ...]
    num_res_blocks: int
    dtype: Any = jnp.float32
    remat: bool = False

    def block(self, x, features, name):
        Layer = nn.remat(Block) if self.remat else Block
        return Layer(features, self.dtype, name=name)(x)

    def middle(self, x):
        Layer = nn.remat(Attention) if self.remat else Attention
        x = self.block(x, x.shape[-1], "mid_0")
        x = Layer(self.dtype, name="mid_1")(x)
        return self.block(x, x.shape[-1], "mid_2")

    def finish(self, x):
        """The output in float32."""
        return Conv(self.features_out, name="out")(nn.silu(Norm(name="norm")(x)))

    def width(self, level):
        return self.channels * self.channel_mult[level]


class Encoder(Half):
    """(b, h, w, c) -> (b, h/f, w/f, features_out)."""

    @nn.compact
    def __call__(self, x):
        x = Conv(self.channels, dtype=self.dtype, name="in")(x)
        for level in range(len(self.channel_mult)):
            if level:
                # The published network pads on the right and at the bottom alone.
                name = f"down_{level - 1}"
                down = Conv(
                    x.shape[-1], 3, 2, padding=(0, 1), dtype=self.dtype, name=name
                )
                x = down(x)
            for j in range(self.num_res_blocks):
                x = self.block(x, self.width(level), f"level_{level}_{j}")
        return self.finish(self.middle(x))


class Decoder(Half):
    """(b, h, w, z) -> (b, f h, f w, features_out); level 0 is the finest."""

    @nn.compact
    def __call__(self, x):
        x = Conv(self.width(-1), dtype=self.dtype, name="in")(x)
        x = self.middle(x)
        for level in reversed(range(len(self.channel_mult))):
            for j in range(self.num_res_blocks + 1):
                x = self.block(x, self.width(level), f"level_{level}_{j}")
            if level:
                up = Conv(x.shape[-1], dtype=self.dtype, name=f"up_{level}")
                x = up(resize.nearest_double(x))
        return self.finish(x)


class AutoencoderKL(nn.Module):
    """Images (b, h, w, channels_in) in [-1, 1] <-> latents (b, h/f, w/f, z_channels).

    f is `factor`; h and w must divide by it. Nothing is padded inside, so that a latent
    has a known place in its image. Latents are not scaled here.
    """

    channels_in: int = 3
    channels: int = 128
    channel_mult: tuple[int, ...] = (1, 2, 4, 4)
    num_res_blocks: int = 2
    z_channels: int = 4
    dtype: Any = jnp.float32
    remat: bool = False

    def setup(self):
        fields = dict(
            channels=self.channels,
            channel_mult=self.channel_mult,
            num_res_blocks=self.num_res_blocks,
            dtype=self.dtype,
            remat=self.remat,
        )
        self.encoder = Encoder(2 * self.z_channels, **fields)
        self.decoder = Decoder(self.channels_in, **fields)
        self.quant = Conv(2 * self.z_channels, 1)
        self.post_quant = Conv(self.z_channels, 1)

    @property
    def factor(self):
        """Image pixels a side of one latent pixel."""
        return 2 ** (len(self.channel_mult) - 1)

    def __call__(self, image):
        """The image as it comes back from the mean of its latent, and its moments."""
        moments = self.encode(image)
        return self.decode(posterior(moments)[0]), moments

    def encode(self, image):
        """Image -> moments (b, h/f, w/f, 2 z_channels), float32; see `posterior`.

        Raises ValueError where the size or the channels do not fit.
        """
        b, h, w, c = image.shape
        if h % self.factor or w % self.factor:
            raise ValueError(
                f"image size {h}x{w} must divide by {self.factor}: pad it before"
            )
        check_channels("image", c, self.channels_in)
        return self.quant(self.encoder(image))

    def decode(self, latent):
        """Latent (b, h, w, z_channels) -> image (b, f h, f w, channels_in), float32."""
        check_channels("latent", latent.shape[-1], self.z_channels)
        return self.decoder(self.post_quant(latent))


def check_channels(what, given, wanted):
    if given != wanted:
        raise ValueError(f"the {what} has {given} channels instead of {wanted}")
