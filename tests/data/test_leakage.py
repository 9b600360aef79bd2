"""The leakage check finds planted copies, in any orientation, and nothing else."""

import json

import numpy as np
import pytest
from PIL import Image

from irstd_jax.data import leakage


def texture(seed, h=64, w=64):
    """An image of independent clutter in [0, 1], float32 (h, w, 1)."""
    coarse = np.random.default_rng(seed).integers(20, 200, (12, 12)).astype(np.uint8)
    fine = Image.fromarray(coarse).resize((w, h), Image.BICUBIC)
    return (np.asarray(fine, np.float32) / 255)[..., None]


def named(prefix, seeds, **size):
    return [(f"{prefix}{seed}", texture(seed, **size)) for seed in seeds]


def mosaic(*tiles):
    a, b, c, d = tiles
    return np.concatenate([np.hstack([a, b]), np.hstack([c, d])])


TEST = named("test", range(6))
TRAIN = named("train", range(100, 106))


def turned(image, k):
    image = np.rot90(image, k % 4)
    return image[:, ::-1] if k >= 4 else image


@pytest.mark.parametrize("k", range(8))
@pytest.mark.parametrize("shape", [(64, 64), (48, 80)])
def test_a_copy_is_found_in_every_orientation(k, shape):
    h, w = shape
    references = leakage.rows(named("test", range(4), h=h, w=w))
    copy = 0.6 * turned(texture(2, h, w), k) + 0.2
    ((name, _, reference, correlation),) = leakage.nearest(
        leakage.rows([("copy", copy)]), references
    )
    assert (name, reference) == ("copy", "test2")
    assert correlation > 0.995


def test_a_tile_of_a_mosaic_is_found():
    images = [texture(seed) for seed in (200, 201, 3, 202)]
    images[2] = images[2][::-1] * 0.8 + 0.1
    found = leakage.nearest(
        leakage.rows([("m", mosaic(*images))], size=64), leakage.rows(TEST)
    )
    assert len(found) == 5
    assert leakage.copies(found) == [
        ("m", "test3", pytest.approx(max(row.correlation for row in found)))
    ]
    assert max(found, key=lambda row: row.correlation).tile == (64, 0, 64, 64)
    # Without the tiles it is not.
    whole = leakage.nearest(leakage.rows([("m", mosaic(*images))]), leakage.rows(TEST))
    assert len(whole) == 1 and leakage.copies(whole) == []


def test_independent_textures_are_no_copies():
    generated = [
        (f"m{k}", mosaic(*(texture(1000 + 4 * k + j) for j in range(4))))
        for k in range(10)
    ]
    found = leakage.report(generated, TEST, TRAIN, size=64)
    assert found["near_test"] == found["leaked"] == []
    assert found["generated"] == 10
    assert found["tiles"] == found["tiles_with_texture"] == 50
    assert found["test"]["median"] <= found["test"]["q99"] <= found["test"]["max"] < 0.9


def test_planted_copies_are_reported_and_train_copies_are_not():
    made = [
        ("clean", mosaic(*(image for _, image in TRAIN[:4]))),
        ("leaky", mosaic(*(image for _, image in (*TRAIN[:3], TEST[5])))),
    ]
    found = leakage.report(made, TEST, TRAIN, size=64)
    ((name, reference, correlation),) = found["leaked"]
    assert (name, reference) == ("leaky", "test5") and correlation > 0.999
    assert found["train"]["max"] > 0.999
    json.dumps(found, allow_nan=False)


def test_a_test_image_that_is_like_a_training_image_excuses_its_tiles():
    """Frames of one scene stand in both parts of some published sets."""
    rng = np.random.default_rng(0)
    frame = np.clip(TRAIN[0][1] + rng.normal(0, 0.05, (64, 64, 1)), 0, 1)
    test = [("frame", frame.astype(np.float32)), *TEST]
    of_train = [("honest", TRAIN[0][1])]
    found = leakage.report(of_train, test, TRAIN)
    assert [row[:2] for row in found["near_test"]] == [("honest", "frame")]
    assert found["leaked"] == []
    assert leakage.report(of_train, test)["leaked"] == found["near_test"]
    found = leakage.report([("thief", test[0][1])], test, TRAIN)
    assert [row[:2] for row in found["leaked"]] == [("thief", "frame")]


def test_images_without_texture_tell_nothing():
    sky = ("sky", np.linspace(0.4, 0.42, 64 * 64).reshape(64, 64, 1))
    found = leakage.report([sky], [sky, *TEST])
    assert found["tiles_with_texture"] == 0 and found["near_test"] == []
    assert found["test"] is None


def test_tiles():
    assert leakage.tiles((8, 8)) == [(0, 0, 8, 8)]
    assert leakage.tiles((8, 8), 8) == leakage.tiles((8, 8), 9) == [(0, 0, 8, 8)]
    assert leakage.tiles((8, 8), 4)[1:] == [
        (0, 0, 4, 4),
        (0, 4, 4, 4),
        (4, 0, 4, 4),
        (4, 4, 4, 4),
    ]
    rows = {tile[0] for tile in leakage.tiles((10, 8), (4, 8))}
    assert rows == {0, 4, 6}


def test_orientations_are_eight_different_ones():
    values = np.random.default_rng(0).random((2, 48 * 48))
    turned_values = leakage.orientations(values)
    assert turned_values.shape == (8, 2, 48 * 48)
    assert len({row.tobytes() for row in turned_values[:, 0]}) == 8
    np.testing.assert_allclose(np.sort(turned_values, -1)[5], np.sort(values, -1))
