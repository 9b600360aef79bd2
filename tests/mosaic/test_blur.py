"""Gaussian kernels and the blur, against SciPy."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from irstd_jax.mosaic import blur

kernel = jax.jit(functools.partial(blur.gaussian, 21))
correlate = jax.jit(blur.correlate)
sigmas = st.floats(0.3, 4)


@settings(max_examples=15, deadline=None)
@given(sigma_x=sigmas, sigma_y=sigmas, angle=st.floats(-np.pi, np.pi))
def test_kernels(sigma_x, sigma_y, angle):
    found = np.asarray(kernel(sigma_x, sigma_y, angle))
    np.testing.assert_allclose(found.sum(), 1, atol=1e-5)
    np.testing.assert_allclose(found, found[::-1, ::-1], atol=1e-6)
    turned = kernel(sigma_y, sigma_x, angle + np.pi / 2)
    np.testing.assert_allclose(found, turned, atol=1e-5)


def test_the_covariance_is_the_one_asked_for():
    found = np.asarray(kernel(2.0, 1.0, 0.5))
    y, x = np.mgrid[-10:11, -10:11]
    turn = np.array([[np.cos(0.5), -np.sin(0.5)], [np.sin(0.5), np.cos(0.5)]])
    expected = turn @ np.diag([4.0, 1.0]) @ turn.T
    moments = [[(found * a * b).sum() for b in (x, y)] for a in (x, y)]
    np.testing.assert_allclose(moments, expected, atol=1e-3)


def test_the_blur_is_scipys():
    image = np.asarray(jax.random.uniform(jax.random.key(0), (30, 37, 2)))
    # No symmetry: a convolution would differ.
    weights = np.asarray(jax.random.uniform(jax.random.key(1), (9, 9)))
    weights = weights / weights.sum()
    # SciPy's "mirror" is OpenCV's reflect-101.
    expected = ndimage.correlate(image, weights[..., None], mode="mirror")
    found = correlate(image, weights)
    np.testing.assert_allclose(found, expected, atol=2e-6)


def test_flat_images_stay_and_the_mean_is_kept():
    flat = jnp.full((26, 31, 1), 0.4)
    wide = kernel(4.0, 2.0, 0.3)
    np.testing.assert_allclose(correlate(flat, wide), flat, atol=1e-6)
    spot = jnp.zeros((64, 64, 1)).at[30:33, 31:33].set(1.0)
    np.testing.assert_allclose(correlate(spot, wide).sum(), 6, rtol=1e-5)


def test_random_kernels_are_isotropic_or_not_as_asked():
    draw = jax.jit(
        jax.vmap(lambda key, p: blur.random_kernel(key, 21, (0.5, 3.0), p), (0, None))
    )
    keys = jax.random.split(jax.random.key(0), 16)
    for chance, round_ones in ((0.0, 16), (1.0, 0)):
        drawn = np.asarray(draw(keys, chance))
        same = [
            np.allclose(k, k.T, atol=1e-6) and np.allclose(k, k[::-1]) for k in drawn
        ]
        assert sum(same) == round_ones


def test_one_line_can_be_blurred():
    line = jax.random.uniform(jax.random.key(0), (1, 9, 1))
    assert np.all(np.isfinite(blur.correlate(line, kernel(2.0, 2.0, 0.0))))
