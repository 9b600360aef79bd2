"""The layers that several networks share, initialised as PyTorch does.

Parameters are always float32; `dtype` is the type of the arithmetic. The statistics of
every normalisation are float32 whatever `dtype` is. Epsilons are 1e-5 by default.
"""

import math
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

EPSILON = 1e-5


def uniform(fan_in, centre=0.0):
    """PyTorch's default for weights and biases: centre + U(-1, 1) / sqrt(fan_in)."""
    limit = 1 / math.sqrt(fan_in)

    def init(key, shape, dtype=jnp.float32):
        return jax.random.uniform(key, shape, dtype, centre - limit, centre + limit)

    return init


def kaiming(slope=0.0):
    """Kaiming's normal weights before a (leaky) ReLU: N(0, 2 / (1 + slope^2) / fan_in).

    He et al., Delving Deep into Rectifiers, ICCV 2015.
    """
    scale = 2 / (1 + slope**2)
    return nn.initializers.variance_scaling(scale, "fan_in", "normal")


def log_odds(prior):
    """The logit at which a sigmoid gives `prior`, 0 < prior < 1; 0 at 0.5.

    Added to the first bias of a head it makes an untrained network expect few targets
    (Lin et al., Focal Loss, ICCV 2017, section 3.3). Without, half of all pixels are
    detected at first, and the soft IoU's gradient by a pixel, of order 1 / pixels, is
    too small to tell targets from ground.
    """
    if not 0 < prior < 1:
        raise ValueError(f"prior must lie between 0 and 1, not {prior}")
    return math.log(prior / (1 - prior))


def check_channels(image, **field):
    """Refuses an image (b, h, w, c) whose c is not what a network's field says.

    The field goes by its own name: check_channels(image, in_channels=3).
    """
    ((name, channels),) = field.items()
    if image.shape[-1] != channels:
        raise ValueError(f"{name}={channels}, but {image.shape=}")


class Conv(nn.Module):
    """A convolution padded by (kernel // 2) * dilation on all sides, NHWC.

    Padding is explicit because "SAME" pads a strided convolution on one side only.
    `kernel` is its side, or (height, width). `padding` is another one, (before, after)
    on both axes. `start` is the centre of the bias's first values. `kernel_init` and
    `bias_init` are other first values than PyTorch's.
    """

    features: int
    kernel: int | tuple[int, int] = 3
    stride: int = 1
    dilation: int = 1
    bias: bool = True
    zero: bool = False
    padding: tuple[int, int] | None = None
    start: float = 0.0
    dtype: Any = jnp.float32
    kernel_init: Callable | None = None
    bias_init: Callable | None = None

    @nn.compact
    def __call__(self, x):
        k, c = self.kernel, x.shape[-1]
        kh, kw = (k, k) if isinstance(k, int) else k
        zeros = nn.initializers.zeros
        init = zeros if self.zero else self.kernel_init or uniform(kh * kw * c)
        kernel = self.param("kernel", init, (kh, kw, c, self.features))
        pads = [self.padding or ((k // 2) * self.dilation,) * 2 for k in (kh, kw)]
        x = jax.lax.conv_general_dilated(
            x.astype(self.dtype),
            kernel.astype(self.dtype),
            window_strides=(self.stride, self.stride),
            padding=pads,
            rhs_dilation=(self.dilation, self.dilation),
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
        )
        if self.bias:
            init = self.bias_init or uniform(kh * kw * c, self.start)
            init = zeros if self.zero else init
            bias = self.param("bias", init, (self.features,))
            x = x + bias.astype(self.dtype)
        return x


# Along one axis, new pixel 2i + p reads old pixel i + t - 1 by tap k of the four.
TAPS = np.zeros((3, 2, 4), np.float32)
for _t, _p, _k in ((0, 0, 3), (1, 0, 1), (1, 1, 2), (2, 1, 0)):
    TAPS[_t, _p, _k] = 1


class ConvTranspose(nn.Module):
    """Twice the size: the transpose of a 4x4 convolution of stride 2, padded by 1.

    (b, h, w, c) -> (b, 2h, 2w, features). The kernel is (4, 4, features, c), that of
    the convolution whose transpose it is. The four pixels that each pixel becomes are
    one 3x3 convolution with some zeros in its kernel: on a CPU seven times as fast,
    with its gradient, as lax.conv_transpose, which dilates the input.
    """

    features: int
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x):
        b, h, w, c = x.shape
        f, init = self.features, uniform(16 * self.features)
        kernel = self.param("kernel", init, (4, 4, f, c)).astype(self.dtype)
        bias = self.param("bias", init, (f,))
        # TAPS picks, so that the sums have one summand each and nothing is rounded.
        spread = jnp.einsum("tpk,uql,klfc->tucpqf", TAPS, TAPS, kernel)
        x = jax.lax.conv_general_dilated(
            x.astype(self.dtype),
            spread.reshape(3, 3, c, 4 * f).astype(self.dtype),
            window_strides=(1, 1),
            padding=((1, 1), (1, 1)),
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
        )
        x = x.reshape(b, h, w, 2, 2, f).transpose(0, 1, 3, 2, 4, 5)
        return x.reshape(b, 2 * h, 2 * w, f) + bias.astype(self.dtype)


class Dense(nn.Module):
    """A linear map of the last axis."""

    features: int
    zero: bool = False
    bias: bool = True
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x):
        c = x.shape[-1]
        init = nn.initializers.zeros if self.zero else uniform(c)
        kernel = self.param("kernel", init, (c, self.features)).astype(self.dtype)
        x = x.astype(self.dtype) @ kernel
        if self.bias:
            x = x + self.param("bias", init, (self.features,)).astype(self.dtype)
        return x


class GroupNorm(nn.Module):
    """Group normalisation, with an optional (scale, shift) per image and channel.

    At the published widths there are 32 groups; a narrow network, whose channels 32
    does not divide, has gcd(32, channels). All is folded into one multiply-add a
    pixel: y = x * gain + offset with gain and offset of shape (b, 1, 1, c).
    """

    groups: int = 32
    epsilon: float = EPSILON
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x, scale=0.0, shift=0.0):
        b, h, w, c = x.shape
        weight = self.param("scale", nn.initializers.ones, (c,))
        bias = self.param("bias", nn.initializers.zeros, (c,))
        x = x.astype(jnp.float32)
        mean, variance = self.statistics(x)
        gain = jax.lax.rsqrt(variance + self.epsilon) * weight
        offset = bias - mean * gain
        gain, offset = gain * (1 + scale), offset * (1 + scale) + shift
        y = x * gain[:, None, None] + offset[:, None, None]
        return y.astype(self.dtype)

    def statistics(self, x):
        """Mean and variance of each channel's group, both (b, c)."""
        b, h, w, c = x.shape
        groups = math.gcd(self.groups, c)

        def over_group(channel_means):
            means = channel_means.reshape(b, groups, c // groups).mean(-1)
            return jnp.repeat(means, c // groups, axis=-1)

        mean = over_group(x.mean((1, 2)))
        centred = x - mean[:, None, None]
        return mean, over_group(jnp.square(centred).mean((1, 2)))


def layer_norm(dtype=jnp.float32, name=None):
    """Normalisation of the last axis."""
    return nn.LayerNorm(epsilon=EPSILON, dtype=dtype, name=name)


def batch_norm(train, dtype=jnp.float32, axis=None, name="norm", momentum=0.9):
    """Batch normalisation; statistics are shared over `axis` inside pmap.

    A step keeps `momentum` of the running statistics: 1 less PyTorch's momentum. The
    running variance is updated with the biased batch variance, where PyTorch takes
    the unbiased one: a factor 1 - 1 / (b h w).
    """
    return nn.BatchNorm(
        use_running_average=not train,
        momentum=momentum,
        epsilon=EPSILON,
        dtype=dtype,
        axis_name=axis,
        name=name,
    )


class ConvNorm(nn.Module):
    """Convolution, batch normalisation, activation (None for none)."""

    features: int
    kernel: int = 3
    dilation: int = 1
    bias: bool = False
    activation: Callable | None = nn.relu
    dtype: Any = jnp.float32
    axis: str | None = None
    stride: int = 1
    momentum: float = 0.9

    @nn.compact
    def __call__(self, x, train=False):
        x = Conv(
            self.features,
            self.kernel,
            self.stride,
            dilation=self.dilation,
            bias=self.bias,
            dtype=self.dtype,
            name="conv",
        )(x)
        x = batch_norm(train, self.dtype, self.axis, momentum=self.momentum)(x)
        return x if self.activation is None else self.activation(x)


def gate(x, hidden, name, train, **fields):
    """sigmoid(BN(W' ReLU(BN(W x)))) by 1x1 convolutions: (b, h, w, c) in (0, 1).

    A bottleneck of width `hidden`. It is called in a compact module, of which it makes
    the layers `name`_in and `name`_out; `fields` are theirs.
    """
    fields = {"bias": True} | fields
    y = ConvNorm(hidden, 1, name=f"{name}_in", **fields)(x, train)
    fields["activation"] = nn.sigmoid
    return ConvNorm(x.shape[-1], 1, name=f"{name}_out", **fields)(y, train)


def dropped(x, keys, rate):
    """Each number zero with chance `rate`, else enlarged so that the mean stays.

    Args:
      x: (b, h, w, c).
      keys: (b,), one an example: what falls out depends on nothing else.
    """
    if keys is None:
        raise ValueError("dropout in training needs keys, one an example")
    kept = jax.vmap(lambda key: jax.random.bernoulli(key, 1 - rate, x.shape[1:]))(keys)
    return jnp.where(kept, x / (1 - rate), 0)


class ResidualBlock(nn.Module):
    """Two convolutions beside a shortcut, with an optional (scale, shift) between.

        y = BN(conv(x)) (1 + scale) + shift,    (scale, shift) = W embedding
        output = ReLU(BN(conv(ReLU(y))) + x),   x by a 1x1 where its shape changes

    (b, h, w, c), embedding (b, e) or None -> (b, h / stride, w / stride, features).
    """

    features: int
    stride: int = 1
    dtype: Any = jnp.float32
    axis: str | None = None

    @nn.compact
    def __call__(self, x, train=False, embedding=None):
        common = {"activation": None, "dtype": self.dtype, "axis": self.axis}
        strided = common | {"stride": self.stride}
        y = ConvNorm(self.features, name="conv_in", **strided)(x, train)
        if embedding is not None:
            time = Dense(2 * self.features, zero=True, name="time")(embedding)
            scale, shift = jnp.split(time[:, None, None].astype(y.dtype), 2, axis=-1)
            y = y * (1 + scale) + shift
        y = ConvNorm(self.features, name="conv_out", **common)(nn.relu(y), train)
        if self.stride > 1 or x.shape[-1] != self.features:
            x = ConvNorm(self.features, 1, name="shortcut", **strided)(x, train)
        return nn.relu(x + y)
