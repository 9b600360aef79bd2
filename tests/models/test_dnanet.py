"""DNANet: reference outputs, its nodes and attentions by hand, any size, refusals."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from irstd_jax import models, weights
from irstd_jax.models.detectors import dnanet

TOY = {"channels": (16, 16, 32), "blocks": (1, 1), "in_channels": 1}


def toy(**fields):
    return models.build("dnanet", **(TOY | fields))


def image(h, w, b=2, c=1, seed=0):
    x = np.random.default_rng(seed).normal(size=(b, h, w, c))
    return jnp.asarray(x, jnp.float32)


@pytest.mark.parametrize(
    "channels, blocks, size",
    [
        ("three", "resnet_10", 2_612_196),
        ("three", "resnet_18", 4_696_888),
        ("three", "resnet_34", 8_792_702),
        ("four", "resnet_10", 10_426_148),
        ("four", "resnet_18", 18_751_992),
        ("four", "resnet_34", 35_108_158),
    ],
)
def test_published_sizes(count, channels, blocks, size):
    network = models.build("dnanet", channels=channels, blocks=blocks)
    x = image(16, 16, c=3)
    shapes = jax.eval_shape(network.init, jax.random.key(0), x)
    assert count(shapes["params"]) == size


def test_reference_output(golden_root, seeded):
    fixture = seeded.load("dnanet", golden_root)
    variables = weights.convert("dnanet", seeded.state_dict(fixture))
    x = fixture["in/x"].transpose(0, 2, 3, 1)
    logits = jax.jit(models.build("dnanet").apply)(variables, x)
    names = sorted(name for name in fixture if name.startswith("out/logits_"))
    assert logits.shape[-1] == len(names)
    # The authors' last map is the prediction, and ours the first.
    for i, name in enumerate(reversed(names)):
        expected = fixture[name]
        atol = 1e-4 * np.abs(expected).max()
        mine = logits[:, None, :, :, i]
        np.testing.assert_allclose(mine, expected, rtol=0, atol=atol)


# --- parts -----------------------------------------------------------------------


def test_attention_of_channels_and_places_is_the_formula(randomised):
    x = image(6, 5, c=32)
    block = dnanet.Block(32)
    variables = randomised(block, x)
    y = jax.jit(block.apply)(variables, x)

    def part(name, x, **fields):
        layer = dnanet.ConvNorm(32, bias=True, **fields)
        return layer.apply({kind: tree[name] for kind, tree in variables.items()}, x)

    params = variables["params"]
    z = np.float64(part("conv_out", part("conv_in", x), activation=None))
    narrow = np.float64(params["channel_in"]["kernel"][0, 0])
    widen = np.float64(params["channel_out"]["kernel"][0, 0])
    sigmoid = lambda x: 1 / (1 + np.exp(-x))  # noqa: E731
    each = [
        np.maximum(f(z, axis=(1, 2)) @ narrow, 0) @ widen for f in (np.mean, np.max)
    ]
    z = z * sigmoid(sum(each))[:, None, None]
    two = np.stack([z.mean(-1), z.max(-1)], axis=-1)
    kernel, place = np.float64(params["place"]["kernel"]), np.zeros((2, 6, 5, 1))
    two = np.pad(two, ((0, 0), (3, 3), (3, 3), (0, 0)))
    for i in range(6):
        for j in range(5):
            window = two[:, i : i + 7, j : j + 7]
            place[:, i, j] = np.einsum("bhwc,hwcf->bf", window, kernel)
    expected = np.maximum(z * sigmoid(place) + x, 0)
    np.testing.assert_allclose(y, expected, atol=1e-5)


def test_nodes_take_what_the_docstring_says():
    """By the widths of the first convolutions of the published network."""
    network = models.build("dnanet")
    x = image(16, 16, c=3)
    params = jax.eval_shape(network.init, jax.random.key(0), x)["params"]
    width = dnanet.WIDTHS["three"]
    for i in range(5):
        for j in range(5 - i):
            inputs = j * width[i] + width[i + 1] if j else width[i - 1] if i else 3
            inputs += width[i - 1] if i and j else 0
            kernel = params[f"node_{i}_{j}_0"]["conv_in"]["conv"]["kernel"]
            assert kernel.shape == (3, 3, inputs, width[i])
            assert (f"node_{i}_{j}_1" in params) == (i > 0)


# --- the whole ---------------------------------------------------------------------


@pytest.fixture(scope="module")
def variables(randomised):
    return randomised(toy(), image(16, 16))


def test_an_odd_size_is_padded_and_cropped(variables):
    run = jax.jit(toy().apply)
    x = image(13, 18)
    logits = run(variables, x)
    assert logits.shape == (2, 13, 18, 2) and logits.dtype == jnp.float32
    padded = jnp.pad(x, ((0, 0), (0, 3), (0, 2), (0, 0)), mode="reflect")
    # The prediction alone is the same, too.
    larger = jax.jit(toy(deep_supervision=False).apply)(variables, padded)
    assert larger.shape == (2, 16, 20, 1)
    np.testing.assert_allclose(logits[..., :1], larger[:, :13, :18], atol=1e-5)


def test_remat_marks_the_blocks_and_renames_nothing(variables):
    def marks(remat):
        network = toy(remat=remat)
        run = jax.make_jaxpr(lambda x: network.apply(variables, x))
        names = [eqn.primitive.name for eqn in run(image(8, 8)).eqns]
        return sum(name in ("checkpoint", "remat", "remat2") for name in names)

    assert marks(False) == 0 and marks(True) == 7  # six nodes and the final one


@pytest.mark.parametrize(
    "fields, words",
    [
        ({"channels": "one"}, r"'one' is \(4, 8, 16, 32, 64\), but the channel att"),
        ({"channels": "two"}, "needs 16 or more"),
        ({"channels": "five"}, "unknown channels 'five'; choose from"),
        ({"blocks": "vgg_10"}, "unknown blocks 'vgg_10'; choose from"),
        ({"blocks": (1, 1, 1)}, "as many numbers of blocks but one"),
        ({"in_channels": 3}, "in_channels=3, but image.shape=.2, 16, 16, 1."),
    ],
)
def test_what_cannot_work_is_refused(fields, words):
    with pytest.raises(ValueError, match=words):
        jax.eval_shape(toy(**fields).init, jax.random.key(0), image(16, 16))
