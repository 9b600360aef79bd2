"""The encoder of the Probabilistic U-Net (Kohl et al., NeurIPS 2018), as CIMD has it.

Stages of three convolutions, a mean pool between them, the mean over all pixels, and a
linear map to mean and log deviation of a Gaussian of independent dimensions.
"""

import flax.linen as nn
import jax.numpy as jnp

from irstd_jax.models.layers import Conv, kaiming
from irstd_jax.ops import resize

DIMENSIONS = 6


class GaussianEncoder(nn.Module):
    """(b, h, w, c) -> mean and log of the deviation, both (b, 6), float32.

    Its first values are the release's, which never learns it.
    """

    widths: tuple[int, ...] = (32, 64, 128, 192)

    @nn.compact
    def __call__(self, x):
        start = {
            "kernel_init": kaiming(),
            "bias_init": nn.initializers.truncated_normal(0.001),
        }
        for i, width in enumerate(self.widths):
            if i:
                x = resize.mean_pool(x)
            for j in range(3):
                x = nn.relu(Conv(width, name=f"conv_{i}_{j}", **start)(x))
        start["bias_init"] = nn.initializers.normal(1.0)
        head = Conv(2 * DIMENSIONS, 1, name="head", **start)
        x = head(x.mean((1, 2), keepdims=True))[:, 0, 0]
        return tuple(jnp.split(x, 2, axis=-1))
