"""The methods against outputs of published code, on real images."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from irstd_jax import classical

# Filters see at most 18 px far, so parts of an image show whether they agree: two
# corners with their borders, and the surround of the largest response. All parts of all
# images are one batch, which is compiled once.
REACH, SIDE = 18, 48
FILTERS = sorted({"tophat", "new_tophat", "lcm", "mpcm", "tllcm", "wslcm"})


@pytest.fixture(scope="module")
def load(golden_root, data_root):
    """(fixture, its images as grey levels) of a method."""

    def load(name):
        fixture = np.load(golden_root / "classical" / f"{name}.npz")
        images = [grey(data_root, str(name)) for name in fixture["names"]]
        assert images
        if "in_sum" in fixture:
            assert [x.sum() for x in images] == fixture["in_sum"].tolist()
        return fixture, images

    return load


def grey(root, name):
    folder, stem = name.split("/")
    image = Image.open(root / folder / "images" / f"{stem}.png")
    return np.asarray(image.convert("L"), np.float64)


def run(name, images, **fields):
    """In float64, whatever the method."""
    method = functools.partial(classical.METHODS[name], **fields)
    with jax.enable_x64(True):
        return np.asarray(jax.jit(method)(jnp.asarray(images, jnp.float64)))


def close(mine, expected, atol):
    np.testing.assert_allclose(mine, expected, rtol=0, atol=atol)


def parts(shape, expected):
    """First pixels of the parts of an image: two corners, around the maximum."""
    last = np.array(shape) - SIDE
    middle = np.array(np.unravel_index(expected.argmax(), shape)) - SIDE // 2
    return [np.zeros(2, int), last, np.clip(middle, 0, last)]


def judged(start, length):
    """Where a part of an axis is decided by its own pixels."""
    return slice(
        REACH if start > 0 else 0, SIDE - REACH if start + SIDE < length else SIDE
    )


@pytest.mark.parametrize(
    "name, key, fields",
    [(name, "out", {}) for name in FILTERS]
    + [("new_tophat", "out_b4", {"element": 4})],
)
def test_filters(load, name, key, fields):
    fixture, images = load(name)
    expected = [fixture[f"{key}/{i}"] for i in range(len(images))]
    cut, wanted = [], []
    for x, e in zip(images, expected, strict=True):
        for y0, x0 in parts(x.shape, e):
            part = slice(y0, y0 + SIDE), slice(x0, x0 + SIDE)
            sure = judged(y0, len(x)), judged(x0, len(x[0]))
            cut.append(x[part])
            wanted.append((sure, e[part][sure], np.abs(e).max()))
    cut = np.stack(cut)[..., None]
    found = run(name, cut, **fields)
    for mine, (sure, values, most) in zip(found[..., 0], wanted, strict=True):
        close(mine[sure], values, 0 if "tophat" in name else 1e-6 * most)


# Of the slow methods not all images, for the time that they take.


def agrees(name, fixture, images, i):
    expected = fixture[f"out/{i}"]
    found = classical.saliency(name, images[i][None, ..., None])[0, ..., 0]
    close(found, expected, 1e-6 * np.abs(expected).max())


def test_pstnn(load):
    """The smallest and the largest image: other numbers of patches."""
    fixture, images = load("pstnn")
    sizes = [image.size for image in images]
    for i in (int(np.argmin(sizes)), int(np.argmax(sizes))):
        agrees("pstnn", fixture, images, i)


def test_ipi(load):
    fixture, images = load("ipi")
    agrees("ipi", fixture, images, int(np.argmin([image.size for image in images])))


def test_mslstipt(load):
    """It ends before it converges: to 1e-4 grey levels."""
    fixture, images = load("mslstipt")
    numbers = range(0, len(images), 2)
    sequences = np.stack([fixture[f"seq/{i}"] for i in numbers])
    expected = np.stack([fixture[f"out/{i}"] for i in numbers])
    found = classical.saliency("mslstipt", sequences.transpose(0, 3, 1, 2)[..., None])
    close(found[..., 0].transpose(0, 2, 3, 1), expected, 1e-4)
