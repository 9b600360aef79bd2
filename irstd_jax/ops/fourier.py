"""Filtering of feature maps by frequency."""

import jax.numpy as jnp


def filtered(x, weight):
    """irfft2(rfft2(x) * weight), a circular convolution of each channel.

    The transform is orthonormal, over height and width.

    Args:
      x: (b, h, w, c) real.
      weight: (h, w // 2 + 1, c, 2) real: real and imaginary parts of the factors.

    Returns:
      (b, h, w, c) float32.

    Raises:
      ValueError: the weight is of another size.
    """
    b, h, w, c = x.shape
    if weight.shape != (h, w // 2 + 1, c, 2):
        raise ValueError(
            f"a map of {h}x{w} and {c} channels wants a filter of shape "
            f"{(h, w // 2 + 1, c, 2)}, not {weight.shape}"
        )
    spectrum = jnp.fft.rfft2(x.astype(jnp.float32), axes=(1, 2), norm="ortho")
    spectrum = spectrum * (weight[..., 0] + 1j * weight[..., 1])
    return jnp.fft.irfft2(spectrum, s=(h, w), axes=(1, 2), norm="ortho")
