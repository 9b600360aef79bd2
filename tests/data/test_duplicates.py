"""Near-copies against numpy's own correlation, and what does not count."""

from typing import NamedTuple

import numpy as np
import toy_sets

from irstd_jax.data import duplicates


class Row(NamedTuple):
    name: str
    thumbnail: np.ndarray | None


def rows(seeds):
    """Rows of scenes, each of its own seed."""
    scenes = [toy_sets.scene(seed)[0].astype(np.float32) / 255 for seed in seeds]
    return [
        Row(str(seed), duplicates.thumbnail(image))
        for seed, image in zip(seeds, scenes, strict=True)
    ]


def test_thumbnails_keep_a_flat_image_and_its_range():
    small = duplicates.thumbnail(np.full((30, 50), 0.4, np.float32))
    assert small.shape == (48 * 48,)
    np.testing.assert_array_equal(small, 102)


def test_brightness_and_contrast_do_not_hide_a_copy():
    references = rows(range(20))
    queries = [
        Row("copy", 0.5 * references[7].thumbnail + 60),
        Row("negative", 255 - references[3].thumbnail),
        *rows([100, 101]),
    ]
    copies, count = duplicates.near_copies(queries, references)
    assert count == 4
    assert [(query, reference) for query, reference, _ in copies] == [("copy", "7")]
    np.testing.assert_allclose(copies[0][2], 1, atol=1e-5)


def test_correlation_is_numpys():
    reference = rows([0])[0]
    noise = np.random.default_rng(0).normal(0, 6, reference.thumbnail.shape)
    query = Row("query", (reference.thumbnail + noise).astype(np.float32))
    ((_, _, correlation),), _ = duplicates.near_copies([query], [reference])
    expected = np.corrcoef(query.thumbnail, reference.thumbnail)[0, 1]
    np.testing.assert_allclose(correlation, expected, rtol=1e-4)
    assert 0.98 < correlation < 0.999


def test_sky_and_unreadable_images_are_left_out():
    sky = np.linspace(100, 110, 48 * 48, dtype=np.float32)
    queries = [Row("sky", sky), Row("damaged", None), *rows([5])]
    assert duplicates.near_copies(queries, [Row("sky", sky)]) == ([], 1)
    assert duplicates.near_copies(queries[:1], rows([5])) == ([], 0)
