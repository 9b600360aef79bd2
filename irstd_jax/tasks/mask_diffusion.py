"""IRSTD-Diff: the posterior of the target mask, given the infrared image.

With the mask m in {lo, hi}, the image I, its encoding f(I) and the logits P_1..P_7 of
the conditional encoder (fused and six side maps), one draw of t and eps gives

  x_t = alpha_t m + sigma_t eps                                            (Eq. 4)
  L   = |y_t - net(x_t, t, I, f(I))|^2 + lambda sum_k BCE(P_k, m)          (Eq. 16)

where y_t is eps (the paper), x0 or v. The release sums seven BCE maps with lambda =
10; both terms are means over pixels. A soft IoU of the same maps can be added
(`iou_weight`, 0 in the paper): BCE alone learns slowly where a thousandth of the pixels
is target.

Detection samples x0 from the posterior (Eq. 5-7) and offers four maps: `diffusion`, the
(mean) sample alone; `discriminative`, sigmoid(P_1) alone; `fused`, the rule of the
released code; `fused_logodds`, the mean of the log-odds of the two, which treats them
as two experts of equal weight.
"""

import dataclasses

import jax
import jax.numpy as jnp
import optax

from irstd_jax import models
from irstd_jax.diffusion import ensemble, process, samplers, schedule
from irstd_jax.tasks.losses import soft_iou

# A binary sample has infinite log-odds: it is heard as an expert who errs once in 20.
SAMPLE_TRUST = 0.95
MODES = ("diffusion", "discriminative", "fused", "fused_logodds")


@dataclasses.dataclass(frozen=True)
class Sampling:
    """How masks are drawn: the arguments of `samplers.sample`, and how many."""

    sampler: str = "ddpm"
    steps: int = 100
    spacing: str = "respaced"
    variance: str = "large"
    eta: float = 0.0
    samples: int = 1
    ensemble: str = "mean"


@dataclasses.dataclass(frozen=True)
class MaskDiffusion:
    """The task `mask_diffusion`.

    Attributes:
      network: an `IRSTDDiff`.
      schedule: of T steps.
      parameterisation: what the network predicts: eps, x0 or v.
      mask_range: the values of background and target that are diffused.
      encoder_weight: lambda of Eq. 16.
      iou_weight: of the sum of the maps' soft-IoU losses.
      image_shape: (h, w, c) of an example, for `init`.
      sampling: how `predict` draws.
    """

    network: models.IRSTDDiff
    schedule: schedule.Schedule
    parameterisation: str
    mask_range: tuple[float, float]
    encoder_weight: float
    iou_weight: float
    image_shape: tuple[int, int, int]
    sampling: Sampling

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
        low, high = self.mask_range
        x0 = low + (high - low) * mask
        t, eps = jax.vmap(self._draw, (0, None))(keys, mask.shape[1:])
        x_t = process.q_sample(self.schedule, x0, t, eps)
        (output, logits), changed = self.network.apply(
            variables, image, x_t, t, train=True, mutable=["batch_stats"]
        )
        signal = process.signal_and_noise(self.schedule, t, x0)
        target = process.target(self.parameterisation, x0, eps, *signal)
        terms = {"mse": jnp.mean(jnp.square(output - target))}
        loss = terms["mse"]
        if logits is not None:
            maps = optax.sigmoid_binary_cross_entropy(
                logits, jnp.broadcast_to(mask, logits.shape)
            )
            terms["bce"] = maps.mean((0, 1, 2)).sum()
            loss += self.encoder_weight * terms["bce"]
            if self.iou_weight:
                terms["iou"] = soft_iou(logits, mask).sum()
                loss += self.iou_weight * terms["iou"]
        terms = {"loss": loss} | terms
        return loss, {"terms": terms, "batch_stats": changed.get("batch_stats", {})}

    def _draw(self, key, shape):
        t_key, eps_key = jax.random.split(key)
        t = jax.random.randint(t_key, (), 0, self.schedule.steps)
        return t, jax.random.normal(eps_key, shape)

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
        image = batch["image"]
        feature, logits = self.network.apply(
            variables, image, method=self.network.condition
        )

        def denoise(x, t):
            output = self.network.apply(
                variables, x, t, image, feature, method=self.network.denoise
            )
            signal = process.signal_and_noise(self.schedule, t, x)
            return process.to_x0(self.parameterisation, output, x, *signal)

        def draw(number, trajectory=False):
            return samplers.sample(
                denoise,
                self.schedule,
                jax.vmap(jax.random.fold_in, (0, None))(keys, number),
                (*image.shape[1:3], 1),
                sampler=self.sampling.sampler,
                steps=self.sampling.steps,
                spacing=self.sampling.spacing,
                variance=self.sampling.variance,
                eta=self.sampling.eta if self.sampling.sampler == "ddim" else None,
                trajectory=trajectory,
            )

        drawn = jax.lax.map(draw, jnp.arange(self.sampling.samples))
        low, high = self.mask_range
        values = (jnp.moveaxis(drawn, 0, 1) - low) / (high - low)
        samples = jnp.clip(values, 0.0, 1.0)
        combined = ensemble.combine(self.sampling.ensemble, samples)
        prediction = {"samples": samples, "diffusion": combined}
        if logits is not None:
            fused = logits[..., :1]
            mean = prediction["diffusion"]
            prediction["discriminative"] = jax.nn.sigmoid(fused)
            # The release fuses the raw sample, negative values and all.
            raw = jnp.clip(values, -1.0, 1.0).mean(1)
            prediction["fused"] = released_fusion(fused, raw)
            prediction["fused_logodds"] = logodds_fusion(fused, mean)
        if trajectory:
            chain = jnp.moveaxis(draw(0, trajectory=True)[1], 0, 1)
            prediction["trajectory"] = jnp.clip((chain - low) / (high - low), 0.0, 1.0)
        return prediction


def released_fusion(logits, sample):
    """The released code's score, made to be cut at about 0.28, not at 0.5.

    Source: facts of the released sampler; it adds a quarter of the sample to the
    encoder's LOGIT, or takes half of each where the two agree by an IoU of 0.65. That
    agreement is counted as there: sample > 0 against logits that truncate to 1.

    Args:
      logits: (b, h, w, 1) of the fused map.
      sample: (b, h, w, 1) in [-1, 1].

    Returns:
      (b, h, w, 1) in [0, 1].
    """
    axes = (1, 2, 3)
    truncated = jnp.trunc(logits)
    predicted, confident = sample > 0, truncated == 1
    both = jnp.sum(predicted & confident, axes, keepdims=True)
    either = jnp.sum(predicted | confident, axes, keepdims=True)
    agree = both >= 0.65 * jnp.maximum(either, 1)
    score = jnp.where(agree, 0.5 * logits + 0.5 * sample, logits + 0.25 * sample)
    return jnp.clip(score, 0.0, 1.0)


def logodds_fusion(logits, probability):
    """Mean of the encoder's log-odds and the sample's, as a probability."""
    heard = jnp.clip(probability, 1 - SAMPLE_TRUST, SAMPLE_TRUST)
    odds = jnp.log(heard) - jnp.log1p(-heard)
    return jax.nn.sigmoid(0.5 * (logits + odds))


def from_config(config, norm_axis=None):
    """The task by the blocks task, model, data and sampling of a config."""
    network = models.build(**config.model, norm_axis=norm_axis)
    side = config.data.crop or config.data.resize or 64
    if config.task.parameterisation not in process.PARAMETERISATIONS:
        raise ValueError(
            f"unknown task.parameterisation {config.task.parameterisation!r}; choose "
            f"from {sorted(process.PARAMETERISATIONS)}"
        )
    return MaskDiffusion(
        network=network,
        schedule=schedule.noise_schedule(config.task.schedule, config.task.steps),
        parameterisation=config.task.parameterisation,
        mask_range=tuple(config.task.mask_range),
        encoder_weight=config.task.encoder_weight,
        iou_weight=config.task.iou_weight,
        image_shape=(side, side, config.data.channels),
        sampling=Sampling(**config.sampling),
    )
