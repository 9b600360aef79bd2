"""The methods against outputs of published code, on real images: whole maps of all."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from irstd_jax import classical

FILTERS = ("lcm", "mpcm", "new_tophat", "tllcm", "tophat", "wslcm")


@pytest.fixture(scope="module")
def load(golden_root, data_root):
    """(fixture, its images as grey levels) of a method."""

    def load(name):
        fixture = np.load(golden_root / "classical" / f"{name}.npz")
        images = [grey(data_root, str(name)) for name in fixture["names"]]
        assert images
        if name != "mslstipt":  # whose sequences are in the fixture themselves
            assert [x.sum() for x in images] == fixture["in_sum"].tolist()
            assert [list(x.shape) for x in images] == fixture["in_shape"].tolist()
        return fixture, images

    return load


def grey(root, name):
    folder, stem = name.split("/")
    image = Image.open(root / folder / "images" / f"{stem}.png")
    return np.asarray(image.convert("L"), np.float64)


def agrees(found, expected, share):
    """To a share of the largest value: a map (1, h, w, 1) and the one expected."""
    atol = share * np.abs(expected).max()
    np.testing.assert_allclose(found[0, ..., 0], expected, rtol=0, atol=atol)


@pytest.mark.parametrize(
    "name, key, fields",
    [(name, "out", {}) for name in FILTERS]
    + [("new_tophat", "out_b4", {"element": 4})],
)
def test_filters(load, name, key, fields):
    """In float64; morphology to the last digit."""
    fixture, images = load(name)
    method = jax.jit(functools.partial(classical.METHODS[name], **fields))
    with jax.enable_x64(True):
        found = [method(jnp.asarray(x[None, ..., None])) for x in images]
    for i, mine in enumerate(found):
        agrees(mine, fixture[f"{key}/{i}"], 0 if "tophat" in name else 1e-6)


@pytest.mark.parametrize("name", ["ipi", "pstnn"])
def test_low_rank(load, name):
    fixture, images = load(name)
    for i, image in enumerate(images):
        found = classical.saliency(name, image[None, ..., None])
        agrees(found, fixture[f"out/{i}"], 1e-6)


def test_mslstipt(load):
    """On sequences that move over an image. It ends unconverged: to 1e-4 grey levels.

    Of one size, they are one batch, which is compiled once.
    """
    fixture, images = load("mslstipt")
    sequences, expected = (
        np.stack([fixture[f"{key}/{i}"] for i in range(len(images))])
        for key in ("seq", "out")
    )
    h, w, t = sequences.shape[1:]
    for i, image in enumerate(images):
        y, x = fixture[f"yx/{i}"]
        for k in range(t):
            window = image[y : y + h, x + k : x + k + w]
            np.testing.assert_array_equal(sequences[i, ..., k], window)
    found = classical.saliency("mslstipt", sequences.transpose(0, 3, 1, 2)[..., None])
    found = found[..., 0].transpose(0, 2, 3, 1)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4)
