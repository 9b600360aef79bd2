import jax
import jax.numpy as jnp
import numpy as np
import pytest

from irstd_jax import models, weights
from irstd_jax.models import autoencoder_kl

TOY = dict(channels_in=1, channels=8, channel_mult=(1, 2), num_res_blocks=1)
KEY = jax.random.key(0)


def toy(**fields):
    return models.build("autoencoder_kl", **(TOY | fields))


def normal(*shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


def nhwc(array):
    return jnp.asarray(array.transpose(0, 2, 3, 1))


def compiled(network):
    """(moments, image) = f(variables, image, latent)."""

    @jax.jit
    def run(variables, image, latent):
        moments = network.apply(variables, image, method="encode")
        return moments, network.apply(variables, latent, method="decode")

    return run


# --- the published configuration ---------------------------------------------


@pytest.fixture(scope="module")
def published():
    network = models.build("autoencoder_kl")
    return network, jax.eval_shape(network.init, KEY, jnp.zeros((1, 8, 8, 3)))


def test_published_size(published, count):
    params = published[1]["params"]
    assert {name: count(part) for name, part in params.items()} == {
        "encoder": 34_163_592,
        "decoder": 49_490_179,
        "quant": 72,
        "post_quant": 20,
    }


def test_published_cost(published, macs):
    network, variables = published

    def cost(method, *shape):
        def run(variables, x):
            return network.apply(variables, x, method=method)

        return macs(run, variables, jnp.zeros(shape)) / 1e9

    assert round(cost("encode", 1, 512, 512, 3)) == 558
    assert round(cost("decode", 1, 64, 64, 4)) == 1257


@pytest.fixture(scope="module", params=["autoencoder_kl_small", "autoencoder_kl"])
def reference(request, golden_root, seeded):
    """What we compute and what the authors' code computed, of the same weights."""
    fixture = seeded.load(request.param, golden_root)
    small = request.param.endswith("small")
    fields = dict(channels=32, channel_mult=(1, 2, 2)) if small else {}
    network = models.build("autoencoder_kl", **fields)
    state_dict = seeded.state_dict(fixture)
    variables = weights.convert("autoencoder_kl", state_dict, **fields)
    image, latent = nhwc(fixture["in/image"]), nhwc(fixture["in/latent"])
    moments, image = compiled(network)(variables, image, latent)
    return {"moments": moments, "image": image}, fixture


@pytest.mark.parametrize("name", ["moments", "image"])
def test_reference_output(reference, name):
    mine, fixture = reference
    expected = fixture[f"out/{name}"]
    atol = 1e-4 * np.abs(expected).max()
    found = mine[name].transpose(0, 3, 1, 2)
    np.testing.assert_allclose(found, expected, rtol=0, atol=atol)


# --- small ones -----------------------------------------------------------------


@pytest.fixture(scope="module")
def shallow(randomised):
    """Variables, and the compiled halves."""
    return randomised(toy(), jnp.zeros((1, 2, 2, 1))), compiled(toy())


INPUTS = normal(2, 12, 8, 1), normal(2, 6, 4, 4, seed=1)


def test_a_latent_belongs_to_its_own_image(shallow):
    variables, run = shallow
    moments, image = run(variables, *INPUTS)
    assert moments.shape == (2, 6, 4, 8) and image.shape == (2, 12, 8, 1)
    changed = [x.at[0].add(normal(*x.shape[1:], seed=2)) for x in INPUTS]
    after = run(variables, *changed)
    for a, b in zip(after, (moments, image), strict=True):
        change = np.abs(a - b).max((1, 2, 3))
        assert change[0] > 1e-2 and change[1] < 1e-5


def test_the_call_decodes_the_mean(shallow):
    variables, run = shallow
    image, moments = jax.jit(toy().apply)(variables, INPUTS[0])
    mean = autoencoder_kl.posterior(moments)[0]
    expected_moments, expected = run(variables, INPUTS[0], mean)
    np.testing.assert_allclose(moments, expected_moments, atol=1e-4)
    np.testing.assert_allclose(image, expected, atol=1e-4)


def test_posterior_is_mean_and_clamped_logvar():
    moments = jnp.array([1.0, -99.0, 5.0, -31.0, 21.0, 0.5])
    mean, logvar = autoencoder_kl.posterior(moments)
    np.testing.assert_array_equal(mean, [1.0, -99.0, 5.0])
    np.testing.assert_array_equal(logvar, [-30.0, 20.0, 0.5])


def test_bfloat16_is_near_float32(shallow):
    variables, run = shallow
    halves = compiled(toy(dtype=jnp.bfloat16))(variables, *INPUTS)
    for half, full in zip(halves, run(variables, *INPUTS), strict=True):
        assert half.dtype == full.dtype == jnp.float32
        error = jnp.sqrt(jnp.square(half - full).mean()) / jnp.std(full)
        assert 0 < error < 0.05


def test_remat_marks_the_blocks_and_renames_nothing(shallow):
    variables, _ = shallow

    def marks(remat):
        run = jax.make_jaxpr(lambda x: toy(remat=remat).apply(variables, x))
        names = [eqn.primitive.name for eqn in run(INPUTS[0]).eqns]
        return sum(name in ("checkpoint", "remat", "remat2") for name in names)

    # 2 middles of 3, 2 levels with 1 block down and 2 up.
    assert marks(remat=False) == 0 and marks(remat=True) == 6 + 2 + 4


@pytest.mark.parametrize("mult, factor", [((1,), 1), ((1, 2, 2), 4), ((1,) * 4, 8)])
def test_factor(mult, factor):
    network = toy(channel_mult=mult)
    assert network.factor == factor
    x = jnp.zeros((1, 8, 16, 1))
    (image, moments), _ = jax.eval_shape(network.init_with_output, KEY, x)
    assert image.shape == x.shape
    assert moments.shape == (1, 8 // factor, 16 // factor, 8)


@pytest.mark.parametrize(
    "method, shape, words",
    [
        ("encode", (1, 7, 8, 1), "image size 7x8 must divide by 2: pad it before"),
        ("encode", (1, 8, 8, 3), "the image has 3 channels instead of 1"),
        ("decode", (1, 8, 8, 3), "the latent has 3 channels instead of 4"),
    ],
)
def test_what_cannot_work_is_refused(shallow, method, shape, words):
    with pytest.raises(ValueError, match=words):
        toy().apply(shallow[0], jnp.zeros(shape), method=method)
