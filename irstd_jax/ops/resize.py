"""Changes of image size: padding and cropping, pooling, enlargement."""

import jax
import jax.numpy as jnp
import numpy as np


def pad_to_multiple(x, multiple):
    """Mirrors (b, h, w, c) at its bottom and right up to multiples; no-op if it fits.

    The border pixel is not repeated ("reflect"): noise stays noise and there are no
    flat streaks. A side of one pixel can only be repeated.
    """
    b, h, w, c = x.shape
    return pad_to(x, h + -h % multiple, w + -w % multiple)


def pad_to(x, height, width):
    """The same up to a size, which is not smaller than that of (b, h, w, c)."""
    b, h, w, c = x.shape
    below, right = height - h, width - w
    if not (below or right):
        return x
    return jnp.pad(x, ((0, 0), (0, below), (0, right), (0, 0)), mode="reflect")


def crop(x, h, w):
    """Takes off what `pad_to_multiple` has put on."""
    return x[:, :h, :w]


def max_pool(x):
    """Maximum of each 2x2 block, (b, h, w, c) -> (b, ceil(h/2), ceil(w/2), c)."""
    b, h, w, c = x.shape
    if h % 2 or w % 2:
        # A repeated pixel never changes a maximum.
        x = jnp.pad(x, ((0, 0), (0, h % 2), (0, w % 2), (0, 0)), mode="edge")
    # Slices, not reduce_window: its gradient is slow on a CPU.
    rows = jnp.maximum(x[:, 0::2], x[:, 1::2])
    return jnp.maximum(rows[:, :, 0::2], rows[:, :, 1::2])


def mean_pool(x):
    """Mean of each 2x2 block, of what of it there is, as `max_pool`."""
    b, h, w, c = x.shape
    if h % 2 or w % 2:
        # A repeated pixel counts twice, as does the one that is there: the mean stays.
        x = jnp.pad(x, ((0, 0), (0, h % 2), (0, w % 2), (0, 0)), mode="edge")
    x = x[:, 0::2] + x[:, 1::2]
    return (x[:, :, 0::2] + x[:, :, 1::2]) / 4


def max_pool_3x3(x):
    """Maximum of 3x3 around every other pixel: -> (b, ceil(h/2), ceil(w/2), c).

    Beyond the border there is nothing: torch's kernel 3, stride 2, padding 1.
    """
    for axis in (1, 2):
        x = _max_of_three(x, axis)
    return x


def _max_of_three(x, axis):
    """max(x[2i - 1], x[2i], x[2i + 1]) along one axis."""
    n = x.shape[axis]
    # The border repeated: a repeated pixel never changes a maximum. Not by jnp.pad,
    # whose arrays of no element mislead the converter to ONNX.
    first = jax.lax.slice_in_dim(x, 0, 1, axis=axis)
    last = jax.lax.slice_in_dim(x, n - 1, n, axis=axis)
    x = jnp.concatenate([first, x] + [last] * (n % 2), axis)
    parts = [
        jax.lax.slice_in_dim(x, start, start + n + n % 2 - 1, 2, axis)
        for start in (0, 1, 2)
    ]
    return jnp.maximum(jnp.maximum(parts[0], parts[1]), parts[2])


def adaptive_max_pool(x, side):
    """Maximum of each cell of a grid of side x side: (b, h, w, c) -> (b, s, s, c).

    Cell i of s reaches from floor(i n / s) to ceil((i + 1) n / s), so that cells share
    pixels where s does not divide n (torch's adaptive pooling).
    """
    for axis in (1, 2):
        n = x.shape[axis]
        cells = [(i * n // side, -((i + 1) * n // -side)) for i in range(side)]
        most = [
            jax.lax.slice_in_dim(x, start, stop, axis=axis).max(axis, keepdims=True)
            for start, stop in cells
        ]
        x = jnp.concatenate(most, axis)
    return x


def nearest_double(x):
    """Repeats every pixel 2x2: (b, h, w, c) -> (b, 2h, 2w, c)."""
    b, h, w, c = x.shape
    x = jnp.broadcast_to(x[:, :, None, :, None], (b, h, 2, w, 2, c))
    return x.reshape(b, 2 * h, 2 * w, c)


def bilinear(x, size):
    """Bilinear resize without antialiasing: (b, h, w, c) -> (b, *size, c).

    Half-pixel centres, borders clamped, in both directions: what torch calls
    `align_corners=False`. (jax.image.resize low-pass filters when it shrinks.)
    """
    for axis, new in zip((1, 2), size, strict=True):
        old = x.shape[axis]
        if new == 2 * old:
            x = _double(x, axis)
        elif new != old:
            x = _interpolate(x, axis, new)
    return x


def bilinear_corners(x, size):
    """Bilinear resize that keeps the corner pixels: (b, h, w, c) -> (b, *size, c).

    New pixel i lies at i (old - 1) / (new - 1): what torch calls `align_corners=True`.
    """
    for axis, new in zip((1, 2), size, strict=True):
        old = x.shape[axis]
        if new != old:
            centre = np.linspace(0, old - 1, new) if new > 1 else np.zeros(1)
            x = _product(x, axis, _two_weights(centre, old))
    return x


def _double(x, axis):
    """Twice the length: new pixels lie 1/4 before and after each old one."""
    n = x.shape[axis]
    first = jax.lax.slice_in_dim(x, 0, 1, axis=axis)
    last = jax.lax.slice_in_dim(x, n - 1, n, axis=axis)
    before = jnp.concatenate(
        [first, jax.lax.slice_in_dim(x, 0, n - 1, axis=axis)], axis
    )
    after = jnp.concatenate([jax.lax.slice_in_dim(x, 1, n, axis=axis), last], axis)
    pair = jnp.stack([0.75 * x + 0.25 * before, 0.75 * x + 0.25 * after], axis + 1)
    return pair.reshape(*x.shape[:axis], 2 * n, *x.shape[axis + 1 :])


def _interpolate(x, axis, new):
    """Any other length, at half-pixel centres."""
    return _product(x, axis, _weights(x.shape[axis], new))


def _product(x, axis, weights):
    """A (new, old) matrix applied along one axis, exactly."""
    weights = jnp.asarray(weights, x.dtype)
    exact = jax.lax.Precision.HIGHEST
    y = jnp.tensordot(weights, x, axes=(1, axis), precision=exact)
    return jnp.moveaxis(y, 0, axis)


def _weights(old, new):
    """The (new, old) matrix of linear interpolation at half-pixel centres."""
    return _two_weights((np.arange(new) + 0.5) * old / new - 0.5, old)


def _two_weights(centre, old):
    """The (new, old) matrix that reads each new pixel at its place in the old ones."""
    new = len(centre)
    centre = np.clip(centre, 0, old - 1)
    low = np.floor(centre).astype(int)
    high = np.minimum(low + 1, old - 1)
    weights = np.zeros((new, old))
    np.add.at(weights, (np.arange(new), low), 1 - (centre - low))
    np.add.at(weights, (np.arange(new), high), centre - low)
    return weights
