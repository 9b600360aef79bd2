"""Segmentation: a network that says of every pixel how likely it is a target.

With its logit maps P_1..P_k of the image (the first is the prediction, the others are
there for deep supervision), the mask m, and the losses l of `losses` with weights w,

  L = sum_l w_l  S_i l(P_i, m)

where S is the sum or the mean over the maps. The prediction is sigmoid(P_1). Where a
network's last maps E are of edges (its `edge_maps` says how many),

  L += sum_l v_l  S_j l(E_j, edge of m)

with the weights v of `edge_losses`. An edge is where the mask changes (`outline`).
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from irstd_jax import models
from irstd_jax.ops import edges
from irstd_jax.tasks.losses import LOSSES

SUPERVISIONS = {"mean": jnp.mean, "sum": jnp.sum}


@dataclasses.dataclass(frozen=True)
class Segmentation:
    """The task `segmentation`.

    Attributes:
      network: a detector (models/detectors).
      losses: (name, weight) pairs, names in LOSSES.
      supervision: how the losses of the maps are joined, "mean" or "sum".
      image_shape: (h, w, c) of an example, for `init`.
      axis: the mapped axis over which a batch is spread, or None.
      edge_losses: as `losses`, of maps of edges.
    """

    network: Any
    losses: tuple[tuple[str, float], ...]
    supervision: str
    image_shape: tuple[int, int, int]
    axis: str | None = None
    edge_losses: tuple[tuple[str, float], ...] = ()

    def init(self, key):
        """Variables {"params", "batch_stats"} of the network."""
        image = jax.ShapeDtypeStruct((1, *self.image_shape), jnp.float32)
        # The forward pass stays abstract: only the weights are computed.
        return {"batch_stats": {}} | self.network.lazy_init(key, image)

    def loss(self, variables, batch, keys):
        """L for a batch of image (b, h, w, c) and mask (b, h, w, 1) in {0, 1}.

        Args:
          keys: (b,) keys, one an example, for dropout.

        Returns:
          The scalar, and {"terms": its parts without weights, "batch_stats": the new}.
        """
        logits, changed = self.network.apply(
            variables, batch["image"], train=True, keys=keys, mutable=["batch_stats"]
        )
        join, mask = SUPERVISIONS[self.supervision], batch["mask"]
        last = logits.shape[-1] - getattr(self.network, "edge_maps", 0)
        parts = [("", self.losses, logits[..., :last], mask)]
        if last < logits.shape[-1]:
            edge = "edge_", self.edge_losses, logits[..., last:], outline(mask)
            parts.append(edge)
        loss, terms = 0.0, {}
        for prefix, losses, maps, target in parts:
            for name, weight in losses:
                term = join(LOSSES[name](maps, target, self.axis))
                loss, terms[prefix + name] = loss + weight * term, term
        stats = changed.get("batch_stats", {})
        return loss, {"terms": {"loss": loss} | terms, "batch_stats": stats}

    def predict(self, variables, batch, keys=None):
        """{"discriminative": (b, h, w, 1) in [0, 1]} of {"image": (b, h, w, c)}."""
        logits = self.network.apply(variables, batch["image"])
        return {"discriminative": jax.nn.sigmoid(logits[..., :1])}


def outline(mask):
    """Where a mask changes: (b, h, w, 1) in {0, 1} -> the same.

    A pixel is of the edge if the two beside it, or above and below it, differ. ISNet's
    code takes the gradient itself, which is 1e-3 where nothing changes, and at corners
    1.4, no probability.
    """
    return (edges.gradient(mask) > 0.5).astype(mask.dtype)


def from_config(config, norm_axis=None):
    """The task by the blocks task, model and data of a config.

    task: `losses` {name: weight}, a weight of 0 leaves one out; `supervision`; and
    `edge_losses`, by default none.

    Raises:
      ValueError: unknown names, or no loss at all.
    """
    settings = config.task
    network = models.build(**config.model, norm_axis=norm_axis)
    losses = chosen(settings, "losses")
    if not losses:
        raise ValueError(f"task.losses is empty; choose from {sorted(LOSSES)}")
    if settings.supervision not in SUPERVISIONS:
        raise ValueError(
            f"unknown task.supervision {settings.supervision!r}; choose from "
            f"{sorted(SUPERVISIONS)}"
        )
    side = config.data.crop or config.data.resize or 64
    shape = (side, side, config.data.channels)
    return Segmentation(
        network,
        losses,
        settings.supervision,
        shape,
        norm_axis,
        chosen(settings, "edge_losses"),
    )


def chosen(settings, block):
    """(name, weight) pairs of a block of losses, those of no weight left out."""
    given = settings.get(block) or {}
    unknown = sorted(set(given) - set(LOSSES))
    if unknown:
        raise ValueError(
            f"unknown task.{block} {unknown}; choose from {sorted(LOSSES)}"
        )
    return tuple((name, w) for name, w in sorted(given.items()) if w)
