"""Thresholds by hand, flat maps, the best k by trying them all."""

import functools

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
    assert rules.best_k(maps, masks, ks) == ks[np.argmax(scores)]


@pytest.mark.parametrize("masks", [[np.zeros((2, 5, 1))], []])
def test_k_wants_a_target(masks):
    with pytest.raises(ValueError, match="finds a pixel of a target"):
        rules.best_k([MAP[0]] * len(masks), masks)


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
