"""Changes of one square tile and its mask together: zoom, flips, quarter turns.

Flips and turns only move pixels. The zoom by s about a fixed point p takes output pixel
i from the input interval of length 1/s around

    p + (i - p) / s                                                          (1)

so p stays where it is, s > 1 shows a part of the tile and s < 1 its mirror images
around it, in image and mask alike. The image is bilinear, antialiased where it shrinks.
A mask pixel is set where targets cover more than half of it; where no pixel of a 3x3
neighbourhood is, its most covered one: so no target vanishes, as in `data.transforms`,
whose rule needs components. p is a random target pixel, if there is one.
"""

import jax
import jax.numpy as jnp

from irstd_jax.mosaic import resample

COVER = 0.5


def vary(key, image, mask, settings):
    """The tile (t, t, c) and its mask (t, t) bool, changed as the settings say."""
    zoom_key, flip_key, turn_key = jax.random.split(key, 3)
    if settings.scale is not None:
        image, mask = zoom(zoom_key, image, mask, settings.scale)
    if settings.flips:
        over = jax.random.bernoulli(flip_key, 0.5, (2,))
        image, mask = flip(image, over), flip(mask, over)
    if settings.quarter_turns:
        turns = jax.random.randint(turn_key, (), 0, 4)
        image, mask = quarter_turn(image, turns), quarter_turn(mask, turns)
    return image, mask


def flip(x, over):
    """Mirrored up-down and left-right where `over` (2,) says so."""
    x = jnp.where(over[0], x[::-1], x)
    return jnp.where(over[1], x[:, ::-1], x)


def quarter_turn(x, turns):
    """A square turned by 90 degrees `turns` times, 0..3, traced."""
    return jnp.stack([jnp.rot90(x, k) for k in range(4)])[turns]


def zoom(key, image, mask, scale):
    """By a factor even in its logarithm between the two of `scale`, each side alike."""
    factor_key, point_key = jax.random.split(key)
    low, high = jnp.log(jnp.array(scale, jnp.float32))
    factor = jnp.exp(jax.random.uniform(factor_key, (), minval=low, maxval=high))
    point = random_pixel(point_key, mask)
    rows, columns = (
        [_zooms(kind, n, p, factor) for kind in (_linear, resample.area)]
        for n, p in zip(mask.shape, point, strict=True)
    )
    image = resample.apply(rows[0], columns[0], image)
    cover = resample.apply(rows[1], columns[1], mask[..., None].astype(image.dtype))
    return jnp.clip(image, 0, 1), covered(cover[..., 0])


def _linear(centre, width, cells):
    """Bilinear weights, over a triangle as wide as the pixels where they shrink."""
    reach = jnp.maximum(width, 1)
    weights = jnp.maximum(1 - jnp.abs(centre - cells) / reach, 0)
    return weights / weights.sum(1, keepdims=True)


def _zooms(kind, n, point, factor):
    """The (n, n) matrix of Eq. 1 on one axis, mirror images folded back."""
    centre = point + (jnp.arange(n)[:, None] - point) / factor
    cells = jnp.arange(-n, 2 * n, dtype=jnp.float32)[None]
    before, inside, after = jnp.split(kind(centre, 1 / factor, cells), 3, axis=1)
    return inside + before[:, ::-1] + after[:, ::-1]


def covered(cover):
    """The mask (h, w) of the pixels that targets cover by these shares (h, w)."""
    most = neighbourhood(cover, jnp.maximum)
    # .999: pixels that are covered alike up to rounding are all taken.
    peak = (cover > 1e-4) & (cover >= 0.999 * most) & (most <= COVER)
    return (cover > COVER) | peak


def random_pixel(key, mask):
    """(y, x) of a pixel of the mask (h, w), or of the whole image if it is empty."""
    eligible = jnp.where(mask.any(), mask, True).ravel()
    rank = jax.random.randint(key, (), 0, eligible.sum())
    index = jnp.argmax(jnp.cumsum(eligible) > rank)
    return index // mask.shape[1], index % mask.shape[1]


def neighbourhood(x, combine):
    """`combine` over the 3x3 pixels around each of (h, w); borders repeated."""
    for axis in (0, 1):
        n = x.shape[axis]
        widths = [(1, 1) if a == axis else (0, 0) for a in (0, 1)]
        padded = jnp.pad(x, widths, mode="edge")
        parts = [jax.lax.slice_in_dim(padded, k, k + n, axis=axis) for k in range(3)]
        x = combine(combine(parts[0], parts[1]), parts[2])
    return x


def dilated(mask, pixels):
    """bool (h, w) grown by a square of 2 * pixels + 1."""
    for _ in range(pixels):
        mask = neighbourhood(mask, jnp.logical_or)
    return mask


def components(mask):
    """Labels int32 (h, w) of 8-connected targets, 0 outside: any distinct positives.

    Each pixel starts with its own number and takes its neighbours' largest until none
    changes: as many rounds as the longest target has pixels from end to end.
    """
    numbers = 1 + jnp.arange(mask.size, dtype=jnp.int32).reshape(mask.shape)

    def spread(state):
        labels, _ = state
        wider = jnp.where(mask, neighbourhood(labels, jnp.maximum), 0)
        return wider, (wider != labels).any()

    start = jnp.where(mask, numbers, 0)
    return jax.lax.while_loop(lambda state: state[1], spread, (start, mask.any()))[0]
