"""A task that compiles in a second: a convolution, BatchNorm and noise by example."""

import dataclasses
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from configs import quickstart
from irstd_jax.tasks.mask_diffusion import Sampling


class ToyNetwork(nn.Module):
    """image (b, h, w, 1) -> logits (b, h, w, 1)."""

    axis: str | None = None

    @nn.compact
    def __call__(self, x, train=False):
        x = nn.Conv(4, (3, 3), use_bias=False)(x)
        x = nn.BatchNorm(not train, momentum=0.9, axis_name=self.axis)(x)
        return nn.Conv(1, (3, 3))(nn.relu(x))


@dataclasses.dataclass(frozen=True)
class ToyTask:
    """Segmentation of noisy images."""

    network: Any
    sampling: Sampling

    def init(self, key):
        return self.network.init(key, jnp.zeros((1, 8, 8, 1)))

    def loss(self, variables, batch, keys):
        noise = jax.vmap(lambda k: jax.random.normal(k, batch["image"].shape[1:]))(keys)
        logits, changed = self.network.apply(
            variables, batch["image"] + 0.1 * noise, True, mutable=["batch_stats"]
        )
        loss = optax.sigmoid_binary_cross_entropy(logits, batch["mask"]).mean()
        terms = {"loss": loss, "bce": loss}
        return loss, {"terms": terms, "batch_stats": changed["batch_stats"]}

    def predict(self, variables, batch, keys):
        logits = self.network.apply(variables, batch["image"])
        return {"diffusion": jax.nn.sigmoid(logits)}


def from_config(config, norm_axis=None):
    """As the functions in `tasks.TASKS`."""
    return ToyTask(ToyNetwork(norm_axis), Sampling(**config.sampling))


def config():
    """The tiny quick start with the toy task."""
    settings = quickstart.get_config("tiny")
    settings.name = "toy"
    settings.task.name = "toy"
    settings.num_steps = 6
    settings.evaluate_every = 3
    settings.checkpoint_every = 2
    settings.evaluation.at_end = False
    # Adam turns a rounding error of a small gradient into one of about this size.
    settings.optimizer.update({"learning_rate": 0.01, "flat": False})
    return settings
