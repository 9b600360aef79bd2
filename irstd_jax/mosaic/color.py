"""Colour correction: a sample keeps its details and takes the levels of another image.

Diffusion priors shift levels; the harmonised image has the right ones. Two rules,
as released (DiffBIR's), on images (b, h, w, c) of any range:

    wavelet:  content - low(content) + low(style)                               (1)
    adain:    (content - mean_c) / std_c * std_s + mean_s,  per image and channel (2)

low is five binomial blurs (1 2 1) x (1 2 1) / 16, dilated by 1, 2, 4, 8 and 16, with
repeated borders (the "a trous" wavelet); the variance in (2) is the unbiased one plus
1e-5. Both give content back when style is content.
"""

import jax
import jax.numpy as jnp

LEVELS = 5
EPSILON = 1e-5


@jax.jit
def wavelet(content, style):
    """Details of `content` on the low frequencies of `style`: Eq. 1, not clipped."""
    _same_shape(content, style)
    return content - low(content) + low(style)


@jax.jit
def adain(content, style):
    """`content` with each channel's mean and deviation those of `style`: Eq. 2."""
    _same_shape(content, style)
    mean, deviation = _statistics(content)
    new_mean, new_deviation = _statistics(style)
    return (content - mean) / deviation * new_deviation + new_mean


METHODS = {"none": lambda content, style: content, "wavelet": wavelet, "adain": adain}


def correct(name, content, style):
    """One of METHODS by its name. Raises ValueError for another."""
    if name not in METHODS:
        raise ValueError(
            f"unknown colour correction {name!r}; choose from {sorted(METHODS)}"
        )
    return METHODS[name](content, style)


def low(x):
    """The low frequencies of (b, h, w, c), at its full size."""
    for level in range(LEVELS):
        x = _binomial(_binomial(x, 1, 2**level), 2, 2**level)
    return x


def _binomial(x, axis, dilation):
    """(1 2 1) / 4 along one axis, its taps `dilation` pixels apart."""
    n = x.shape[axis]
    widths = [(dilation, dilation) if a == axis else (0, 0) for a in range(x.ndim)]
    padded = jnp.pad(x, widths, mode="edge")
    before = jax.lax.slice_in_dim(padded, 0, n, axis=axis)
    after = jax.lax.slice_in_dim(padded, 2 * dilation, None, axis=axis)
    return 0.25 * before + 0.5 * x + 0.25 * after


def _statistics(x):
    """Mean and deviation over the pixels of each image and channel: (b, 1, 1, c)."""
    mean = x.mean((1, 2), keepdims=True)
    deviation = jnp.sqrt(x.var((1, 2), keepdims=True, ddof=1) + EPSILON)
    return mean, deviation


def _same_shape(content, style):
    if content.shape != style.shape:
        raise ValueError(f"content {content.shape} and style {style.shape} differ")
