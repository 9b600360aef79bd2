import numpy as np
import pytest

from irstd_jax.ops import windows


@pytest.mark.parametrize("m, h, w", [(1, 2, 3), (2, 4, 6), (4, 4, 12)])
def test_merge_inverts_partition(m, h, w):
    x = np.arange(2 * h * w * 3).reshape(2, h, w, 3)
    cut = windows.partition(x, m)
    assert cut.shape == (2, h * w // m**2, m * m, 3)
    np.testing.assert_array_equal(windows.merge(cut, h, w), x)


def test_windows_are_squares_of_the_map():
    x = np.arange(4 * 6).reshape(1, 4, 6, 1)
    cut = windows.partition(x, 2)[0, ..., 0]
    np.testing.assert_array_equal(cut[1], [2, 3, 8, 9])
    np.testing.assert_array_equal(cut[3], [12, 13, 18, 19])


def test_sides_that_do_not_divide_are_refused():
    with pytest.raises(ValueError, match="4x6 .* 4x4"):
        windows.partition(np.zeros((1, 4, 6, 1)), 4)


@pytest.mark.parametrize("m", [1, 3, 4])
def test_relative_positions_number_the_offsets(m):
    rows = windows.relative_positions(m)
    offsets = [
        (y - v, x - u)
        for y in range(m)
        for x in range(m)
        for v in range(m)
        for u in range(m)
    ]
    expected = sorted(set(offsets))
    assert [expected[row] for row in rows.ravel()] == offsets


def test_inside_marks_the_padding():
    marks = windows.inside(3, 5, 4)
    assert marks.shape == (2, 16)
    assert marks[0].sum() == 12 and marks[1].sum() == 3
    assert windows.inside(8, 4, 4).all()


def test_inside_follows_a_shift():
    """Of 3 rows padded to 4 and rolled by 1, the padding is the third, not the last."""
    marks = windows.inside(3, 4, 4, shift=1).reshape(4, 4)
    np.testing.assert_array_equal(marks.all(1), [True, True, False, True])


@pytest.mark.parametrize("m, shift, h, w", [(4, 2, 8, 12), (4, 1, 4, 8), (3, 2, 6, 3)])
def test_regions_are_what_lay_side_by_side(m, shift, h, w):
    """Tokens are of one region if their offset in the window is that in the map."""
    places = np.stack(np.indices((h, w)), -1)[None]
    rolled = np.roll(places, (-shift, -shift), (1, 2))
    before, after = (windows.partition(p, m)[0] for p in (rolled, places))
    moved = before - after
    unmoved = (moved[:, :, None] == moved[:, None, :]).all(-1)
    regions = windows.regions(h, w, m, shift)
    together = regions[:, :, None] == regions[:, None, :]
    np.testing.assert_array_equal(together, unmoved)
