"""The Pixel-Prior of Diff-Mosaic: from a degraded image back to the clean one.

With an image I and its degradation D(I) by blur, resizing, noise and JPEG outside of a
box that stays clean (irstd_jax/mosaic/degrade.py, Eq. 1-2),

  L = |net(D(I)) - I|^2                                                     (Eq. 3)

as a sum over an image's pixels (the paper and its code) or as a mean: under Adam the
two differ by clipping and weight decay alone. Every step draws D anew.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from irstd_jax import models
from irstd_jax.mosaic import degrade

LOSSES = ("mean", "sum")
LEAST_MSE = 1e-10  # 100 dB: an image that is restored without error has no PSNR


@dataclasses.dataclass(frozen=True)
class Restoration:
    """The task `restoration`.

    Attributes:
      network: `(image, keys=None) -> image` as SwinIR; keys are given in training.
      degrade: `(keys (b,), images, masks or None) -> degraded images`, all images
        (b, h, w, c) in [0, 1].
      loss_kind: "mean" over pixels, or "sum" over those of an image.
      keep_targets: the pixels of batch["mask"] are not degraded.
      image_shape: (h, w, c) of an example, for `init`.
    """

    network: Any
    degrade: Callable
    loss_kind: str
    keep_targets: bool
    image_shape: tuple[int, int, int]

    chosen_by = ("psnr", +1)

    def __post_init__(self):
        if self.loss_kind not in LOSSES:
            raise ValueError(
                f"unknown task.loss {self.loss_kind!r}; choose from {LOSSES}"
            )

    def init(self, key):
        """Variables {"params", "batch_stats"} of the network."""
        image = jax.ShapeDtypeStruct((1, *self.image_shape), jnp.float32)
        return {"batch_stats": {}} | self.network.lazy_init(key, image)

    def loss(self, variables, batch, keys):
        """Eq. 3 for a batch of clean images (b, h, w, c), degraded by keys (b,).

        Returns:
          The scalar, and {"terms": {"loss", "mse"}, "batch_stats": {}}.
        """
        keys, path_keys = jnp.moveaxis(jax.vmap(jax.random.split)(keys), 1, 0)
        restored = self.network.apply(variables, self.mixed(batch, keys), path_keys)
        square = jnp.square(restored - batch["image"])
        mse = square.mean()
        loss = square.sum((1, 2, 3)).mean() if self.loss_kind == "sum" else mse
        return loss, {"terms": {"loss": loss, "mse": mse}, "batch_stats": {}}

    def mixed(self, batch, keys):
        """The degraded images of a batch; its targets as they are, where kept."""
        masks = batch.get("mask") if self.keep_targets else None
        return self.degrade(keys, batch["image"], masks)

    def predict(self, variables, batch, keys):
        """{"restored": (b, h, w, c) in [0, 1]} of images that are degraded already."""
        restored = self.network.apply(variables, batch["image"])
        return {"restored": jnp.clip(restored, 0.0, 1.0)}

    def score(self, variables, batch, keys):
        """How well clean images (b, h, w, c) come back after a degradation by keys.

        Returns:
          {"psnr", "psnr_degraded", "mse"}, each (b,); PSNR in dB for a range of 1.
          {"clean", "degraded", "restored"}: images (b, h, w, c) in [0, 1].
        """
        clean = batch["image"]
        degraded = self.mixed(batch, keys)
        restored = self.predict(variables, {"image": degraded}, keys)["restored"]
        mse = jnp.square(restored - clean).mean((1, 2, 3))
        before = jnp.square(degraded - clean).mean((1, 2, 3))
        scores = {"psnr": psnr(mse), "psnr_degraded": psnr(before), "mse": mse}
        return scores, {"clean": clean, "degraded": degraded, "restored": restored}


def psnr(mse):
    """Peak signal-to-noise ratio in dB of images in [0, 1]; 100 dB at most."""
    return -10 * jnp.log10(jnp.maximum(mse, LEAST_MSE))


def from_config(config, norm_axis=None):
    """The task by the blocks task, model and data of a config.

    `task.degradation` names a preset of degrade.PRESETS, and changes fields of it or of
    all its passes. `norm_axis` is not needed: there is no BatchNorm.
    """
    side = config.data.crop or config.data.resize or 64
    return Restoration(
        network=models.build(**config.model),
        degrade=degrader(config.task),
        loss_kind=config.task.loss,
        keep_targets=config.task.keep_targets,
        image_shape=(side, side, config.data.channels),
    )


def degrader(settings):
    """`(keys, images, masks or None) -> degraded images` by a config's task block."""
    fields = {"keep_targets": settings.keep_targets} | dict(settings.degradation)
    how = degrade.preset(fields.pop("preset"), **fields)
    return functools.partial(mixed, how)


def mixed(settings, keys, images, masks):
    """The degraded images alone, of `degrade.degrade`."""
    return degrade.degrade(keys, images, settings, masks)[0]
