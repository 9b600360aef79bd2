"""Colour correction against the reference outputs and by what it promises."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from irstd_jax.mosaic import color


def images(seed, shape=(2, 24, 40, 3)):
    return jax.random.uniform(jax.random.key(seed), shape)


def test_reference_outputs(golden_root):
    fixture = np.load(golden_root / "color_fix.npz")
    content, style = (
        jnp.moveaxis(jnp.asarray(fixture[f"in/{name}"]), 1, -1)
        for name in ("content", "style")
    )
    for name in ("wavelet", "adain"):
        expected = np.moveaxis(fixture[f"out/{name}"], 1, -1)
        found = color.correct(name, content, style)
        error = np.abs(found - expected).max()
        assert error <= 1e-4 * np.abs(expected).max()


@pytest.mark.parametrize("name", color.METHODS)
def test_an_image_in_its_own_style_is_itself(name):
    x = images(0)
    np.testing.assert_allclose(color.correct(name, x, x), x, atol=2e-6)


def test_wavelet_takes_the_low_frequencies_of_the_style_and_keeps_the_details():
    content, style = images(0), 0.2 + 0.3 * images(1)
    corrected = color.wavelet(content, style)
    np.testing.assert_allclose(
        corrected - color.low(style), content - color.low(content), atol=2e-6
    )


def test_low_frequencies_of_the_result_are_those_of_the_style():
    """Far apart in level, alike in grain: what low lets pass twice is little."""
    content, style = images(0), 0.8 + 0.1 * images(1)
    corrected = color.wavelet(content, style)
    off = np.abs(color.low(corrected) - color.low(style)).max()
    assert off < 0.1 * np.abs(color.low(content) - color.low(style)).max()


def test_wavelet_undoes_a_smooth_shift():
    content = images(0, (1, 64, 64, 1))
    slope = jnp.linspace(0.1, 0.4, 64)[None, :, None, None]
    found = color.wavelet(content + slope, content)
    inside = (slice(None), slice(32, -32))
    np.testing.assert_allclose(found[inside], content[inside], atol=1e-3)


def test_adain_gives_each_channel_the_moments_of_the_style():
    content, style = images(0), 0.1 + 0.5 * images(1)
    found = color.adain(content, style)
    for moment in (jnp.mean, jnp.std):
        np.testing.assert_allclose(
            moment(found, axis=(1, 2)), moment(style, axis=(1, 2)), atol=1e-3
        )


def test_bad_calls_are_refused():
    with pytest.raises(ValueError, match="unknown colour correction 'wave'.*wavelet"):
        color.correct("wave", images(0), images(1))
    with pytest.raises(ValueError, match="differ"):
        color.wavelet(images(0), images(0)[:1])
