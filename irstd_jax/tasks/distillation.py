"""One evaluation a mask: consistency distillation of a mask diffusion, or training.

A student with the network, schedule and parameterisation of a `MaskDiffusion` learns to
say at once where the teacher's deterministic chain would end (diffusion/consistency.py,
whose equations these are). With the mask x0, a step n of the grid and noise eps,

  x   = a x0 + s eps at t_{n+1},   x~ = one step of DDIM by the teacher to t_n     (1)
  L   = d(f_theta(x, t_{n+1}), stop(f_theta-(x~, t_n)))

and with teacher "none" x~ is x0 with less of the same noise. What x0 diffusion says at
pure noise is the mean E[m | I], whatever the noise; what f says is a sample, so several
of them are still a posterior.

theta- is theta itself, held still (`target_decay` 0): an average only lags behind it,
and consistency training is better without (Song & Dhariwal, ICLR 2024, section 3.2).
The average that the training loop keeps is for judging, and no loss sees it; so with a
`target_decay` mu above 0 the task keeps one of its own among the statistics, which
travel with a run anyway: theta- <- mu theta- + (1 - mu) theta. Statistics change
with each of the a parts of a batch (optimizer.accumulate); each part takes mu^(1/a)
for mu, so a step takes mu, and learns from theta- as the part before it left it.

The image's encoding is shared: with `train_encoder` off it is made once, as the teacher
made it, for all three, and the U-Net alone learns. Otherwise the encoder learns by its
own losses, as in `mask_diffusion`, and the teacher keeps its own. BatchNorms of a
denoiser stay as the teacher made them: a network that has some needs trained weights.

Begin with a teacher of x0, v or logits: an error of eps is s / a times as large in x0,
221 times at the last of 100 linear steps.
"""

import dataclasses

import jax
import jax.numpy as jnp

from irstd_jax.diffusion import consistency
from irstd_jax.tasks import mask_diffusion
from irstd_jax.tasks.losses import target_weights

TEACHERS = ("ddim", "none")
CLIP = (-1.0, 1.0)  # of what teacher and student say, as in sampling


@dataclasses.dataclass(frozen=True)
class Distillation:
    """The task `distillation`.

    Attributes:
      student: the mask diffusion whose network learns; its `target_weight` holds here
        too, its weighting and its times do not.
      sampling: how `predict` draws: the sampler "consistency" with so many steps.
      grid: N, the number of times.
      spacing: of the times, a name in consistency.TIMES.
      boundary, deviation: of consistency.scalings.
      distance: d, a name in consistency.DISTANCES.
      teacher: "ddim", or "none" for consistency training.
      target_decay: mu in [0, 1), for each step of the optimiser.
      accumulate: a, the parts of a batch, as the optimiser's block has it.
      train_encoder: whether the encoder learns, too.
    """

    student: mask_diffusion.MaskDiffusion
    sampling: mask_diffusion.Sampling
    grid: int = 40
    spacing: str = "logsnr"
    boundary: str = "lcm"
    deviation: float = 0.5
    distance: str = "pseudo_huber"
    teacher: str = "ddim"
    target_decay: float = 0.0
    accumulate: int = 1
    train_encoder: bool = False

    def __post_init__(self):
        """Refuses what cannot work; the grid and the boundary do so themselves."""
        for field, choices in (
            ("distance", sorted(consistency.DISTANCES)),
            ("teacher", TEACHERS),
        ):
            if getattr(self, field) not in choices:
                raise ValueError(
                    f"unknown task.{field} {getattr(self, field)!r}; choose from "
                    f"{choices}"
                )
        if not 0.0 <= self.target_decay < 1.0:
            raise ValueError(
                f"task.target_decay must lie in [0, 1), got {self.target_decay}"
            )
        if self.sampling.sampler != "consistency":
            raise ValueError(
                f"unknown sampler {self.sampling.sampler!r} for a distilled network; "
                "set sampling.sampler and validation.sampler to 'consistency'"
            )
        if (self.student.source, self.sampling.start) != ("noise", "noise"):
            raise ValueError(
                "a distilled network begins at noise: leave task.source and "
                "sampling.start at 'noise'"
            )
        consistency.visited(self.times, self.sampling.steps)
        self.scalings  # noqa: B018

    @property
    def network(self):
        return self.student.network

    @property
    def schedule(self):
        return self.student.schedule

    @property
    def times(self):
        """The N times, rising, (N,)."""
        return consistency.times(self.schedule, self.grid, self.spacing)

    @property
    def scalings(self):
        """The tables skip and out, (T,) each."""
        return consistency.scalings(self.schedule, self.boundary, self.deviation)

    def init(self, key, teacher=None):
        """Variables {"params", "batch_stats"}, and {"teacher"}, which nothing changes.

        Args:
          key: of the weights, where no teacher gives them.
          teacher: the variables of a trained `mask_diffusion` of this network, with
            which the student begins. Needed but for teacher "none".
        """
        if teacher is None and self.teacher != "none":
            raise ValueError(
                f"task.teacher={self.teacher!r} wants trained weights: give them by "
                "--config.parts.teacher=FILE, or set task.teacher='none'"
            )
        if teacher is None:
            variables = self.student.init(key)
        else:
            variables, _ = self.networks(teacher)
        fixed = {} if self.teacher == "none" else {"teacher": variables}
        if self.target_decay:
            stats = variables["batch_stats"] | {"target": variables["params"]}
            variables = variables | {"batch_stats": stats}
        return variables | fixed

    def networks(self, variables):
        """The variables of the student, and of what its target is made by."""
        stats = dict(variables["batch_stats"])
        target = stats.pop("target", variables["params"])
        student = {"params": variables["params"], "batch_stats": stats}
        return student, jax.lax.stop_gradient({"params": target, "batch_stats": stats})

    def loss(self, variables, batch, keys):
        """Eq. 1 for a batch of image (b, h, w, c) and mask (b, h, w, 1) in {0, 1}.

        Args:
          variables: as of `init`.
          keys: (b,) keys, one an example.

        Returns:
          The scalar, and {"terms", "batch_stats"}. Terms beside the losses: `mass` and
          `share`, the mean of the student's mask and the share of its pixels above one
          half, to be compared with `truth`, that of the mask's; they fall to nothing
          where f collapses.
        """
        image, mask = batch["image"], batch["mask"]
        student, target = self.networks(variables)
        (feature, logits), stats = self.condition(student, image)
        n, eps = jax.vmap(self._draw, (0, None))(keys, mask.shape[1:])
        found, wanted = consistency.pair(
            self.schedule,
            consistency.path(self.schedule, self.times),
            n,
            self.student.mask_to_x0(mask),
            eps,
            self.function(student, image, feature),
            self.function(target, image, feature),
            self.taught(variables, image, feature),
        )
        found, wanted = self.student.x0_to_mask(found), self.student.x0_to_mask(wanted)
        pixels = 1.0
        if self.student.target_weight:
            pixels = target_weights(mask, self.student.target_weight)
        between = (2 * found - 1, 2 * wanted - 1, pixels)
        loss = jnp.mean(consistency.distance(self.distance, *between))
        terms = {"consistency": loss}
        if self.train_encoder and logits is not None:
            more, weighed = self.student.encoder_loss(logits, mask, pixels)
            terms, loss = terms | more, loss + weighed
        terms = {"loss": loss} | terms | monitors(found, mask)
        return loss, {"terms": terms, "batch_stats": self.followed(variables, stats)}

    def condition(self, variables, image):
        """((feature, logits) of an image, the statistics after it)."""
        if not self.train_encoder:
            result = self.network.apply(variables, image, method="condition")
            return jax.lax.stop_gradient(result), variables["batch_stats"]
        result, state = self.network.apply(
            variables, image, True, method="condition", mutable=["batch_stats"]
        )
        return result, state.get("batch_stats", {})

    def function(self, variables, image, feature):
        """f(x, t) of these variables."""
        denoise = self.student.denoiser(variables, image, feature)
        return consistency.function(denoise, self.scalings)

    def taught(self, variables, image, feature):
        """The teacher's `denoise(x, t) -> x0`, or None without one."""
        if self.teacher == "none":
            return None
        teacher = variables["teacher"]
        if self.train_encoder:
            feature, _ = self.network.apply(teacher, image, method="condition")
        denoise = self.student.denoiser(teacher, image, feature)
        return lambda x, t: jnp.clip(denoise(x, t), *CLIP)

    def followed(self, variables, stats):
        """The statistics, with the target network one step behind the student."""
        target = variables["batch_stats"].get("target")
        if target is None:
            return stats
        mu = self.target_decay ** (1 / self.accumulate)
        params = jax.lax.stop_gradient(variables["params"])
        following = jax.tree.map(lambda a, b: mu * a + (1 - mu) * b, target, params)
        return stats | {"target": following}

    def _draw(self, key, shape):
        n_key, eps_key = jax.random.split(key)
        n = jax.random.randint(n_key, (), 0, len(self.times) - 1)
        return n, jax.random.normal(eps_key, shape)

    def predict(self, variables, batch, keys):
        """The maps of `MaskDiffusion.predict`, drawn in `sampling.steps` evaluations.

        Args:
          variables: as of `init`; the teacher's are not read.
          batch: {"image": (b, h, w, c)}.
          keys: (b,) keys, one an example.
        """
        image = batch["image"]
        student, _ = self.networks(variables)
        feature, logits = self.network.apply(student, image, method="condition")
        denoise = self.student.denoiser(student, image, feature)

        def draw(number):
            return consistency.sample(
                denoise,
                self.schedule,
                jax.vmap(jax.random.fold_in, (0, None))(keys, number),
                (*image.shape[1:3], 1),
                grid=self.times,
                boundary=self.boundary,
                deviation=self.deviation,
                steps=self.sampling.steps,
                clip=CLIP,
            )

        drawn = jax.lax.map(draw, jnp.arange(self.sampling.samples))
        return self.student.judged(jnp.moveaxis(drawn, 0, 1), logits)


def monitors(found, mask):
    """Means by which a collapse shows: of the found masks, and of the true ones."""
    return {
        "mass": jnp.mean(jnp.clip(found, 0.0, 1.0)),
        "share": jnp.mean(found > 0.5),
        "truth": jnp.mean(mask),
    }


def from_config(config, norm_axis=None):
    """The task by the blocks task, model, data and sampling of a config.

    The block task has the fields of `mask_diffusion`, for the student, and those of
    `Distillation`.
    """
    names = {field.name for field in dataclasses.fields(Distillation)}
    own, rest = {}, {}
    for name, value in config.task.items():
        (own if name in names else rest)[name] = value
    blocks = type(config)(config.to_dict() | {"task": rest})
    student = mask_diffusion.from_config(blocks, norm_axis)
    return Distillation(
        student=student,
        sampling=student.sampling,
        accumulate=config.optimizer.accumulate,
        **own,
    )
