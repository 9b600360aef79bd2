"""JPEG against Pillow's, at full and at partial sizes; gradients; quality."""

import io

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from irstd_jax.mosaic import jpeg

SIDE = 96
compressed = jax.jit(jpeg.jpeg)


def picture(channels, side=SIDE, seed=0):
    """8-bit (side, side, channels): slopes, an edge, spots of a few pixels, grain."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:side, :side] / side
    planes = []
    for number in range(channels):
        plane = 60 + 90 * x * (1 - y) + 40 * (x + 0.3 * number * y > 0.8)
        for cy, cx in rng.random((6, 2)):
            plane += 80 * np.exp(-((x - cx) ** 2 + (y - cy) ** 2) * side**2 / 4)
        planes.append(plane)
    levels = np.stack(planes, -1) + rng.normal(0, 2, (side, side, 1))
    return np.clip(np.round(levels), 0, 255).astype(np.uint8)


def pillow(levels, quality):
    """What Pillow's JPEG leaves of 8-bit levels (h, w, c)."""
    file = io.BytesIO()
    image = Image.fromarray(levels[..., 0] if levels.shape[-1] == 1 else levels)
    image.save(file, "JPEG", quality=quality, subsampling=2)
    return np.asarray(Image.open(file), float).reshape(levels.shape)


def ours(levels, quality, size):
    """The corner `size` of a full array whose rest is far from the picture."""
    full = np.full((SIDE, SIDE, levels.shape[-1]), 7.0, np.float32)
    full[: size[0], : size[1]] = levels / np.float32(255)
    result = compressed(full, quality, size)
    return 255 * np.asarray(result)[: size[0], : size[1]]


@pytest.mark.parametrize("size", [(96, 96), (61, 38), (1, 5)])
@pytest.mark.parametrize("channels, mean, close", [(1, 0.02, 0.999), (3, 0.02, 0.999)])
def test_it_is_pillows(channels, mean, close, size):
    """Seen: grey .003 levels on average, colour .05; a block may differ by a step."""
    levels = picture(channels)[: size[0], : size[1]]
    for quality in (5, 30, 50, 60, 75, 95, 100):
        expected = pillow(levels, quality)
        difference = np.abs(ours(levels, quality, size) - expected)
        assert difference.mean() < mean, quality
        assert (difference < 2.01).mean() > close, quality
        # It is far closer to Pillow's than that is to the picture.
        if quality <= 75 and size != (1, 5):
            assert difference.mean() < 0.1 * np.abs(expected - levels).mean()


def test_tables_are_pillows():
    for quality in (1, 10, 49, 50, 51, 90, 100):
        file = io.BytesIO()
        Image.fromarray(picture(3)).save(file, "JPEG", quality=quality)
        found = Image.open(file).quantization
        for number, base in enumerate((jpeg.LUMA, jpeg.CHROMA)):
            table = np.asarray(jpeg.table(base, quality))
            np.testing.assert_array_equal(table.ravel(), found[number])


def test_a_flat_picture_passes():
    grey = np.full((16, 24, 1), 128 / 255, np.float32)
    np.testing.assert_allclose(compressed(grey, 5), grey, atol=1e-6)


def test_what_lies_outside_the_picture_does_not_matter():
    levels = picture(3).astype(np.float32) / 255
    other = levels.copy()
    other[41:], other[:, 50:] = 0.9, 0.1
    first, second = (compressed(x, 40, (41, 50))[:41, :50] for x in (levels, other))
    np.testing.assert_array_equal(first, second)


def test_the_gradient_passes_the_rounding():
    """Straight through, it is nearly that of the identity at quality 100."""
    image = jnp.asarray(picture(1) / 255, jnp.float32)
    weights = jax.random.normal(jax.random.key(0), image.shape)
    gradient = jax.jit(jax.grad(lambda x: (weights * jpeg.jpeg(x, 100)).sum()))(image)
    np.testing.assert_allclose(gradient, weights, atol=1e-4)


def test_other_channels_are_refused():
    with pytest.raises(ValueError, match="1 or 3 channels, not 2"):
        jpeg.jpeg(jnp.zeros((8, 8, 2)), 50)
