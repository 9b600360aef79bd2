"""Tiles and masks move together; no target vanishes; components."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from irstd_jax.mosaic import geometry
from irstd_jax.mosaic.compose import Composition

T = 24
TURNS = Composition(tile=T, flips=True, quarter_turns=True)
quick = settings(max_examples=25, deadline=None)
seeds = st.integers(0, 2**31)


@functools.partial(jax.jit, static_argnums=2)
def varied(key, mask, chosen):
    return geometry.vary(key, mask[..., None].astype(jnp.float32), mask, chosen)


@jax.jit
def zoomed(key, mask, factor):
    image = mask[..., None].astype(jnp.float32)
    return geometry.zoom(key, image, mask, (factor, factor))


def blobs(seed, n=3):
    rng = np.random.default_rng(seed)
    mask = np.zeros((T, T), bool)
    for y, x, h, w in zip(
        *rng.integers(T, size=(2, n)), *rng.integers(1, 5, (2, n)), strict=True
    ):
        mask[y : y + h, x : x + w] = True
    return mask


def count(mask):
    return ndimage.label(mask, np.ones((3, 3)))[1]


@quick
@given(seed=seeds)
def test_flips_and_turns_move_pixels_of_both_alike(seed):
    mask = blobs(seed)
    image, moved = varied(jax.random.key(seed), mask, TURNS)
    np.testing.assert_array_equal(image[..., 0] > 0, moved)
    assert moved.sum() == mask.sum()


def test_all_eight_orientations_come():
    mask = np.zeros((T, T), bool)
    mask[2, 5] = True
    seen = {
        tuple(np.argwhere(varied(jax.random.key(seed), mask, TURNS)[1])[0])
        for seed in range(80)
    }
    assert len(seen) == 8


@quick
@given(seed=seeds, factor=st.floats(0.5, 4))
def test_a_zoom_keeps_a_target_and_mask_and_image_aligned(seed, factor):
    mask = blobs(seed)
    image, moved = (np.asarray(x) for x in zoomed(jax.random.key(seed), mask, factor))
    assert moved.any()
    assert np.all(image[..., 0][moved] > 0)
    # What is surely target is labelled or next to a label.
    sure = image[..., 0] > 0.9
    assert not np.any(sure & ~ndimage.binary_dilation(moved, np.ones((3, 3))))


@quick
@given(seed=seeds)
def test_no_zoom_is_the_identity(seed):
    mask = blobs(seed)
    image, moved = zoomed(jax.random.key(seed), mask, 1.0)
    np.testing.assert_array_equal(moved, mask)
    np.testing.assert_array_equal(image[..., 0], mask)


def test_single_pixels_survive_a_reduction_to_half():
    mask = np.zeros((T, T), bool)
    mask[3::8, 3::8] = True
    for seed in range(10):
        _, moved = zoomed(jax.random.key(seed), mask, 0.5)
        assert count(moved) >= count(mask)


def test_area_grows_with_the_square_of_the_zoom():
    mask = np.zeros((T, T), bool)
    mask[10:14, 10:14] = True
    areas = [zoomed(jax.random.key(s), mask, 2.0)[1].sum() for s in range(10)]
    np.testing.assert_allclose(areas, 64, atol=17)


@quick
@given(seed=seeds)
def test_components_are_scipys(seed):
    mask = np.random.default_rng(seed).random((T, T)) < 0.3
    found = np.asarray(jax.jit(geometry.components)(mask))
    expected, n = ndimage.label(mask, np.ones((3, 3)))
    pairs = set(zip(found[mask], expected[mask], strict=True))
    assert len(pairs) == n == len(np.unique(found[mask]))
    assert not found[~mask].any()


def test_random_pixels_are_spread_over_the_mask():
    mask = np.zeros((T, T), bool)
    mask[2, 3] = mask[20, 21] = True
    draw = jax.jit(jax.vmap(geometry.random_pixel, (0, None)))
    keys = jax.random.split(jax.random.key(0), 200)
    y, x = (np.asarray(v) for v in draw(keys, mask))
    assert set(zip(y, x, strict=True)) == {(2, 3), (20, 21)}
    assert 60 < (y == 2).sum() < 140
    y, x = draw(keys, np.zeros((T, T), bool))
    assert len(np.unique(y)) == T
