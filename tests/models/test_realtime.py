"""The realtime network: any size, what depends on what, its start, its fields."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from irstd_jax import models
from irstd_jax.models.realtime import HaarHead

TOY = {
    "widths": (4, 8),
    "blocks": (1, 1),
    "denoiser_widths": (4, 4),
    "denoiser_blocks": (1, 1),
}


def inputs(h=16, w=16, b=2):
    rng = np.random.default_rng(0)
    image, x_t = rng.normal(size=(2, b, h, w, 1))
    return jnp.float32(image), jnp.float32(x_t), jnp.arange(b) * 30 + 5


@pytest.fixture(scope="module")
def toy():
    """(network, variables with every parameter drawn, so that nothing is zero)."""
    network = models.build("realtime", **TOY)
    variables = jax.jit(network.init)(jax.random.key(0), *inputs())
    leaves, tree = jax.tree.flatten(variables["params"])
    keys = jax.random.split(jax.random.key(1), len(leaves))
    drawn = [
        x + 0.1 * jax.random.normal(key, x.shape)
        for x, key in zip(leaves, keys, strict=True)
    ]
    return network, variables | {"params": jax.tree.unflatten(tree, drawn)}


def test_the_default_is_small(count):
    network, data = models.build("realtime"), inputs(32, 32)
    shapes = jax.eval_shape(lambda: network.init(jax.random.key(0), *data))
    assert 0.2e6 < count(shapes["params"]) < 0.7e6


@pytest.mark.parametrize("size", [(16, 16), (13, 18)])
def test_any_size_goes_through(toy, size):
    network, variables = toy
    image, x_t, t = inputs(*size)
    output, logits = network.apply(variables, image, x_t, t)
    assert output.shape == (2, *size, 1) and logits.shape == (2, *size, 2)
    assert output.dtype == logits.dtype == jnp.float32


def test_what_depends_on_what(toy):
    """The image alone decides the logits; image, x_t and t the output."""
    network, variables = toy
    image, x_t, t = inputs()
    apply = jax.jit(network.apply)
    output, logits = apply(variables, image, x_t, t)
    for changed, moves in (
        ((image, x_t + 1, t), False),
        ((image, x_t, t + 40), False),
        ((image + 1, x_t, t), True),
    ):
        other, others = apply(variables, *changed)
        assert np.abs(other - output).max() > 1e-3
        assert (np.abs(others - logits).max() > 1e-3) == moves


def test_halves_are_the_whole(toy):
    network, variables = toy
    image, x_t, t = inputs(13, 18)
    feature, logits = network.apply(variables, image, method="condition")
    output = network.apply(variables, x_t, t, image, feature, method="denoise")
    whole = network.apply(variables, image, x_t, t)
    np.testing.assert_allclose(whole[0], output, atol=1e-6)
    np.testing.assert_allclose(whole[1], logits, atol=1e-6)


def test_detached_the_denoiser_teaches_the_encoder_nothing(toy):
    _, variables = toy
    image, x_t, t = inputs()

    def gradient(detach):
        network = models.build("realtime", **TOY, detach_condition=detach)

        def loss(params):
            output, _ = network.apply(variables | {"params": params}, image, x_t, t)
            return jnp.square(output).sum()

        found = jax.jit(jax.grad(loss))(variables["params"])["encoder"]
        return max(float(jnp.abs(x).max()) for x in jax.tree.leaves(found))

    assert gradient(True) == 0 < gradient(False)


def test_the_head_keeps_every_pixel():
    """The four bands are an orthonormal change of the four pixels of a block."""
    x = jax.random.normal(jax.random.key(0), (1, 3, 5, 4))
    variables = {
        "params": {
            "bands": {"kernel": jnp.eye(4)[None, None]},
            "bias": jnp.zeros(1),
        }
    }
    y = HaarHead().apply(variables, x)
    assert y.shape == (1, 6, 10, 1)
    np.testing.assert_allclose(jnp.square(y).sum(), jnp.square(x).sum(), rtol=1e-5)


def test_untrained_heads_expect_few_targets():
    network, data = models.build("realtime", **TOY, prior=0.02), inputs()
    variables = network.init(jax.random.key(0), *data)
    output, logits = network.apply(variables, *data)
    assert abs(float(jax.nn.sigmoid(logits).mean()) - 0.02) < 0.02
    assert abs(float(jax.nn.sigmoid(output).mean()) - 0.02) < 0.02


@pytest.mark.parametrize(
    "fields, words",
    [
        ({"widths": (4, 8, 8)}, "widths and blocks want one number a level"),
        ({"denoiser_blocks": (1, 0)}, "denoiser_widths and denoiser_blocks want"),
        ({"image_channels": 3}, "image_channels=3, but image.shape"),
    ],
)
def test_fields_that_do_not_fit_are_refused(fields, words):
    network = models.build("realtime", **TOY | fields)
    with pytest.raises(ValueError, match=words):
        jax.eval_shape(network.init, jax.random.key(0), *inputs())
