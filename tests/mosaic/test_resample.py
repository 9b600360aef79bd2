"""Resize matrices against OpenCV's rules written out, and JAX's own resize."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from irstd_jax.mosaic import resample

SIDE = 24
PAIRS = [(24, 24), (24, 9), (9, 24), (17, 5), (7, 7), (1, 24), (24, 1)]


@functools.partial(jax.jit, static_argnums=0)
def matrix(method, old, new):
    return resample.matrix(method, SIDE, old, new)


def oracle(method, old, new):
    """(new, old) in float64, pixel by pixel."""
    weights = np.zeros((new, old))
    for i in range(new):
        centre = (i + 0.5) * old / new - 0.5
        for j in range(old):
            if method == "area":
                low, high = i * old / new, (i + 1) * old / new
                shared = max(0, min(high, j + 1) - max(low, j))
                weights[i, j] = shared / (high - low)
        if method == "area":
            continue
        first = int(np.floor(centre))
        for tap in (-1, 0, 1, 2):
            d = abs(centre - first - tap)
            weights[i, np.clip(first + tap, 0, old - 1)] += kernel(method, d)
    return weights


def kernel(method, d, a=-0.75):
    if method == "bilinear":
        return max(0, 1 - d)
    if d <= 1:
        return (a + 2) * d**3 - (a + 3) * d**2 + 1
    return a * d**3 - 5 * a * d**2 + 8 * a * d - 4 * a


@pytest.mark.parametrize("method", resample.METHODS)
def test_weights(method):
    for old, new in PAIRS:
        found = np.asarray(matrix(method, old, new))
        expected = oracle(method, old, new)
        np.testing.assert_allclose(found[:new, :old], expected, atol=1e-5)
        np.testing.assert_allclose(found[:, old:], 0, atol=1e-5)
        np.testing.assert_allclose(found[new:] - found[new - 1], 0, atol=1e-6)
        if old == new:
            np.testing.assert_array_equal(found[:new, :new], np.eye(new))


def test_bilinear_enlargement_is_that_of_jax():
    image = jax.random.uniform(jax.random.key(0), (9, 7, 2))
    full = jnp.zeros((SIDE, SIDE, 2)).at[:9, :7].set(image)
    found = resample.resize(full, "bilinear", (9, 7), (24, 20))[:, :20]
    expected = jax.image.resize(image, (24, 20, 2), "bilinear")
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_area_keeps_the_mean():
    image = jax.random.uniform(jax.random.key(0), (SIDE, SIDE, 1))
    small = resample.resize(image, "area", (SIDE, SIDE), (7, 5))[:7, :5]
    np.testing.assert_allclose(small.mean(), image.mean(), atol=1e-5)


def test_a_method_is_chosen_by_index():
    image = jax.random.uniform(jax.random.key(0), (SIDE, SIDE, 1))
    for index, name in enumerate(resample.METHODS):
        chosen = resample.resize(
            image, (jnp.int32(index), resample.METHODS), (SIDE, SIDE), (7, 5)
        )
        named = resample.resize(image, name, (SIDE, SIDE), (7, 5))
        np.testing.assert_allclose(chosen, named, atol=1e-6)


def test_an_unknown_method_is_refused():
    with pytest.raises(ValueError, match="unknown resize method 'cubic'.*bicubic"):
        resample.matrix("cubic", 8, 8, 4)
