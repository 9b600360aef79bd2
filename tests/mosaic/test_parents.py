"""The host's part: which images, and crops with targets."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from irstd_jax.mosaic import parents

quick = settings(max_examples=25, deadline=None)


def sample(h, w, seed, targets=2):
    """A Sample whose image is its mask, so that whatever parts them shows."""
    rng = np.random.default_rng(seed)
    mask = np.zeros((h, w, 1), np.uint8)
    for _ in range(targets):
        y, x = rng.integers(h), rng.integers(w)
        mask[y : y + rng.integers(1, 4), x : x + rng.integers(1, 4)] = 1
    return {"name": str(seed), "image": mask.astype(np.float32), "mask": mask}


@quick
@given(
    count=st.integers(1, 4),
    size=st.integers(4, 30),
    index=st.integers(0, 1000),
    seed=st.integers(0, 2**31),
)
def test_parents_differ_and_depend_on_seed_and_index_alone(count, size, index, seed):
    found = parents.parents(count, size, index, seed)
    assert found == parents.parents(count, size, index, seed)
    assert len(set(found)) == count and set(found) <= set(range(size))


def test_each_image_anchors_once_a_round_and_rounds_differ():
    laps = [
        [parents.parents(2, 10, 10 * lap + i, 3)[0] for i in range(10)]
        for lap in range(2)
    ]
    assert all(sorted(lap) == list(range(10)) for lap in laps)
    assert laps[0] != laps[1]


def test_partners_are_spread_over_all_others():
    drawn = [parents.parents(4, 8, i, 0)[1:] for i in range(800)]
    counts = np.bincount(np.ravel(drawn), minlength=8)
    np.testing.assert_allclose(counts, 300, atol=60)


def test_only_images_with_targets_anchor():
    source = [sample(20, 20, i, targets=i % 2) for i in range(6)]
    anchors = parents.targeted(source)
    assert anchors == (1, 3, 5)
    assert {parents.parents(4, 6, i, 0, anchors)[0] for i in range(6)} == set(anchors)
    with pytest.raises(ValueError, match="none of the 3 images has a target"):
        parents.targeted(source[::2])


def test_too_few_images_are_refused():
    with pytest.raises(ValueError, match="3 images are too few: a sample takes 4"):
        parents.parents(4, 3, 0, 0)


@quick
@given(
    h=st.integers(5, 60),
    w=st.integers(5, 60),
    seed=st.integers(0, 2**31),
    small=st.sampled_from(parents.SMALL),
)
def test_crops_hold_a_target_of_the_anchor_and_stay_aligned(h, w, seed, small):
    source = [sample(h, w, seed + k) for k in range(3)]
    draw = [
        parents.gather(source, (1, 0, 2), 16, np.random.default_rng(seed), small)
        for _ in range(2)
    ]
    images, masks = draw[0]
    assert images.shape == masks.shape == (3, 16, 16, 1)
    assert images.dtype == masks.dtype == np.float32
    assert set(np.unique(masks)) <= {0, 1} and masks[0].any()
    if small == "pad" or min(h, w) >= 16:
        np.testing.assert_array_equal(images, masks)
    else:
        assert np.all(images[masks > 0] >= 0) and images.max() <= 1
    np.testing.assert_array_equal(draw[0], draw[1])


def test_a_target_that_fits_is_held_whole():
    source = [sample(50, 50, 0, targets=1)]
    area = source[0]["mask"].sum()
    for seed in range(20):
        _, masks = parents.gather(source, (0,), 16, np.random.default_rng(seed))
        assert masks.sum() == area


def test_slivers_at_the_border_lose_their_mask_but_not_the_held_target():
    mask = np.zeros((16, 32, 1), np.uint8)
    mask[4:7, 2:5] = 1
    mask[4:6, 10:20] = 1
    source = [{"name": "a", "image": mask.astype(np.float32), "mask": mask}]
    for seed in range(30):
        rng = np.random.default_rng(seed)
        images, masks = parents.gather(source, (0,), 16, rng, min_share=0.6)
        assert masks.sum() in (9, 20, 9 + images[0, 4, 8:].sum() * 2, 29)
        assert masks.any() and np.all(images[masks > 0] == 1)


def test_the_released_rule_for_small_images_loses_no_target():
    mask = np.zeros((10, 64, 1), np.uint8)
    mask[3, 1::4] = 1
    image = np.linspace(0, 1, 64, dtype=np.float32)[None, :, None].repeat(10, 0)
    source = [{"name": "a", "image": image, "mask": mask}]
    images, masks = parents.gather(
        source, (0,), 16, np.random.default_rng(0), small="resize"
    )
    assert masks[0].any(axis=(0, 2)).sum() == 16
    assert np.all(np.diff(images[0, 0, :, 0]) > 0)


def test_bad_calls_are_refused():
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match="'0' has no target"):
        parents.gather([sample(9, 9, 0, 0)], (0,), 8, rng)
    with pytest.raises(ValueError, match="tile 64 is too large for image '0'"):
        parents.gather([sample(9, 30, 0)], (0,), 64, rng)
    with pytest.raises(ValueError, match="unknown rule 'crop'"):
        parents.gather([sample(9, 9, 0)], (0,), 8, rng, small="crop")
