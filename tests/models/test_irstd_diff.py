import jax
import jax.numpy as jnp
import numpy as np
import pytest

from irstd_jax import models, weights
from irstd_jax.models.unet import UNet

TOY = dict(
    image_channels=1,
    channels=8,
    channel_mult=(1, 1, 2),
    num_res_blocks=1,
    num_heads=2,
    attention_downsamplings=(4,),
    encoder_channels=8,
)


def toy(**fields):
    return models.build("irstd_diff", **(TOY | fields))


def inputs(h, w, b=2, c=1):
    rng = np.random.default_rng(0)
    image, x_t = rng.normal(size=(b, h, w, c)), rng.normal(size=(b, h, w, 1))
    return jnp.float32(image), jnp.float32(x_t), jnp.arange(b) * 30 + 5


@pytest.fixture(scope="module")
def variables(randomised):
    return randomised(toy(), *inputs(32, 32))


# --- the published configuration ---------------------------------------------


def test_published_size(count):
    def init(**fields):
        network, data = models.build("irstd_diff", **fields), inputs(32, 32, c=3)
        return jax.eval_shape(lambda: network.init(jax.random.key(0), *data))

    published = init()["params"]
    assert count(published) == 39_559_317
    assert count(published["unet"]) == 29_729_601
    assert count(init(liw=False)["params"]) == 39_559_317 - 145_800
    assert set(init(conditional_encoder=False)) == {"params"}


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


# --- any size ----------------------------------------------------------------


@pytest.fixture(scope="module")
def run(variables):
    """Both halves of the toy network, compiled once a size."""
    return jax.jit(lambda *data: toy().apply(variables, *data))


def test_an_odd_size_is_padded_and_cropped(run, variables):
    image, x_t, t = inputs(37, 50)
    output, logits = run(image, x_t, t)
    assert output.shape == (2, 37, 50, 1) and logits.shape == (2, 37, 50, 7)

    def pad(x):
        return jnp.pad(x, ((0, 0), (0, 27), (0, 14), (0, 0)), mode="reflect")

    larger, more_logits = run(pad(image), pad(x_t), t)
    np.testing.assert_allclose(output, larger[:, :37, :50], atol=1e-5)
    np.testing.assert_allclose(logits, more_logits[:, :37, :50], atol=1e-5)


def test_both_halves_are_the_whole(run, variables):
    image, x_t, t = inputs(64, 64)
    output, logits = run(image, x_t, t)

    @jax.jit
    def halves(image, x_t, t):
        feature, logits = toy().apply(variables, image, method="condition")
        given = x_t, t, image, feature
        return toy().apply(variables, *given, method="denoise"), feature, logits

    again, feature, more_logits = halves(image, x_t, t)
    assert feature.shape == (2, 32, 32, 8)
    np.testing.assert_allclose(again, output, atol=1e-5)
    np.testing.assert_allclose(more_logits, logits, atol=1e-5)


def test_fused_logits_are_a_sum_of_the_sides(run, variables):
    logits = np.float64(run(*inputs(37, 50))[1])
    fuse = jax.tree.map(np.float64, variables["params"]["encoder"]["fuse"])
    expected = logits[..., 1:] @ fuse["kernel"][0, 0] + fuse["bias"]
    np.testing.assert_allclose(logits[..., :1], expected, atol=1e-5)


def test_the_idle_norm_of_the_release_changes_nothing():
    fresh = {
        "params": {
            "encoder": {"fused_norm": {"scale": np.ones(1), "bias": np.zeros(1)}}
        },
        "batch_stats": {
            "encoder": {"fused_norm": {"mean": np.zeros(1), "var": np.ones(1)}}
        },
    }
    logits = jnp.asarray(
        np.random.default_rng(0).normal(size=(1, 4, 5, 7)), jnp.float32
    )
    fused = toy().apply(fresh, logits, method="released_fused")
    np.testing.assert_allclose(fused, 0.999995 * logits[..., :1], rtol=1e-6)


# --- gradients ---------------------------------------------------------------


@pytest.fixture(scope="module")
def gradients(variables):
    """fields -> (values, gradients, batch statistics) of a loss of both outputs."""
    image, x_t, t = inputs(32, 32)

    def compute(weight=1.0, **fields):
        network = toy(**fields)

        def loss(params):
            (output, logits), updates = network.apply(
                {**variables, "params": params},
                image,
                x_t,
                t,
                train=True,
                mutable=["batch_stats"],
            )
            value = jnp.square(output - 1).mean() + weight * jnp.square(logits).mean()
            return value, (output, logits, updates["batch_stats"])

        run = jax.jit(jax.value_and_grad(loss, has_aux=True))
        (_, aux), gradient = run(variables["params"])
        return aux[:2], gradient, aux[2]

    return compute


def largest(tree):
    return max(float(jnp.abs(leaf).max()) for leaf in jax.tree.leaves(tree))


@pytest.fixture(scope="module")
def attached(gradients):
    return gradients(detach_condition=False)


def test_detached_the_encoder_learns_nothing_from_the_denoiser(gradients):
    gradient = gradients(weight=0.0)[1]
    assert largest(gradient["encoder"]) == 0
    assert largest(gradient["unet"]) > 1e-3


def test_attached_it_does(gradients, attached):
    gradient = gradients(weight=0.0, detach_condition=False)[1]
    # De2 is made before De1, which only the logits see.
    assert largest(gradient["encoder"]["de_2"]) > 1e-3
    assert largest(gradient["encoder"]["liw"]) > 1e-4
    assert largest(gradient["encoder"]["de_1"]) == 0


def test_remat_changes_no_number(gradients, attached):
    again = gradients(detach_condition=False, remat=True)
    scale = largest(attached[1])
    for a, b in zip(jax.tree.leaves(attached), jax.tree.leaves(again), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5 * scale)


def test_training_moves_all_statistics_but_those_of_the_idle_norm(attached, variables):
    before = dict(variables["batch_stats"]["encoder"])
    after = dict(attached[2]["encoder"])
    for a, b in zip(
        *map(jax.tree.leaves, (before.pop("fused_norm"), after.pop("fused_norm")))
    ):
        np.testing.assert_array_equal(a, b)
    for a, b in zip(jax.tree.leaves(before), jax.tree.leaves(after), strict=True):
        assert not np.array_equal(a, b)


# --- options -----------------------------------------------------------------


def test_bfloat16_is_near_float32(run, variables):
    data = inputs(37, 50)
    small = jax.jit(lambda *d: toy(dtype=jnp.bfloat16).apply(variables, *d))
    for half, full in zip(small(*data), run(*data), strict=True):
        assert half.dtype == full.dtype == jnp.float32
        error = jnp.sqrt(jnp.square(half - full).mean()) / jnp.std(full)
        assert 0 < error < 0.05


def test_without_an_encoder_there_is_a_plain_denoiser(randomised):
    network, (image, x_t, t) = toy(conditional_encoder=False), inputs(6, 7)
    variables = randomised(network, image, x_t, t)
    output, logits = jax.jit(network.apply)(variables, image, x_t, t)
    assert output.shape == (2, 6, 7, 1) and logits is None

    def pad(x):
        return jnp.pad(x, ((0, 0), (0, 2), (0, 1), (0, 0)), mode="reflect")

    plain = UNet(8, (1, 1, 2), 1, 2, (4,))
    x = jnp.concatenate([pad(image), pad(x_t)], axis=-1)
    expected = jax.jit(plain.apply)({"params": variables["params"]["unet"]}, x, t)
    np.testing.assert_allclose(output, expected[:, :6, :7], atol=1e-5)


def test_statistics_are_shared_over_norm_axis(variables):
    """Two images on two devices give the statistics of both images on one."""
    image = inputs(32, 32)[0]

    def statistics(axis, image):
        network = toy(norm_axis=axis, liw=False)
        call = {"method": "condition", "mutable": ["batch_stats"], "train": True}
        return network.apply(variables, image, **call)[1]["batch_stats"]["encoder"]

    together = jax.jit(lambda x: statistics(None, x))(image)["en_1"]
    apart = jax.pmap(
        lambda x: statistics("devices", x), "devices", devices=jax.devices()[:2]
    )(image[:, None])["en_1"]
    for a, b in zip(jax.tree.leaves(together), jax.tree.leaves(apart), strict=True):
        np.testing.assert_allclose(b, np.stack([a, a]), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "fields, words",
    [
        ({"encoder_channels": 16}, "encoder_channels=16 must equal channels"),
        ({"channel_mult": (1,)}, "two levels or more"),
        ({"image_channels": 3}, "image_channels=3, but image.shape=.2, 32, 32, 1."),
        ({"num_heads": 3}, "16 channels do not divide into num_heads=3"),
        ({"liw_levels": 5}, "1 to 4 levels, not 5"),
        ({"token_layout": "reference", "liw_levels": 3}, "divide by 32, not 16x16"),
    ],
)
def test_what_cannot_work_is_refused(fields, words):
    with pytest.raises(ValueError, match=words):
        jax.eval_shape(toy(**fields).init, jax.random.key(0), *inputs(32, 32))


def test_denoise_wants_the_feature(variables):
    image, x_t, t = inputs(32, 32)
    with pytest.raises(ValueError, match="denoise needs the feature"):
        toy().apply(variables, x_t, t, image, None, method="denoise")


def test_an_unknown_network_is_refused():
    with pytest.raises(ValueError, match="unknown network 'u2net'; choose from"):
        models.build("u2net")
