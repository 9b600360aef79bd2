"""L against its formula, the refusals, and training on many devices."""

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from ml_collections import ConfigDict

from irstd_jax import tasks
from irstd_jax.models.layers import Conv, ConvNorm, dropped
from irstd_jax.tasks import losses, segmentation
from irstd_jax.tasks.segmentation import Segmentation
from irstd_jax.training import parallel, state


class Oracle(nn.Module):
    """Two maps of an image that is the mask: right by `gain`, and its opposite."""

    gain: float = 40.0

    @nn.compact
    def __call__(self, image, train=False, keys=None):
        logits = self.gain * (2 * image - 1)
        return jnp.concatenate([logits, -logits], axis=-1)


def task(network, weights=(("soft_iou", 1.0),), supervision="mean"):
    return Segmentation(network, weights, supervision, (8, 8, 1))


@pytest.fixture
def batch():
    mask = np.zeros((3, 8, 8, 1), np.float32)
    mask[0, 2:4, 3:5] = mask[1, 6, 1] = 1
    return {"image": mask, "mask": mask}


KEYS = jax.random.split(jax.random.key(0), 3)


def test_prediction_is_the_first_map(batch):
    found = task(Oracle()).predict({}, batch, KEYS)
    assert set(found) == {"discriminative"} <= set(tasks.MODES)
    np.testing.assert_allclose(found["discriminative"], batch["mask"], atol=1e-6)


def test_perfect_logits_cost_nothing(batch):
    class Perfect(Oracle):
        def __call__(self, image, train=False, keys=None):
            return self.gain * (2 * image - 1)

    everything = tuple((name, 1.0) for name in losses.LOSSES)
    loss, _ = task(Perfect(), everything).loss({}, batch, KEYS)
    np.testing.assert_allclose(loss, 0, atol=1e-6)


@pytest.mark.parametrize("supervision, count", [("mean", 2), ("sum", 1)])
def test_loss_is_the_weighted_sum_over_the_maps(batch, supervision, count):
    weights = (("bce", 3.0), ("soft_iou", 0.5))
    loss, aux = task(Oracle(2.0), weights, supervision).loss({}, batch, KEYS)
    logits = Oracle(2.0).apply({}, batch["image"])
    bce = losses.bce(logits, batch["mask"]).sum() / count
    iou = losses.soft_iou(logits, batch["mask"]).sum() / count
    assert set(aux["terms"]) == {"loss", "bce", "soft_iou"} and aux["batch_stats"] == {}
    np.testing.assert_allclose(aux["terms"]["bce"], bce, rtol=1e-6)
    np.testing.assert_allclose(aux["terms"]["soft_iou"], iou, rtol=1e-6)
    np.testing.assert_allclose(loss, 3 * bce + 0.5 * iou, rtol=1e-6)


def test_maps_of_edges_have_losses_of_their_own(batch):
    class Edged(Oracle):
        edge_maps = 1

    made = dataclasses.replace(
        task(Edged(2.0), (("soft_iou", 0.5),)), edge_losses=(("bce", 3.0),)
    )
    loss, aux = made.loss({}, batch, KEYS)
    logits = Oracle(2.0).apply({}, batch["image"])
    iou = losses.soft_iou(logits[..., :1], batch["mask"])[0]
    bce = losses.bce(logits[..., 1:], segmentation.outline(batch["mask"]))[0]
    assert set(aux["terms"]) == {"loss", "edge_bce", "soft_iou"}
    np.testing.assert_allclose(aux["terms"]["edge_bce"], bce, rtol=1e-6)
    np.testing.assert_allclose(loss, 0.5 * iou + 3 * bce, rtol=1e-6)
    without, _ = dataclasses.replace(made, edge_losses=()).loss({}, batch, KEYS)
    np.testing.assert_allclose(without, 0.5 * iou, rtol=1e-6)


def test_the_outline_of_a_mask(batch):
    drawn = segmentation.outline(batch["mask"])
    expected = np.zeros((8, 8))
    expected[1:5, 3:5] = expected[2:4, 2:6] = 1  # a square of 2 x 2 and around it
    np.testing.assert_array_equal(drawn[0, ..., 0], expected)
    around = np.argwhere(drawn[1, ..., 0])
    np.testing.assert_array_equal(around, [[5, 1], [6, 0], [6, 2], [7, 1]])
    assert not drawn[2].any()


# --- from a config, with a real network -----------------------------------------


def config(**fields):
    block = {"name": "segmentation", "losses": {"soft_iou_batch": 1.0, "bce": 0.5}}
    model = {"name": "acm_fpn", "in_channels": 1, "channels": (4, 4, 8, 8), "blocks": 1}
    return ConfigDict(
        {
            "task": block | {"supervision": "mean"} | fields,
            "model": model,
            "data": {"crop": 16, "resize": 0, "channels": 1},
        }
    )


def test_a_config_makes_the_task():
    made = tasks.build(config(losses={"bce": 2.0, "focal": 0.0}), "batch")
    assert made.losses == (("bce", 2.0),) and made.image_shape == (16, 16, 1)
    assert made.network.norm_axis == made.axis == "batch"
    assert made.network.decoder == "fpn" and made.network.channels == (4, 4, 8, 8)


@pytest.mark.parametrize(
    "fields, words",
    [
        ({"losses": {"dice": 1.0}}, r"unknown task.losses \['dice'\]; choose from"),
        ({"losses": {"bce": 0.0}}, "task.losses is empty"),
        ({"edge_losses": {"dice": 1.0}}, r"unknown task.edge_losses \['dice'\]"),
        ({"supervision": "last"}, "unknown task.supervision 'last'; choose from"),
    ],
)
def test_what_cannot_work_is_refused(fields, words):
    settings = config()
    settings.task = ConfigDict(settings.task.to_dict() | fields)
    with pytest.raises(ValueError, match=words):
        tasks.build(settings)


class Noisy(nn.Module):
    """What detectors have that joins a batch or draws: BatchNorm, dropout, two maps."""

    axis: str | None = None

    @nn.compact
    def __call__(self, image, train=False, keys=None):
        x = ConvNorm(4, axis=self.axis)(image, train)
        if train:
            x = dropped(x, keys, 0.5)
        return Conv(2)(x)


def test_init_gives_both_collections():
    variables = task(Noisy()).init(jax.random.key(0))
    assert set(variables) == {"params", "batch_stats"}
    assert len(jax.tree.leaves(variables)) == 7
    assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(variables))


def noisy(axis=None):
    """The task whose losses join the whole batch, too."""
    weights = (("bce", 1.0), ("focal", 0.1), ("soft_iou_batch", 1.0))
    return dataclasses.replace(task(Noisy(axis), weights), axis=axis)


@pytest.mark.parametrize("backend", sorted(parallel.BACKENDS))
def test_a_step_on_eight_devices_is_as_on_one(backend):
    rng = np.random.default_rng(0)
    mask = (rng.random((16, 8, 8, 1)) > 0.9).astype(np.float32)
    mask[3:11] = 0  # so that devices differ in target pixels
    image = rng.normal(size=mask.shape).astype(np.float32) + mask
    batch, key = {"image": image, "mask": mask}, jax.random.key(1)
    descent = optax.sgd(1.0)
    variables = noisy().init(jax.random.key(0))
    start = state.create(variables, descent)
    made = noisy(parallel.norm_axis(backend))
    step = parallel.train_step(
        backend, made.loss, descent, ema=0.5, accumulate=1, batch_size=16
    )
    eight, terms = step(parallel.place(start), batch, parallel.place(key))

    @jax.jit
    def on_one(params):
        keys = parallel.example_keys(key, 0, 16)
        loss = lambda p: noisy().loss(variables | {"params": p}, batch, keys)  # noqa: E731
        (_, aux), grads = jax.value_and_grad(loss, has_aux=True)(params)
        return aux, jax.tree.map(jnp.subtract, params, grads)

    aux, params = on_one(variables["params"])
    for name, value in aux["terms"].items():
        np.testing.assert_allclose(terms[name], value, rtol=1e-5)
    for a, b in ((eight.params, params), (eight.batch_stats, aux["batch_stats"])):
        for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
            np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-6)
