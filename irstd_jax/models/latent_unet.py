"""The U-Net of the latent diffusion prior, and its control branch.

    eps = UNet(z, t, context [, controls])                                          (1)
    controls = ControlNet(z, hint, t, context)                                      (2)

The control branch is a copy of the U-Net's encoder that sees the hint's latent beside
z. Each of its outputs goes through a 1x1 convolution that starts at zero, and is added
to the U-Net's skip of the same place (the last one to the middle), so that at the start
of training (1) is the same with and without controls.

Source: Rombach et al., latent diffusion (CVPR 2022), with the defaults of Stable
Diffusion 2.1; Zhang et al., ControlNet (ICCV 2023), in the form of DiffBIR (Lin et al.,
ECCV 2024), which has no network for the hint.
"""

import dataclasses
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from flax import traverse_util

from irstd_jax.models.layers import Conv, Dense, GroupNorm
from irstd_jax.models.spatial_transformer import SpatialTransformer
from irstd_jax.models.unet import ResBlock, sinusoids
from irstd_jax.ops import resize


class Blocks(nn.Module):
    """The settings that both networks share, and their blocks.

    `attention_downsamplings` are the latent's downsamplings at which levels attend.

    Time is added before a group normalisation, which takes out what a whole group has
    in common: a level of no more channels than `groups` is blind to it. Narrow networks
    want fewer groups.
    """

    latent_channels: int = 4
    channels: int = 320
    channel_mult: tuple[int, ...] = (1, 2, 4, 4)
    num_res_blocks: int = 2
    attention_downsamplings: tuple[int, ...] = (4, 2, 1)
    head_width: int = 64
    context_dim: int = 1024
    groups: int = 32
    dtype: Any = jnp.float32
    remat: bool = False

    @property
    def multiple(self):
        """What height and width of a latent must divide by."""
        return 2 ** (len(self.channel_mult) - 1)

    def settings(self):
        """The shared fields, as keyword arguments."""
        names = {field.name for field in dataclasses.fields(Blocks)}
        return {name: getattr(self, name) for name in names - {"parent", "name"}}

    def stage(self, x, embedding, context, level, name):
        """A ResBlock, and a transformer where the level has it."""
        x = self.block(x, embedding, self.width(level), name)
        if self.attends(level):
            x = self.attend(x, context, f"{name}_attention")
        return x

    def block(self, x, embedding, features, name):
        Block = nn.remat(ResBlock) if self.remat else ResBlock
        layer = Block(features, self.dtype, False, self.groups, name=name)
        return layer(x, embedding)

    def attend(self, x, context, name):
        heads, rest = divmod(x.shape[-1], self.head_width)
        if rest:
            raise ValueError(
                f"{x.shape[-1]} channels do not divide into heads of "
                f"head_width={self.head_width}"
            )
        Block = nn.remat(SpatialTransformer) if self.remat else SpatialTransformer
        return Block(heads, self.dtype, self.groups, name=name)(x, context)

    def attends(self, level):
        return 2**level in self.attention_downsamplings

    def width(self, level):
        return self.channels * self.channel_mult[level]


class Encoder(Blocks):
    """x (b, h, w, c), t (b,), context (b, n, context_dim) -> skips, middle, embedding.

    Skips are the outputs of all input blocks, in the order of their making.
    """

    @nn.compact
    def __call__(self, x, t, context):
        self.check(x, context)
        embedding = self.embed(t)
        x = Conv(self.channels, dtype=self.dtype, name="in_0")(x)
        skips = [x]
        for level in range(len(self.channel_mult)):
            if level:
                name = f"in_{len(skips)}_down"
                x = Conv(x.shape[-1], stride=2, dtype=self.dtype, name=name)(x)
                skips.append(x)
            for _ in range(self.num_res_blocks):
                x = self.stage(x, embedding, context, level, f"in_{len(skips)}")
                skips.append(x)
        return skips, self.middle(x, embedding, context), embedding

    def middle(self, x, embedding, context):
        x = self.block(x, embedding, self.width(-1), "mid_0")
        x = self.attend(x, context, "mid_1")
        return self.block(x, embedding, self.width(-1), "mid_2")

    def embed(self, t):
        width = 4 * self.channels
        x = Dense(width, name="time_in")(sinusoids(t, self.channels))
        return Dense(width, name="time_out")(nn.silu(x))

    def check(self, x, context):
        b, h, w, c = x.shape
        if h % self.multiple or w % self.multiple:
            raise ValueError(
                f"latent size {h}x{w} must divide by {self.multiple}: pad it before"
            )
        if context.ndim != 3 or context.shape[-1] != self.context_dim:
            raise ValueError(
                f"context of shape {context.shape} instead of "
                f"({b}, tokens, {self.context_dim})"
            )


class LatentUNet(Blocks):
    """z (b, h, w, c), t (b,), context (b, n, context_dim) -> eps (b, h, w, c) float32.

    t are the steps 0..999 of training, whole or not. `controls` are what `ControlNet`
    gives, scaled as one likes; None = no control.
    """

    @nn.compact
    def __call__(self, z, t, context, controls=None):
        encoder = Encoder(**self.settings(), name="encoder")
        skips, x, embedding = encoder(z, t, context)
        if controls is not None:
            *skips, x = controlled([*skips, x], controls)
        i = 0
        for level in reversed(range(len(self.channel_mult))):
            for _ in range(self.num_res_blocks + 1):
                x = jnp.concatenate([x, skips.pop()], axis=-1)
                name = f"out_{i}"
                x = self.stage(x, embedding, context, level, name)
                i += 1
            if level:
                # Published names count the layers of a block, attention included.
                name += "_attention_up" if self.attends(level) else "_up"
                up = Conv(x.shape[-1], dtype=self.dtype, name=name)
                x = up(resize.nearest_double(x))
        x = nn.silu(GroupNorm(self.groups, name="norm")(x))
        return Conv(self.latent_channels, zero=True, name="out")(x)


def controlled(features, controls):
    """Adds to each feature its control."""
    if len(features) != len(controls):
        raise ValueError(
            f"{len(controls)} controls for {len(features)} features: the control "
            "branch is of another depth than the U-Net"
        )
    pairs = zip(features, controls, strict=True)
    return [x + control.astype(x.dtype) for x, control in pairs]


class ControlNet(Blocks):
    """z, hint (b, h, w, c), t (b,), context -> the controls, a tuple.

    At the published depth there are 13: one for each skip, in the order of their making
    and the last for the middle.
    """

    hint_channels: int = 4

    @nn.compact
    def __call__(self, z, hint, t, context):
        if hint.shape != (*z.shape[:3], self.hint_channels):
            raise ValueError(
                f"hint of shape {hint.shape} instead of "
                f"{(*z.shape[:3], self.hint_channels)}"
            )
        encoder = Encoder(**self.settings(), name="encoder")
        skips, x, _ = encoder(jnp.concatenate([z, hint], axis=-1), t, context)

        def zero(x, name):
            return Conv(x.shape[-1], 1, zero=True, dtype=self.dtype, name=name)(x)

        controls = [zero(skip, f"zero_{i}") for i, skip in enumerate(skips)]
        return (*controls, zero(x, "zero_mid"))


def control_from_unet(unet_params, control_shapes):
    """The parameters with which a control branch starts: the U-Net's encoder.

    Args:
      unet_params: the "params" of a LatentUNet.
      control_shapes: the "params" of a ControlNet of the same settings, as arrays or as
        shapes (jax.eval_shape of its init).

    Returns:
      The parameters of that ControlNet. The first convolution has zeros for the hint,
      which comes after z; the convolutions at the outputs are zero.

    Raises:
      ValueError: the two encoders differ.
    """
    given = traverse_util.flatten_dict(unet_params["encoder"])
    wanted = traverse_util.flatten_dict(control_shapes)
    inside = {path[1:] for path in wanted if path[0] == "encoder"}
    if inside != set(given):
        names = sorted("/".join(path) for path in inside ^ set(given))
        raise ValueError(f"the encoders differ by {', '.join(names)}")
    return traverse_util.unflatten_dict(
        {
            path: extended(path, given[path[1:]], leaf.shape)
            if path[0] == "encoder"
            else jnp.zeros(leaf.shape, jnp.float32)
            for path, leaf in wanted.items()
        }
    )


def extended(path, array, shape):
    """A copy of the array; the first kernel with zeros for more input channels."""
    array = jnp.asarray(array, jnp.float32)
    more = [wide - narrow for wide, narrow in zip(shape, array.shape, strict=False)]
    axis = 2 if path[1:] == ("in_0", "kernel") else None
    if array.ndim != len(shape) or any(
        n < 0 or (n and i != axis) for i, n in enumerate(more)
    ):
        raise ValueError(f"{'/'.join(path)} is {array.shape} and should be {shape}")
    return jnp.pad(array, [(0, n) for n in more])
