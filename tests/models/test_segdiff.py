"""SegDiff: published sizes and outputs, its encoder by hand, what enters where."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from irstd_jax import models, weights
from irstd_jax.models.generative import rrdb
from irstd_jax.models.unet import UNet

TOY = dict(
    image_channels=1,
    channels=4,
    channel_mult=(1, 1),
    num_res_blocks=1,
    num_heads=1,
    attention_downsamplings=(),
    groups=2,
    rrdb_blocks=1,
    rrdb_channels=3,
    rrdb_growth=2,
)


def normal(*shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


# --- the published configuration ------------------------------------------------------


def test_published_size(one_table, parameters):
    entries = weights.table("segdiff")
    assert (len(entries), parameters(entries)) == (882, 159_838_209)


@pytest.mark.parametrize(
    "blocks, size", [(6, 4_466_048), (12, 8_782_592), (15, 10_940_864)]
)
def test_published_size_of_the_encoder(count, blocks, size):
    encoder, image = rrdb.RRDB(128, blocks), jnp.zeros((1, 8, 8, 3))
    shapes = jax.eval_shape(encoder.init, jax.random.key(0), image)
    assert count(shapes["params"]) == size


@pytest.fixture(scope="module")
def reference(golden_root, seeded, one_table):
    """What we compute and what the authors' code computed, of the same weights."""
    fixture = seeded.load("segdiff", golden_root)
    network = models.build("segdiff")
    variables = weights.convert("segdiff", seeded.state_dict(fixture))

    @jax.jit
    def run(variables, image, x_t, t):
        feature, _ = network.apply(variables, image, method="condition")
        given = x_t, t, image, feature
        return feature, network.apply(variables, *given, method="denoise")

    image, x_t = (fixture[f"in/{n}"].transpose(0, 2, 3, 1) for n in ("image", "x"))
    feature, eps = run(variables, image, x_t, jnp.asarray(fixture["in/t"], jnp.int32))
    return {"condition_every8th": feature[:1, ..., ::8], "eps": eps}, fixture


def test_reference_output(reference, agrees):
    mine, fixture = reference
    assert {f"out/{name}" for name in mine} == {n for n in fixture if n[:4] == "out/"}
    for name, output in mine.items():
        agrees(output, fixture[f"out/{name}"])


# --- its parts ------------------------------------------------------------------------


def test_a_dense_block_by_hand(randomised):
    x = normal(1, 3, 4, 3)
    block = rrdb.DenseBlock(2)
    variables = randomised(block, x)
    joined = np.asarray(x)
    for i in range(1, 6):
        layer = {"params": variables["params"][f"conv_{i}"]}
        y = np.asarray(rrdb.Conv(2 if i < 5 else 3).apply(layer, joined))
        joined = np.concatenate([joined, np.where(y > 0, y, 0.2 * y)], -1)
    found = jax.jit(block.apply)(variables, x)
    np.testing.assert_allclose(found, x + 0.2 * y, atol=1e-5)


@pytest.fixture(scope="module")
def toy(randomised):
    network = models.build("segdiff", **TOY)
    data = normal(2, 7, 9, 1), normal(2, 7, 9, 1, seed=1), jnp.array([3, 50])
    return network, randomised(network, *data), data


def test_the_feature_is_all_that_the_denoiser_sees_of_the_image(toy):
    network, variables, (image, x_t, t) = toy
    encode = jax.jit(lambda x: network.apply(variables, x, method="condition"))
    feature, logits = encode(image)
    assert feature.shape == (2, 8, 10, 4) and logits is None
    run = jax.jit(lambda *given: network.apply(variables, *given, method="denoise"))
    output = run(x_t, t, image, feature)
    assert output.shape == (2, 7, 9, 1)
    np.testing.assert_array_equal(output, run(x_t, t, image + 1, feature))
    assert np.abs(output - run(x_t, t, image, feature + 1)).max() > 1e-3


def test_a_stem_is_added_to_the_first_convolution(toy):
    """Also where it is a skip: as if that convolution had said the sum."""
    network, variables, (_, x_t, t) = toy
    params, x = variables["params"]["unet"], network.pad(x_t)
    said = rrdb.Conv(4).apply({"params": params["in_0"]}, x)
    stem = normal(*said.shape, seed=2)
    mute = params | {"in_0": jax.tree.map(jnp.zeros_like, params["in_0"])}
    unet = UNet(4, (1, 1), 1, 1, (), scale_shift=False, groups=2)
    run = jax.jit(lambda params, stem: unet.apply({"params": params}, x, t, stem=stem))
    np.testing.assert_allclose(run(params, stem), run(mute, said + stem), atol=1e-5)
