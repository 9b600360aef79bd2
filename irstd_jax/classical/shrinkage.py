"""Proximal operators: of the l1 norm, of the nuclear norm, of a tensor's.

A tensor of n frontal slices is (n, h, w). Its products and singular values are those
of the slices of its Fourier transform along n (t-product, t-SVD). If it is real, half
of these are enough.
"""

import jax.numpy as jnp


def soft(x, threshold):
    """Entries nearer to 0 by a threshold, at most to 0."""
    return jnp.sign(x) * jnp.maximum(jnp.abs(x) - threshold, 0)


def singular_soft(x, threshold):
    """A matrix with its singular values nearer to 0 -> matrix, values before, rising.

    Through the smaller Gram matrix: values below 1e-8 of the largest are lost even in
    float64, so the threshold should lie above.
    """
    if x.shape[0] < x.shape[1]:
        low, values = singular_soft(x.T, threshold)
        return low.T, values
    squares, v = jnp.linalg.eigh(x.T @ x)
    values = jnp.sqrt(jnp.maximum(squares, 0))
    kept = jnp.where(values > threshold, 1 - threshold / values, 0)
    return x @ ((v * kept) @ v.T), values


def tensor_singular(x, change):
    """A tensor (n, h, w) with `change` made to its singular values (n', min(h, w))."""
    u, values, v = jnp.linalg.svd(transformed(x), full_matrices=False)
    return restored((u * change(values)[:, None]) @ v, len(x))


def transformed(x):
    """The Fourier slices of a real tensor, the half that is enough."""
    return jnp.fft.rfft(x, axis=0)


def restored(slices, n):
    """The real tensor of n slices that `transformed` has made these of."""
    return jnp.fft.irfft(slices, n, axis=0)
