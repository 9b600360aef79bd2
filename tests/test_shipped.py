"""The detectors in the box: they load by name, and find what nobody could miss."""

import jax
import numpy as np
import pytest

from configs import compare, quickstart
from irstd_jax import inference, tasks
from irstd_jax.data import pipeline
from irstd_jax.weights import box


def test_predict_has_its_default():
    assert box.default() == box.DEFAULT
    assert {box.DEFAULT} <= set(compare.SHIPPED) <= set(box.names())


def test_every_file_has_its_card_and_its_size():
    for name in box.names():
        card = (box.BOX / f"{name}.md").read_text()
        assert "Limits:" in card and "python launch.py" in card
    assert all(p.stat().st_size <= box.LARGEST for p in box.BOX.iterdir())


@pytest.fixture(scope="module")
def scene():
    """(image (64, 64, 1) in [0, 1] of a sloping sky with a spot, the spot's centre)."""
    y, x = np.mgrid[:64, :64]
    noise = np.random.default_rng(0).normal(0, 0.01, (64, 64))
    spot = 0.6 * np.exp(-((y - 40) ** 2 + (x - 21) ** 2) / (2 * 1.3**2))
    image = 0.25 + y / 640 + noise + spot
    return np.float32(np.clip(image, 0, 1))[..., None], (40, 21)


def found(name, image, workdir):
    """(rows, columns) of the pixels that a detector in the box finds in an image."""
    config = inference.known(box.locate(name), quickstart.get_config())
    config.weights = name
    config, variables, _ = inference.trained(config, workdir)
    predict = inference.predictor(tasks.build(config), keep=(config.predict.mode,))
    shown = pipeline.preparation(config.data).image(image)[None]
    maps = predict(jax.device_put(variables), shown, ["scene"], 0)
    return np.nonzero(maps[config.predict.mode][0, ..., 0] > 0.5)


@pytest.mark.parametrize("name", sorted(compare.SHIPPED))
def test_a_spot_in_the_sky_is_found_and_nothing_else(name, scene, tmp_path):
    image, (y, x) = scene
    rows, columns = found(name, image, tmp_path)
    assert 3 <= rows.size <= 60
    assert max(abs(rows - y).max(), abs(columns - x).max()) <= 5
