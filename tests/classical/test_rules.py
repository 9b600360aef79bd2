"""Thresholds by hand, flat maps, maps to be cut at a half, the best k by trying all."""

import functools

import hypothesis
import hypothesis.extra.numpy as hnp
import hypothesis.strategies as st
import jax.numpy as jnp
import numpy as np
import pytest

from irstd_jax.classical import rules

# Mean 2, standard deviation 4 with the negative value at 0.
MAP = np.array([0.0, 0, -7, 0, 0, 0, 0, 4, 14, 2]).reshape(1, 2, 5, 1)


@pytest.mark.parametrize(
    "name, fields, threshold",
    [
        ("half", {}, 7),
        ("peak", {}, 9.8),
        ("deviations", {"k": 0.5}, 2 + 0.5 * 4.195235),
    ],
)
def test_thresholds_by_hand(name, fields, threshold):
    found = rules.build(name, **fields)(MAP)
    assert found.shape == (1, 1, 1, 1)
    assert float(found[0, 0, 0, 0]) == pytest.approx(threshold, rel=1e-6)


def test_the_peak_rule_in_a_map_of_wide_spread():
    wide = np.array([0.0, 1, 1, 1]).reshape(1, 2, 2, 1)
    assert float(rules.peak(wide)[0, 0, 0, 0]) == pytest.approx(0.75 + 0.5 * 0.4330127)


@pytest.mark.parametrize("name", sorted(rules.RULES))
def test_every_map_has_its_own_mask(name):
    """A flat map, at 0 or above, has no target, and does not change its neighbour's."""
    rule = rules.build(name, **({"k": 2} if name == "deviations" else {}))
    for level in (0, 0.1):
        found = rules.mask(np.concatenate([np.full_like(MAP, level), MAP]), rule)
        assert not found[0].any()
        np.testing.assert_array_equal(found[1].ravel(), MAP.ravel() == 14)


def test_the_best_k_is_that_of_trying_all():
    rng = np.random.default_rng(0)
    sizes, ks = [(9, 8), (12, 7), (6, 6)], (0.5, 1, 1.5, 2, 3)
    maps = [rng.gamma(1.0, size=(*size, 1)) for size in sizes]
    masks = [s + rng.normal(size=s.shape) > 2.5 for s in maps]

    def iou(k):
        rule = functools.partial(rules.deviations, k=k)
        found = [np.asarray(rules.mask(s[None], rule))[0] for s in maps]
        both, either = (
            sum(f(a, b).sum() for a, b in zip(found, masks, strict=True))
            for f in (np.logical_and, np.logical_or)
        )
        return both / either

    scores = [iou(k) for k in ks]
    assert 0 < np.argmax(scores) < len(ks) - 1
    best, score = rules.best_k(zip(maps, masks, strict=True), ks)
    assert best == ks[np.argmax(scores)] and score == pytest.approx(max(scores))


@pytest.mark.parametrize("pairs", [[(MAP[0], np.zeros((2, 5, 1)))], []])
def test_k_wants_a_target(pairs):
    with pytest.raises(ValueError, match="finds a pixel of a target"):
        rules.best_k(pairs)


FIELDS = st.one_of(
    st.just(("half", {})),
    st.just(("peak", {})),
    st.tuples(
        st.just("deviations"),
        st.fixed_dictionaries({"k": st.floats(-2, 40, width=32)}),
    ),
)
# Flat ones, few levels, tiny and huge units, maxima that hardly stand out.
MAPS = st.one_of(
    hnp.arrays(np.float32, (2, 4, 5, 1), elements=st.sampled_from([-1, 0, 3, 4, 5e4])),
    hnp.arrays(np.float32, (2, 4, 5, 1), elements=st.floats(1, 1 + 2**-20, width=32)),
    hnp.arrays(
        np.float32,
        (2, 4, 5, 1),
        elements=st.floats(-(2.0**16), 2.0**16, width=32, allow_subnormal=False),
    ),
)


@hypothesis.given(MAPS, FIELDS)
@hypothesis.settings(max_examples=60, deadline=None)
def test_a_graded_map_is_cut_at_a_half(maps, chosen):
    """As the mask is by the threshold; it rises with the map; a flat one is 0."""
    name, fields = chosen
    rule = rules.build(name, **fields)
    found = np.asarray(rules.graded(maps, rule))
    np.testing.assert_array_equal(found > 0.5, rules.mask(maps, rule))
    assert found.min() >= 0 and found.max() <= 1
    for s, p in zip(np.maximum(maps, 0), found, strict=True):
        order = np.argsort(s.ravel(), kind="stable")
        assert (np.diff(p.ravel()[order]) >= 0).all()
        assert p.ravel()[order[0]] == 0 and (p[s == s.min()] == 0).all()


def test_a_graded_map_by_hand():
    """Eq. 4 at the ends, at the threshold and half way on both sides of it."""
    s = np.array([0.0, 5, 7, 10, 12, 14]).reshape(1, 1, 6, 1)
    half = rules.graded(s, rules.build("half"))
    np.testing.assert_allclose(half.ravel(), s.ravel() / 14, rtol=1e-6)
    ten = rules.graded(s, lambda maps: jnp.full((1, 1, 1, 1), 10.0))
    expected = [0, 0.25, 0.35, 0.5, 0.75, 1]
    np.testing.assert_allclose(ten.ravel(), expected, rtol=1e-6)
    # No pixel reaches a threshold above the largest value.
    far = rules.graded(s, lambda maps: jnp.full((1, 1, 1, 1), 28.0))
    np.testing.assert_allclose(far.ravel(), s.ravel() / 56, rtol=1e-6)


@pytest.mark.parametrize(
    "name, fields, words",
    [
        ("otsu", {}, "unknown rule 'otsu'; choose from"),
        ("half", {"k": 2}, r"half takes \[\], not \['k'\]"),
        ("deviations", {}, r"deviations takes \['k'\], not \[\]"),
    ],
)
def test_unknown_rules_are_refused(name, fields, words):
    with pytest.raises(ValueError, match=words):
        rules.build(name, **fields)
