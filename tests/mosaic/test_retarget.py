"""Targets put back: exact inside the mask, nothing beyond the border."""

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from irstd_jax.mosaic.retarget import feather, retarget

SHAPE = (2, 20, 24)


def scene(seed):
    keys = jax.random.split(jax.random.key(seed), 3)
    image, mosaic = (jax.random.uniform(key, (*SHAPE, 1)) for key in keys[:2])
    mask = jax.random.bernoulli(keys[2], 0.02, (*SHAPE, 1)).astype(float)
    return image, mosaic, mask


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 1000), border=st.sampled_from([0, 3]))
def test_inside_the_mosaic_far_away_the_image(seed, border):
    image, mosaic, mask = scene(seed)
    found = np.asarray(retarget(image, mosaic, mask, border))
    inside = np.asarray(mask) > 0
    distance = np.stack(
        [
            ndimage.distance_transform_edt(~m) if m.any() else np.full(m.shape, 99)
            for m in inside
        ]
    )
    np.testing.assert_array_equal(found[inside], np.asarray(mosaic)[inside])
    far = distance > border
    np.testing.assert_array_equal(found[far], np.asarray(image)[far])
    low, high = np.minimum(image, mosaic), np.maximum(image, mosaic)
    assert np.all((low - 1e-6 <= found) & (found <= high + 1e-6))


def test_the_border_is_a_raised_cosine_of_the_distance():
    mask = np.zeros((1, 15, 17, 1), np.float32)
    mask[0, 7, 8] = mask[0, 2, 3] = 1
    distance = ndimage.distance_transform_edt(mask[0, ..., 0] == 0)
    expected = 0.5 + 0.5 * np.cos(np.pi * distance / 5)
    expected[distance > 4] = 0
    np.testing.assert_allclose(feather(mask, 4)[0, ..., 0], expected, atol=1e-6)


def test_without_a_border_it_is_the_released_step():
    image, mosaic, mask = scene(3)
    expected = np.where(mask > 0, mosaic, image)
    np.testing.assert_array_equal(retarget(image, mosaic, mask), expected)


def test_an_empty_mask_changes_nothing():
    image, mosaic, mask = scene(4)
    np.testing.assert_array_equal(retarget(image, mosaic, 0 * mask, 3), image)


def test_a_negative_border_is_refused():
    with pytest.raises(ValueError, match="border -1"):
        retarget(*scene(0), -1)
