"""The paper's figures: what is shown is where it should be."""

import numpy as np
import pytest

from irstd_jax import viz
from irstd_jax.viz import canvas, figures

SIDE, BAND, GAP = figures.SIDE, canvas.BAND, canvas.GAP


def chain():
    rng = np.random.default_rng(0)
    mask = np.zeros((96, 96))
    mask[70:73, 20:23] = 1
    return np.stack([rng.normal(size=mask.shape), mask]), mask


def test_sampling_strip_goes_from_noise_to_mask():
    trajectory, mask = chain()
    strip = viz.sampling_strip(trajectory, [99, 0])
    assert strip.shape == (BAND + SIDE + GAP + SIDE, SIDE + GAP + SIDE, 3)
    noise, last = strip[BAND:][:SIDE, :SIDE], strip[BAND:][:SIDE, SIDE + GAP :]
    plain = canvas.enlarge(canvas.grey(mask, 0, 1), 2)
    differs = (last != plain).any(axis=-1)
    assert (last[differs] == viz.PREDICTION).all() and 0 < differs.sum() < 200
    assert 20 < noise.std() < 90


def test_sampling_strip_magnifies_the_target():
    trajectory, _ = chain()
    strip = viz.sampling_strip(trajectory, [99, 0])
    detail = strip[BAND + SIDE + GAP :, SIDE + GAP :, 0]
    # 24 pixels on 192: each is 8 wide; the target starts at the middle.
    assert (detail[96:120, 96:120] == 255).all()
    assert detail.astype(int).sum() == 255 * 24 * 24
    moved = viz.sampling_strip(trajectory, [99, 0], centre=(0, 95), width=16)
    assert (moved[BAND + SIDE + GAP :, SIDE + GAP :] == 0).all()


def test_sampling_strip_wants_a_time_for_each():
    with pytest.raises(ValueError, match="3 times for 2 pictures"):
        viz.sampling_strip(chain()[0], [1, 2, 3])


def test_posterior_samples_show_mean_and_deviation():
    samples = np.zeros((2, 96, 96))
    samples[:, 40:44, 40:44] = 1
    samples[0, 10:14, 10:14] = 1
    sheet = viz.posterior_samples(samples, columns=4)
    cell = BAND + SIDE + GAP + SIDE
    assert sheet.shape == (cell, 4 * SIDE + 3 * GAP, 3)
    first, second, mean, deviation = (
        sheet[BAND : BAND + SIDE, i * (SIDE + GAP) :][:, :SIDE] for i in range(4)
    )
    sure, unsure = (84, 84), (24, 24)
    assert first[sure][0] == second[sure][0] == mean[sure][0] == 255
    assert first[unsure][0] == 255 and second[unsure][0] == 0
    assert mean[unsure][0] == 128
    assert deviation[unsure].sum() > 500 > 30 > deviation[sure].sum()


def test_posterior_samples_put_image_and_truth_first():
    mask = np.zeros((32, 32, 1))
    mask[8:16, 8:16] = 1
    sheet = viz.posterior_samples(mask[None, ..., 0], image=mask, truth=mask, columns=2)
    assert sheet.shape[1] == 2 * SIDE + GAP
    for left in (0, SIDE + GAP):
        assert (sheet[BAND + 72, left + 72] == 255).all()


def test_wavelet_shows_where_and_with_which_sign():
    zero = np.zeros((48, 48))
    hl, lh = zero.copy(), zero.copy()
    hl[10:14, 10:14], lh[30:34, 30:34] = 1, -1
    sheet = viz.wavelet(np.linspace(0, 1, 48 * 48).reshape(48, 48), hl, lh, zero)
    side = 2 * SIDE
    assert sheet.shape == (2 * (BAND + side) + GAP, 2 * side + GAP, 3)
    low, right = BAND + side + GAP + BAND, side + GAP
    assert sheet[BAND, 0].sum() < 20 and sheet[BAND + side - 1, side - 1].sum() > 740
    red = sheet[BAND + 96, right + 96].astype(int)
    blue = sheet[low + 256, 256].astype(int)
    assert red[0] > red[2] + 40 and blue[2] > blue[0] + 40
    assert sheet[low:, right:].min() > 240


def test_residual_shows_the_difference_of_equal_scales():
    before, after = np.zeros((64, 64)), np.zeros((64, 64))
    before[:32], after[:32] = 1, 1
    after[50:60, 10:20] = 0.5
    sheet = viz.residual(before, after)
    side = 2 * SIDE
    assert sheet.shape == (BAND + side, 3 * side + 2 * GAP, 3)
    changed, same = np.array([BAND + 330, 90]), np.array([BAND + 20, 20])
    shift = np.array([0, side + GAP])
    assert sheet[tuple(changed)][0] == 0 and sheet[tuple(changed + shift)][0] == 128
    difference = sheet[tuple(changed + 2 * shift)].astype(int)
    assert difference[0] > difference[2] + 40
    assert sheet[tuple(same + 2 * shift)].min() > 240


def test_nothing_changed_is_white():
    image = np.random.default_rng(0).uniform(size=(32, 32))
    sheet = viz.residual(image, image)
    assert sheet[BAND:, -2 * SIDE :].min() > 240


def test_activation_is_bright_where_the_feature_is_strong():
    image = np.random.default_rng(0).uniform(size=(96, 96, 1))
    feature = np.zeros((24, 24, 5))
    feature[6, 18] = -3  # the magnitude counts
    shown = viz.activation(image, feature)
    assert shown.shape == (2 * SIDE, 2 * SIDE, 3)
    colourful = np.ptp(shown.astype(int), axis=-1)
    y, x = np.argwhere(colourful > 60).mean(axis=0)
    np.testing.assert_allclose((y, x), (6.5 * 16, 18.5 * 16), atol=4)
    grey = canvas.enlarge(canvas.grey(image), 4)
    np.testing.assert_array_equal(shown[192:], grey[192:])
    np.testing.assert_array_equal(viz.activation(image, np.ones((4, 4))), grey)
