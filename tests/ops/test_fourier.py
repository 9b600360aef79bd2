import jax
import jax.numpy as jnp
import numpy as np
import pytest

from irstd_jax.ops import fourier


def test_a_filter_of_ones_is_the_identity():
    x = np.random.default_rng(0).normal(size=(2, 6, 5, 3)).astype("f4")
    ones = jnp.zeros((6, 3, 3, 2)).at[..., 0].set(1)
    np.testing.assert_allclose(fourier.filtered(x, ones), x, atol=1e-6)


def test_a_filter_is_a_circular_convolution():
    """Of each channel with its own kernel, whose spectrum the filter is."""
    rng = np.random.default_rng(1)
    x, kernel = rng.normal(size=(2, 4, 6, 2)), rng.normal(size=(4, 6, 2))
    spectrum = np.fft.rfft2(kernel, axes=(0, 1))
    weight = np.stack([spectrum.real, spectrum.imag], -1)
    expected = sum(
        kernel[i, j] * np.roll(x, (i, j), (1, 2)) for i in range(4) for j in range(6)
    )
    found = jax.jit(fourier.filtered)(jnp.float32(x), jnp.float32(weight))
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_a_filter_is_of_one_size():
    with pytest.raises(ValueError, match=r"4x4 and 1 channels wants .*\(4, 3, 1, 2\)"):
        fourier.filtered(jnp.zeros((1, 4, 4, 1)), jnp.zeros((8, 5, 1, 2)))
