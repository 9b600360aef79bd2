r"""The Diff-Prior: diffusion in the latent space of an autoencoder, held by a control.

With the encoder E and decoder D of stage one, s = 1 / deviation of its latents, the
Pixel-Prior R and a degraded image y of x (Diff-Mosaic Eq. 1-4):

  z0 = s E(x) (a sample),   h = s E(R(y)) (the mode),   z_t = alpha_t z0 + sigma_t eps
  L  = w(snr_t) |z0^ - z0|^2,   z0^ from U-Net(z_t, t, control(z_t, h, t))          (1)

w is a scheme of diffusion/weighting.py: "eps" is the released code (Eq. 5), "x0" is
Eq. 6 in its one-step form.

Eq. 6 of the paper runs all steps before it compares z0' with z0; its released code has
the loss of eps at one random t, of the CLEAN image's latent. So has this.

`part` says what learns: "unet", the prior itself, without a hint; or "control", with
the U-Net, the autoencoder and the Pixel-Prior fixed (the released recipe, on Stable
Diffusion 2.1). The text encoder of the release reads the empty string always: its
output is one constant context, kept with the weights; of priors trained here it is 0.

Resampling takes I_smooth = R(I_mix) to a realistic image: from noise, or from h noised
to the share `strength` of the levels; guided toward h (diffusion/guidance.py); decoded;
its low frequencies replaced by those of I_smooth (mosaic/color.py). A small autoencoder
blurs targets of three pixels; with `residual` r, not in the release, what it loses of
I_smooth is given back:

  I = D(z / s) + r (I_smooth - D(h / s))                                          (2)

At r = 1 only what the chain changes in the latents changes the image.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from irstd_jax import models
from irstd_jax.diffusion import (
    guidance,
    process,
    samplers,
    schedule,
    spacing,
    weighting,
)
from irstd_jax.models import latent_unet
from irstd_jax.mosaic import color
from irstd_jax.ops import resize, tiles
from irstd_jax.tasks import autoencoding, restoration

PARTS = ("unet", "control")
DRAWS = 4  # times and noises at which a validation image is scored


@dataclasses.dataclass(frozen=True)
class Resampling:
    """How images are drawn.

    Attributes:
      sampler, steps, spacing, variance, eta: of `samplers.sample`.
      strength: share of the levels that are run from the noised latent of I_smooth; 1 =
        from pure noise, as released.
      guidance_scale, guidance_repeats, guidance_start, guidance_rule: of
        `guidance.weights`; scale 0 = none. The rule "mean" is for ddpm, respaced.
      color: a name in color.METHODS.
      residual: r of Eq. 2; 0 as released.
      tile, overlap: in latent pixels; larger latents are denoised, and decoded, in
        tiles. 0 = whole.
    """

    sampler: str = "ddpm"
    steps: int = 50
    spacing: str = "respaced"
    variance: str = "small"
    eta: float = 0.0
    strength: float = 1.0
    guidance_scale: float = 400 / 16384
    guidance_repeats: int = 5
    guidance_start: int = 200
    guidance_rule: str = "mean"
    color: str = "wavelet"
    residual: float = 0.0
    tile: int = 0
    overlap: int = 0

    def __post_init__(self):
        """Refuses the rule "mean" where the steps are not those that it weighs."""
        kind = self.sampler, self.spacing
        if (
            self.guidance_scale
            and self.guidance_rule == "mean"
            and kind != ("ddpm", "respaced")
        ):
            raise ValueError(
                "sampling.guidance_rule='mean' moves the mean of a step of "
                "sampler='ddpm' with spacing='respaced', and would guide "
                f"{self.sampler!r} with {self.spacing!r} at the wrong times or by the "
                "wrong share: choose these two, or guidance_rule='x0', which is for "
                "all, or guidance_scale=0"
            )


@dataclasses.dataclass(frozen=True)
class LatentDiffusion:
    """The task `latent_diffusion`; images (b, h, w, c) are in [0, 1].

    Attributes:
      unet, control, autoencoder, restorer: the networks; of the part "unet" the control
        and the restorer are None.
      part: what learns, of PARTS.
      schedule: of T steps.
      parameterisation: what the U-Net predicts: eps, x0 or v.
      loss_kind: a name in weighting.SCHEMES.
      degrade: (keys, images, masks or None) -> degraded images.
      keep_targets: the pixels of batch["mask"] are not degraded.
      image_shape: (h, w, c) of an example, for `init`.
      sampling: how `predict` draws.
    """

    unet: models.LatentUNet
    control: models.ControlNet | None
    autoencoder: models.AutoencoderKL
    restorer: Any
    part: str
    schedule: schedule.Schedule
    parameterisation: str
    loss_kind: str
    degrade: Callable | None
    keep_targets: bool
    image_shape: tuple[int, int, int]
    sampling: Resampling

    chosen_by = ("mse", -1)

    def init(self, key, **parts):
        """Variables with the trained part in "params", the others in "frozen".

        Args:
          parts: of the part "unet": `autoencoder`; of "control": `unet` (what a run of
            the part "unet" leaves) and `restorer`. Each is the variables of a task.
        """
        h, w, _ = self.image_shape
        f, c = self.autoencoder.factor, self.autoencoder.z_channels
        z = jax.ShapeDtypeStruct((1, h // f, w // f, c), jnp.float32)
        t = jax.ShapeDtypeStruct((1,), jnp.int32)
        context = jax.ShapeDtypeStruct((1, 1, self.unet.context_dim), jnp.float32)
        if self.part == "unet":
            params = self.unet.lazy_init(key, z, t, context)["params"]
            frozen = {"autoencoder": parts["autoencoder"]}
            frozen["context"] = jnp.zeros((1, self.unet.context_dim))
            trained = {"unet": params}
        else:
            unet, frozen = (
                parts["unet"]["params"]["unet"],
                dict(parts["unet"]["frozen"]),
            )
            shapes = jax.eval_shape(self.control.init, key, z, z, t, context)["params"]
            trained = {"control": latent_unet.control_from_unet(unet, shapes)}
            frozen |= {"unet": unet, "restorer": parts["restorer"]}
        return {"params": trained, "batch_stats": {}, "frozen": frozen}

    def loss(self, variables, batch, keys):
        """Eq. 1 for a batch of image and mask; see `tasks`."""
        degrade_keys, latent_keys, draw_keys = split(keys, 3)
        frozen, image = variables["frozen"], batch["image"]
        mean, logvar = self.moments(frozen, image)
        noise = samplers.draw(latent_keys, mean.shape[1:])
        z0 = self.scale(frozen) * (mean + jnp.exp(logvar / 2) * noise)
        hint = None
        if self.part == "control":
            mixed = self.mixed(degrade_keys, batch)
            hint = self.encode(frozen, self.smooth(frozen, mixed))
        mse, snr = self.errors(variables, z0, hint, draw_keys)
        loss = jnp.mean(weighting.SCHEMES[self.loss_kind](snr) * mse)
        terms = {"loss": loss, "eps": jnp.mean(snr * mse), "x0": jnp.mean(mse)}
        return loss, {"terms": terms, "batch_stats": {}}

    def mixed(self, keys, batch):
        """The degraded images of a batch; its targets as they are, where kept."""
        masks = batch["mask"] if self.keep_targets else None
        return self.degrade(keys, batch["image"], masks)

    def errors(self, variables, z0, hint, keys):
        """|z0^ - z0|^2 and the signal-to-noise ratio, (b,), at a random time each."""
        t, eps = jax.vmap(self._draw, (0, None))(keys, z0.shape[1:])
        z_t = process.q_sample(self.schedule, z0, t, eps)
        found = self.denoiser(variables, hint)(z_t, t)
        alpha, sigma = process.signal_and_noise(self.schedule, t, z0)
        return jnp.square(found - z0).mean((1, 2, 3)), jnp.ravel((alpha / sigma) ** 2)

    def _draw(self, key, shape):
        t_key, eps_key = jax.random.split(key)
        t = jax.random.randint(t_key, (), 0, self.schedule.steps)
        return t, jax.random.normal(eps_key, shape)

    def denoiser(self, variables, hint):
        """`denoise(z, t) -> z0` under a hint (b, h, w, c), or None for none.

        A third argument takes the hint's place: its part, where z is a tile.
        """
        networks = variables["frozen"] | variables["params"]

        def denoise(z, t, hint=hint):
            context = jnp.broadcast_to(
                networks["context"], (len(z), *networks["context"].shape)
            )
            controls = None
            if self.part == "control":
                controls = self.control.apply(
                    {"params": networks["control"]}, z, hint, t, context
                )
            output = self.unet.apply(
                {"params": networks["unet"]}, z, t, context, controls
            )
            signal = process.signal_and_noise(self.schedule, t, z)
            return process.to_x0(self.parameterisation, output, z, *signal)

        return denoise

    def tiled(self, function, latents, factor=1):
        """The function of latents, in tiles where they are asked for."""
        return tiles.tiled(
            function, latents, self.sampling.tile, self.sampling.overlap, factor
        )

    def moments(self, frozen, image):
        """Mean and log-variance of the unscaled latent of an image in [0, 1]."""
        variables = {"params": frozen["autoencoder"]["params"]}
        return autoencoding.moments(self.autoencoder, variables, 2 * image - 1)

    def scale(self, frozen):
        return autoencoding.scale(frozen["autoencoder"]["batch_stats"])

    def encode(self, frozen, image):
        """The scaled mode of the latent of an image (b, h, w, c) in [0, 1]."""
        return self.scale(frozen) * self.moments(frozen, image)[0]

    def decode(self, frozen, z):
        """The image in [0, 1], not clipped, of a scaled latent."""
        variables = {"params": frozen["autoencoder"]["params"]}

        def decoded(z):
            return self.autoencoder.apply(variables, z, method="decode")

        output = self.tiled(decoded, (z / self.scale(frozen),), self.autoencoder.factor)
        return (output + 1) / 2

    def smooth(self, frozen, mixed):
        """The Pixel-Prior's image, not clipped (as released), of a degraded one."""
        variables = {"params": frozen["restorer"]["params"]}
        return self.restorer.apply(variables, mixed)

    def predict(self, variables, batch, keys):
        """{"realistic": (b, h, w, c) in [0, 1]}, resampled from the image I_smooth."""
        smooth, frozen = batch["image"], variables["frozen"]
        h, w = smooth.shape[1:3]
        padded = resize.pad_to_multiple(
            smooth, self.autoencoder.factor * self.unet.multiple
        )
        hint = self.encode(frozen, padded)
        z = self.resample(variables, hint, keys)
        image = resize.crop(self.decode(frozen, z), h, w)
        if self.sampling.residual:
            lost = smooth - resize.crop(self.decode(frozen, hint), h, w)
            image += self.sampling.residual * lost
        image = color.correct(self.sampling.color, image, smooth)
        return {"realistic": jnp.clip(image, 0, 1)}

    def resample(self, variables, hint, keys):
        """Latents drawn under the hint (b, h, w, c), by the settings of `sampling`."""
        how = self.sampling
        levels = spacing.told(self.schedule, how.steps, how.spacing)
        whole = dataclasses.replace(self, schedule=levels).denoiser(variables, hint)

        def denoise(z, t):
            return self.tiled(lambda z, hint: whole(z, t, hint), (z, hint))

        if how.guidance_scale:
            weights = guidance.weights(
                levels,
                how.steps,
                how.guidance_scale,
                how.guidance_repeats,
                how.guidance_start,
                how.guidance_rule,
            )
            # The hint is the target: it is encoded once.
            denoise = guidance.guided(denoise, hint, weights)
        return samplers.sample(
            denoise,
            self.schedule,
            keys,
            hint.shape[1:],
            sampler=how.sampler,
            steps=how.steps,
            spacing=how.spacing,
            variance=how.variance,
            eta=how.eta if how.sampler == "ddim" else None,
            clip=None,
            start=hint if how.strength < 1 else None,
            strength=how.strength,
        )

    def score(self, variables, batch, keys):
        """({"mse": (b,)}, pictures): the error of v at four draws, and one step.

        The weight of eps varies over thousands with the time; that of v does not.
        """
        frozen, image = variables["frozen"], batch["image"]
        z0, hint, pictures = self.encode(frozen, image), None, {"image": image}
        degrade_keys, draw_keys = split(keys, 2)
        if self.part == "control":
            mixed = self.mixed(degrade_keys, batch)
            smooth = self.smooth(frozen, mixed)
            hint = self.encode(frozen, smooth)
            pictures |= {"degraded": mixed, "smooth": smooth}
        mse, snr = self.errors(
            variables,
            jnp.repeat(z0, DRAWS, 0),
            None if hint is None else jnp.repeat(hint, DRAWS, 0),
            split(draw_keys, DRAWS).T.ravel(),
        )
        mse = jnp.mean((mse * (snr + 1)).reshape(-1, DRAWS), 1)
        pictures["decoded"] = self.decode(frozen, z0)
        t = jnp.full(len(image), self.schedule.steps // 2)
        eps = samplers.draw(draw_keys, z0.shape[1:])
        z_t = process.q_sample(self.schedule, z0, t, eps)
        found = self.denoiser(variables, hint)(z_t, t)
        pictures["one step from t = T / 2"] = self.decode(frozen, found)
        return {"mse": mse}, pictures


def split(keys, count):
    """`count` arrays of keys (b,), independent of one another."""
    return jax.vmap(lambda key: jax.random.split(key, count), out_axes=1)(keys)


def from_config(config, norm_axis=None):
    """The task by the blocks task, model, autoencoder (, unet, restorer), sampling."""
    settings = config.task
    if settings.part not in PARTS:
        raise ValueError(f"unknown task.part {settings.part!r}; choose from {PARTS}")
    if settings.loss not in weighting.SCHEMES:
        raise ValueError(
            f"unknown task.loss {settings.loss!r}; choose from "
            f"{sorted(weighting.SCHEMES)}"
        )
    controls = settings.part == "control"
    side = config.data.crop or config.data.resize or 64
    return LatentDiffusion(
        unet=models.build(**(config.unet if controls else config.model)),
        control=models.build(**config.model) if controls else None,
        autoencoder=models.build(**config.autoencoder),
        restorer=models.build(**config.restorer) if controls else None,
        part=settings.part,
        schedule=schedule.noise_schedule(settings.schedule, settings.steps),
        parameterisation=settings.parameterisation,
        loss_kind=settings.loss,
        degrade=restoration.degrader(settings) if controls else None,
        keep_targets=settings.keep_targets,
        image_shape=(side, side, config.data.channels),
        sampling=Resampling(**config.sampling),
    )
