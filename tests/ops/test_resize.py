import jax
import jax.numpy as jnp
import numpy as np
import pytest

from irstd_jax.ops import resize


def image(h, w, b=2, c=3, seed=0):
    x = np.random.default_rng(seed).normal(size=(b, h, w, c))
    return jnp.asarray(x, jnp.float32)


def bilinear_by_hand(x, size):
    """Each new pixel from its four neighbours, one by one."""
    b, h, w, c = x.shape
    y = np.zeros((b, *size, c))
    for i in range(size[0]):
        for j in range(size[1]):
            v = min(max((i + 0.5) * h / size[0] - 0.5, 0), h - 1)
            u = min(max((j + 0.5) * w / size[1] - 0.5, 0), w - 1)
            top, left = int(v), int(u)
            below, right = min(top + 1, h - 1), min(left + 1, w - 1)
            v, u = v - top, u - left
            y[:, i, j] = (1 - v) * (1 - u) * x[:, top, left] + v * u * x[
                :, below, right
            ]
            y[:, i, j] += (1 - v) * u * x[:, top, right] + v * (1 - u) * x[
                :, below, left
            ]
    return y


@pytest.mark.parametrize(
    "old, new",
    [((5, 6), (9, 13)), ((7, 9), (3, 2)), ((1, 4), (5, 4)), ((8, 3), (4, 12))],
)
def test_bilinear_is_four_neighbours(old, new):
    x = image(*old)
    y = resize.bilinear(x, new)
    np.testing.assert_allclose(y, bilinear_by_hand(x, new), atol=1e-5)


@pytest.mark.parametrize("h, w", [(1, 1), (1, 4), (5, 3)])
def test_bilinear_doubling_is_four_neighbours(h, w):
    x, size = image(h, w), (2 * h, 2 * w)
    np.testing.assert_allclose(
        resize.bilinear(x, size), bilinear_by_hand(x, size), atol=1e-6
    )


def test_bilinear_enlarges_as_jax_does():
    x = image(5, 6)
    expected = jax.image.resize(x, (2, 16, 17, 3), "bilinear")
    np.testing.assert_allclose(resize.bilinear(x, (16, 17)), expected, atol=1e-5)


@pytest.mark.parametrize(
    "old, new",
    [((4, 6), (8, 12)), ((8, 12), (4, 6)), ((5, 3), (9, 7)), ((1, 5), (4, 1))],
)
def test_bilinear_that_keeps_the_corners_is_numpy_s_interpolation(old, new):
    x = image(*old)
    y = np.float64(x)
    for axis, (n, m) in enumerate(zip(old, new, strict=True), 1):
        places = np.arange(m) * (n - 1) / max(m - 1, 1)
        along = lambda line: np.interp(places, np.arange(n), line)  # noqa: B023, E731
        y = np.apply_along_axis(along, axis, y)
    mine = resize.bilinear_corners(x, new)
    np.testing.assert_allclose(mine, y, atol=1e-5)
    np.testing.assert_array_equal(mine[:, 0, 0], x[:, 0, 0])


@pytest.mark.parametrize("h, w", [(4, 6), (5, 6), (1, 3), (1, 1)])
def test_max_pool_3x3_looks_one_pixel_around_every_other(h, w):
    x = image(h, w)
    y = resize.max_pool_3x3(x)
    assert y.shape == (2, -(-h // 2), -(-w // 2), 3)
    for i in range(y.shape[1]):
        for j in range(y.shape[2]):
            top, left = max(2 * i - 1, 0), max(2 * j - 1, 0)
            block = x[:, top : 2 * i + 2, left : 2 * j + 2]
            np.testing.assert_array_equal(y[:, i, j], block.max((1, 2)))


@pytest.mark.parametrize("h, w", [(4, 6), (5, 6), (1, 3), (1, 1)])
def test_max_pool_takes_the_largest_and_rounds_up(h, w):
    x = image(h, w)
    y = resize.max_pool(x)
    assert y.shape == (2, -(-h // 2), -(-w // 2), 3)
    for i in range(y.shape[1]):
        for j in range(y.shape[2]):
            block = x[:, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2]
            np.testing.assert_array_equal(y[:, i, j], block.max((1, 2)))


def test_gradient_of_max_pool_reaches_the_largest_alone():
    x = image(5, 5, b=1, c=1)
    gradient = jax.grad(lambda x: resize.max_pool(x).sum())(x)
    # 3 x 3 blocks, each has one largest pixel.
    assert sorted(np.unique(gradient)) == [0, 1] and gradient.sum() == 9


def test_nearest_double_repeats():
    x = image(3, 2)
    expected = np.repeat(np.repeat(x, 2, axis=1), 2, axis=2)
    np.testing.assert_array_equal(resize.nearest_double(x), expected)


def test_padding_mirrors_at_bottom_and_right():
    x = jnp.arange(6.0).reshape(1, 2, 3, 1)
    y = resize.pad_to_multiple(x, 4)[0, ..., 0]
    np.testing.assert_array_equal(y[:2], [[0, 1, 2, 1], [3, 4, 5, 4]])
    np.testing.assert_array_equal(y[2:], [[0, 1, 2, 1], [3, 4, 5, 4]])


@pytest.mark.parametrize("h, w", [(1, 1), (1, 40), (37, 50), (31, 33)])
def test_crop_undoes_padding_at_any_size(h, w):
    x = image(h, w)
    y = resize.pad_to_multiple(x, 32)
    assert y.shape[1] % 32 == 0 and y.shape[2] % 32 == 0
    assert y.shape[1] - h < 32 and y.shape[2] - w < 32
    np.testing.assert_array_equal(resize.crop(y, h, w), x)


def test_padding_leaves_a_size_that_fits():
    x = image(32, 64)
    assert resize.pad_to_multiple(x, 32) is x


def test_a_mean_pool_counts_no_padding():
    x = np.arange(15, dtype=np.float32).reshape(1, 3, 5, 1)
    expected = [[3.0, 5.0, 6.5], [10.5, 12.5, 14.0]]
    np.testing.assert_allclose(resize.mean_pool(x)[0, ..., 0], expected)
