"""Votes by hand, STAPLE against raters whose rates are known and against Bayes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from irstd_jax.diffusion.ensemble import ENSEMBLES, combine, grown, staple_rates

RULES = {name: jax.jit(rule) for name, rule in ENSEMBLES.items()}
SENSITIVITY = np.array([0.9, 0.8, 0.6, 0.95, 0.7])
SPECIFICITY = np.array([0.999, 0.995, 0.999, 0.99, 0.999])


def raters(seed=0, side=256):
    """A 1 % mask of scattered pixels and five raters of known rates: (s, h, w, 1)."""
    rng = np.random.default_rng(seed)
    mask = rng.random((side, side, 1)) < 0.01
    draws = rng.random((5, side, side, 1))
    hit = draws < SENSITIVITY[:, None, None, None]
    alarm = draws < 1 - SPECIFICITY[:, None, None, None]
    return mask, np.where(mask, hit, alarm).astype(np.float32)


@pytest.fixture(scope="module")
def rated():
    mask, votes = raters()
    return mask, votes, jax.jit(staple_rates)(votes[None])


def test_staple_finds_the_rates(rated):
    mask, votes, found = rated
    np.testing.assert_allclose(found.sensitivity[0], SENSITIVITY, atol=0.04)
    np.testing.assert_allclose(found.specificity[0], SPECIFICITY, atol=0.001)


def test_staple_beats_the_vote(rated):
    """Measured elsewhere on the same problem: 16 errors against 50."""
    mask, votes, found = rated
    errors = int(((found.posterior[0] > 0.5) != mask).sum())
    vote = int(((combine("majority", votes[None])[0] > 0.5) != mask).sum())
    assert errors < vote / 2


def test_the_posterior_is_bayes_rule(rated):
    """Products of probabilities, pixel by pixel, with the rates that EM ended with."""
    mask, votes, found = rated
    p, q = (np.float64(r[0])[:, None, None, None] for r in found[1:])
    prior = votes.mean(dtype=float)
    target = prior * np.where(votes > 0, p, 1 - p).prod(0)
    background = (1 - prior) * np.where(votes > 0, 1 - q, q).prod(0)
    expected = target / (target + background)
    np.testing.assert_allclose(found.posterior[0], expected, atol=1e-3)


@pytest.mark.parametrize("name", ENSEMBLES)
def test_nothing_found_by_anyone_is_nothing(name):
    np.testing.assert_array_equal(RULES[name](jnp.zeros((2, 3, 8, 8, 1))), 0)


@pytest.mark.parametrize("name", ENSEMBLES)
@pytest.mark.parametrize("count", [1, 4])
def test_agreement_is_kept(name, count):
    mask = np.zeros((1, 1, 40, 40, 1), np.float32)
    mask[0, 0, 18:21, 18:21] = 1
    result = RULES[name](np.repeat(mask, count, 1))
    assert result.shape == (1, 40, 40, 1)
    np.testing.assert_allclose(result, mask[:, 0], atol=1e-3)


@pytest.mark.parametrize("name", ENSEMBLES)
def test_an_image_does_not_depend_on_its_batch(name):
    rng = np.random.default_rng(0)
    samples = (rng.random((3, 5, 24, 24, 1)) < 0.1).astype(np.float32)
    samples[1] = 0
    for i in range(3):
        np.testing.assert_allclose(
            RULES[name](samples)[i], RULES[name](samples[i : i + 1])[0], atol=1e-6
        )


def test_votes_by_hand():
    samples = jnp.array([0.2, 0.6, 1.4, 0.9]).reshape(1, 4, 1, 1, 1)
    assert combine("mean", samples).item() == pytest.approx((0.2 + 0.6 + 1 + 0.9) / 4)
    assert combine("majority", samples).item() == 1
    assert combine("majority", samples[:, :2]).item() == 0  # a tie
    # What the released "STAPLE" makes of background.
    assert combine("mean_squared", -0.8 + 0 * samples).item() == pytest.approx(0.64)


def test_staple_forgets_the_far_background():
    """The same samples on a larger empty canvas give the same answer."""
    rng = np.random.default_rng(1)
    patch = (rng.random((5, 5, 5, 1)) < 0.6).astype(np.float32)
    results = []
    for side in (31, 61):
        canvas = np.zeros((1, 5, side, side, 1), np.float32)
        first = side // 2 - 2
        canvas[0, :, first : first + 5, first : first + 5] = patch
        middle = slice(side // 2 - 15, side // 2 + 16)
        found = RULES["staple"](canvas)[0]
        results.append(found[middle, middle])
        assert found[0].max() == 0
    # EM stops at a mean change of 1e-6 over 25 x 25 pixels, perhaps a round apart.
    np.testing.assert_allclose(*results, atol=25 * 25 * 1e-6)


def test_the_region_reaches_ten_pixels():
    mask = np.zeros((40, 40), np.float32)
    mask[20, 5] = 1
    expected = np.zeros_like(mask)
    expected[10:31, :16] = 1
    np.testing.assert_array_equal(jax.jit(grown)(mask), expected)


def test_unknown_ensemble():
    with pytest.raises(ValueError, match="unknown ensemble 'vote'; choose from"):
        combine("vote", jnp.zeros((1, 1, 2, 2, 1)))
