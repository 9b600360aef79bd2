"""Target fidelity by painted targets: flat squares and Gaussian spots."""

import numpy as np
import pytest

from irstd_jax import metrics
from irstd_jax.metrics import fidelity

H, W = 64, 72
PLACES = ((15, 15), (30, 50), (40, 20))


def mask(places=PLACES, side=3):
    out = np.zeros((H, W), np.uint8)
    for y, x in places:
        out[y : y + side, x : x + side] = 1
    return out


def painted(heights, background=0.3, places=PLACES, side=3):
    """Flat squares of a height above a flat background."""
    out = np.full((H, W), background)
    for (y, x), height in zip(places, heights, strict=True):
        out[y : y + side, x : x + side] += height
    return out


def spot(y, x, height, width=1.5):
    rows, columns = np.mgrid[:H, :W]
    return height * np.exp(-((rows - y) ** 2 + (columns - x) ** 2) / (2 * width**2))


def grain(seed, deviation=0.01):
    return np.random.default_rng(seed).normal(0, deviation, (H, W))


def test_contrast_of_flat_squares_is_exact():
    found = fidelity.compare(
        painted([0.4, 0.1, 0.0], 0.5), painted([0.2, 0.2, 0.2]), mask()
    )
    np.testing.assert_allclose(found.before.contrast, 0.2)
    np.testing.assert_allclose(found.before.background, 0.3)
    np.testing.assert_allclose(found.after.contrast, [0.4, 0.1, 0], atol=1e-12)
    np.testing.assert_allclose(found.ratio, [2, 0.5, 0], atol=1e-12)
    # A flat ring has no scatter; then the unit is one grey level.
    np.testing.assert_allclose(found.before.scr, 0.2 * 255)
    np.testing.assert_allclose(found.centroid, [[16, 16], [31, 51], [41, 21]])


def test_scr_is_in_units_of_the_deviation_around():
    """A chequered ring has as many pixels above as below: its deviation is exact."""
    chequers = 0.02 * (-1.0) ** np.indices((H, W)).sum(0)
    image = painted([0.2] * 3) + np.where(mask() > 0, 0, chequers)
    found = fidelity.compare(image, image, mask())
    np.testing.assert_allclose(found.before.contrast, 0.2)
    np.testing.assert_allclose(found.before.scr, 10)


def test_contrast_of_a_gaussian_spot_by_its_mean_over_the_mask():
    image = 0.3 + spot(32, 36, 0.4)
    label = (spot(32, 36, 1.0) > 0.5).astype(np.uint8)
    found = fidelity.compare(image, image, label)
    inside = spot(32, 36, 0.4)[label > 0].mean()
    # The tail of the spot lifts the median of the ring by less than a grey level.
    np.testing.assert_allclose(found.before.contrast, inside, atol=1 / 255)
    assert (found.ratio, found.area, found.shift) == (1, 1, 0)


def test_other_targets_do_not_spoil_a_ring():
    places = ((20, 20), (20, 26))
    image = painted([0.2, 0.6], places=places)
    found = fidelity.compare(image, image, mask(places))
    np.testing.assert_allclose(found.before.contrast, [0.2, 0.6])


def test_area_counts_pixels_above_half_of_the_first_contrast():
    mosaic = painted([0.2] * 3)
    image = mosaic.copy()
    image[15, 15:18] = 0.3  # a row of the first target is gone
    image[40:43, 20:23] = 0.3 + 0.11  # just above half
    image[30:33, 50:53] = 0.3 + 0.09  # just below
    found = fidelity.compare(image, mosaic, mask())
    np.testing.assert_allclose(found.area, [6 / 9, 0, 1])


def test_shift_is_the_distance_that_a_spot_moved():
    label = (spot(32, 36, 1.0) > 0.5).astype(np.uint8)
    for dy, dx in ((0, 0), (1, 0), (0, -1), (1, 1)):
        moved = fidelity.compare(
            0.3 + spot(32 + dy, 36 + dx, 0.3), 0.3 + spot(32, 36, 0.4), label
        )
        np.testing.assert_allclose(moved.shift, np.hypot(dy, dx), atol=0.1)


def test_removed_and_weakened_and_raised_targets():
    mosaic = painted([0.2, 0.2, 0.2]) + grain(0)
    image = painted([0.0, 0.12, 0.5]) + grain(1)
    counts = fidelity.count(image, mosaic, mask())
    values = fidelity.compute(counts)
    assert values["targets"] == 3
    assert values["lost"] == pytest.approx(1 / 3)
    assert values["kept"] == pytest.approx(1 / 3)
    assert values["contrast_ratio"] == pytest.approx(0.6, abs=0.08)
    assert values["contrast_mosaic"] == pytest.approx(0.2, abs=0.01)
    assert values["contrast_augmented"] == pytest.approx(0.62 / 3, abs=0.01)
    assert values["new_blobs_per_image"] == 0


@pytest.mark.parametrize(
    ("share", "kept", "lost"),
    [
        (0.24, 0, 1),
        (0.26, 0, 0),
        (0.49, 0, 0),
        (0.51, 1, 0),
        (1.99, 1, 0),
        (2.01, 0, 0),
    ],
)
def test_limits_of_kept_and_lost(share, kept, lost):
    mosaic, image = painted([0.2] * 3), painted([0.2 * share] * 3)
    counts = fidelity.count(image, mosaic, mask())
    assert (counts.kept, counts.lost) == (3 * kept, 3 * lost)


def test_a_copy_is_perfect():
    mosaic = painted([0.2, 0.1, 0.3]) + grain(0)
    values = fidelity.compute(fidelity.count(mosaic, mosaic, mask()[..., None]))
    for name in ("contrast_ratio", "SCR_ratio", "kept", "area_kept"):
        assert values[name] == 1, name
    for name in ("lost", "centroid_shift", "new_blobs_per_image", "faint_share"):
        assert values[name] == 0, name


def test_faint_targets_are_left_out():
    mosaic = painted([0.2, -0.1, 0.001])
    values = fidelity.compute(fidelity.count(mosaic, mosaic, mask()))
    assert values["faint_share"] == pytest.approx(2 / 3)
    assert values["kept"] == 1


def test_strength_of_a_spot_is_its_closed_form():
    for s, sigma in ((1.5, 1.5), (2.0, 1.5), (3.0, 2.0)):
        found = fidelity.strength(0.3 + spot(32, 36, 0.4, s), sigma)[32, 36]
        expected = 2 * 0.4 * s**2 * sigma**2 / (s**2 + sigma**2) ** 2
        assert found == pytest.approx(expected, rel=0.02)


def test_an_added_spot_is_new_and_one_in_both_is_not():
    label = mask()
    mosaic = painted([0.2, 0.2, 0.2]) + spot(50, 60, 0.4) + grain(0)
    added = mosaic + spot(10, 60, 0.4) + grain(1, 0.002)
    np.testing.assert_array_equal(fidelity.new_blobs(added, mosaic, label), [[10, 60]])
    # What moves by a pixel, or loses some height, is the same spot.
    other = painted([0.2] * 3) + spot(51, 60, 0.3) + grain(2)
    assert len(fidelity.new_blobs(other, mosaic, label)) == 0
    for height, distance, count in ((0.7, 0, 0), (1.0, 0, 1), (0.4, 3, 0), (0.4, 6, 1)):
        other = painted([0.2] * 3) + spot(50, 60 - distance, height) + grain(2)
        found = fidelity.new_blobs(other, mosaic, label)
        assert len(found) == count, (height, distance)
    # A taller target is none, and neither is what vanished.
    tall = painted([0.6, 0.2, 0.2]) + grain(3)
    assert len(fidelity.new_blobs(tall, mosaic, label)) == 0
    weak = mosaic + spot(10, 60, 0.05)
    assert len(fidelity.new_blobs(weak, mosaic, label)) == 0
    counts = fidelity.count(added, mosaic, label)
    assert (counts.blobs, counts.images_with_blobs) == (1, 1)
    assert fidelity.compute(counts)["new_blobs_per_megapixel"] == pytest.approx(
        1e6 / (H * W)
    )


def test_noise_makes_no_blobs_even_beside_a_faint_target():
    mosaic = painted([0.2, 0.2, 0.005])
    noisy = mosaic + grain(0, 0.02)
    assert len(fidelity.new_blobs(noisy, mosaic, mask())) == 0
    added = noisy + spot(10, 60, 0.3)
    assert len(fidelity.new_blobs(added, mosaic, mask())) == 1


def test_median_of_a_histogram():
    ratios = np.array([0.2, 0.5, 1.37, 2.0, 900.0])
    assert fidelity.median(fidelity.histogram(ratios)) == pytest.approx(1.37)
    assert fidelity.median(fidelity.histogram(np.array([-3.0]))) == 0
    assert fidelity.median(fidelity.histogram(np.array([9.0, 8.0]))) == 4
    assert np.isnan(fidelity.median(fidelity.histogram(np.array([]))))


def test_without_targets_there_is_nothing_to_measure():
    empty = np.zeros((H, W), np.uint8)
    values = fidelity.compute(fidelity.count(painted([1] * 3), painted([0] * 3), empty))
    assert values["targets"] == values["new_blobs_per_image"] == 0
    assert np.isnan(values["kept"]) and np.isnan(values["contrast_ratio"])


def test_counts_add_up_and_have_intervals():
    mosaic = painted([0.2] * 3) + grain(0)
    images = [painted([0.2, 0.2, h]) + grain(k) for k, h in enumerate([0.2, 0, 0.1])]
    states = [fidelity.count(image, mosaic, mask()) for image in images]
    values = fidelity.compute(metrics.merge(states))
    assert values["targets"] == 9 and values["lost"] == pytest.approx(1 / 9)
    assert values["contrast_ratio"] == pytest.approx(1, abs=0.1)
    low, high = metrics.intervals(metrics.stack(states), fidelity.compute, repeats=50)[
        "lost"
    ]
    assert low <= 1 / 9 <= high


def test_a_target_at_the_edge_and_one_that_fills_the_image():
    edge = mask(((0, 0),))
    image = painted([0.2], places=((0, 0),))
    found = fidelity.compare(image, image, edge)
    np.testing.assert_allclose(found.before.contrast, 0.2)
    full = np.ones((H, W), np.uint8)
    assert fidelity.count(image, image, full).faint == 1


def test_sizes_must_agree():
    with pytest.raises(ValueError, match="differ in size"):
        fidelity.count(np.zeros((4, 5)), np.zeros((4, 4)), np.zeros((4, 5)))
