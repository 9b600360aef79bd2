"""Compositions: mask and image stay aligned, a target stays, settings are checked."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from irstd_jax.mosaic import methods
from irstd_jax.mosaic.compose import Composition, compose, whole_enough

T, B = 24, 3
quick = settings(max_examples=12, deadline=None)
seeds = st.integers(0, 2**31 - 1)
MOVES = {"flips": True, "quarter_turns": True}
# Pixels are moved, not mixed: an image that is its mask stays so.
PURE = {
    "grid": Composition("mosaic", T, **MOVES),
    "random": Composition("mosaic", T, "random"),
    "cutmix": Composition("cutmix", T),
}
ALL = PURE | {
    "mixup": Composition("mixup", T, visible=0.3),
    "copy_paste": Composition("copy_paste", T),
    "drop": Composition("mosaic", T, "random", cut_targets="drop", min_share=1.0),
    "zoom": Composition("mosaic", T, scale=(0.5, 2.0)),
}


def scene(seed, parents, ground=0.0):
    """Images that are their masks, on `ground`; at least the anchors have a target."""
    rng = np.random.default_rng(seed)
    masks = np.zeros((B, parents, T, T, 1), np.float32)
    for mask in masks.reshape(-1, T, T):
        for y, x in rng.integers(0, T, (2, 2)):
            mask[y : y + rng.integers(1, 4), x : x + rng.integers(1, 4)] = 1
    images = ground + (1 - ground) * masks
    return jax.random.split(jax.random.key(seed), B), images, masks


def composed(seed, chosen, ground=0.0):
    keys, images, masks = scene(seed, chosen.parents, ground)
    return tuple(np.asarray(x) for x in compose(keys, images, masks, chosen))


@pytest.mark.parametrize("name", ALL)
@quick
@given(seed=seeds)
def test_the_contract_holds(name, seed):
    chosen = ALL[name]
    image, mask = composed(seed, chosen)
    assert image.shape == mask.shape == (B, chosen.side, chosen.side, 1)
    assert image.dtype == mask.dtype == np.float32
    assert image.min() >= 0 and image.max() <= 1
    assert set(np.unique(mask)) <= {0, 1}
    assert mask.any(axis=(1, 2, 3)).all()
    # A labelled pixel is one that has target in it.
    assert np.all(image[mask > 0] > 0)


@pytest.mark.parametrize("name", PURE)
@quick
@given(seed=seeds)
def test_moved_pixels_move_in_image_and_mask_alike(name, seed):
    image, mask = composed(seed, PURE[name])
    np.testing.assert_array_equal(image, mask)


@pytest.mark.parametrize("name", ALL)
def test_seeds_decide_and_neighbours_in_the_batch_do_not(name):
    keys, images, masks = scene(5, ALL[name].parents)
    together = compose(keys, images, masks, ALL[name])
    again = compose(keys[::-1], images[::-1], masks[::-1], ALL[name])
    for first, second in zip(together, again, strict=True):
        np.testing.assert_array_equal(first, second[::-1])
    if name == "drop":
        alone = compose(keys[1:2], images[1:2], masks[1:2], ALL[name])
        np.testing.assert_allclose(alone[0][0], together[0][1], atol=1e-6)
        np.testing.assert_array_equal(alone[1][0], together[1][1])
    other = compose(jax.random.split(jax.random.key(99), B), images, masks, ALL[name])
    same = np.array_equal(together[0], other[0])
    assert not same


def test_the_released_order():
    tiles = jnp.broadcast_to(
        jnp.arange(4.0)[None, :, None, None, None] / 4, (1, 4, T, T, 1)
    )
    masks = jnp.ones((1, 4, T, T, 1))
    chosen = Composition("mosaic", T)
    keys = jax.random.split(jax.random.key(0), 1)
    image = np.asarray(compose(keys, tiles, masks, chosen)[0][0, ..., 0])
    np.testing.assert_array_equal(4 * image[::T, ::T], [[0, 2], [1, 3]])


@quick
@given(seed=seeds)
def test_a_random_centre_shows_a_target_of_every_parent(seed):
    keys, images, masks = scene(seed, 4)
    for b in range(B):
        images[b] *= np.arange(1, 5)[:, None, None, None] / 4
    image, _ = compose(keys, images, masks, ALL["random"])
    for one in np.asarray(image):
        assert set(np.unique(one)) == {0, 0.25, 0.5, 0.75, 1}


@quick
@given(seed=seeds)
def test_cut_targets_are_dropped_and_the_image_is_not_touched(seed):
    keys, images, masks = scene(seed, 4)
    # Each target has its own grey level, so the output says how much is left of it.
    for number, (image, mask) in enumerate(
        zip(images.reshape(-1, T, T), masks.reshape(-1, T, T), strict=True)
    ):
        labels, _ = ndimage.label(mask, np.ones((3, 3)))
        image[:] = np.where(labels, (5 * number + labels) / 100, 0)
    image, found = (np.asarray(x) for x in compose(keys, images, masks, ALL["drop"]))
    kept_image, kept = compose(keys, images, masks, ALL["random"])
    np.testing.assert_array_equal(image, kept_image)
    for b in range(B):
        levels = np.unique(image[b][image[b] > 0])
        whole = [v for v in levels if (image[b] == v).sum() == (images[b] == v).sum()]
        expected = np.isin(image[b], whole) if whole else kept[b]
        np.testing.assert_array_equal(found[b], expected)


def test_dropping_by_hand():
    before = jnp.array([[[1, 1, 1, 2, 2, 3]]])
    after = jnp.array([[1, 0, 0, 2, 0, 3]])

    def found(share, labels=after):
        return whole_enough(before, labels, share).astype(int).tolist()[0]

    assert found(0.5) == [0, 0, 0, 1, 0, 1]
    assert found(0.3) == [1, 0, 0, 1, 0, 1]
    assert found(1.0) == [0, 0, 0, 0, 0, 1]
    # None is whole: those that are cut stay.
    assert found(1.0, jnp.array([[1, 0, 0, 2, 0, 0]])) == [1, 0, 0, 1, 0, 0]


def test_cutmix_never_covers_all_targets_of_the_anchor():
    images = np.zeros((B, 2, T, T, 1), np.float32)
    images[:, 0, 12, 12] = 1
    images[:, 1] = 0.5
    masks = (images == 1).astype(np.float32)
    shares = []
    for seed in range(20):
        keys = jax.random.split(jax.random.key(seed), B)
        image, mask = compose(keys, images, masks, ALL["cutmix"])
        assert np.all(np.asarray(image)[:, 12, 12] == 1)
        assert np.all(np.asarray(mask)[:, 12, 12] == 1)
        shares += list((np.asarray(image) == 0.5).mean(axis=(1, 2, 3)))
    assert max(shares) > 0.2 and 0.02 < np.mean(shares) < 0.4


def test_mixup_keeps_the_anchor_ahead_and_labels_what_can_be_seen():
    image, mask = (x[..., 0] for x in composed(3, ALL["mixup"]))
    _, _, masks = scene(3, 2)
    anchor, partner = masks[:, 0, ..., 0] > 0, masks[:, 1, ..., 0] > 0
    assert np.all(image[anchor] >= 0.5) and np.all(mask[anchor] == 1)
    only = partner & ~anchor
    np.testing.assert_array_equal(mask[only] == 1, image[only] >= 0.3)
    np.testing.assert_array_equal(image[~(anchor | partner)], 0)


@quick
@given(seed=seeds)
def test_copy_paste_adds_targets_and_leaves_the_anchors(seed):
    keys, images, masks = scene(seed, 2)
    images = 0.2 + 0.4 * images
    images[:, 1] += 0.3  # a brighter scene: its level must not come along
    image, mask = (
        np.asarray(x) for x in compose(keys, images, masks, ALL["copy_paste"])
    )
    old = masks[:, 0] > 0
    np.testing.assert_array_equal(image[old], images[:, 0][old])
    new = (mask > 0) & ~old
    # Flat grounds of 0.2 and 0.5: the contrast of 0.4 is kept.
    np.testing.assert_allclose(image[new], 0.6, atol=1e-5)
    for b in range(B):
        pasted = new[b].sum()
        assert pasted in (0, masks[b, 1].sum())
        reach = ndimage.binary_dilation(old[b, ..., 0], np.ones((5, 5)))
        assert not np.any(reach & new[b, ..., 0])


def test_copy_paste_without_a_target_to_copy_is_the_anchor():
    keys, images, masks = scene(0, 2, ground=0.2)
    masks[:, 1] = 0
    image, mask = compose(keys, images, masks, ALL["copy_paste"])
    np.testing.assert_array_equal(image, images[:, 0])
    np.testing.assert_array_equal(mask, masks[:, 0])


def test_the_local_background_does_not_see_the_target():
    image = np.full((T, T, 1), 0.3, np.float32)
    mask = np.zeros((T, T), bool)
    mask[8:11, 8:12] = True
    image[mask] = 0.9
    np.testing.assert_allclose(methods.local_background(image, mask, 3), 0.3, rtol=1e-5)


@pytest.mark.parametrize(
    "fields, message",
    [
        ({"method": "mozaic"}, "unknown method 'mozaic'.*copy_paste.*cutmix"),
        ({"centre": "middle"}, "unknown centre 'middle'"),
        ({"cut_targets": "cut"}, "unknown cut_targets 'cut'"),
        ({"tile": 33}, "tile 33 is not an even number"),
        ({"tile": 4}, "tile 4"),
        ({"tile": 4096}, "tile 4096"),
        ({"scale": (0.2, 1.0)}, "scale"),
        ({"centre_range": (0.0, 1.0)}, "centre_range"),
        ({"visible": 0.7}, "visible"),
        ({"border": 0}, "must be positive"),
    ],
)
def test_bad_settings_are_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        Composition(**fields)


def test_arrays_of_another_shape_are_refused():
    keys, images, masks = scene(0, 2)
    with pytest.raises(ValueError, match="are not .*mosaic"):
        compose(keys, images, masks, ALL["grid"])
