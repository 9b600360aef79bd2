"""Overlays show the right target in the right colour at the right place."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from irstd_jax import viz
from irstd_jax.viz import canvas, overlays


def scene(height=200, width=240):
    """A hit at (40, 60), a false alarm at (100, 30), a miss at (150, 200)."""
    image = np.linspace(0, 0.2, height * width).reshape(height, width)
    truth, prediction = np.zeros((2, height, width), np.uint8)
    truth[40:44, 60:65] = truth[150:153, 200:203] = 1
    prediction[41:45, 60:65] = prediction[100:103, 30:33] = 1
    return image, prediction, truth


def has(picture, colour):
    return (picture == colour).all(axis=-1)


def place(picture, colour):
    """Centre (y, x) of the pixels of a colour."""
    return np.argwhere(has(picture, colour)).mean(axis=0)


def test_each_target_is_marked_in_its_colour_at_its_place():
    picture = viz.overlay(*scene())
    main = picture[: 2 * 200, : 2 * 240]
    for colour, centre in {
        viz.HIT: (43, 62.5),
        viz.WRONG: (101.5, 31.5),
        viz.MISS: (151.5, 201.5),
    }.items():
        # Numbers beside the marks pull the centre a little.
        np.testing.assert_allclose(place(main, colour), 2 * np.array(centre), atol=4)
    assert not has(main, viz.PREDICTION).any()


def test_the_targets_own_pixels_stay_visible():
    image, prediction, truth = scene()
    picture = viz.overlay(image, prediction, truth)
    base = canvas.enlarge(canvas.grey(image), 2)
    for mask in (prediction & truth, truth & ~prediction):
        inside = canvas.enlarge(mask[:, :180] > 0, 2)
        inside &= ~overlays.outline(prediction[:, :180] > 0, 2)
        assert inside.any()
        np.testing.assert_array_equal(
            picture[:400, :360][inside], base[:, :360][inside]
        )


def test_one_zoom_a_target_in_a_frame_of_its_colour():
    picture = viz.overlay(*scene())
    assert picture.dtype == np.uint8
    cell = overlays.ZOOM + canvas.BAND + canvas.GAP
    left = 2 * 240 + canvas.GAP
    # 400 pixels of height hold two zooms and the third starts a second column.
    assert picture.shape[1] == left + 2 * overlays.ZOOM + canvas.GAP
    assert picture.shape[0] == 400 + canvas.BAND
    for column, row, colour in ((0, 0, viz.HIT), (0, 1, viz.WRONG), (1, 0, viz.MISS)):
        y = row * cell + canvas.BAND
        x = left + column * (overlays.ZOOM + canvas.GAP)
        frame = has(picture, colour)
        assert frame[y, x : x + overlays.ZOOM].all()
        assert frame[y : y + overlays.ZOOM, x].all()


def test_without_truth_detections_are_neither_right_nor_wrong():
    image, prediction, _ = scene()
    picture = viz.overlay(image, prediction)
    assert has(picture, viz.PREDICTION).any()
    for colour in (viz.HIT, viz.WRONG, viz.MISS):
        assert not has(picture, colour).any()


def test_given_boxes_and_texts_take_the_place_of_components():
    image, prediction, _ = scene()
    box = (100, 30, 103, 33)
    marks = overlays.find_marks(prediction > 0, None, [box], [0.93])
    assert marks == [overlays.Mark(box, canvas.PREDICTION, "0.93")]
    picture = viz.overlay(image, prediction, boxes=[box], texts=[0.93])
    assert picture.shape[1] == 480 + canvas.GAP + overlays.ZOOM


def test_a_prediction_without_targets():
    image = np.zeros((256, 256, 1))
    picture = viz.overlay(image, image, image)
    assert picture.shape == (512 + canvas.BAND, 512, 3)
    assert (picture[:512] == 0).all()


@pytest.mark.parametrize(
    "shape, scale",
    [((256, 256), 2), ((100, 135), 4), ((512, 512), 1), ((388, 456), 2), ((9, 9), 4)],
)
def test_small_images_are_enlarged(shape, scale):
    assert overlays.magnification(shape) == scale
    picture = viz.overlay(np.zeros(shape), np.zeros(shape))
    assert picture.shape[0] == scale * shape[0] + canvas.BAND


def test_many_targets_fit_and_the_rest_are_counted():
    image = np.zeros((64, 512))
    prediction = np.zeros((64, 512), bool)
    prediction[8::16, 8::32] = True
    picture = viz.overlay(image, prediction)
    assert picture.shape[1] == 512 + 3 * (canvas.GAP + overlays.ZOOM)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**31), st.integers(20, 60), st.integers(20, 60))
def test_marks_agree_with_the_masks(seed, height, width):
    rng = np.random.default_rng(seed)
    prediction, truth = rng.uniform(size=(2, height, width)) < 0.01
    marks = overlays.find_marks(prediction, truth)
    colours = [mark.colour for mark in marks]
    hit = overlays.touching(prediction, truth)
    found = overlays.touching(truth, prediction)
    assert colours.count(viz.HIT) == len(overlays.components(hit))
    assert colours.count(viz.WRONG) == len(overlays.components(prediction & ~hit))
    assert colours.count(viz.MISS) == len(overlays.components(truth & ~found))
    assert viz.overlay(prediction * 1.0, prediction, truth).dtype == np.uint8


def test_targets_at_the_corner_are_zoomed_with_black_beyond():
    image = np.full((64, 64), 0.5)
    image[32:] = 1
    mask = np.zeros((64, 64), bool)
    mask[0, 0] = True
    mark = overlays.find_marks(mask, None)[0]
    shown = overlays.zoom(canvas.grey(image, 0, 1), mask, None, mark)
    assert shown.shape == (overlays.ZOOM, overlays.ZOOM, 3)
    assert (shown[10, 10] == 0).all() and (shown[-10, -10] == 128).all()


def test_a_mask_of_another_size_is_refused():
    with pytest.raises(ValueError, match=r"mask of \(4, 5\) for an image of \(4, 4\)"):
        viz.overlay(np.zeros((4, 4)), np.zeros((4, 5)))
