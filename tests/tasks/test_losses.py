"""Losses against sums by hand, and spread over devices."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from irstd_jax.tasks import losses


def pair(b=4, k=2, seed=0):
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(b, 6, 5, k)).astype(np.float32)
    mask = (rng.random((b, 6, 5, 1)) > 0.8).astype(np.float32)
    return logits, mask


def by_hand(name, logits, mask):
    """One map's loss in float64, pixel by pixel where that matters."""
    p, m = 1 / (1 + np.exp(-np.float64(logits))), np.float64(mask)
    if name == "bce":
        return -np.mean(m * np.log(p) + (1 - m) * np.log(1 - p))
    if name == "focal":
        hit = m * (1 - p) ** 2 * np.log(p)
        quiet = (1 - m) ** 4 * p**2 * np.log(1 - p)
        return -(hit + quiet).sum() / max(1, m.sum())
    if name == "soft_iou_batch":
        both = (p * m).sum()
        return 1 - (both + 1) / (p.sum() + m.sum() - both + 1)
    each = [by_hand("soft_iou_batch", *one) for one in zip(logits, mask, strict=True)]
    return np.mean(each)


@pytest.mark.parametrize("name", sorted(losses.LOSSES))
def test_each_map_s_loss_is_its_formula(name):
    logits, mask = pair()
    expected = [by_hand(name, logits[..., i], mask[..., 0]) for i in range(2)]
    mine = losses.LOSSES[name](logits, mask)
    np.testing.assert_allclose(mine, expected, rtol=1e-5)


@pytest.mark.parametrize("name", sorted(losses.LOSSES))
def test_right_logits_cost_nothing_and_wrong_ones_do(name):
    mask = pair()[1]
    right = np.where(mask > 0, np.float32(30), np.float32(-30))
    np.testing.assert_allclose(losses.LOSSES[name](right, mask), 0, atol=1e-6)
    assert losses.LOSSES[name](-right, mask) > 0.9


@pytest.mark.parametrize("name", sorted(losses.LOSSES))
def test_empty_images_and_huge_logits_stay_finite(name):
    mask = np.zeros((2, 4, 4, 1), np.float32)
    loss = lambda x: losses.LOSSES[name](x, mask)[0]  # noqa: E731
    np.testing.assert_allclose(loss(jnp.full(mask.shape, -60.0)), 0, atol=1e-6)
    for value in (-500.0, 500.0):
        both = jax.value_and_grad(loss)(jnp.full(mask.shape, value))
        assert all(jnp.isfinite(x).all() for x in both)


@pytest.mark.parametrize("name", sorted(losses.LOSSES))
def test_eight_devices_are_as_one(name):
    """Loss and gradient by weights that each device has whole."""
    logits, mask = pair(b=16)
    mask[2:9] = 0  # so that devices differ in target pixels

    def loss(weight, logits, mask, axis=None):
        return losses.LOSSES[name](logits * weight, mask, axis).sum()

    @functools.partial(jax.pmap, axis_name="batch", in_axes=(None, 0, 0))
    def spread(weight, logits, mask):
        found = jax.value_and_grad(loss)(weight, logits, mask, "batch")
        return jax.lax.pmean(found, "batch")

    one = jax.value_and_grad(loss)(1.3, logits, mask)
    shares = [x.reshape(8, 2, *x.shape[1:]) for x in (logits, mask)]
    eight = spread(1.3, *shares)
    np.testing.assert_allclose(eight[0], np.repeat(one[0], 8), rtol=1e-5)
    np.testing.assert_allclose(eight[1], np.repeat(one[1], 8), rtol=1e-4, atol=1e-6)


def test_soft_iou_against_the_hard_one():
    rng = np.random.default_rng(0)
    guess = rng.random((4, 8, 8, 2)) > 0.5
    mask = rng.random((4, 8, 8, 1)) > 0.5
    logits = jnp.where(guess, 40.0, -40.0)
    both, either = ((guess & mask).sum((1, 2)), (guess | mask).sum((1, 2)))
    expected = (1 - (both + 1) / (either + 1)).mean(0)
    loss = losses.soft_iou(logits, jnp.asarray(mask, jnp.float32))
    np.testing.assert_allclose(loss, expected, rtol=1e-5)
