"""What holds for all methods: flat images, planted dots, batches, input refused."""

import jax.numpy as jnp
import numpy as np
import pytest

from irstd_jax import classical

# Smaller patches, for small images.
FIELDS = {"ipi": {"side": 12, "step": 6}, "pstnn": {"side": 12}}
SINGLE = sorted(set(classical.METHODS) - {"mslstipt"})


def build(name):
    return classical.build(name, **FIELDS.get(name, {}))


def scene(seed):
    """Smooth grey levels (36, 40) with little noise and a dot at (17, 22)."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:36, :40]
    image = (
        90 + 30 * np.sin(y / 17 + seed) + 20 * np.cos(x / 23) + rng.normal(size=y.shape)
    )
    return np.rint(image + 90 * np.exp(-((y - 17) ** 2 + (x - 22) ** 2) / 3))


def batch(name):
    """A flat image and a scene: (2, 36, 40, 1), as sequences of four for MSLSTIPT."""
    if name != "mslstipt":
        return np.stack([np.full((36, 40), 80.0), scene(1)])[..., None]
    moving = np.stack([np.roll(scene(1), k, 1)[:, 6:36] for k in range(4)])
    return np.stack([np.full_like(moving, 80.0), moving])[..., None]


@pytest.mark.parametrize("name", sorted(classical.METHODS))
def test_flat_images_planted_dots_and_batches(name):
    """One program, as each is compiled: a flat image has no response but LCM's own, a
    dot has the largest, and neither depends on its companion or its place."""
    run, images = build(name), batch(name)
    found = run(images)
    assert found.dtype == jnp.float32 and found.shape == images.shape
    np.testing.assert_allclose(found[0], 80.0 if name == "lcm" else 0.0, atol=1e-4)
    for k, frame in enumerate(np.reshape(found[1], (-1, *found.shape[-3:-1]))):
        y, x = np.unravel_index(frame.argmax(), frame.shape)
        row, column = (17, 22) if name != "mslstipt" else (17, 16 + k)
        assert abs(y - row) <= 1 and abs(x - column) <= 1
    np.testing.assert_allclose(run(images[::-1])[::-1], found, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(run(images[[1, 1]])[0], found[1], rtol=1e-6, atol=1e-6)


def test_float64_does_not_leak():
    build("pstnn")(batch("pstnn"))
    assert jnp.ones(1).dtype == jnp.float32


def test_a_method_is_compiled_once_for_the_same_fields():
    assert classical.build("lcm", sides=[3, 5]) is classical.build("lcm", sides=(3, 5))


@pytest.mark.parametrize(
    "name, images, words",
    [
        ("lmc", np.ones((1, 4, 4, 1)), "unknown method 'lmc'; choose from"),
        ("lcm", np.ones((4, 4)), r"takes images \(b, h, w, 1\), not \(4, 4\)"),
        ("lcm", np.ones((1, 4, 4, 3)), r"takes images \(b, h, w, 1\), not"),
        ("lcm", np.ones((0, 4, 4, 1)), r"takes images \(b, h, w, 1\), not"),
        ("lcm", np.full((1, 4, 4, 1), np.nan), "finite grey levels 0..255"),
        ("lcm", np.full((1, 4, 4, 1), 256), "0..255; these span 256 to 256"),
        ("lcm", np.full((1, 4, 4, 1), 0.5), r"multiply \[0, 1\] by 255"),
        ("mslstipt", np.ones((1, 4, 4, 1)), r"takes images \(b, t, h, w, 1\), not"),
        ("mslstipt", np.ones((1, 1, 4, 4, 1)), "a single image is for mslstipt_image"),
        ("ipi", np.ones((1, 59, 59, 1)), "an image of 59x59 has 1"),
        ("pstnn", np.ones((1, 39, 50, 1)), "40x40 px or more, not 39x50"),
    ],
)
def test_what_cannot_work_is_refused(name, images, words):
    with pytest.raises(ValueError, match=words):
        classical.saliency(name, images)


def test_an_unknown_field_is_refused():
    with pytest.raises(ValueError, match=r"tophat has no fields .'radius'.; it has"):
        classical.build("tophat", radius=2)
