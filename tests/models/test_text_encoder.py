import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special

from irstd_jax import models
from irstd_jax.models import text_encoder

TOY = dict(vocabulary=11, length=7, width=8, layers=2, heads=2)


@pytest.fixture(scope="module")
def toy(randomised):
    network = models.build("text_encoder", **TOY)
    variables = randomised(network, jnp.zeros((1, 7), int))
    return variables, jax.jit(network.apply)


TOKENS = np.random.default_rng(0).integers(0, 11, (2, 7))


def test_published_size(count):
    """The whole tower less its last block, projection and temperature."""
    network, tokens = models.build("text_encoder"), jnp.zeros((1, 77), int)
    shapes = jax.eval_shape(network.init, jax.random.key(0), tokens)
    w = 1024
    block = 4 * w * w + 4 * w + 8 * w * w + 5 * w + 4 * w
    assert count(shapes) == 354_032_641 - block - w * w - 1 == 340_387_840
    context = jax.eval_shape(network.apply, shapes, tokens)
    assert context.shape == (1, 77, 1024) and context.dtype == jnp.float32


def test_the_empty_prompt():
    assert len(text_encoder.EMPTY) == 77
    assert text_encoder.EMPTY[:3] == (49406, 49407, 0)
    assert set(text_encoder.EMPTY[2:]) == {0}


def linear(x, p):
    return x @ p["kernel"] + p["bias"]


def layer_norm(x, p):
    unit = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5)
    return unit * p["scale"] + p["bias"]


def attention(x, p):
    """Each token asks itself and those before it, token by token and head by head."""
    q, k, v = np.split(linear(x, p["qkv"]), 3, axis=-1)
    out = np.zeros_like(x)
    for i in range(len(x)):
        for head in (slice(0, 4), slice(4, 8)):
            scores = k[: i + 1, head] @ q[i, head] / np.sqrt(4)
            out[i, head] = special.softmax(scores) @ v[: i + 1, head]
    return linear(out, p["proj"])


def oracle(tokens, p):
    x = p["token_embedding"][tokens] + p["positional_embedding"][: len(tokens)]
    for i in range(2):
        block = p[f"block_{i}"]
        x = x + attention(layer_norm(x, block["norm1"]), block)
        y = linear(layer_norm(x, block["norm2"]), block["mlp_in"])
        y = y * 0.5 * (1 + special.erf(y / np.sqrt(2)))
        x = x + linear(y, block["mlp_out"])
    return layer_norm(x, p["norm"])


def test_as_written(toy):
    variables, apply = toy
    context = apply(variables, TOKENS)
    params = jax.tree.map(np.float64, variables["params"])
    for tokens, found in zip(TOKENS, context, strict=True):
        np.testing.assert_allclose(found, oracle(tokens, params), atol=2e-5)


def test_fewer_tokens_are_the_beginning_of_more(toy):
    """Nothing that comes later is seen."""
    variables, apply = toy
    whole, part = apply(variables, TOKENS), apply(variables, TOKENS[:, :4])
    np.testing.assert_allclose(part, whole[:, :4], atol=1e-5)


@pytest.mark.parametrize(
    "fields, n, words",
    [
        ({}, 8, "8 tokens, but there are places for 7"),
        ({"heads": 3}, 7, "width=8 must divide by heads=3"),
    ],
)
def test_what_cannot_work_is_refused(fields, n, words):
    network, tokens = models.build("text_encoder", **(TOY | fields)), jnp.zeros((1, n))
    with pytest.raises(ValueError, match=words):
        jax.eval_shape(network.init, jax.random.key(0), tokens.astype(int))
