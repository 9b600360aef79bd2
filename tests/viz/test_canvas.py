"""Grey levels, heat maps, captions and contact sheets have the right pixels."""

import numpy as np
import pytest

from irstd_jax import viz
from irstd_jax.viz import canvas


def test_grey_spans_its_range_and_keeps_the_order():
    ramp = np.linspace(3, 7, 1000).reshape(10, 100)
    level = canvas.grey(ramp)
    assert level.dtype == np.uint8 and level.shape == (10, 100, 3)
    assert level[0, 0, 0] == 0 and level[-1, -1, 0] == 255
    assert (np.diff(level[..., 1].ravel().astype(int)) >= 0).all()
    assert canvas.grey(np.full((4, 4, 1), 5.0)).max() == 0


def test_a_dark_16_bit_image_becomes_visible():
    dark = np.random.default_rng(0).uniform(0.01, 0.02, (50, 50))
    assert canvas.grey(dark).std() > 60


@pytest.mark.parametrize(
    "array, white",
    [
        (np.eye(4), 1.0),
        (np.eye(4, dtype=bool), True),
        (np.eye(4, dtype=np.uint8), 1),
        (255 * np.eye(4, dtype=np.uint8)[..., None], 255),
    ],
)
def test_masks_of_any_kind_are_black_and_white(array, white):
    shown = canvas.picture(array)
    expected = np.where(np.eye(4) > 0, 255, 0)[..., None].repeat(3, -1)
    np.testing.assert_array_equal(shown, expected)


def test_signed_maps_are_white_at_zero_blue_below_red_above():
    low, zero, high = canvas.signed(np.array([[-2.0, 0, 2]]), 2)[0].astype(int)
    assert zero.min() > 240
    assert low[2] > low[0] + 40 and high[0] > high[2] + 40


def test_fit_repeats_pixels_and_keeps_proportions():
    shown = canvas.fit(canvas.grey(np.eye(4)[:2], 0, 1), 64)
    assert shown.shape == (32, 64, 3)
    np.testing.assert_array_equal(shown, canvas.enlarge(shown[8::16, 8::16], 16))


def test_captions_are_written_above_and_cut_to_the_width():
    blank = np.full((10, 60, 3), 77, np.uint8)
    titled = canvas.caption(blank, "a title that is far too long")
    assert titled.shape == (10 + canvas.BAND, 60, 3)
    np.testing.assert_array_equal(titled[canvas.BAND :], blank)
    assert titled[: canvas.BAND].max() > 200
    assert canvas.shorten("probability", 1000) == "probability"
    assert canvas.shorten("probability", 40).endswith("…")
    assert canvas.FONT.getlength(canvas.shorten("probability", 40)) <= 40


def test_grid_aligns_columns():
    a, b = np.full((5, 7, 3), 50, np.uint8), np.full((3, 9, 3), 90, np.uint8)
    sheet = canvas.grid([[a, b], [b]])
    assert sheet.shape == (5 + canvas.GAP + 3, 9 + canvas.GAP + 9, 3)
    assert (sheet[:5, :7] == 50).all()
    assert (sheet[:3, 9 + canvas.GAP :] == 90).all()
    assert (sheet[5 + canvas.GAP :, :9] == 90).all()
    assert (sheet[5 + canvas.GAP :, 9:] == canvas.PAPER).all()


def test_contact_sheet_places_every_cell():
    row = {"name": "scene 1", "image": np.full((8, 8), 0.5), "mask": np.ones((8, 8, 1))}
    sheet = viz.contact_sheet([row, row | {"mask": np.zeros((4, 8), bool)}], side=80)
    band, gap = canvas.BAND, canvas.GAP
    assert sheet.shape == (3 * band + 80 + gap + 80, 80 + gap + 80, 3)
    assert sheet[:band, :80].max() > 200 and sheet[band : 2 * band, :80].max() > 200
    assert (sheet[band : 2 * band, 80 + gap :] == canvas.PAPER).all()
    first = slice(2 * band, 2 * band + 80)
    assert (sheet[first, :80] == 128).all() and (sheet[first, 80 + gap :] == 255).all()
    second = 3 * band + 80 + gap
    assert (sheet[second:, :80] == 128).all()
    assert (sheet[second : second + 40, 80 + gap :] == 0).all()


def test_contact_sheet_of_plain_sequences():
    colour = np.full((4, 4, 3), (10, 20, 30), np.uint8)
    sheet = viz.contact_sheet([[colour, np.ones((4, 4))]], side=8)
    assert sheet.shape == (8, 16 + canvas.GAP, 3)
    assert (sheet[:, :8] == (10, 20, 30)).all()


def test_contact_sheet_refuses_ragged_rows():
    with pytest.raises(ValueError, match="row 1 has 1 cells, not 2"):
        viz.contact_sheet([[np.eye(2)] * 2, [np.eye(2)]])
    with pytest.raises(ValueError, match="at least one row"):
        viz.contact_sheet([])


def test_an_image_of_three_channels_is_no_plane():
    with pytest.raises(ValueError, match=r"not \(4, 4, 2\)"):
        canvas.grey(np.zeros((4, 4, 2)))
