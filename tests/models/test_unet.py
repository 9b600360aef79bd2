import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special

from irstd_jax.models import unet

TOY = dict(channels=16, channel_mult=(1, 2), num_res_blocks=1)


def normal(*shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


def test_published_size_and_that_of_one_res_block(count):
    def size(**fields):
        network, x = unet.UNet(**fields), jnp.zeros((1, 32, 32, 4))
        feature = jnp.zeros((1, 16, 16, 64))
        init = network.init
        shapes = jax.eval_shape(init, jax.random.key(0), x, jnp.zeros(1, int), feature)
        return count(shapes["params"])

    assert size() == 29_729_601
    assert size(num_res_blocks=1) == 20_182_209


def test_sinusoids_are_cosines_then_sines():
    t = np.array([0, 3, 99])
    frequency = 10000.0 ** (-np.arange(8) / 8)
    angle = t[:, None] * frequency
    expected = np.concatenate([np.cos(angle), np.sin(angle)], axis=1)
    np.testing.assert_allclose(unet.sinusoids(jnp.asarray(t), 16), expected, atol=1e-5)


def test_attention_as_written(randomised):
    x = normal(2, 2, 3, 8)
    layer = unet.Attention(heads=2)
    variables = randomised(layer, x)
    params = jax.tree.map(np.float64, variables["params"])
    y = jax.jit(layer.apply)(variables, x)
    norm = {"params": variables["params"]["norm"]}
    tokens = np.float64(jax.jit(unet.GroupNorm().apply)(norm, x)).reshape(2, 6, 8)
    qkv = tokens @ params["qkv"]["kernel"] + params["qkv"]["bias"]
    heads = []
    for head in range(2):
        # Of the 12 channels of a head, q, k and v are 4 each.
        q, k, v = np.split(qkv[..., 12 * head : 12 * head + 12], 3, axis=-1)
        weights = special.softmax(q @ k.swapaxes(1, 2) / np.sqrt(4), axis=-1)
        heads.append(weights @ v)
    out = np.concatenate(heads, -1) @ params["proj"]["kernel"] + params["proj"]["bias"]
    np.testing.assert_allclose(y, x + out.reshape(x.shape), atol=1e-5)


def test_attention_needs_whole_heads():
    with pytest.raises(ValueError, match="8 channels do not divide into num_heads=3"):
        unet.Attention(3).init(jax.random.key(0), jnp.zeros((1, 2, 2, 8)))


@pytest.fixture(scope="module")
def toy(randomised):
    network = unet.UNet(**TOY, attention_downsamplings=(2,))
    x, t, feature = normal(2, 8, 8, 2), jnp.array([3, 50]), normal(2, 4, 4, 32)
    variables = randomised(network, x, t, feature)
    apply = jax.jit(lambda *inputs: network.apply(variables, *inputs))
    return apply, (x, t, feature)


def test_output_depends_on_every_input_of_the_same_image_alone(toy):
    apply, inputs = toy
    y = apply(*inputs)
    assert y.shape == (2, 8, 8, 1)
    for i in range(3):
        changed = list(inputs)
        changed[i] = changed[i].at[0].add(1)
        change = np.abs(apply(*changed) - y).max((1, 2, 3))
        assert change[0] > 1e-3 and change[1] < 1e-5


def test_fresh_blocks_pass_on_what_they_get():
    x, key = normal(1, 4, 4, 8), jax.random.key(0)
    y = jax.jit(unet.ResBlock(8).init_with_output)(key, x, normal(1, 16))[0]
    np.testing.assert_array_equal(y, x)
    y = jax.jit(unet.Attention(2).init_with_output)(key, x)[0]
    np.testing.assert_array_equal(y, x)


@pytest.mark.parametrize("blocks", [1, 2])
def test_the_feature_enters_before_the_second_block_of_level_1(
    monkeypatch, randomised, blocks
):
    """Marked by a feature of 1000s, seen where it is part of a block's input."""
    seen = {}

    def stage(self, x, embedding, level, name):
        seen[name] = x
        return jnp.zeros((*x.shape[:-1], self.width(level)))

    monkeypatch.setattr(unet.UNet, "stage", stage)
    network = unet.UNet(4, (1, 1, 1), blocks, 1, ())
    data = jnp.zeros((1, 8, 8, 2)), jnp.zeros(1), jnp.full((1, 4, 4, 4), 1000.0)
    variables = randomised(network, *data)

    def inputs_of_stages():
        network.apply(variables, *data)
        return {name: x.max() for name, x in seen.items()}

    marked = [name for name, top in jax.jit(inputs_of_stages)().items() if top > 500]
    # Level 2 comes first, with blocks + 1 blocks; then level 1's first, then this.
    assert marked == [f"out_{blocks + 2}"]
