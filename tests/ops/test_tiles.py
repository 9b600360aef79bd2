"""Tiles cover everything, merge back exactly and leave no seam."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from irstd_jax.ops import tiles


@st.composite
def layouts(draw):
    tile = draw(st.integers(1, 24))
    overlap = draw(st.integers(0, tile - 1))
    return draw(st.integers(1, 70)), draw(st.integers(1, 70)), tile, overlap


def random_image(height, width, channels=2):
    rng = np.random.default_rng(height * 100 + width)
    return rng.normal(size=(height, width, channels)).astype(np.float32)


@settings(max_examples=60, deadline=None)
@given(layouts())
def test_tiles_cover_the_image_and_overlap_enough(layout):
    height, width, tile, overlap = layout
    corners = tiles.plan(*layout)
    assert len(set(corners)) == len(corners)
    for axis, length in enumerate((height, width)):
        along = sorted({corner[axis] for corner in corners})
        assert along[0] == 0 and along[-1] == max(0, length - tile)
        assert all(tile - step >= overlap for step in np.diff(along))


@settings(max_examples=60, deadline=None)
@given(layouts())
def test_unchanged_tiles_merge_to_the_image(layout):
    height, width, tile, overlap = layout
    image = random_image(height, width)
    parts = tiles.split(image, tile, overlap)
    corners = tiles.plan(*layout)
    assert parts.shape == (len(corners), tile, tile, 2)
    merged = tiles.merge(parts, corners, (height, width))
    assert merged.dtype == np.float32
    np.testing.assert_array_equal(merged, image)


def test_no_more_tiles_than_needed():
    assert tiles.plan(256, 256, 256, 32) == [(0, 0)]
    assert tiles.plan(10, 480, 256, 32) == [(0, 0), (0, 224)]
    assert len(tiles.plan(481, 480, 256, 32)) == 6


def test_small_images_are_mirrored():
    image = np.arange(6.0).reshape(2, 3, 1)
    (part,) = tiles.split(image, 4, 1)
    assert part[..., 0].tolist() == [
        [0, 1, 2, 2],
        [3, 4, 5, 5],
        [3, 4, 5, 5],
        [0, 1, 2, 2],
    ]


@settings(max_examples=30, deadline=None)
@given(layouts(), st.integers(0, 2**31))
def test_merging_is_a_mean(layout, seed):
    height, width, tile, _ = layout
    corners = tiles.plan(*layout)
    rng = np.random.default_rng(seed)
    parts = rng.uniform(-1, 1, (len(corners), tile, tile, 1))
    merged = tiles.merge(parts, corners, (height, width))
    low, high = np.full((2, height + tile, width + tile), [[[9.0]], [[-9.0]]])
    for (y, x), part in zip(corners, parts[..., 0], strict=True):
        area = np.s_[y : y + tile, x : x + tile]
        low[area], high[area] = (
            np.minimum(low[area], part),
            np.maximum(high[area], part),
        )
    assert (merged[..., 0] >= low[:height, :width] - 1e-12).all()
    assert (merged[..., 0] <= high[:height, :width] + 1e-12).all()


def test_tiles_that_disagree_leave_no_seam():
    corners = tiles.plan(32, 48, 32, 16)
    parts = np.stack([np.zeros((32, 32, 1)), np.ones((32, 32, 1))])
    row = tiles.merge(parts, corners, (32, 48))[5, :, 0]
    assert (row[:16] == 0).all() and (row[32:] == 1).all()
    steps = np.diff(row[15:33])
    assert (steps > 0).all() and steps.max() < 0.11
    np.testing.assert_allclose(row + row[::-1], 1)


def test_the_window_trusts_the_centre_and_drops_nothing():
    weights = tiles.window(1024)
    assert weights.min() > 0
    np.testing.assert_allclose(weights, weights[::-1].T, rtol=1e-9)
    assert np.unravel_index(weights.argmax(), weights.shape) in {(511, 511), (512, 512)}


@pytest.mark.parametrize("overlap", [-1, 8, 9])
def test_impossible_overlap(overlap):
    with pytest.raises(ValueError, match=f"overlap {overlap} .* tile 8"):
        tiles.plan(20, 20, 8, overlap)
    x = jnp.zeros((1, 4, 20, 1))
    with pytest.raises(ValueError, match=f"overlap {overlap} .* tile 8"):
        tiles.tiled(lambda x: x, (x,), 8, overlap)


def test_missing_tiles_are_an_error():
    corners = tiles.plan(8, 16, 8, 0)
    parts = tiles.split(random_image(8, 16), 8, 0)
    with pytest.raises(ValueError, match="64 pixels"):
        tiles.merge(parts[:1], corners[:1], (8, 16))
    with pytest.raises(ValueError, match="1 tiles for 2 positions"):
        tiles.merge(parts[:1], corners, (8, 16))


# --- inside a compiled program ------------------------------------------------------


@pytest.mark.parametrize("size", [(20, 33), (8, 40), (4, 40), (16, 16), (5, 7)])
def test_tiled_pointwise_functions_are_whole_ones(size):
    x = jnp.asarray(np.random.default_rng(0).random((2, *size, 3)), jnp.float32)
    run = jax.jit(lambda x: tiles.tiled(lambda a, b: 2 * a, (x, None), 16, 4))
    np.testing.assert_allclose(run(x), 2 * x, rtol=1e-5)


def test_tiled_equals_split_and_merge():
    """On a function that sees its tile: the two ways blend alike."""
    x = random_image(24, 40)

    def function(part):
        return part - part.mean((1, 2), keepdims=True)

    found = tiles.tiled(function, (jnp.asarray(x[None], jnp.float32),), 16, 6)
    parts = tiles.split(x, 16, 6)
    merged = tiles.merge(function(parts), tiles.plan(24, 40, 16, 6), (24, 40))
    np.testing.assert_allclose(found[0], merged, atol=1e-5)


def test_a_side_as_long_as_the_overlap_is_one_row_of_tiles():
    """75 pixels in two tiles of 64 that overlap by 53; the side of 32 is whole."""
    sizes = []

    def function(part):
        sizes.append(part.shape)
        return part

    x = jnp.asarray(random_image(32, 75)[None])
    np.testing.assert_allclose(tiles.tiled(function, (x,), 64, 32), x, rtol=1e-5)
    assert tiles.plan(32, 75, 64, 32) == [(0, 0), (0, 11)]
    assert set(sizes) == {(1, 32, 64, 2)}


def test_tiled_enlargement():
    x = jnp.asarray(random_image(12, 20)[None], jnp.float32)

    def double(x):
        return jnp.repeat(jnp.repeat(x, 2, 1), 2, 2)

    found = tiles.tiled(double, (x,), 8, 3, factor=2)
    np.testing.assert_allclose(found, double(x), rtol=1e-5)
