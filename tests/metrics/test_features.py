"""Features keep the order of images of any size; sub-band statistics by closed form."""

import numpy as np
import pytest

from irstd_jax.metrics import features


def mean_and_size(images):
    return np.stack([images.mean((1, 2, 3)), np.full(len(images), images[0].size)], -1)


def test_order_is_kept_over_batches_and_sizes():
    sizes = [(8, 8), (6, 10), (8, 8), (8, 8), (4, 4), (6, 10), (8, 8)]
    images = [np.full((*size, 1), k / 10, np.float32) for k, size in enumerate(sizes)]
    batches = []

    def extract(batch):
        batches.append(len(batch))
        return mean_and_size(batch)

    found = features.features(extract, iter(images), batch_size=3)
    assert found.dtype == np.float64 and max(batches) == 3 and len(batches) == 4
    expected = [(k / 10, h * w) for k, (h, w) in enumerate(sizes)]
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_wrong_extractors_and_no_images_are_refused():
    images = [np.zeros((4, 4, 1))] * 3
    with pytest.raises(ValueError, match=r"made \(3, 4, 4, 1\) of 3.*\(3, d\)"):
        features.features(lambda batch: batch, images)
    with pytest.raises(ValueError, match="no images"):
        features.features(mean_and_size, [])


def test_a_stripe_pattern_lies_in_one_band():
    """Columns of a and b: HL is (b - a) / 2 at level 1, and nothing else is there."""
    columns = np.tile([0.2, 0.6], 8)
    image = np.broadcast_to(columns, (16, 16))[None, ..., None]
    ((lh, hl, hh, *deviations), deeper) = np.split(
        np.expm1(features.haar_statistics(image, levels=2)[0]), 2
    )
    np.testing.assert_allclose([lh, hl, hh], [0, 255 * 0.2, 0], atol=1e-9)
    np.testing.assert_allclose(deviations, 0, atol=1e-9)
    np.testing.assert_allclose(deeper, 0, atol=1e-9)


def test_white_noise_halves_with_each_level():
    """A block of 4^k pixels has deviation s / 2^k, and so has each band, of N(0, .)"""
    s = 0.05
    noise = np.random.default_rng(0).normal(0.5, s, (1, 256, 256, 1))
    rows = np.expm1(features.haar_statistics(noise, levels=3)).reshape(3, 2, 3)
    for level, (absolute, deviation) in enumerate(rows, 1):
        expected = 255 * s / 2**level
        np.testing.assert_allclose(deviation, expected, rtol=0.05)
        np.testing.assert_allclose(absolute, expected * np.sqrt(2 / np.pi), rtol=0.05)


def test_brightness_does_not_count_and_odd_sides_are_cut():
    image = np.random.default_rng(1).random((2, 33, 47, 1)) / 2
    once = features.haar_statistics(image, levels=2)
    assert once.shape == (2, 12)
    np.testing.assert_allclose(
        features.haar_statistics(image + 0.3, 2), once, rtol=1e-9
    )
    np.testing.assert_allclose(features.haar_statistics(image[:, :32, :46], 2), once)
    with pytest.raises(ValueError, match="sides of 64 px or more, not 33x47"):
        features.haar_statistics(image, levels=6)
