"""Offsets of masks: rendered targets whose masks were moved by a known amount."""

import numpy as np

from irstd_jax.data import registration

SIDE = 48


def scene(seed, moved=(0.0, 0.0), deviation=1.5):
    """(image, mask): a Gaussian target on noise, and a disc `moved` from it by px."""
    rng = np.random.default_rng(seed)
    centre = rng.uniform(16, SIDE - 16, 2)
    grid = np.stack(np.mgrid[:SIDE, :SIDE], -1)
    squares = np.square(grid - centre).sum(-1)
    image = 0.3 + 0.5 * np.exp(-squares / (2 * deviation**2))
    image += rng.normal(0, 0.005, image.shape)
    mask = np.square(grid - centre - moved).sum(-1) < 2.5**2
    return np.float32(image), np.float32(mask)


def all_offsets(moved):
    found = [registration.offsets(*scene(seed, moved)) for seed in range(200)]
    return np.concatenate(found)


def test_the_shift_of_masks_is_found():
    for moved in ((0.0, 0.0), (-0.25, -0.2), (0.0, 0.4)):
        mean, error = registration.shift(all_offsets(moved))
        assert (np.abs(mean - moved) < 4 * error).all() and error.max() < 0.03


def test_mirrored_images_have_the_mirrored_shift():
    image, mask = scene(3, (-0.25, -0.2))
    found = registration.offsets(image, mask)
    mirrored = registration.offsets(image[:, ::-1], mask[:, ::-1])
    np.testing.assert_allclose(mirrored, found * (1, -1), atol=1e-9)


def test_targets_that_do_not_stand_out_tell_nothing():
    image, mask = scene(0)
    flat = np.full_like(image, 0.3)
    noise = np.random.default_rng(0).normal(0, 0.3, image.shape)
    assert len(registration.offsets(image, mask)) == 1
    assert len(registration.offsets(image + noise, mask)) == 0
    assert len(registration.offsets(flat, np.zeros_like(mask))) == 0
    wide = np.zeros_like(mask)
    wide[5:25, 5:25] = 1
    assert len(registration.offsets(image, wide)) == 0


def test_a_neighbour_in_the_light_disturbs():
    image, mask = scene(0)
    y, x = np.argwhere(mask)[0]
    mask[y - 2, x] = 1  # within the reach of the target, not touching it
    assert len(registration.offsets(image, mask)) == 0


def test_few_targets_say_nothing_of_a_set():
    assert registration.shift(np.zeros((registration.FEWEST - 1, 2))) is None
