"""Sensor noise on one image: Gaussian, or photon (shot) noise; grey or in colour.

    Gaussian   x + n,                     n ~ N(0, s^2)                          (1)
    shot       x + f (k / p - x),         k ~ Poisson(p x), p photons at white   (2)

Source: the noise steps of Real-ESRGAN (ICCVW 2021), with p fixed.
"""

import jax
import jax.numpy as jnp


def noisy(key, image, settings):
    """The image with Gaussian or shot noise, not clipped."""
    kind, other, colour, strength, grain = jax.random.split(key, 5)
    gaussian = jax.random.bernoulli(kind, settings.gaussian)
    grey = jax.random.bernoulli(colour, settings.grey_noise)
    added = 0.0
    if settings.gaussian:
        deviation = between(strength, settings.noise) / 255
        white = jax.random.normal(grain, image.shape)
        white = jnp.where(grey, white[..., :1], white)
        added = jnp.where(gaussian, deviation * white, 0.0)
    if settings.poisson and settings.gaussian < 1:
        on = ~gaussian & jax.random.bernoulli(other, settings.poisson)
        factor = between(strength, settings.shot)
        noise = factor * shot_noise(grain, image, settings.photons, grey)
        added = jnp.where(on, noise, added)
    return image + added


def shot_noise(key, image, photons, grey):
    """Poisson counts of image * photons, over photons, less the image.

    Where `grey` is true that of the channels' mean, for all of them.
    """
    image = jnp.clip(image, 0, 1)
    mean = jnp.broadcast_to(image.mean(-1, keepdims=True), image.shape)
    light = jnp.where(grey, mean, image)
    counts = jax.random.poisson(key, light * photons).astype(image.dtype)
    noise = counts / photons - light
    return jnp.where(grey, noise[..., :1], noise)


def between(key, pair):
    """A number even in [low, high)."""
    return jax.random.uniform(key, (), minval=pair[0], maxval=pair[1])
