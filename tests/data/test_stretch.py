"""Drawn-out grey levels: of the image alone, whatever a camera makes of it."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from configs import quickstart
from irstd_jax import data
from irstd_jax.data import stretch

quick = settings(max_examples=25, deadline=None)
seeds = st.integers(0, 2**32 - 1)
percentiles = st.floats(0.01, 40)


def random(seed, *shape):
    return np.random.default_rng(seed).random((*shape, 1), np.float32)


@quick
@given(seeds, percentiles)
def test_levels_are_between_0_and_1_and_keep_their_order(seed, percentile):
    image = random(seed, 9, 14)
    drawn = stretch.stretched(image, percentile)
    assert drawn.dtype == np.float32 and drawn.min() == 0 and drawn.max() == 1
    order = np.argsort(image, axis=None)
    assert (np.diff(drawn.ravel()[order]) >= 0).all()


@quick
@given(seeds, percentiles, st.floats(0.05, 1), st.floats(0, 1))
def test_gain_and_offset_of_a_camera_do_not_matter(seed, percentile, gain, offset):
    image = random(seed, 9, 14)
    other = (gain * image + offset * (1 - gain)).astype(np.float32)
    np.testing.assert_allclose(
        stretch.stretched(other, percentile),
        stretch.stretched(image, percentile),
        atol=1e-4,
    )


def test_the_percentile_s_share_of_pixels_is_cut_off():
    image = (np.arange(1000, dtype=np.float32) / 2000).reshape(20, 50, 1)
    drawn = stretch.stretched(image, 10)
    assert (drawn == 0).sum() == 100 and (drawn == 1).sum() == 100
    assert drawn.ravel()[500] == pytest.approx((500 - 99.9) / (899.1 - 99.9), abs=1e-5)


def test_what_has_nothing_to_draw_out():
    image = random(0, 5, 6)
    assert stretch.stretched(image, 0) is image
    flat = np.full((5, 6, 1), 0.25, np.float32)
    np.testing.assert_array_equal(stretch.stretched(flat, 1), flat)
    spot = flat.copy()
    spot[2, 3] = 0.3
    np.testing.assert_array_equal(stretch.stretched(spot, 20), spot > 0.25)


@pytest.mark.parametrize("percentile", [-1, 50, 99.9])
def test_a_percentile_that_is_none_is_refused(percentile):
    with pytest.raises(ValueError, match=r"data\.stretch .* 0\.01 is a good one"):
        stretch.stretched(random(0, 4, 4), percentile)


def test_a_narrow_image_is_told_from_a_wide_one():
    image = random(0, 40, 40)
    assert not stretch.is_narrow(image)
    assert stretch.is_narrow(0.5 + image / 10)
    assert stretch.is_narrow(np.zeros((1, 1, 1), np.float32))


@pytest.mark.parametrize("part", ["train", "test"])
def test_every_part_of_a_set_is_drawn_out_on_request(part):
    block = quickstart.get_config("tiny").data
    plain = data.load(block, part)
    block.stretch = 2.0
    drawn = data.load(block, part)
    assert len(drawn) == len(plain) and drawn.names == plain.names
    for i in range(len(plain)):
        before, after = plain[i], drawn[i]
        np.testing.assert_array_equal(after["mask"], before["mask"])
        assert after["name"] == before["name"]
        expected = stretch.stretched(before["image"], 2.0)
        np.testing.assert_array_equal(after["image"], expected)
    assert drawn.describe() == plain.describe() | {"stretch": 2.0}
