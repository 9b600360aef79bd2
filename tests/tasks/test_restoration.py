"""Eq. 3 and the scores, with networks whose errors are known."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from ml_collections import ConfigDict

from irstd_jax import models, tasks
from irstd_jax.tasks import restoration

SHAPE = (8, 6, 1)


class Gain(nn.Module):
    """image * gain, with a place for drop path, which adds 1 in training if asked."""

    start: float = 1.0
    offset_in_training: float = 0.0

    @nn.compact
    def __call__(self, image, keys=None):
        gain = self.param("gain", nn.initializers.constant(self.start), ())
        return image * gain + (0 if keys is None else self.offset_in_training)


def halved(keys, images, masks):
    """Half the brightness, but not on targets."""
    return images * (0.5 if masks is None else 0.5 + 0.5 * masks)


def noisy(keys, images, masks):
    return images + jax.vmap(lambda key: jax.random.normal(key, SHAPE))(keys)


def task(network=None, degrade=halved, loss="mean", keep_targets=False):
    network = network or Gain(2.0)
    return restoration.Restoration(network, degrade, loss, keep_targets, SHAPE)


def keys(n, seed=0):
    return jax.random.split(jax.random.key(seed), n)


@pytest.fixture
def batch():
    rng = np.random.default_rng(0)
    image = rng.uniform(0.1, 0.9, size=(3, *SHAPE)).astype(np.float32)
    mask = np.zeros((3, *SHAPE), np.float32)
    mask[:, 2:4, 3] = 1
    return {"image": image, "mask": mask}


def test_init_gives_the_network_s_variables():
    variables = task().init(jax.random.key(0))
    assert variables == {"params": {"gain": 2.0}, "batch_stats": {}}


def test_a_network_that_undoes_the_damage_has_no_loss(batch):
    exact = task()
    variables = exact.init(jax.random.key(0))
    loss, aux = exact.loss(variables, batch, keys(3))
    assert loss < 1e-12 and aux["batch_stats"] == {}
    scores, _ = exact.score(variables, batch, keys(3))
    np.testing.assert_allclose(scores["psnr"], 100.0, rtol=1e-6)


def test_the_sum_is_over_the_pixels_of_one_image(batch):
    variables = {"params": {"gain": 1.0}}
    mean, means = task(loss="mean").loss(variables, batch, keys(3))
    total, sums = task(loss="sum").loss(variables, batch, keys(3))
    expected = np.mean((batch["image"] / 2) ** 2)
    np.testing.assert_allclose(mean, expected, rtol=1e-5)
    np.testing.assert_allclose(total, np.prod(SHAPE) * expected, rtol=1e-5)
    assert set(sums["terms"]) == set(means["terms"]) == {"loss", "mse"}
    np.testing.assert_allclose(sums["terms"]["mse"], expected, rtol=1e-5)
    np.testing.assert_allclose(sums["terms"]["loss"], total)


@pytest.mark.parametrize("kept", [True, False])
def test_targets_are_kept_on_request(batch, kept):
    _, pictures = task(keep_targets=kept).score({"params": {"gain": 1.0}}, batch, None)
    target = batch["mask"] > 0
    clean, degraded = batch["image"], np.asarray(pictures["degraded"])
    np.testing.assert_allclose(degraded[~target], clean[~target] / 2)
    np.testing.assert_allclose(degraded[target], clean[target] * (1 if kept else 0.5))


def test_steps_down_the_gradient_find_the_gain(batch):
    learner = task(Gain(1.0))
    variables = learner.init(jax.random.key(0))
    optimiser = optax.sgd(0.5)

    @jax.jit
    def step(params):
        value = lambda p: learner.loss({"params": p}, batch, keys(3))[0]  # noqa: E731
        loss, grads = jax.value_and_grad(value)(params)
        updates, _ = optimiser.update(grads, optimiser.init(params))
        return optax.apply_updates(params, updates), loss

    losses, params = [], variables["params"]
    for _ in range(40):
        params, loss = step(params)
        losses.append(float(loss))
    assert all(np.diff(losses) < 0) and losses[-1] < 0.1 * losses[0]
    assert 1.5 < params["gain"] < 2


def test_what_happens_to_an_image_depends_on_its_key_alone(batch):
    learner = task(Gain(1.0), noisy)
    variables = {"params": {"gain": 1.0}}

    def of(index):
        part = {"image": batch["image"][index]}
        return learner.score(variables, part, keys(3)[index])[1]["degraded"]

    together = of(slice(0, 3))
    np.testing.assert_array_equal(together[1:2], of(slice(1, 2)))
    assert np.abs(together - batch["image"]).max() > 1


def test_drop_path_is_of_training_alone(batch):
    learner = task(Gain(2.0, offset_in_training=1.0))
    variables = learner.init(jax.random.key(0))
    np.testing.assert_allclose(learner.loss(variables, batch, keys(3))[0], 1, rtol=1e-5)
    scores, _ = learner.score(variables, batch, keys(3))
    assert scores["mse"].max() < 1e-12


def test_scores_are_an_image_each(batch):
    dark = task(Gain(1.0))
    scores, pictures = jax.jit(dark.score)({"params": {"gain": 1.2}}, batch, keys(3))
    clean = batch["image"]
    for name, error in (("psnr", 0.4), ("psnr_degraded", 0.5)):
        expected = -10 * np.log10(np.mean((error * clean) ** 2, axis=(1, 2, 3)))
        np.testing.assert_allclose(scores[name], expected, rtol=1e-5)
    np.testing.assert_allclose(scores["mse"], 10 ** (-scores["psnr"] / 10), rtol=1e-4)
    assert scores["psnr"].shape == (3,) and dark.chosen_by == ("psnr", 1)
    assert set(pictures) == {"clean", "degraded", "restored"}
    np.testing.assert_allclose(pictures["restored"], 0.6 * clean, rtol=1e-5)


def test_prediction_is_cut_to_the_range_of_images(batch):
    restored = task().predict({"params": {"gain": 2.0}}, batch, keys(3))["restored"]
    np.testing.assert_allclose(restored, np.minimum(2 * batch["image"], 1))


def test_an_unknown_loss_is_refused():
    with pytest.raises(ValueError, match="unknown task.loss 'l1'; choose from"):
        task(loss="l1")


# --- from a config ---------------------------------------------------------------


def config(**degradation):
    return ConfigDict(
        {
            "task": {
                "name": "restoration",
                "loss": "sum",
                "keep_targets": True,
                "degradation": {"preset": "released", **degradation},
            },
            "model": {
                "name": "swinir",
                "in_channels": 1,
                "embed_dim": 8,
                "depths": [2],
                "heads": [2],
                "window": 4,
                "unshuffle": 2,
                "features": 4,
            },
            "data": {"crop": 16, "resize": 0, "channels": 1},
        }
    )


def test_a_config_s_task_trains(batch):
    # Without resizing and JPEG, which would double the time of compilation.
    changes = {"noise": [0.0, 1.0], "select": "none", "resize": 0.0, "jpeg": None}
    learner = tasks.build(config(**changes), norm_axis="batch")
    assert learner.network == models.build(
        "swinir",
        in_channels=1,
        embed_dim=8,
        depths=(2,),
        heads=(2,),
        window=4,
        unshuffle=2,
        features=4,
    )
    assert learner.image_shape == (16, 16, 1) and learner.loss_kind == "sum"
    variables = learner.init(jax.random.key(0))
    batch = jax.tree.map(lambda x: jnp.repeat(x, 2, axis=1), batch)
    value = jax.jit(jax.value_and_grad(learner.loss, has_aux=True))
    (loss, aux), grads = value(variables, batch, keys(3))
    assert loss == aux["terms"]["loss"] > 0
    assert all(jnp.abs(leaf).max() > 0 for leaf in jax.tree.leaves(grads["params"]))
    # Everything is degraded but the targets.
    mixed = np.asarray(learner.mixed(batch, keys(3)))
    same = mixed == batch["image"]
    assert same[batch["mask"] > 0].all() and same[batch["mask"] == 0].mean() < 0.1
