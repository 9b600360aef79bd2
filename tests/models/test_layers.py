import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import signal

from irstd_jax.models import layers

KEY = jax.random.key(0)
NHWC = ("NHWC", "HWIO", "NHWC")


def normal(*shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


@pytest.mark.parametrize(
    "kernel, stride, dilation", [(3, 1, 1), (3, 2, 1), (3, 1, 4), (1, 1, 1)]
)
def test_conv_is_a_correlation_padded_on_all_sides(kernel, stride, dilation):
    x = normal(2, 8, 7, 2)
    layer = layers.Conv(3, kernel, stride, dilation)
    y, variables = jax.jit(layer.init_with_output)(KEY, x)
    weights, bias = variables["params"]["kernel"], variables["params"]["bias"]
    spread = np.zeros((dilation * (kernel - 1) + 1,) * 2 + (2, 3))
    spread[::dilation, ::dilation] = weights
    x, expected = np.asarray(x), np.zeros((2, 8, 7, 3)) + np.asarray(bias)
    for image in range(2):
        for c in range(2):
            for f in range(3):
                expected[image, ..., f] += signal.correlate2d(
                    x[image, ..., c], spread[..., c, f], mode="same"
                )
    np.testing.assert_allclose(y, expected[:, ::stride, ::stride], atol=1e-5)


def test_conv_padded_on_one_side():
    """By (0, 1) and stride 2: windows begin at the even pixels."""
    x = normal(1, 6, 4, 2)
    layer = layers.Conv(3, stride=2, padding=(0, 1))
    y, variables = jax.jit(layer.init_with_output)(KEY, x)
    kernel, bias = map(np.float64, jax.tree.leaves(variables)[::-1])
    padded = np.pad(x, ((0, 0), (0, 1), (0, 1), (0, 0)))
    for i in range(3):
        for j in range(2):
            window = padded[0, 2 * i : 2 * i + 3, 2 * j : 2 * j + 3]
            expected = np.einsum("hwc,hwcf->f", window, kernel) + bias
            np.testing.assert_allclose(y[0, i, j], expected, atol=1e-5)


def test_dense_without_bias_is_a_product():
    x = normal(2, 5)
    layer = layers.Dense(3, bias=False)
    y, variables = layer.init_with_output(KEY, x)
    assert set(variables["params"]) == {"kernel"}
    np.testing.assert_allclose(y, x @ variables["params"]["kernel"], atol=1e-6)


def test_epsilon_keeps_a_faint_map_faint():
    x = 1e-3 * normal(1, 4, 4, 8)
    for epsilon in (1e-6, 1e-5):
        layer = layers.GroupNorm(groups=1, epsilon=epsilon)
        y = jax.jit(layer.init_with_output)(KEY, x)[0]
        expected = (x - x.mean()) / np.sqrt(np.var(x) + epsilon)
        np.testing.assert_allclose(y, expected, atol=1e-5)


def test_conv_transpose_is_the_transpose_of_a_strided_convolution():
    """<conv(y), x> = <y, transpose(x)>, by way of the gradient."""
    x = normal(2, 3, 5, 6)
    layer = layers.ConvTranspose(4)
    y, variables = jax.jit(layer.init_with_output)(KEY, x)
    kernel, bias = variables["params"]["kernel"], variables["params"]["bias"]

    def conv(y):
        return jax.lax.conv_general_dilated(
            y, kernel, (2, 2), ((1, 1), (1, 1)), dimension_numbers=NHWC
        )

    expected = jax.vjp(conv, jnp.zeros((2, 6, 10, 4)))[1](x)[0]
    np.testing.assert_allclose(y, expected + bias, atol=1e-5)
    assert np.abs(kernel).max() <= 1 / np.sqrt(16 * 4)


def test_weights_and_biases_start_as_in_torch():
    x = jnp.zeros((1, 4, 4, 16))
    params = layers.Conv(400).init(KEY, x)["params"]
    limit = 1 / np.sqrt(9 * 16)
    for leaf in (params["kernel"], params["bias"]):
        assert np.abs(leaf).max() <= limit
        np.testing.assert_allclose(np.std(leaf), limit / np.sqrt(3), rtol=0.1)
    zeros = jax.tree.leaves(layers.Conv(4, zero=True).init(KEY, x))
    assert len(zeros) == 2 and not any(np.any(leaf) for leaf in zeros)


def test_a_bias_starts_where_it_is_told():
    """At 0.5 as in torch, so that published recipes begin as their authors'."""
    x = jnp.zeros((1, 4, 4, 3))
    assert layers.log_odds(0.5) == 0
    start = layers.log_odds(0.01)
    plain = layers.Conv(8).init(KEY, x)["params"]["bias"]
    moved = layers.Conv(8, start=start).init(KEY, x)["params"]["bias"]
    np.testing.assert_allclose(moved, plain + start, atol=1e-6)
    assert jax.nn.sigmoid(start) == pytest.approx(0.01)
    for prior in (0, 1, -1):
        with pytest.raises(ValueError, match="prior must lie between 0 and 1"):
            layers.log_odds(prior)


@pytest.mark.parametrize("channels, groups", [(64, 32), (16, 16), (48, 16)])
def test_group_norm_agrees_with_flax(channels, groups):
    x = 3 + 2 * normal(2, 5, 4, channels)
    y = jax.jit(layers.GroupNorm().init_with_output)(KEY, x)[0]
    flax = nn.GroupNorm(num_groups=groups, epsilon=1e-5)
    expected = jax.jit(flax.init_with_output)(KEY, x)[0]
    np.testing.assert_allclose(y, expected, atol=1e-5)


def test_group_norm_modulates_as_written():
    x, scale, shift = normal(2, 5, 4, 8), normal(2, 8, seed=1), normal(2, 8, seed=2)
    layer = layers.GroupNorm()
    params = {"params": {"scale": normal(8, seed=3), "bias": normal(8, seed=4)}}
    y = layer.apply(params, x, scale, shift)
    expected = (
        layer.apply(params, x) * (1 + scale[:, None, None]) + shift[:, None, None]
    )
    np.testing.assert_allclose(y, expected, atol=1e-5)


def test_statistics_of_a_far_off_map_are_exact():
    x = 1000 + normal(1, 16, 16, 8)
    y = jax.jit(layers.GroupNorm(groups=8).init_with_output)(KEY, x)[0]
    np.testing.assert_allclose(np.std(y, axis=(1, 2)), 1, atol=1e-3)


def test_conv_norm_uses_the_batch_only_in_training():
    x = normal(2, 6, 6, 3)
    layer = layers.ConvNorm(4)
    variables = jax.jit(layer.init)(KEY, x)
    train = jax.jit(lambda x: layer.apply(variables, x, True, mutable=["batch_stats"]))
    y, updates = train(x)
    conv = {"params": variables["params"]["conv"]}
    z = np.float64(layers.Conv(4, bias=False).apply(conv, x))
    mean, var = z.mean((0, 1, 2)), z.var((0, 1, 2))
    expected = np.maximum((z - mean) / np.sqrt(var + 1e-5), 0)
    np.testing.assert_allclose(y, expected, atol=1e-4)
    running = updates["batch_stats"]["norm"]
    np.testing.assert_allclose(running["mean"], 0.1 * mean, atol=1e-6)
    np.testing.assert_allclose(running["var"], 0.9 + 0.1 * var, rtol=1e-4)
    still = np.maximum(z / np.sqrt(1 + 1e-5), 0)
    np.testing.assert_allclose(jax.jit(layer.apply)(variables, x), still, atol=1e-5)


def test_arithmetic_follows_dtype_and_parameters_do_not():
    x = jnp.zeros((1, 4, 4, 8))
    for layer in (
        layers.Conv(8),
        layers.Dense(8),
        layers.GroupNorm(),
        layers.ConvNorm(8),
    ):
        layer = layer.clone(dtype=jnp.bfloat16)
        y, variables = jax.eval_shape(layer.init_with_output, KEY, x)
        assert y.dtype == jnp.bfloat16
        assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {
            jnp.float32.dtype
        }
