"""The autoencoder's loss against its formula, and the scale of its latents."""

import dataclasses
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs.diff_mosaic import autoencoder
from irstd_jax import tasks
from irstd_jax.tasks import autoencoding

KEYS = jax.random.split(jax.random.key(0), 4)


class Exact(nn.Module):
    """Latent = image, by halves that undo each other; deviation exp(-15)."""

    gain: float = 3.0
    dtype: Any = jnp.float32

    def setup(self):
        self.bias = self.param("bias", nn.initializers.zeros, (1,))

    def encode(self, x):
        mean = self.gain * x + self.bias
        return jnp.concatenate([mean, jnp.full_like(mean, -30.0)], -1)

    def decode(self, z):
        return (z - self.bias) / self.gain

    def __call__(self, x):
        return self.decode(self.encode(x)[..., :1])


class Shifted(Exact):
    """The same, with an image that is off by 0.2 everywhere."""

    def decode(self, z):
        return z / self.gain + 0.2


def task(network, **changes):
    settings = {"kl_weight": 0.0, "target_weight": 0.0, "edge_weight": 1.0}
    return autoencoding.Autoencoding(network, **(settings | changes), image_shape=())


def variables():
    latent = {"mean": jnp.zeros(()), "square": jnp.ones(())}
    return {"params": {"bias": jnp.zeros(1)}, "batch_stats": {"latent": latent}}


@pytest.fixture(scope="module")
def batch():
    rng = np.random.default_rng(0)
    image = rng.random((4, 8, 8, 1)).astype(np.float32)
    return {"image": image, "mask": (image > 0.75).astype(np.float32)}


def test_a_perfect_autoencoder_loses_nothing(batch):
    loss, aux = task(Exact()).loss(variables(), batch, KEYS)
    assert abs(loss) < 1e-6
    assert set(aux["terms"]) == {"loss", "l1", "edge", "kl"}


def test_targets_weigh_more(batch):
    """An error of .2 everywhere: 1 a pixel, and 1 + w on targets; no edge is wrong."""
    loss, _ = task(Shifted(), target_weight=9.0).loss(variables(), batch, KEYS)
    np.testing.assert_allclose(loss, 0.2 * (1 + 9 * batch["mask"].mean()), rtol=1e-5)


def test_kl_is_that_of_two_gaussians(batch):
    _, aux = task(Exact()).loss(variables(), batch, KEYS)
    mean, variance = 3 * (2 * batch["image"] - 1), np.exp(-30.0)
    expected = (mean**2 + variance - 1 + 30).mean() / 2
    np.testing.assert_allclose(aux["terms"]["kl"], expected, rtol=1e-5)


def test_the_scale_makes_latents_of_variance_one(batch):
    state, one = variables(), task(Exact())
    for _ in range(60):
        _, aux = one.loss(state, batch, KEYS)
        state["batch_stats"] = aux["batch_stats"]
    z = 3 * (2 * batch["image"] - 1)
    scale = autoencoding.scale(state["batch_stats"])
    np.testing.assert_allclose(scale, 1 / z.std(), rtol=0.01)


def test_scores_are_of_each_image(batch):
    scores, pictures = task(Shifted()).score(variables(), batch, KEYS)
    image, output = batch["image"], pictures["reconstruction"]
    mse = np.square(output - image).mean((1, 2, 3))
    np.testing.assert_allclose(scores["psnr"], -10 * np.log10(mse), rtol=1e-4)
    assert scores["l1"].shape == (4,) and output.max() <= 1


def test_the_recipe_learns():
    """Some steps of the tiny recipe on one batch lower its loss."""
    config = autoencoder.get_config("tiny")
    one = tasks.build(config)
    state = one.init(jax.random.key(0))
    rng = np.random.default_rng(1)
    image = rng.random((2, 16, 16, 1)).astype(np.float32)
    data = {"image": image, "mask": np.zeros_like(image)}

    @jax.jit
    def step(params):
        def loss(params):
            return one.loss(state | {"params": params}, data, KEYS[:2])[0]

        value, grads = jax.value_and_grad(loss)(params)
        return value, jax.tree.map(lambda p, g: p - 0.003 * jnp.sign(g), params, grads)

    params, values = state["params"], []
    for _ in range(12):
        value, params = step(params)
        values.append(float(value))
    assert values[-1] < 0.9 * values[0]
    assert dataclasses.is_dataclass(one) and one.chosen_by == ("psnr", 1)
