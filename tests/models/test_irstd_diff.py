from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from irstd_jax import models, weights
from irstd_jax.models.unet import UNet

TOY = dict(
    image_channels=1,
    channels=8,
    channel_mult=(1, 1),
    num_res_blocks=1,
    num_heads=2,
    attention_downsamplings=(2,),
    encoder_channels=8,
    encoder_heights=(3, 0, 3),
)


def toy(**fields):
    return models.build("irstd_diff", **(TOY | fields))


def inputs(h, w, b=2, c=1):
    rng = np.random.default_rng(0)
    image, x_t = rng.normal(size=(b, h, w, c)), rng.normal(size=(b, h, w, 1))
    return jnp.float32(image), jnp.float32(x_t), jnp.arange(b) * 30 + 5


# --- the published configuration ---------------------------------------------


def test_published_size(count):
    def init(*data, method="__call__", **fields):
        run = partial(models.build("irstd_diff", **fields).init, method=method)
        return jax.eval_shape(run, jax.random.key(0), *data)

    data = inputs(32, 32, c=3)
    published = init(*data)["params"]
    assert count(published) == 39_559_317
    assert count(published["unet"]) == 29_729_601
    plain = init(data[0], method="condition", liw=False)["params"]["encoder"]
    assert count(plain) == count(published["encoder"]) - 145_800
    assert set(init(*data, conditional_encoder=False)) == {"params"}


@pytest.fixture(scope="module")
def reference(golden_root, seeded):
    """What we compute and what the authors' code computed, of the same weights."""
    fixture = seeded.load("irstd_diff", golden_root)
    network = models.build("irstd_diff", token_layout="reference")
    variables = weights.convert("irstd_diff", seeded.state_dict(fixture))

    @jax.jit
    def run(variables, image, x_t, t):
        feature, logits = network.apply(variables, image, method="condition")
        inputs = x_t, t, image, feature
        eps = network.apply(variables, *inputs, method="denoise")
        return eps, feature, logits

    x = jnp.asarray(fixture["in/x"].transpose(0, 2, 3, 1))
    t = jnp.asarray(fixture["in/t"], jnp.int32)
    eps, feature, logits = run(variables, x[..., :3], x[..., 3:], t)
    mine = {
        "eps": eps.transpose(0, 3, 1, 2),
        "condition": feature.transpose(0, 3, 1, 2)[:, ::8],
        "logits": logits.transpose(3, 0, 1, 2)[:, :, None, ::2, ::2],
    }
    return mine, fixture


@pytest.mark.parametrize("name", ["eps", "condition", "logits"])
def test_reference_output(reference, name):
    mine, fixture = reference
    expected = fixture[f"out/{name}"]
    atol = 1e-4 * np.abs(expected).max()
    np.testing.assert_allclose(mine[name], expected, rtol=0, atol=atol)


# --- the whole, on a shallow encoder that compiles fast -------------------------


@pytest.fixture(scope="module")
def shallow(randomised):
    return randomised(toy(), *inputs(32, 32))


@pytest.fixture(scope="module")
def run(shallow):
    return jax.jit(lambda *data: toy().apply(shallow, *data))


def test_an_odd_size_is_padded_and_cropped(run, shallow):
    image, x_t, t = inputs(37, 50)
    output, logits = run(image, x_t, t)
    assert output.shape == (2, 37, 50, 1) and logits.shape == (2, 37, 50, 4)

    def pad(x):
        return jnp.pad(x, ((0, 0), (0, 3), (0, 6), (0, 0)), mode="reflect")

    larger, more_logits = run(pad(image), pad(x_t), t)
    np.testing.assert_allclose(output, larger[:, :37, :50], atol=1e-5)
    np.testing.assert_allclose(logits, more_logits[:, :37, :50], atol=1e-5)
    fuse = jax.tree.map(np.float64, shallow["params"]["encoder"]["fuse"])
    fused = np.float64(logits[..., 1:]) @ fuse["kernel"][0, 0] + fuse["bias"]
    np.testing.assert_allclose(logits[..., :1], fused, atol=1e-5)


@pytest.mark.parametrize(
    "fields, multiple",
    [
        ({}, 8),
        ({"liw": False}, 4),
        ({"liw_levels": 4}, 32),
        ({"channel_mult": (1,) * 5}, 16),
        ({"encoder_heights": (7, 6, 5, 4, 0, 0)}, 32),
        ({"conditional_encoder": False}, 2),
    ],
)
def test_padding_suits_every_part(fields, multiple):
    network, data = toy(**fields), inputs(multiple + 1, 3)
    assert network.multiple == multiple
    output, _ = jax.eval_shape(network.init_with_output, jax.random.key(0), *data)[0]
    assert output.shape == (2, multiple + 1, 3, 1)


def test_both_halves_are_the_whole(run, shallow):
    image, x_t, t = inputs(37, 50)

    @jax.jit
    def halves(image, x_t, t):
        feature, logits = toy().apply(shallow, image, method="condition")
        given = x_t, t, image, feature
        return toy().apply(shallow, *given, method="denoise"), logits, feature

    output, logits, feature = halves(image, x_t, t)
    assert feature.shape == (2, 20, 28, 8)  # of the image padded to 40 x 56
    whole = run(image, x_t, t)
    np.testing.assert_allclose(output, whole[0], atol=1e-5)
    np.testing.assert_allclose(logits, whole[1], atol=1e-5)


@pytest.mark.parametrize("detach", [True, False])
def test_what_the_denoiser_teaches_the_encoder(shallow, detach):
    """All that it can teach is the gradient by the feature."""
    image, x_t, t = inputs(32, 32)
    network = toy(detach_condition=detach)

    @jax.jit
    @jax.grad
    def gradient(feature):
        given = x_t, t, image, feature
        return jnp.square(network.apply(shallow, *given, method="denoise")).mean()

    largest = jnp.abs(gradient(jnp.ones((2, 16, 16, 8)))).max()
    assert largest == 0 if detach else largest > 1e-6


def test_remat_changes_no_number(shallow):
    """Gradients of the denoiser and of the encoder's last stage: the rest is alike."""
    data, encoder = inputs(32, 32), shallow["params"]["encoder"]
    learnt = {name: encoder[name] for name in ("ipof_1", "de_1")}

    def gradients(remat):
        network = toy(remat=remat)

        @jax.jit
        @partial(jax.grad, has_aux=True)
        def compute(learnt):
            params = {"unet": learnt["unet"], "encoder": encoder | learnt["encoder"]}
            variables = {**shallow, "params": params}
            output, logits = network.apply(variables, *data)
            value = jnp.square(output - 1).mean() + jnp.square(logits).mean()
            return value, (output, logits)

        return compute({"unet": shallow["params"]["unet"], "encoder": learnt})

    plain, again = gradients(remat=False), gradients(remat=True)
    scale = max(jnp.abs(leaf).max() for leaf in jax.tree.leaves(plain[0]))
    assert scale > 1e-3
    for a, b in zip(jax.tree.leaves(plain), jax.tree.leaves(again), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5 * scale)


def test_remat_marks_the_blocks_and_renames_nothing(shallow):
    data = inputs(32, 32)

    def marks(remat):
        network = toy(remat=remat)
        call = {"train": True, "mutable": ["batch_stats"]}
        run = jax.make_jaxpr(lambda *data: network.apply(shallow, *data, **call))
        names = [eqn.primitive.name for eqn in run(*data).eqns]
        return sum(name in ("checkpoint", "remat", "remat2") for name in names)

    # Of the encoder 5 RSU, 2 IPOF, 2 Swin; of the U-Net 8 blocks, 4 attentions.
    assert marks(remat=False) == 0 and marks(remat=True) == 9 + 12


def statistics(variables, image, axis=None):
    """BatchNorm's statistics after a step of training."""
    call = {"method": "condition", "mutable": ["batch_stats"], "train": True}
    updates = toy(norm_axis=axis).apply(variables, image, **call)[1]
    return updates["batch_stats"]["encoder"]


def test_training_moves_statistics_the_same_on_two_devices(shallow):
    """All but those of the idle norm; two images on two devices as on one."""
    image, axis = inputs(32, 32)[0], "devices"
    before = shallow["batch_stats"]["encoder"]
    after = jax.jit(lambda x: statistics(shallow, x))(image)
    apart = jax.pmap(
        lambda x: statistics(shallow, x, axis), axis, devices=jax.devices()[:2]
    )(image[:, None])
    for a, b in zip(jax.tree.leaves(after), jax.tree.leaves(apart), strict=True):
        np.testing.assert_allclose(b, np.stack([a, a]), rtol=1e-4, atol=1e-5)
    for name in before:
        pairs = zip(*map(jax.tree.leaves, (before[name], after[name])), strict=True)
        moved = [not np.array_equal(a, b) for a, b in pairs]
        assert not any(moved) if name == "fused_norm" else all(moved)


def test_bfloat16_is_near_float32(run, shallow):
    data = inputs(37, 50)
    halves = jax.jit(toy(dtype=jnp.bfloat16).apply)(shallow, *data)
    for half, full in zip(halves, run(*data), strict=True):
        assert half.dtype == full.dtype == jnp.float32
        error = jnp.sqrt(jnp.square(half - full).mean()) / jnp.std(full)
        assert 0 < error < 0.05


# --- options -----------------------------------------------------------------


def test_the_idle_norm_of_the_release_changes_nothing():
    params = {"scale": np.ones(1), "bias": np.zeros(1)}
    running = {"mean": np.zeros(1), "var": np.ones(1)}
    fresh = {
        "params": {"encoder": {"fused_norm": params}},
        "batch_stats": {"encoder": {"fused_norm": running}},
    }
    logits = jnp.linspace(-3, 3, 140).reshape(1, 4, 5, 7)
    fused = toy().apply(fresh, logits, method="released_fused")
    np.testing.assert_allclose(fused, 0.999995 * logits[..., :1], rtol=1e-6)


def test_without_an_encoder_there_is_a_plain_denoiser(randomised):
    network, (image, x_t, t) = toy(conditional_encoder=False), inputs(6, 7)
    variables = randomised(network, image, x_t, t)
    output, logits = jax.jit(network.apply)(variables, image, x_t, t)
    assert output.shape == (2, 6, 7, 1) and logits is None

    def pad(x):
        return jnp.pad(x, ((0, 0), (0, 0), (0, 1), (0, 0)), mode="reflect")

    plain = UNet(8, (1, 1), 1, 2, (2,))
    x = jnp.concatenate([pad(image), pad(x_t)], axis=-1)
    expected = jax.jit(plain.apply)({"params": variables["params"]["unet"]}, x, t)
    np.testing.assert_allclose(output, expected[:, :6, :7], atol=1e-5)


@pytest.mark.parametrize(
    "fields, words",
    [
        ({"encoder_channels": 16}, "encoder_channels=16 must equal channels"),
        ({"channel_mult": (1,)}, "two levels or more"),
        ({"image_channels": 3}, "image_channels=3, but image.shape=.2, 32, 32, 1."),
        ({"num_heads": 3}, "8 channels do not divide into num_heads=3"),
        ({"liw_levels": 5}, "1 to 4 levels, not 5"),
        ({"token_layout": "reference", "liw_levels": 3}, "divide by 32, not 16x16"),
        ({"encoder_heights": (3, 3)}, "must have 3 to 6 entries"),
        ({"encoder_heights": (3, 2, 0)}, "3 or more, or 0 for RSU4F"),
    ],
)
def test_what_cannot_work_is_refused(fields, words):
    with pytest.raises(ValueError, match=words):
        jax.eval_shape(toy(**fields).init, jax.random.key(0), *inputs(32, 32))


def test_denoise_wants_the_feature():
    image, x_t, t = inputs(32, 32)
    with pytest.raises(ValueError, match="denoise needs the feature"):
        toy().apply({}, x_t, t, image, None, method="denoise")


def test_an_unknown_network_is_refused():
    with pytest.raises(ValueError, match="unknown network 'u2net'; choose from"):
        models.build("u2net")
