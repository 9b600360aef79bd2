"""Low rank and sparse: proximal operators, recovery of a known split, plain NumPy."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import plain
import pytest

from irstd_jax import classical
from irstd_jax.classical import (
    patch_image,
    patch_sequence,
    patch_tensor,
    patches,
    shrinkage,
)


@pytest.fixture(autouse=True)
def float64():
    with jax.enable_x64(True):
        yield


def random(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def spots(*shape, share=0.03):
    """A sparse array: a share of entries between 3 and 6."""
    rng = np.random.default_rng(1)
    return np.where(rng.random(shape) < share, rng.uniform(3, 6, shape), 0)


@pytest.mark.parametrize("shape", [(9, 6), (6, 9)])
def test_singular_values_are_shrunk(shape):
    x = random(*shape)
    u, values, v = np.linalg.svd(x, full_matrices=False)
    low, found = shrinkage.singular_soft(jnp.asarray(x), 1.5)
    np.testing.assert_allclose(found, values[::-1], rtol=1e-12)
    np.testing.assert_allclose(low, (u * np.maximum(values - 1.5, 0)) @ v, atol=1e-12)


@pytest.mark.parametrize("n", [5, 6])
def test_a_tensor_is_shrunk_slice_by_slice(n):
    x = random(n, 4, 3)
    u, values, v = np.linalg.svd(np.fft.fft(x, axis=0), full_matrices=False)
    expected = np.fft.ifft((u * np.maximum(values - 2, 0)[:, None]) @ v, axis=0).real
    found = shrinkage.tensor_singular(jnp.asarray(x), lambda s: jnp.maximum(s - 2, 0))
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_power_shrinkage_is_the_minimum():
    """Against a fine grid; the two inner steps end within a hundredth of it."""
    values, weight = jnp.linspace(0, 6, 25), 0.9
    grid = np.linspace(0, 6, 6001)
    cost = (grid - values[:, None]) ** 2 / 2 + weight * grid**patch_sequence.POWER
    found = patch_sequence.power_shrunk(values, jnp.asarray(weight))
    np.testing.assert_allclose(found, grid[np.argmin(cost, axis=1)], atol=0.03)


@pytest.mark.parametrize(
    "values, kept",
    [
        ([9.0, 8, 7, 6, 5, 4], 6),  # no drop
        ([900.0, 800, 7, 6, 5, 4], 2),  # a drop, above 50
        ([90.0, 3, 2.9, 2.8, 2.7, 2.6], 1),  # below 50, but alone among its like
        ([9.0, 8, 7, 6, 5, 1e-17], 5),  # the numeric rank
        ([9.0, 8, 0, 0, 0, 0], 2),
        ([0.0, 0, 0, 0, 0, 0], 0),
    ],
)
def test_where_a_dictionary_is_cut(values, kept):
    assert patch_sequence.kept_values(jnp.asarray(values), 6) == kept


def test_the_first_split_of_mslstipt_recovers_a_known_one():
    low = np.fft.irfft(
        np.fft.rfft(random(12, 20, 1), axis=0)
        @ np.fft.rfft(random(12, 1, 8, seed=1), axis=0),
        12,
        axis=0,
    )
    sparse = spots(12, 20, 8)
    found = jax.jit(patch_sequence.split)(
        jnp.asarray(low + sparse), 1 / np.sqrt(20 * 12)
    )
    np.testing.assert_allclose(found, low, atol=1e-5 * np.abs(low).max())


def found_spots(target, sparse):
    """How far a target is from the truth; its largest entries must be the spots."""
    count = np.count_nonzero(sparse)
    largest = np.argsort(np.ravel(target))[-count:]
    assert count and np.all(np.ravel(sparse)[largest] > 0)
    return np.abs(target - sparse).max() / sparse.max()


def test_ipi_recovers_a_known_split():
    """To a tenth, as its rules end it before it converges."""
    low, sparse = random(60, 2) @ random(2, 40), 5 * spots(60, 40)
    split = jax.jit(patch_image.decompose)
    background, target = split(jnp.asarray(low + sparse), 1 / np.sqrt(60))
    assert found_spots(target, sparse) < 0.1
    assert np.abs(background - low).max() < 0.1 * sparse.max()


def test_pstnn_recovers_a_known_split():
    """To a quarter, as its rules end it soon."""
    sides = (1 + 0.1 * random(n) for n in (10, 12, 12))
    low = 100 * np.einsum("n,i,j->nij", *sides)
    sparse = 25 * spots(10, 12, 12, share=0.005)
    split = jax.jit(patch_tensor.decompose)
    target = split(jnp.asarray(low + sparse), np.ones_like(low), 0.7 / np.sqrt(120))
    assert found_spots(target, sparse) < 0.25


def scene(h, w):
    """Smooth, noisy grey levels with two spots."""
    y, x = np.mgrid[:h, :w]
    image = 90 + 40 * np.sin(y / 7) * np.cos(x / 9) + 3 * random(h, w)
    image[10:12, 5:8] += 90
    image[20, 21] += 70
    return np.rint(image)


@pytest.mark.parametrize(
    "name, fields, size",
    [
        ("ipi", {"side": 10, "step": 4}, (25, 31)),
        ("ipi", {"side": 4, "step": 4}, (25, 31)),  # more patches than pixels in one
        ("pstnn", {"side": 9}, (27, 31)),
    ],
)
def test_methods_are_their_formulas(name, fields, size):
    image = scene(*size)
    found = jax.jit(functools.partial(classical.METHODS[name], **fields))(
        jnp.asarray(image)[None, ..., None]
    )
    expected = getattr(plain, name)(image, **fields)
    assert np.any(expected > 0)
    atol = 1e-8 * np.abs(expected).max()
    np.testing.assert_allclose(found[0, ..., 0], expected, rtol=0, atol=atol)


def test_the_median_of_patches():
    """Equal patches give their image back; with one astray, the median holds."""
    image, starts = random(23, 21), [np.arange(0, 14, 3), np.arange(0, 12, 3)]
    cut = patches.cut(jnp.asarray(image), starts, 9)
    expected = np.zeros_like(image)
    expected[:21, :18] = image[:21, :18]
    astray = cut.at[2, 2].add(100.0)
    for given in (cut, astray):
        found = np.array(patches.median(given, starts, image.shape))
        agree = found == expected
        assert (
            agree.all() if given is cut else agree[:9].all() and agree[9:12, 9:12].all()
        )


def test_the_last_patch_counts():
    starts = [np.array([0, 4, 5]), np.array([0, 3])]
    numbered = jnp.arange(6).reshape(3, 2, 1, 1) * jnp.ones((1, 1, 4, 4), int)
    found = patches.last(numbered, starts, (9, 7))
    np.testing.assert_array_equal(found[:, 0], [0] * 4 + [2] + [4] * 4)
    np.testing.assert_array_equal(found[0], [0] * 3 + [1] * 4)
