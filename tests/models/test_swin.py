import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special

from irstd_jax.models import swin


def normal(*shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


def test_attend_is_a_weighted_mean_of_values():
    q, k, v = (normal(2, 5, 3, 4, seed=i) for i in range(3))
    bias = normal(3, 5, 5, seed=3)
    y = jax.jit(swin.attend)(q, k, v, 0.7, bias)
    q, k, v, bias = map(np.asarray, (q, k, v, bias))
    for b in range(2):
        for head in range(3):
            scores = 0.7 * q[b, :, head] @ k[b, :, head].T + bias[head]
            expected = special.softmax(scores, axis=-1) @ v[b, :, head]
            np.testing.assert_allclose(y[b, :, head], expected, atol=1e-5)


@pytest.fixture
def block(randomised):
    layer = swin.SwinBlock(heads=2, window=4)
    variables = randomised(layer, jnp.zeros((1, 8, 8, 8)))
    return jax.jit(lambda x: layer.apply(variables, x))


def test_windows_do_not_see_each_other(block):
    x = normal(1, 8, 8, 8)
    change = np.abs(block(x) - block(x.at[0, 1, 6, 0].add(1.0))).max(-1)[0]
    assert (change[:4, 4:] > 0).all()
    change[:4, 4:] = 0
    assert not change.any()


def test_nobody_attends_to_the_padding(block):
    """Of a 5 x 6 map, the window at the bottom right holds 1 x 2 tokens."""
    x = normal(1, 5, 6, 8)
    y = block(x)
    assert y.shape == x.shape
    # With this corner alone, the layer must find the same: padding has no weight.
    corner = block(x[:, 4:, 4:])
    np.testing.assert_allclose(y[:, 4:, 4:], corner, atol=1e-5)


def test_a_map_that_fits_is_not_masked(block):
    """A window in the interior of a larger map equals the same window alone."""
    x = normal(2, 8, 8, 8)
    np.testing.assert_allclose(block(x)[:, :4, 4:], block(x[:, :4, 4:]), atol=1e-5)


def test_heads_must_divide_the_channels():
    with pytest.raises(ValueError, match="6 channels do not divide into heads=4"):
        swin.SwinBlock(heads=4).init(jax.random.key(0), jnp.zeros((1, 4, 4, 6)))
