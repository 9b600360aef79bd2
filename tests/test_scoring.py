"""Scores of tasks that make images: each image once, the same pixels every time."""

import jax
import numpy as np
import pytest

from configs.diff_mosaic import pixel_prior
from irstd_jax import data, scoring


class Bright:
    """Scores an image by its mean and by a draw of its key."""

    chosen_by = ("mean", +1)

    def score(self, variables, batch, keys):
        image = batch["image"]
        draws = jax.vmap(jax.random.uniform)(keys)
        scores = {"mean": image.mean((1, 2, 3)) * variables, "draw": draws}
        return scores, {"zebra": image, "ant": 1 - image}


@pytest.fixture(scope="module")
def config():
    settings = pixel_prior.get_config("tiny")
    settings.data.count = {"train": 2, "validation": 5, "test": 2}
    settings.data.crop = 16
    settings.evaluation.batch_size = 2
    return settings


@pytest.fixture(scope="module")
def source(config):
    return data.load(config.data, "validation")


def found(config, source):
    return scoring.score(config, scoring.scorer(Bright()), 1.0, source)


def test_every_image_counts_once(config, source):
    """Five images in batches of two: the sixth is a repeat, and is left out."""
    means, spread, rows = found(config, source)
    one_by_one = []
    for i in range(5):
        prepare = scoring.pipeline.preparation(config.data)
        plain = scoring.dataclasses.replace(prepare, augment=None)
        one_by_one.append(scoring.cut(plain, source[i])["image"].mean())
    np.testing.assert_allclose(means["mean"], np.mean(one_by_one), rtol=1e-5)
    np.testing.assert_allclose(spread["mean"], np.std(one_by_one), rtol=1e-4)
    assert len(rows) == 5


def test_crops_and_draws_are_the_same_every_time(config, source):
    one, _, rows = found(config, source)
    config.evaluation.batch_size = 4
    other, _, again = found(config, source)
    config.evaluation.batch_size = 2
    assert one.keys() == other.keys()
    for name, value in one.items():
        np.testing.assert_allclose(value, other[name], rtol=1e-6)
    for row, same in zip(rows, again, strict=True):
        np.testing.assert_array_equal(row["zebra"], same["zebra"])


def test_pictures_keep_their_order_and_names(config, source):
    _, _, rows = found(config, data.some(source, 2))
    assert [list(row) for row in rows] == [["name", "zebra", "ant"]] * 2
    assert rows[0]["name"] == source.names[0]
