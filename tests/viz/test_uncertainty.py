"""The picture of a posterior: four panels, each at its place."""

import numpy as np
import pytest

from irstd_jax import viz
from irstd_jax.viz import canvas, overlays

SIDE, SCALE = 128, 4
PANEL = SIDE * SCALE


def picture():
    image = np.full((SIDE, SIDE, 1), 0.5)
    image[0, 0], image[0, 1] = 0, 1
    samples = np.zeros((4, SIDE, SIDE))
    samples[:, 20:24, 20:24] = 1
    samples[:1, 90:94, 60:64] = 1
    boxes = [(20, 20, 24, 24), (90, 60, 94, 64)]
    return viz.uncertainty(image, samples, boxes, [1.0, 0.25])


def panel(sheet, number):
    left = number * (PANEL + canvas.GAP)
    return sheet[canvas.BAND :, left : left + PANEL]


def test_mean_and_deviation_are_where_the_samples_are():
    sheet = picture()
    assert sheet.shape == (canvas.BAND + PANEL, 4 * PANEL + 3 * canvas.GAP, 3)
    sure, unsure = (22 * SCALE,) * 2, (92 * SCALE, 62 * SCALE)
    mean, deviation = panel(sheet, 1), panel(sheet, 2)
    assert mean[sure][0] == 255 and mean[unsure][0] == 64
    # One of four: a deviation of sqrt(3) / 4, of 0.5 at most.
    assert deviation[unsure].sum() > 480 > 30 > deviation[sure].sum()


def test_targets_are_marked_by_what_they_are_believed():
    marked = panel(picture(), 3)
    places = {
        colour: np.argwhere((marked == colour).all(-1)).mean(0) / SCALE
        for colour in (viz.PREDICTION, viz.MISS)
    }
    # What is written beside a mark pulls its centre.
    np.testing.assert_allclose(places[viz.PREDICTION], [22, 22], atol=6)
    np.testing.assert_allclose(places[viz.MISS], [92, 62], atol=6)


def test_shares_are_written_and_many_targets_are_counted():
    marks = [overlays.Mark((0, 0, 1, 1), canvas.PREDICTION, "0.75")]
    blank = np.zeros((64, 64, 3), np.uint8)
    written = overlays.point_at(blank, marks, 1, ["0.75"])
    assert (written != overlays.point_at(blank, marks, 1)).any()
    many = [(i, i, i + 1, i + 1) for i in range(70)]
    samples, image = np.zeros((2, 96, 96)), np.eye(96)
    all_of_them = viz.uncertainty(image, samples, many, [0.5] * 70)
    shown = viz.uncertainty(image, samples, many[:60], [0.5] * 60)
    band = canvas.BAND
    np.testing.assert_array_equal(all_of_them[band:], shown[band:])
    assert (all_of_them[:band] != shown[:band]).any()


def test_no_target_is_a_picture_as_well():
    image = np.zeros((16, 24))
    assert viz.uncertainty(image, np.zeros((2, 16, 24)), [], []).dtype == np.uint8


def test_samples_of_another_size_are_refused():
    with pytest.raises(ValueError, match=r"samples of \(4, 5\) for an image \(4, 4\)"):
        viz.uncertainty(np.zeros((4, 4)), np.zeros((2, 4, 5)), [], [])
