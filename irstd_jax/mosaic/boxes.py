"""CutMix's random box: a share 1 - lam of an image, lam ~ Beta(a, a).

Sides h sqrt(1 - lam) and w sqrt(1 - lam), truncated to whole pixels, halved downwards
about a centre that is uniform over the pixels; the part inside the image is taken, so
its mean share is less than that of the box. Source: CutMix (ICCV 2019), Algorithm 1.
"""

import jax
import jax.numpy as jnp


def box(key, height, width, concentration):
    """Corners (y0, x0, y1, x1), half-open, int32, inside the image; may be empty."""
    beta_key, y_key, x_key = jax.random.split(key, 3)
    lam = jax.random.beta(beta_key, concentration, concentration)
    root = jnp.sqrt(1 - lam)
    y0, y1 = _interval(jax.random.randint(y_key, (), 0, height), height, root)
    x0, x1 = _interval(jax.random.randint(x_key, (), 0, width), width, root)
    return jnp.stack([y0, x0, y1, x1])


def _interval(centre, length, root):
    half = (length * root).astype(jnp.int32) // 2
    return jnp.maximum(centre - half, 0), jnp.minimum(centre + half, length)


def filled(corners, height, width):
    """bool (height, width), true inside the corners (y0, x0, y1, x1)."""
    y0, x0, y1, x1 = corners
    y, x = jnp.arange(height)[:, None], jnp.arange(width)[None]
    return (y >= y0) & (y < y1) & (x >= x0) & (x < x1)
