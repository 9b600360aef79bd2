"""SwinIR against the authors' outputs, and at sizes that they leave to the caller."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from irstd_jax import models, weights
from irstd_jax.models import swinir

TOY = dict(
    in_channels=1,
    embed_dim=8,
    depths=(2,),
    heads=(2,),
    window=4,
    unshuffle=4,
    features=4,
    drop_path=0.5,
)


def toy(**fields):
    return models.build("swinir", **(TOY | fields))


def uniform(*shape, seed=0):
    return jnp.float32(np.random.default_rng(seed).uniform(size=shape))


# --- the published configuration ----------------------------------------------


def test_published_size(count):
    network, image = models.build("swinir"), jnp.zeros((1, 64, 64, 3))
    params = jax.eval_shape(network.init, jax.random.key(0), image)["params"]
    assert count(params) == 15_792_587


@pytest.mark.parametrize(
    "name, fields",
    [
        ("swinir_small", {"embed_dim": 24, "depths": (2, 2), "heads": (3, 3)}),
        ("swinir", {}),
    ],
)
def test_reference_output(golden_root, seeded, name, fields):
    fixture = seeded.load(name, golden_root)
    variables = weights.convert("swinir", seeded.state_dict(fixture), **fields)
    network = jax.jit(models.build("swinir", **fields).apply)
    names = [key.removeprefix("in/") for key in fixture if key.startswith("in/")]
    assert names
    for name in names:
        image = jnp.asarray(fixture[f"in/{name}"].transpose(0, 2, 3, 1))
        output = np.asarray(network(variables, image)).transpose(0, 3, 1, 2)
        expected = fixture[f"out/{name}"]
        atol = 1e-4 * np.abs(expected).max()
        np.testing.assert_allclose(output, expected, rtol=0, atol=atol)


# --- the parts ----------------------------------------------------------------


def test_unshuffled_pixels_are_where_pytorch_puts_them():
    x = uniform(2, 6, 9, 2)
    y = swinir.pixel_unshuffle(x, 3)
    assert y.shape == (2, 2, 3, 18)
    for k, i, j in np.ndindex(2, 3, 3):
        channel = k * 9 + i * 3 + j
        np.testing.assert_array_equal(y[..., channel], x[:, i::3, j::3, k])


@pytest.fixture(scope="module")
def variables(randomised):
    return randomised(toy(), jnp.zeros((1, 16, 16, 1)))


@pytest.fixture(scope="module")
def run(variables):
    return jax.jit(lambda *data: toy().apply(variables, *data))


def test_an_odd_size_is_padded_and_cropped(run):
    image = uniform(2, 17, 30, 1)
    padded = jnp.pad(image, ((0, 0), (0, 15), (0, 2), (0, 0)), mode="reflect")
    output, larger = run(image), run(padded)
    assert output.shape == image.shape and output.dtype == jnp.float32
    np.testing.assert_allclose(output, larger[:, :17, :30], atol=1e-6)


def test_every_second_layer_shifts_and_none_is_lost(run):
    """Through 2 layers and the convolutions, a pixel is felt beyond its window."""
    image = uniform(1, 32, 32, 1)
    change = jnp.abs(run(image.at[0, 4, 4, 0].add(1.0)) - run(image))[0, ..., 0]
    # Its window ends at row 16; the shifted one at 24; three convolutions of 4 px.
    assert change[16:24, :16].max() > 1e-4


def test_a_residual_is_added_to_the_image(run, variables):
    image = uniform(2, 17, 30, 1)
    added = jax.jit(toy(residual=True).apply)(variables, image) - image
    np.testing.assert_allclose(added, run(image), atol=1e-6)


def test_bfloat16_is_near_float32(run, variables):
    image = uniform(2, 17, 30, 1)
    half = jax.jit(toy(dtype=jnp.bfloat16).apply)(variables, image)
    assert half.dtype == jnp.float32 and half.shape == image.shape
    error = jnp.sqrt(jnp.square(half - run(image)).mean()) / jnp.std(half)
    assert 0 < error < 0.05


def test_remat_changes_no_number(variables):
    image = uniform(1, 16, 16, 1)

    def gradients(remat):
        network = toy(remat=remat)
        value = lambda v: jnp.square(network.apply(v, image)).mean()  # noqa: E731
        return jax.tree.leaves(jax.jit(jax.grad(value))(variables))

    for a, b in zip(gradients(False), gradients(True), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


# --- drop path ----------------------------------------------------------------


def test_what_an_image_loses_depends_on_its_key_alone(run):
    images, keys = uniform(4, 16, 16, 1), jax.random.split(jax.random.key(3), 4)
    together, turned = run(images, keys), run(images[::-1], keys[::-1])
    np.testing.assert_allclose(together, turned[::-1], atol=1e-6)
    assert np.abs(together - run(images)).max() > 1e-3


def test_branches_are_dropped_more_in_later_layers_and_keep_their_mean():
    network = toy(depths=(2, 1), heads=(2, 2))
    keep = network.kept_branches(jax.random.split(jax.random.key(0), 4000))
    assert keep.shape == (3, 2, 4000)
    dropped = np.asarray(keep == 0).mean(-1)
    # Rates 0, 1/4, 1/2; 4000 draws know a rate to 0.8 % (one deviation).
    np.testing.assert_allclose(dropped, [[0, 0], [0.25] * 2, [0.5] * 2], atol=0.032)
    np.testing.assert_allclose(keep.mean(-1), np.ones((3, 2)), atol=0.064)
    assert toy(drop_path=0.0).kept_branches(keep) is None


# --- refusals -----------------------------------------------------------------


@pytest.mark.parametrize(
    "fields, words",
    [
        ({"in_channels": 3}, "in_channels=3, but an image has 1 channels"),
        ({"unshuffle": 6}, "unshuffle=6 must be a power of 2"),
        ({"depths": (2, 2)}, "depths=.2, 2. and heads=.2,. differ in length"),
        ({"heads": (3,)}, "8 channels do not divide into heads=3"),
    ],
)
def test_what_cannot_work_is_refused(fields, words):
    with pytest.raises(ValueError, match=words):
        jax.eval_shape(toy(**fields).init, jax.random.key(0), jnp.zeros((1, 48, 48, 1)))
