import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special

from irstd_jax.models.spatial_transformer import SpatialTransformer


def normal(*shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


@pytest.fixture(scope="module")
def layer(randomised):
    """(variables, compiled) of a transformer with two heads of 4."""
    network = SpatialTransformer(heads=2)
    variables = randomised(network, normal(2, 2, 3, 8), normal(2, 5, 6))
    return variables, jax.jit(network.apply)


def linear(x, p):
    return x @ p["kernel"] + p.get("bias", 0)


def layer_norm(x, p):
    centred = x - x.mean(-1, keepdims=True)
    unit = centred / np.sqrt(np.square(centred).mean(-1, keepdims=True) + 1e-5)
    return unit * p["scale"] + p["bias"]


def attention(x, y, p):
    """Head by head, one image."""
    heads = []
    for columns in (slice(0, 4), slice(4, 8)):
        q, k, v = (
            (tokens @ p[name]["kernel"])[:, columns]
            for tokens, name in ((x, "q"), (y, "k"), (y, "v"))
        )
        heads.append(special.softmax(q @ k.T / np.sqrt(4), axis=-1) @ v)
    return linear(np.concatenate(heads, -1), p["proj"])


def oracle(x, context, p):
    """The docstring's lines on one image; 8 channels are 8 groups."""
    centred = x - x.mean((0, 1))
    unit = centred / np.sqrt(np.square(centred).mean((0, 1)) + 1e-6)
    y = (unit * p["norm"]["scale"] + p["norm"]["bias"]).reshape(-1, 8)
    y = linear(y, p["proj_in"])
    z = layer_norm(y, p["norm1"])
    y = y + attention(z, z, p["self"])
    y = y + attention(layer_norm(y, p["norm2"]), context, p["cross"])
    z = linear(layer_norm(y, p["norm3"]), p["ff_in"])
    value, gate = z[:, :32], z[:, 32:]
    gelu = gate * 0.5 * (1 + special.erf(gate / np.sqrt(2)))
    y = y + linear(value * gelu, p["ff_out"])
    return x + linear(y, p["proj_out"]).reshape(x.shape)


def test_as_written(layer):
    variables, apply = layer
    x, context = normal(2, 2, 3, 8), normal(2, 5, 6, seed=1)
    y = apply(variables, x, context)
    params = jax.tree.map(np.float64, variables["params"])
    for image in range(2):
        expected = oracle(np.float64(x[image]), np.float64(context[image]), params)
        np.testing.assert_allclose(y[image], expected, atol=2e-5)


def test_a_fresh_one_passes_on_what_it_gets():
    x, context = normal(1, 2, 3, 8), normal(1, 5, 6)
    network = SpatialTransformer(heads=2)
    y = jax.jit(network.init_with_output)(jax.random.key(0), x, context)[0]
    np.testing.assert_array_equal(y, x)
