"""Classical methods: no network, nothing to descend on, at most one number to choose.

A method of irstd_jax/classical gives each pixel a saliency, in a unit of its own, and a
rule gives each map a threshold. The prediction is the map with the rule folded into it
(classical/rules.py, Eq. 4): in [0, 1], and above .5 where the rule says target. So it
is cut, scored and drawn as the maps of networks are; but it is no probability, and is
called "saliency" and not judged as one.

The rule `deviations`, mean + k std, may have its k chosen on training images, by `fit`:
that is all that can be learnt here. Else there is nothing to learn, and no weights.

Methods see grey levels 0..255 of the whole image and say themselves what lies beyond
its border, and rules take the extremes of the whole map: an image is neither padded to
a canvas nor cut into tiles. That costs a program for each size of image, .6 to 3 s of a
core, which JAX's cache keeps. Padding that leaves a method's result as it is exists for
few of them: Top-hat ignores what is outside, TLLCM sees black there for one filter and
the edge for another, and to the low-rank methods each pixel is an entry of a matrix.
"""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from irstd_jax import classical
from irstd_jax.classical import rules

MODE = "saliency"


@dataclasses.dataclass(frozen=True)
class Classical:
    """The task `classical`.

    Attributes:
      method: grey levels (b, h, w, 1) -> saliency, of `classical.build`.
      rule: of `classical.rules.RULES`.
      k: of the rule `deviations`; None where it is to be chosen.
    """

    method: Callable
    rule: str
    k: float | None = None

    @property
    def learns(self):
        """Whether there is a k to choose, without which nothing is predicted."""
        return chooses(self)

    @property
    def cut(self):
        """The rule in words, for reports."""
        return f"{self.rule}, k = {self.k:g}" if self.k is not None else self.rule

    def init(self, key):
        """{"params": {"k"} if it is to be chosen, 0 until then}."""
        k = {"k": jnp.zeros((), jnp.float32)} if self.learns else {}
        return {"params": k, "batch_stats": {}}

    def predict(self, variables, batch, keys=None):
        """{"saliency": (b, h, w, 1) in [0, 1]} of {"image": (b, h, w, 1) in [0, 1]}."""
        k = variables["params"]["k"] if self.learns else self.k
        rule = rules.build(self.rule, **({} if k is None else {"k": k}))
        return {MODE: rules.graded(self.method(255 * batch["image"]), rule)}

    def fit(self, samples):
        """Chooses k: the one of highest IoU, pooled over the samples.

        Args:
          samples: iterable of {"image": (h, w, 1) in [0, 1], "mask": (h, w, 1)}.

        Returns:
          The variables, and {"k", "IoU"}.

        Raises:
          ValueError: no k finds a target.
        """
        look = jax.jit(lambda image: self.method(255 * image[None])[0])
        pairs = ((np.asarray(look(s["image"])), s["mask"]) for s in samples)
        k, iou = rules.best_k(pairs)
        return self.init(None) | {"params": {"k": np.float32(k)}}, {"k": k, "IoU": iou}


def chooses(settings):
    """Whether the k of a block task, or of a task, is still to be chosen."""
    return settings.rule == "deviations" and not settings.k


def from_config(config, norm_axis=None):
    """The task by the blocks task, model, data, evaluation and predict of a config.

    task: `rule`, and `k` of the rule `deviations`, 0 to choose it. model: a name in
    `classical.METHODS`, its fields, and dtype, in which it computes and no other.

    Raises:
      ValueError: unknown names; a k that no rule takes; settings by which a method
        would see something else than the whole image in grey levels.
    """
    fields, settings = config.model.to_dict(), config.task
    name, dtype = fields.pop("name"), fields.pop("dtype")
    method = classical.build(name, **fields)
    own = "float64" if name in classical.DOUBLE else "float32"
    if name == "mslstipt":
        raise ValueError("mslstipt takes sequences; of images, take mslstipt_image")
    if dtype != own:
        raise ValueError(f"{name} computes in {own}: model.dtype {dtype!r} is not it")
    if settings.rule not in rules.RULES:
        raise ValueError(
            f"unknown task.rule {settings.rule!r}; choose from {sorted(rules.RULES)}"
        )
    if settings.k and settings.rule != "deviations":
        raise ValueError(f"task.k {settings.k} is for the rule deviations: leave it 0")
    for field, value, wanted in (
        ("data.normalisation", config.data.normalisation, "none"),
        ("data.channels", config.data.channels, 1),
        ("evaluation.canvas_multiple", config.evaluation.canvas_multiple, 1),
        ("predict.tile", config.predict.tile, 0),
    ):
        if value != wanted:
            raise ValueError(
                "a classical method sees whole images in grey levels: set "
                f"{field}={wanted}, not {value}"
            )
    return Classical(method, settings.rule, settings.k or None)
