"""IRSTD-Diff: the posterior of the target mask, given the infrared image.

Also SegDiff's, MedSegDiff's and CIMD's: what they learn otherwise is below.

With the mask m in {lo, hi}, the image I, its encoding f(I) and the logits P_1..P_7 of
the conditional encoder (fused and six side maps), one draw of t and eps gives

  x_t = alpha_t m + sigma_t eps                                            (Eq. 4)
  L   = |y_t - net(x_t, t, I, f(I))|^2 + lambda sum_k BCE(P_k, m)          (Eq. 16)

where y_t is eps (the paper), x0 or v. The release sums seven BCE maps with lambda =
10; both terms are means over pixels. A soft IoU of the same maps can be added
(`iou_weight`, 0 in the paper): BCE alone learns slowly where a thousandth of the pixels
is target.

What is learnt better, each by one field, none of it in the paper:

  parameterisation "logit"  the network's output l is the logit of the mask: x0^ = lo +
      (hi - lo) sigmoid(l), learnt by BCE(l, m), whose best answer E[m | x_t, I] is that
      of the squared error, and by `mask_iou_weight` times soft IoU
  weighting, times, last_share   how much each t counts, and how often it is drawn
      (diffusion/weighting.py); "output" is Eq. 16, the plain error of the output
  target_weight             each target weighs that many pixels more, large or small
  source "encoder"          the path goes to the mask from the encoder's own estimate,
      eps = lo + (hi - lo) sigmoid(P_1) + source_noise z, in the place of noise; with
      the schedule "rectified" it is straight

What the networks of models/generative learn, by fields of their own:

  vlb_weight      L += L_t(v), the variational bound, of a network that learns its
                  variance (diffusion/variational.py); its samples want
                  sampling.variance="learned_range"
  encoder_error   "mse": |sigmoid(P) - m|^2 in the place of BCE (MedSegDiff)
  kl_weight       L += KL(q(I, m) | p(I, said)) of CIMD's two encoders, where said is
                  eps ("eps", released) or the mask that follows ("x0"); it teaches the
                  denoiser, and the encoders with `kl_trainable`

SegDiff's release sums its error over pixels: under Adam the same as the mean.

At the last t the image alone tells what the mask is: x0^ is E[m | I] there, so that one
evaluation of a "logit" network is a detector, and several samples of it hardly differ.

Detection samples x0 from the posterior (Eq. 5-7) and offers four maps: `diffusion`, the
(mean) sample alone; `discriminative`, sigmoid(P_1) alone; `fused`, the rule of the
released code; `fused_logodds`, the mean of the log-odds of the two, which treats them
as two experts of equal weight.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax

from irstd_jax import models
from irstd_jax.diffusion import (
    ensemble,
    process,
    samplers,
    schedule,
    spacing,
    variational,
    weighting,
)
from irstd_jax.tasks import fusion
from irstd_jax.tasks.losses import soft_iou, target_weights

MODES = ("diffusion", "discriminative", "fused", "fused_logodds")
PARAMETERISATIONS = (*sorted(process.PARAMETERISATIONS), "logit")
SOURCES = ("noise", "encoder")
CLIP = (-1.0, 1.0)
# Of a map of logits and the mask, by pixel.
ERRORS = {
    "bce": optax.sigmoid_binary_cross_entropy,
    "mse": lambda logits, mask: jnp.square(jax.nn.sigmoid(logits) - mask),
}
KL_INPUTS = ("eps", "x0")


@dataclasses.dataclass(frozen=True)
class Sampling:
    """How masks are drawn: the arguments of `samplers.sample`, and how many.

    With `start` "encoder" and a strength below 1 the chain begins from the encoder's
    estimate, noised to the last `strength` of the levels.
    """

    sampler: str = "ddpm"
    steps: int = 100
    spacing: str = "respaced"
    variance: str = "large"
    eta: float = 0.0
    start: str = "noise"
    strength: float = 1.0
    samples: int = 1
    ensemble: str = "mean"
    clip: bool = True  # x0 to [-1, 1] at every step

    @property
    def learned(self):
        """Whether the network says how wide a step is."""
        return (self.sampler, self.variance) == ("ddpm", samplers.RANGE)


@dataclasses.dataclass(frozen=True)
class MaskDiffusion:
    """The task `mask_diffusion`.

    Attributes:
      network: an `IRSTDDiff`.
      schedule: of T steps.
      parameterisation: what the network predicts: a name in PARAMETERISATIONS.
      mask_range: the values of background and target that are diffused.
      encoder_weight: lambda of Eq. 16.
      iou_weight: of the sum of the maps' soft-IoU losses.
      image_shape: (h, w, c) of an example, for `init`.
      sampling: how `predict` draws.
      weighting: of the times: "output", or a scheme of diffusion/weighting.py, with
        `weighting_bias` for "sigmoid".
      times, last_share: how t is drawn (`weighting.draw_time`).
      mask_iou_weight: of soft IoU on the mask of a "logit" network.
      target_weight: what each target weighs more, in pixels; for all errors by pixel.
      source: what the path begins from, a name in SOURCES; and `source_noise`, the
        deviation of the noise on the encoder's estimate.
      vlb_weight: of the variational bound in bits a pixel.
      encoder_error: of the encoder's maps, "bce" or "mse".
      fusion: what the mode "fused" is: a name in fusion.RULES.
      kl_weight, kl_input, kl_trainable: of CIMD's KL.
    """

    network: models.IRSTDDiff
    schedule: schedule.Schedule
    parameterisation: str
    mask_range: tuple[float, float]
    encoder_weight: float
    iou_weight: float
    image_shape: tuple[int, int, int]
    sampling: Sampling
    weighting: str = "output"
    weighting_bias: float = 0.0
    times: str = "uniform"
    last_share: float = 0.0
    mask_iou_weight: float = 0.0
    target_weight: float = 0.0
    source: str = "noise"
    source_noise: float = 0.1
    vlb_weight: float = 0.0
    encoder_error: str = "bce"
    fusion: str = "released"
    kl_weight: float = 0.0
    kl_input: str = "eps"
    kl_trainable: bool = False

    def init(self, key):
        """Variables {"params", "batch_stats"} of the network."""
        image = jax.ShapeDtypeStruct((1, *self.image_shape), jnp.float32)
        mask = jax.ShapeDtypeStruct((1, *self.image_shape[:2], 1), jnp.float32)
        # The forward pass stays abstract: compiling it with a thousand random draws
        # in it takes minutes.
        variables = self.network.lazy_init(
            key, image, mask, jax.ShapeDtypeStruct((1,), jnp.int32)
        )
        return {"batch_stats": {}} | variables

    def loss(self, variables, batch, keys):
        """Eq. 16 for a batch of image (b, h, w, c) and mask (b, h, w, 1) in {0, 1}.

        Args:
          keys: (b,) keys, one an example.

        Returns:
          The scalar, and {"terms": its named parts, "batch_stats": the new ones}.
        """
        image, mask = batch["image"], batch["mask"]
        t, eps = jax.vmap(self._draw, (0, None))(keys, mask.shape[1:])
        (feature, logits), state = self.network.apply(
            variables,
            image,
            True,
            method="condition",
            mutable=["batch_stats"],
            **self.dropout(keys, 1),
        )
        origin = self.origin(logits, eps)
        x0 = self.mask_to_x0(mask)
        x_t = process.q_sample(self.schedule, x0, t, origin)
        output, state = self.network.apply(
            {**variables, **state},
            x_t,
            t,
            image,
            feature,
            True,
            method="denoise",
            mutable=["batch_stats"],
            **self.dropout(keys, 2),
        )
        output, v, more_logits = self.parted(output)
        pixels = 1.0
        if self.target_weight:
            pixels = target_weights(mask, self.target_weight)
        terms, loss = self.denoising_loss(output, mask, x0, origin, t, pixels)
        for maps in (logits, more_logits):
            if maps is not None:
                more, weighed = self.encoder_loss(maps, mask, pixels)
                terms, loss = terms | more, loss + weighed
        if self.vlb_weight:
            guess = self.to_x0(output, x_t, t)
            bound = variational.bound(self.schedule, x0, guess, x_t, t, v)
            terms["vlb"] = bound.mean()
            loss += self.vlb_weight * terms["vlb"]
        if self.kl_weight:
            terms["kl"] = self.latent_kl(variables, batch, output, x_t, t)
            loss += self.kl_weight * terms["kl"]
        terms = {"loss": loss} | terms
        return loss, {"terms": terms, "batch_stats": state.get("batch_stats", {})}

    def denoising_loss(self, output, mask, x0, origin, t, pixels):
        """({name: term}, weighed sum) of the denoiser's output (b, h, w, 1)."""
        weight = pixels * process.at(self.time_weights(), t, output)
        if self.parameterisation == "logit":
            error = optax.sigmoid_binary_cross_entropy(output, mask)
            terms = {"mask_bce": jnp.mean(weight * error)}
            loss = terms["mask_bce"]
            if self.mask_iou_weight:
                terms["mask_iou"] = soft_iou(output, mask).sum()
                loss += self.mask_iou_weight * terms["mask_iou"]
            return terms, loss
        signal = process.signal_and_noise(self.schedule, t, x0)
        target = process.target(self.parameterisation, x0, origin, *signal)
        mse = jnp.mean(weight * jnp.square(output - target))
        return {"mse": mse}, mse

    def encoder_loss(self, logits, mask, pixels):
        """({name: term}, weighed sum) of the encoder's maps (b, h, w, k)."""
        error = ERRORS[self.encoder_error]
        maps = pixels * error(logits, jnp.broadcast_to(mask, logits.shape))
        name = {"bce": "bce", "mse": "map_mse"}[self.encoder_error]
        terms = {name: maps.mean((0, 1, 2)).sum()}
        loss = self.encoder_weight * terms[name]
        if self.iou_weight:
            terms["iou"] = soft_iou(logits, mask).sum()
            loss += self.iou_weight * terms["iou"]
        return terms, loss

    def latent_kl(self, variables, batch, output, x_t, t):
        """KL(q | p) of CIMD's encoders in nats, the mean over the batch."""
        image, mask = batch["image"], batch["mask"]
        said = self.to_x0(output, x_t, t)
        if self.kl_input == "eps":
            alpha, sigma = process.signal_and_noise(self.schedule, t, x_t)
            said = (x_t - alpha * said) / sigma
        else:
            said = self.x0_to_mask(said)
        if not self.kl_trainable:
            variables = jax.lax.stop_gradient(variables)
        found = self.network.apply(variables, image, mask, said, method="latents")
        (mean, deviation), (mean_p, deviation_p) = found
        kl = variational.gaussian_kl(mean, 2 * deviation, mean_p, 2 * deviation_p)
        return kl.sum(-1).mean()

    def parted(self, output):
        """(what the parameterisation says, v or None, logits or None) of an output."""
        learned = getattr(self.network, "learned_variance", False)
        v = output[..., 1:2] if learned else None
        logits = output[..., 1 + learned :]
        return output[..., :1], v, logits if logits.shape[-1] else None

    def dropout(self, keys, number):
        """What a network with dropout wants more of a call in training."""
        if not getattr(self.network, "dropout", 0.0):
            return {}
        return {"keys": jax.vmap(jax.random.fold_in, (0, None))(keys, number)}

    def time_weights(self):
        """The weight of the output's own error at every time, (T,)."""
        if self.weighting == "output":
            return np.ones(self.schedule.steps)
        of_x0 = weighting.weights(self.schedule, self.weighting, self.weighting_bias)
        kind = {"logit": "x0"}.get(self.parameterisation, self.parameterisation)
        return of_x0 / weighting.weights(self.schedule, kind)

    def _draw(self, key, shape):
        t_key, eps_key = jax.random.split(key)
        t = weighting.draw_time(t_key, self.schedule.steps, self.times, self.last_share)
        return t, jax.random.normal(eps_key, shape)

    def mask_to_x0(self, mask):
        """Masks or probabilities in [0, 1] in the range that is diffused."""
        low, high = self.mask_range
        return low + (high - low) * mask

    def origin(self, logits, eps):
        """What stands in the place of the noise eps (b, h, w, 1): see `source`."""
        if self.source == "noise":
            return eps
        return self.estimate(logits) + self.source_noise * eps

    def estimate(self, logits):
        """The encoder's mask, in the range that is diffused; it learns nothing here."""
        fused = jax.lax.stop_gradient(logits[..., :1])
        return self.mask_to_x0(jax.nn.sigmoid(fused))

    def denoiser(self, variables, image, feature):
        """`denoise(x, t) -> x0` for samplers, of an image and its `condition`.

        With a learned variance -> (x0, f), as samplers want it.
        """

        def denoise(x, t):
            output, v, _ = self.parted(
                self.network.apply(variables, x, t, image, feature, method="denoise")
            )
            x0 = self.to_x0(output, x, t)
            return (x0, variational.share(v)) if self.sampling.learned else x0

        return denoise

    def to_x0(self, output, x, t):
        """The x0 (b, h, w, 1) that the network's output at x, t means; not clipped."""
        if self.parameterisation == "logit":
            return self.mask_to_x0(jax.nn.sigmoid(output))
        signal = process.signal_and_noise(self.schedule, t, x)
        return process.to_x0(self.parameterisation, output, x, *signal)

    def predict(self, variables, batch, keys, trajectory=False):
        """Draws `sampling.samples` masks an image, and reads the encoder.

        Args:
          variables: as of `init`.
          batch: {"image": (b, h, w, c)}.
          keys: (b,) keys, one an example.
          trajectory: also return the chain of x0 predictions of the first sample.

        Returns:
          {"samples": (b, s, h, w, 1) in [0, 1], and for each mode its map (b, h, w, 1)
          in [0, 1]}; the encoder's modes only where the network has one; with
          `trajectory` also "trajectory" (b, steps, h, w, 1).
        """
        image, how = batch["image"], self.sampling
        feature, logits = self.network.apply(variables, image, method="condition")
        levels = spacing.told(self.schedule, how.steps, how.spacing)
        sampled = dataclasses.replace(self, schedule=levels)
        denoise = sampled.denoiser(variables, image, feature)
        shape = (*image.shape[1:3], 1)

        def draw(number, trajectory=False):
            numbered = jax.vmap(jax.random.fold_in, (0, None))(keys, number)
            return samplers.sample(
                denoise,
                self.schedule,
                numbered,
                shape,
                sampler=how.sampler,
                steps=how.steps,
                spacing=how.spacing,
                variance=how.variance,
                eta=how.eta if how.sampler == "ddim" else None,
                start=sampled.start(logits, numbered, shape),
                strength=how.strength,
                clip=CLIP if how.clip else None,
                trajectory=trajectory,
            )

        drawn = jnp.moveaxis(jax.lax.map(draw, jnp.arange(how.samples)), 0, 1)
        prediction = self.judged(drawn, logits)
        if trajectory:
            chain = jnp.moveaxis(draw(0, trajectory=True)[1], 0, 1)
            prediction["trajectory"] = jnp.clip(self.x0_to_mask(chain), 0.0, 1.0)
        return prediction

    def start(self, logits, keys, shape):
        """What the chain begins from (b, h, w, 1), or None for noise.

        For a source "encoder" that is the beginning of its path; for a start "encoder"
        the clean estimate, which the sampler noises by itself.
        """
        if self.source == "encoder":
            origin = self.origin(logits, samplers.draw(keys, shape))
            return self.schedule.sigma[-1] * origin
        return self.estimate(logits) if self.sampling.start == "encoder" else None

    def x0_to_mask(self, x0):
        low, high = self.mask_range
        return (x0 - low) / (high - low)

    def judged(self, drawn, logits):
        """The maps of all modes, of drawn x0 (b, s, h, w, 1) and logits or None."""
        values = self.x0_to_mask(drawn)
        samples = jnp.clip(values, 0.0, 1.0)
        # The rules clip for themselves, but for one that wants what is below zero.
        mean = ensemble.combine(self.sampling.ensemble, values)
        prediction = {"samples": samples, "diffusion": mean}
        if logits is not None:
            fused = logits[..., :1]
            prediction["discriminative"] = jax.nn.sigmoid(fused)
            # The release fuses the raw sample, negative values and all.
            raw = jnp.clip(values, -1.0, 1.0).mean(1)
            prediction["fused"] = fusion.RULES[self.fusion](fused, raw)
            prediction["fused_logodds"] = fusion.logodds(fused, mean)
        return prediction


def from_config(config, norm_axis=None):
    """The task by the blocks task, model, data and sampling of a config.

    Raises:
      ValueError: unknown names, or an encoder's estimate wanted of a network without.
    """
    fields = {k: v for k, v in config.task.items() if k not in ("name", "steps")}
    fields |= {
        "schedule": schedule.noise_schedule(config.task.schedule, config.task.steps),
        "mask_range": tuple(config.task.mask_range),
    }
    side = config.data.crop or config.data.resize or 64
    task = MaskDiffusion(
        network=models.build(**config.model, norm_axis=norm_axis),
        image_shape=(side, side, config.data.channels),
        sampling=Sampling(**config.sampling),
        **fields,
    )
    check(task)
    return task


def check(task):
    """Refuses names that are not there, and what the network cannot give."""
    start, learned = task.sampling.start, getattr(task.network, "learned_variance", 0)
    for field, value, choices in (
        ("task.parameterisation", task.parameterisation, PARAMETERISATIONS),
        ("task.weighting", task.weighting, ("output", *sorted(weighting.SCHEMES))),
        ("task.times", task.times, sorted(weighting.TIMES)),
        ("task.source", task.source, SOURCES),
        ("task.encoder_error", task.encoder_error, sorted(ERRORS)),
        ("task.fusion", task.fusion, sorted(fusion.RULES)),
        ("task.kl_input", task.kl_input, KL_INPUTS),
        ("sampling.start", start, SOURCES),
    ):
        if value not in choices:
            raise ValueError(f"unknown {field} {value!r}; choose from {choices}")
    estimates = getattr(task.network, "estimates", True)
    if not estimates and "encoder" in (task.source, start):
        raise ValueError(
            "this network has no encoder's estimate to start at, or is built with "
            "conditional_encoder=False"
        )
    if (task.vlb_weight or task.sampling.learned) and not learned:
        raise ValueError(
            "task.vlb_weight and sampling.variance='learned_range' want a network that "
            "learns its variance: medsegdiff or cimd"
        )
    if task.kl_weight and not getattr(task.network, "latent", False):
        raise ValueError("task.kl_weight wants the network cimd with latent=True")
    if start == "encoder" and task.sampling.strength == 1.0:
        raise ValueError(
            "sampling.start=encoder wants a sampling.strength below 1: at 1 nothing of "
            "the estimate is left in the noise"
        )
    if task.source == "encoder" and (task.sampling.strength, start) != (1.0, "noise"):
        raise ValueError(
            "task.source=encoder begins at the estimate already: leave sampling.start "
            "and sampling.strength as they are"
        )
