"""Degradation: what is selected is degraded, the rest and the targets are exact."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from irstd_jax.mosaic import noise
from irstd_jax.mosaic.degrade import PRESETS, Degradation, Pass, degrade, preset

B, H, W = 4, 32, 40
seeds = st.integers(0, 2**31 - 1)
RUN = jax.random.key(7)


def scene(seed, channels=1):
    key = jax.random.key(seed)
    images = jax.random.uniform(key, (B, H, W, channels))
    masks = jax.random.bernoulli(key, 0.02, (B, H, W, 1)).astype(jnp.float32)
    return jax.random.split(key, B), images, masks


@pytest.mark.parametrize("name", PRESETS)
@settings(max_examples=6, deadline=None)
@given(seed=seeds)
def test_clean_pixels_are_exact_and_targets_are_clean(name, seed):
    keys, images, masks = scene(seed)
    chosen = PRESETS[name]
    mixed, select = (np.asarray(x) for x in degrade(keys, images, chosen, masks, RUN))
    assert mixed.shape == images.shape and select.shape == masks.shape
    assert mixed.min() >= 0 and mixed.max() <= 1 and np.all(np.isfinite(mixed))
    assert set(np.unique(select)) <= {0, 1}
    clean = select == 0
    np.testing.assert_array_equal(mixed[clean], np.asarray(images)[clean])
    if chosen.keep_targets:
        assert not np.any(select[np.asarray(masks) > 0])
    # White noise does not pass any of them unchanged.
    if not clean.all():
        assert np.mean(mixed[~clean] != np.asarray(images)[~clean]) > 0.5


@pytest.mark.parametrize("name", ["small", "paper"])
def test_an_example_does_not_depend_on_its_batch(name):
    keys, images, masks = scene(1)
    mixed, select = degrade(keys, images, PRESETS[name], masks)
    turned = degrade(keys[::-1], images[::-1], PRESETS[name], masks[::-1])
    np.testing.assert_array_equal(mixed, turned[0][::-1])
    np.testing.assert_array_equal(select, turned[1][::-1])


def test_an_example_alone_is_as_in_a_batch():
    keys, images, masks = scene(1)
    together = degrade(keys, images, PRESETS["generation"], masks)
    alone = degrade(keys[2:3], images[2:3], PRESETS["generation"], masks[2:3])
    np.testing.assert_allclose(alone[0][0], together[0][2], atol=1e-6)
    np.testing.assert_array_equal(alone[1][0], together[1][2])


def test_nothing_asked_for_is_the_identity():
    """And geometry is aligned: the way down and up again moves nothing."""
    still = Pass(blur=0.0, scale=(1.0, 1.0), gaussian=0.0, jpeg=None)
    keys, images, _ = scene(2)
    mixed, select = degrade(keys, images, Degradation((still,), select="none"))
    np.testing.assert_array_equal(select, 1)
    np.testing.assert_allclose(mixed, images, atol=1e-6)


def test_targets_stay_where_they_are():
    one = Pass(
        kernel=9,
        sigma=(0.5, 1.5),
        scale=(1.0, 3.0),
        reduce=("area", "bilinear", "bicubic"),
        gaussian=0.0,
        jpeg=None,
    )
    images = np.zeros((B, H, W, 1), np.float32)
    images[:, 12:18, 20:26] = 1
    keys = jax.random.split(jax.random.key(0), B)
    mixed, _ = degrade(keys, images, Degradation((one,), select="none"))
    y, x = np.mgrid[:H, :W]
    for spot in np.asarray(mixed)[..., 0]:
        assert spot.sum() > 10
        centre = [(v * spot).sum() / spot.sum() for v in (y, x)]
        # n / scale is truncated to whole pixels, the centre stays to a pixel's part.
        np.testing.assert_allclose(centre, (14.5, 22.5), atol=0.6)


def test_quadrants():
    images = jnp.zeros((64, 64, 64, 1))
    keys = jax.random.split(jax.random.key(0), 64)
    still = (Pass(blur=0.0, resize=0.0, gaussian=0.0, jpeg=None),)
    shares = {}
    for name in ("quadrants", "quadrants_released"):
        _, select = degrade(keys, images, Degradation(still, select=name))
        shares[name] = 1 - np.asarray(select).mean(axis=(1, 2, 3))
    # 250 / 512 and 246 / 512 of each side; as released half of them are empty.
    assert np.all(np.abs(shares["quadrants"] - 0.234) < 0.01)
    released = shares["quadrants_released"]
    assert 0.3 < (released == 0).mean() < 0.7
    assert np.all(np.abs(released[released > 0] - 0.234) < 0.01)


def test_the_release_has_one_kernel_a_run():
    images = jnp.zeros((B, H, W, 1)).at[:, 16, 20].set(1.0)
    keys = jax.random.split(jax.random.key(0), B)
    whole = dataclasses.replace(PRESETS["generation_released"], select="none")
    mixed, _ = degrade(keys, images, whole, shared=RUN)
    np.testing.assert_allclose(
        mixed, np.broadcast_to(mixed[:1], mixed.shape), atol=1e-6
    )
    other, _ = degrade(keys, images, whole, shared=jax.random.key(8))
    assert np.abs(other - mixed).max() > 1e-3
    with pytest.raises(ValueError, match="needs the argument `shared`"):
        degrade(keys, images, whole)


def test_noise_is_grey_on_request_and_has_its_deviation():
    image = jnp.full((64, 64, 3), 0.5)
    for grey in (0.0, 1.0):
        chosen = Pass(noise=(10.0, 10.0), grey_noise=grey)
        added = np.asarray(noise.noisy(jax.random.key(0), image, chosen) - image)
        np.testing.assert_allclose(added.std() * 255, 10, rtol=0.03)
        same = np.allclose(added[..., 0], added[..., 1])
        assert same == bool(grey)


def test_shot_noise_has_the_variance_of_counts():
    light = jnp.broadcast_to(jnp.array([0.0, 0.2, 0.8]), (64, 64, 3))
    found = noise.shot_noise(jax.random.key(0), light, 100.0, False)
    np.testing.assert_allclose(found.mean((0, 1)), 0, atol=0.006)
    np.testing.assert_allclose(found.var((0, 1)), light[0, 0] / 100, rtol=0.1)


def test_colour_images_pass():
    keys, images, masks = scene(3, channels=3)
    chosen = Degradation((Pass(resize=0.0),), select="quadrants")
    mixed, select = degrade(keys, images, chosen, masks)
    clean = np.broadcast_to(np.asarray(select) == 0, mixed.shape)
    np.testing.assert_array_equal(np.asarray(mixed)[clean], np.asarray(images)[clean])


@pytest.mark.parametrize(
    "fields, message",
    [
        ({"kernel": 20}, "kernel 20 is not odd"),
        ({"sigma": (3.0, 1.0)}, "sigma .* is not 0 <= low <= high"),
        ({"scale": (0.5, 1.0)}, "scale"),
        ({"gaussian": 1.5}, "gaussian 1.5 is no probability"),
    ],
)
def test_bad_settings_are_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        Pass(**fields)


def test_an_unknown_selection_is_refused():
    with pytest.raises(ValueError, match="unknown selection 'boxes'.*quadrants"):
        Degradation(select="boxes")


def test_fields_of_a_preset_are_changed():
    paper = preset("paper")
    assert paper == PRESETS["paper"]
    changed = preset("paper", select="none", noise=[0.0, 2.0])
    assert changed.select == "none"
    assert [one.noise for one in changed.passes] == [(0.0, 2.0)] * 2
    assert changed.passes[0].kernel == paper.passes[0].kernel
    with pytest.raises(ValueError, match="unknown fields .* .'nois'.; choose from"):
        preset("paper", nois=1)
    with pytest.raises(ValueError, match="unknown degradation preset 'x'; choose"):
        preset("x")
