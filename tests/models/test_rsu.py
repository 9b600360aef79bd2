import jax
import jax.numpy as jnp
import numpy as np
import pytest

from irstd_jax.models import rsu

# Table II and the released state dict: height, input, middle, output, parameters.
STAGES = [
    (7, 3, 16, 64, 66_880),
    (6, 64, 16, 64, 95_040),
    (5, 64, 32, 128, 277_504),
    (4, 128, 32, 256, 582_016),
    (0, 256, 32, 256, 876_928),
    (0, 256, 64, 256, 1_292_032),
    (0, 512, 64, 256, 1_881_856),
    (4, 512, 32, 128, 765_824),
    (5, 256, 32, 64, 295_680),
    (6, 128, 16, 64, 131_904),
    (7, 128, 16, 64, 138_880),
]


@pytest.mark.parametrize("height, channels, hidden, features, size", STAGES)
def test_published_sizes(count, height, channels, hidden, features, size):
    network = rsu.RSU(height, hidden, features)
    x = jnp.zeros((1, 32, 32, channels))
    shapes = jax.eval_shape(lambda: network.init(jax.random.key(0), x))
    assert count(shapes["params"]) == size


@pytest.mark.parametrize("height", [0, 4, 7])
def test_any_size_goes_through(randomised, height):
    x = jnp.asarray(np.random.default_rng(0).normal(size=(1, 5, 9, 3)), jnp.float32)
    network = rsu.RSU(height, 2, 4)
    variables = randomised(network, x)
    y = jax.jit(network.apply)(variables, x)
    assert y.shape == (1, 5, 9, 4) and jnp.isfinite(y).all()


def test_plan_is_of_the_papers_heights():
    down, up, pooled = rsu.plan(7)
    assert (down, up) == ((1,) * 6 + (2,), (1,) * 6) and list(pooled) == [1, 2, 3, 4, 5]
    assert rsu.plan(0) == ((1, 2, 4, 8), (4, 2, 1), ())


def test_the_input_is_added_at_the_end(randomised):
    """With a decoder that ends at zero, only conv_in is left."""
    x = jnp.asarray(np.random.default_rng(0).normal(size=(1, 8, 8, 3)), jnp.float32)
    network = rsu.RSU(4, 2, 4)
    variables = randomised(network, x)
    last = variables["params"]["up_2"]["norm"]
    last["scale"], last["bias"] = jnp.zeros(4), jnp.zeros(4)
    first = {kind: tree["conv_in"] for kind, tree in variables.items()}
    expected = jax.jit(rsu.ConvNorm(4).apply)(first, x)
    y = jax.jit(network.apply)(variables, x)
    np.testing.assert_allclose(y, expected, atol=1e-6)
