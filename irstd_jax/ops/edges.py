"""How steep an image is."""

import jax.numpy as jnp


def gradient(x):
    """sqrt(v^2 + h^2 + 1e-6) of central differences v and h, channel by channel.

    (b, h, w, c) -> (b, h, w, c). v = x[y + 1] - x[y - 1], h alike; beyond the border
    lies 0, so that a bright image has an edge there.
    """
    x = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    v = x[:, 2:, 1:-1] - x[:, :-2, 1:-1]
    h = x[:, 1:-1, 2:] - x[:, 1:-1, :-2]
    return jnp.sqrt(jnp.square(v) + jnp.square(h) + 1e-6)
