"""The first stage of latent diffusion: an autoencoder with a slight pull to N(0, 1).

With the encoder's mean and log-variance (mu, v) of an image x in [-1, 1],

  z = mu + exp(v / 2) eps,   x' = D(z)
  L = sum |x' - x| w + lambda sum (mu^2 + exp(v) - 1 - v) / 2                      (1)

both sums divided by the number of pixels' values; w is 1, and 1 + target_weight on
target pixels, which are a thousandth of all and worth more. An edge term compares first
differences, without which L1 alone learns blur. Source: Rombach et al., CVPR 2022; its
perceptual and adversarial terms need networks trained on visible light and are left
out.

Diffusion wants latents of variance 1: their mean and mean square are measured while
the autoencoder is trained, as BatchNorm does it, and belong to its weights.
"""

import dataclasses

import jax
import jax.numpy as jnp

from irstd_jax import models
from irstd_jax.diffusion import samplers
from irstd_jax.models import autoencoder_kl
from irstd_jax.tasks.restoration import psnr

MOMENTUM = 0.9


@dataclasses.dataclass(frozen=True)
class Autoencoding:
    """The task `autoencoding`; images (b, h, w, c) are in [0, 1].

    Attributes:
      network: an `AutoencoderKL`.
      kl_weight: lambda of Eq. 1.
      target_weight: added to the weight of target pixels.
      edge_weight: of the mean absolute error of first differences.
      image_shape: (h, w, c) of an example, for `init`.
    """

    network: models.AutoencoderKL
    kl_weight: float
    target_weight: float
    edge_weight: float
    image_shape: tuple[int, int, int]

    chosen_by = ("psnr", +1)

    def init(self, key):
        """Variables {"params", "batch_stats": the latents' statistics}."""
        image = jax.ShapeDtypeStruct((1, *self.image_shape), jnp.float32)
        variables = self.network.lazy_init(key, image)
        latent = {"mean": jnp.zeros(()), "square": jnp.ones(())}
        return variables | {"batch_stats": {"latent": latent}}

    def loss(self, variables, batch, keys):
        """Eq. 1 for a batch of image and mask; see `tasks`."""
        x = 2 * batch["image"] - 1
        params = {"params": variables["params"]}
        mean, logvar = moments(self.network, params, x)
        z = mean + jnp.exp(logvar / 2) * samplers.draw(keys, mean.shape[1:])
        output = self.network.apply(params, z, method="decode")
        terms = self.terms(x, output, mean, logvar, batch["mask"])
        loss = (
            terms["l1"]
            + self.edge_weight * terms["edge"]
            + self.kl_weight * terms["kl"]
        )
        now = {"mean": z.mean(), "square": jnp.square(z).mean()}
        latent = jax.tree.map(
            lambda old, new: MOMENTUM * old + (1 - MOMENTUM) * new,
            variables["batch_stats"]["latent"],
            now,
        )
        terms = {"loss": loss} | terms
        return loss, {"terms": terms, "batch_stats": {"latent": latent}}

    def terms(self, x, output, mean, logvar, mask):
        """The parts of Eq. 1, unweighted but for the targets."""
        error = jnp.abs(output - x)
        kl = jnp.square(mean) + jnp.exp(logvar) - 1 - logvar
        return {
            "l1": jnp.mean(error * (1 + self.target_weight * mask)),
            "edge": sum(
                jnp.mean(jnp.abs(jnp.diff(output - x, axis=axis))) for axis in (1, 2)
            ),
            "kl": kl.sum() / 2 / x.size,
        }

    def predict(self, variables, batch, keys):
        """{"reconstruction": (b, h, w, c) in [0, 1]}, of the posterior's mode."""
        params = {"params": variables["params"]}
        mean, _ = moments(self.network, params, 2 * batch["image"] - 1)
        output = self.network.apply(params, mean, method="decode")
        return {"reconstruction": jnp.clip((output + 1) / 2, 0, 1)}

    def score(self, variables, batch, keys):
        """({"psnr" in dB, "l1"}: (b,) each, pictures); see `tasks`."""
        image = batch["image"]
        output = self.predict(variables, batch, keys)["reconstruction"]
        scores = {
            "psnr": psnr(jnp.square(output - image).mean((1, 2, 3))),
            "l1": jnp.abs(output - image).mean((1, 2, 3)),
        }
        return scores, {"image": image, "reconstruction": output}


def moments(network, variables, x):
    """Mean and clamped log-variance of the posterior of x (b, h, w, c) in [-1, 1]."""
    return autoencoder_kl.posterior(network.apply(variables, x, method="encode"))


def scale(batch_stats):
    """1 / deviation of the latents: what makes their variance 1."""
    latent = batch_stats["latent"]
    return jax.lax.rsqrt(latent["square"] - jnp.square(latent["mean"]))


def from_config(config, norm_axis=None):
    """The task by the blocks task and model of a config."""
    side = config.data.crop or config.data.resize or 64
    return Autoencoding(
        network=models.build(**config.model),
        kl_weight=config.task.kl_weight,
        target_weight=config.task.target_weight,
        edge_weight=config.task.edge_weight,
        image_shape=(side, side, config.data.channels),
    )
