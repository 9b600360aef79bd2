"""Filters against plain NumPy, and what their windows do."""

import jax
import jax.numpy as jnp
import numpy as np
import plain
import pytest

from irstd_jax import classical
from irstd_jax.classical import windows


@pytest.fixture(scope="module")
def images():
    """Grey levels with bright and dark spots, and no black ones; odd, unequal sides."""
    rng = np.random.default_rng(0)
    images = rng.integers(1, 60, (2, 27, 34, 1)).astype(float)
    images[:, 5:8, 6:8] += 150
    images[:, 20, 30] += 100
    return images


@pytest.mark.parametrize("name", sorted(plain.FILTERS))
def test_filters_are_their_formulas(name, images):
    found = classical.saliency(name, images)
    expected = np.stack([plain.FILTERS[name](image[..., 0]) for image in images])
    assert expected.max() > 0
    atol = 1e-5 * expected.max()
    np.testing.assert_allclose(found[..., 0], expected, rtol=0, atol=atol)


def test_an_even_element_reaches_below_and_right(images):
    found = classical.saliency("new_tophat", images, element=4)
    expected = plain.new_top_hat(images[0, ..., 0], element=4)
    np.testing.assert_array_equal(found[0, ..., 0], expected)


@pytest.mark.parametrize("side", [3, 5])
def test_the_largest_values_are_those_of_sorting(images, side):
    find = jax.jit(windows.largest, static_argnums=(1, 2))
    found = np.asarray(find(jnp.asarray(images), (5, 3), 7)[side])
    inner = windows.centre(images, (5 - side) // 2)
    view = np.lib.stride_tricks.sliding_window_view(inner, (side, side), (1, 2))
    expected = np.sort(view.reshape(*found.shape[1:], -1))[..., :-8:-1]
    np.testing.assert_array_equal(found, np.moveaxis(expected, -1, 0))


@pytest.mark.parametrize("name", ["lcm", "tllcm"])
def test_a_dot_on_black_is_finite(name):
    image = np.zeros((1, 27, 34, 1))
    image[:, 12:15, 16:19] = 200
    found = np.asarray(classical.saliency(name, np.repeat(image, 2, 0)))
    assert np.isfinite(found).all()
    assert found[0, 13, 17] > 0 and found[0, 0, 0] == 0


def test_an_image_within_the_hole_has_no_response():
    """No pixel of it has a surround; none may come out infinite."""
    small = np.arange(9.0).reshape(1, 3, 3, 1)
    assert not np.any(classical.saliency("new_tophat", small))


@pytest.mark.parametrize(
    "name, fields, words",
    [
        ("tophat", {"side": 4}, "side must be odd, not 4"),
        ("new_tophat", {"inner": 19}, "must be odd, the first larger"),
        ("mpcm", {"sides": (3, 4)}, "sides must be odd numbers"),
        ("tllcm", {"side": 3, "count": 10}, "cells of 3x3 have no 10 values"),
    ],
)
def test_impossible_windows_are_refused(name, fields, words):
    with pytest.raises(ValueError, match=words):
        classical.saliency(name, np.ones((1, 3, 3, 1)), **fields)
