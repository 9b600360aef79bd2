"""Clusters of components over samples: by eye, by naive greed, and by symmetry."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from irstd_jax.metrics import posterior, targets


def blank(n, side=32):
    return np.zeros((n, side, side), bool)


def three():
    """A target of all 4 samples that moves by a pixel, one of 2, one of 1."""
    masks = blank(4)
    for number, shift in enumerate((0, 1, 0, 0)):
        masks[number, 4:7, 5 + shift : 8 + shift] = True
    masks[:2, 20:22, 20:22] = True
    masks[3, 10, 28] = True
    return masks


@st.composite
def stacks(draw):
    n, side = draw(st.integers(1, 6)), draw(st.integers(2, 18))
    rng = np.random.default_rng(draw(st.integers(0, 2**31)))
    dense = rng.random((side, side)) < draw(st.sampled_from([0.02, 0.1, 0.3]))
    return dense & (rng.random((n, side, side)) < 0.8)


def test_by_eye():
    found = posterior.cluster(three())
    assert found.samples == 4 and found.votes.tolist() == [4, 2, 1]
    assert found.probability.tolist() == [1, 0.5, 0.25]
    np.testing.assert_allclose(found.centroid, [[5, 6.25], [20.5, 20.5], [10, 28]])
    deviation = math.sqrt(3) / 4
    np.testing.assert_allclose(found.centroid_deviation[0], [0, deviation])
    assert found.area.tolist() == [9, 4, 1] and not found.area_deviation.any()
    expected = blank(1)[0]
    expected[4:7, 5:8] = True  # what 3 of 4 hold; what 1 of 4 holds is left out
    np.testing.assert_array_equal(posterior.mask(posterior.first(found, 1)), expected)


def naive(masks):
    """Greed by its words: member lists of (sample, centroid), recounted every time."""
    left = [
        (number, tuple(centre))
        for number, sample in enumerate(masks)
        for centre in targets.components(sample).centroid
    ]
    clusters = []
    while left:
        offers = []
        for _, (y, x) in left:
            nearest = {}
            for part in left:
                distance = math.hypot(part[1][0] - y, part[1][1] - x)
                if distance < 3 and distance < nearest.get(part[0], (3,))[0]:
                    nearest[part[0]] = distance, part
            total = sum(sorted(d for d, _ in nearest.values()))
            taken = [part for _, part in nearest.values()]
            offers.append((-len(taken), round(total, 9), y, x, taken))
        taken = min(offers, key=lambda offer: offer[:4])[-1]
        left = [part for part in left if part not in taken]
        clusters.append(taken)
    return clusters


@settings(max_examples=40, deadline=None)
@given(stacks())
def test_greed_is_what_its_words_say(masks):
    found, expected = posterior.cluster(masks), naive(masks)
    assert sorted(found.votes) == sorted(map(len, expected))
    centres = sorted(np.mean([c for _, c in own], 0).tolist() for own in expected)
    np.testing.assert_allclose(sorted(found.centroid.tolist()), centres)


@settings(max_examples=40, deadline=None)
@given(stacks(), st.randoms(use_true_random=False))
def test_the_order_of_samples_does_not_matter(masks, random):
    order = list(range(len(masks)))
    random.shuffle(order)
    one, other = posterior.cluster(masks), posterior.cluster(masks[order])
    np.testing.assert_array_equal(one.votes, other.votes)
    for a, b in zip(one.pixels, other.pixels, strict=True):
        np.testing.assert_array_equal(a, b)
    for name in ("centroid", "centroid_deviation", "area", "area_deviation"):
        np.testing.assert_allclose(getattr(one, name), getattr(other, name), atol=1e-12)


@settings(max_examples=40, deadline=None)
@given(stacks())
def test_every_component_votes_once_and_none_twice_for_one_target(masks):
    found = posterior.cluster(masks)
    total = sum(len(targets.components(mask).area) for mask in masks)
    assert found.votes.sum() == total
    assert (found.votes <= len(masks)).all() and (np.diff(found.votes) <= 0).all()
    assert all(len(pixels) for pixels in found.pixels)
    union = masks.any(0)
    assert not (posterior.mask(found) & ~union).any()


@settings(max_examples=20, deadline=None)
@given(stacks(), st.integers(1, 5))
def test_samples_that_agree_are_sure(masks, n):
    """Of equal samples, all targets are sure; neighbours are told apart."""
    found = posterior.cluster(np.repeat(masks[:1], n, 0))
    assert (found.probability == 1).all()
    np.testing.assert_array_equal(posterior.mask(found), masks[0])
    parts = targets.components(masks[0])
    assert sorted(found.area) == sorted(parts.area)
    assert not found.area_deviation.any()
    np.testing.assert_allclose(found.centroid_deviation, 0, atol=1e-12)


@pytest.mark.parametrize(("column", "votes"), [(6, [2]), (7, [1, 1])])
def test_three_pixels_are_too_far(column, votes):
    masks = blank(2, 16)
    masks[0, 4, 4] = masks[1, 4, column] = True
    assert posterior.cluster(masks).votes.tolist() == votes


def test_a_ring_around_a_dot_are_two_targets():
    ring = np.ones((5, 5), bool)
    ring[1:4, 1:4] = False
    ring[2, 2] = True
    found = posterior.cluster(np.stack([ring] * 3))
    assert found.votes.tolist() == [3, 3]
    np.testing.assert_array_equal(posterior.mask(found), ring)


def test_components_without_a_common_pixel_still_have_a_mask():
    masks = blank(2, 8)
    masks[0, 3, 3] = masks[1, 3, 4] = True
    found = posterior.cluster(masks)
    assert found.votes.tolist() == [2] and found.pixels[0].tolist() == [27, 28]


def test_nothing_found_is_no_target():
    found = posterior.cluster(blank(3))
    assert found.samples == 3 and len(found.votes) == len(found.pixels) == 0
    assert found.centroid.shape == (0, 2) and not posterior.mask(found).any()
    assert posterior.expected_false(found) == 0
    with pytest.raises(ValueError, match="no samples"):
        posterior.cluster([])


def test_tau_keeps_the_sure():
    found = posterior.cluster(three())
    kept = {tau: posterior.kept(found, tau) for tau in (0.25, 0.3, 0.5, 1)}
    assert [len(k.votes) for k in kept.values()] == [3, 2, 2, 1]
    # 4, 2 and 1 votes of 4 count as 0.9, 0.5 and 0.3.
    assert posterior.expected_false(kept[0.25]) == pytest.approx(0.1 + 0.5 + 0.7)
    assert posterior.expected_false(kept[1]) == pytest.approx(0.1)


@pytest.mark.parametrize("n", [3, 7, 10, 49])
def test_tau_at_a_share_keeps_that_share(n):
    """1 - 9/10 and the like are no exact numbers."""
    masks = blank(n, 8)
    masks[: n - 1, 4, 4] = True
    found = posterior.cluster(masks)
    for tau, kept in ((1 - 1 / n, 1), ((n - 1) / n, 1), (1, 0)):
        assert len(posterior.kept(found, tau).votes) == kept


def test_intervals_are_those_of_the_books():
    low, high = posterior.wilson([0, 5, 10], 10)
    np.testing.assert_allclose(low, [0, 0.2366, 0.7225], atol=1e-4)
    np.testing.assert_allclose(high, [0.2775, 0.7634, 1], atol=1e-4)
    assert posterior.smoothed(0, 9) == 0.05 and posterior.smoothed(9, 9) == 0.95
    np.testing.assert_allclose(
        [posterior.standard_error(n / 2, n) for n in (9, 25)], [1 / 6, 0.1]
    )


def test_the_interval_covers_as_often_as_it_says():
    rng = np.random.default_rng(0)
    share = rng.uniform(0.05, 0.95, 4000)
    low, high = posterior.wilson(rng.binomial(25, share), 25)
    assert np.mean((low <= share) & (share <= high)) == pytest.approx(0.95, abs=0.015)


def test_detections_have_the_votes_of_their_cluster():
    masks = three()
    found = posterior.cluster(masks)
    detected = masks[0] | (np.arange(32) == 2)[:, None] * (np.arange(32) == 15)
    parts = targets.components(detected)
    np.testing.assert_array_equal(parts.centroid[0], [2, 15])
    assert posterior.votes_for(found, parts).tolist() == [0, 4, 2]
