"""CIMD: published sizes and outputs, and its latent, which no sample meets."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from irstd_jax import models, weights
from irstd_jax.diffusion import variational
from irstd_jax.models.generative import latent

TOY = dict(
    image_channels=1,
    channels=4,
    channel_mult=(1, 1),
    num_res_blocks=1,
    attention_downsamplings=(),
    groups=2,
    latent_widths=(2, 3),
)


def normal(*shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


def test_published_size(one_table, parameters):
    latent = weights.table("cimd", latent=True)
    entries = [e for e in latent if e.path[1] == "unet"]
    assert (len(entries), parameters(entries)) == (368, 85_603_842)
    assert parameters(latent) == 85_603_842 + 2 * 1_368_108
    assert parameters(weights.table("cimd_256")) == 113_674_370


@pytest.fixture(scope="module")
def reference(golden_root, seeded, one_table):
    """What we compute and what the authors' code computed, of the same weights."""
    fixture = seeded.load("cimd", golden_root)
    network = models.build("cimd", latent=True)
    state_dict = seeded.state_dict(fixture)
    variables = weights.convert("cimd", state_dict, latent=True)

    @jax.jit
    def run(variables, x, t, patch, segmentation):
        image, x_t = x[..., :4], x[..., 4:]

        def latents(*given):
            return network.apply(variables, *given, method="latents")

        output = network.apply(variables, x_t, t, image, None, method="denoise")
        q, p = latents(patch, segmentation, segmentation)
        _, of_eps = latents(image, segmentation, output[..., :1])
        kl = variational.gaussian_kl(q[0], 2 * q[1], p[0], 2 * p[1]).sum(-1)
        found = {"prior": p, "posterior": q, "prior_of_eps": of_eps}
        mine = {f"{name}_mean": x[0] for name, x in found.items()}
        mine |= {f"{name}_log_sigma": x[1] for name, x in found.items()}
        return mine | {"eps": output[..., :1], "variance": output[..., 1:], "kl": kl}

    x, patch, segmentation = (
        fixture[f"in/{n}"].transpose(0, 2, 3, 1) for n in ("x", "patch", "segmentation")
    )
    t = jnp.asarray(fixture["in/t"], jnp.int32)
    return run(variables, x, t, patch, segmentation), fixture


def test_reference_output(reference):
    mine, fixture = reference
    assert {f"out/{name}" for name in mine} == {n for n in fixture if n[:4] == "out/"}
    for name, output in mine.items():
        expected = fixture[f"out/{name}"]
        output = np.moveaxis(output, -1, 1) if expected.ndim == 4 else output
        atol = 1e-4 * np.abs(expected).max()
        np.testing.assert_allclose(output, expected, rtol=0, atol=atol)


@pytest.fixture(scope="module")
def toy(randomised):
    network = models.build("cimd", **TOY, latent=True)
    data = normal(2, 5, 7, 1), normal(2, 5, 7, 1, seed=1), jnp.array([3, 50])
    return network, randomised(network, *data), data


def test_sampling_never_meets_the_latent(toy):
    """The same output without its weights: so is every sample."""
    network, variables, (image, x_t, t) = toy
    assert network.apply(variables, image, method="condition") == (None, None)
    alone = {"params": {"unet": variables["params"]["unet"]}}
    plain = models.build("cimd", **TOY)

    @jax.jit
    def outputs(x_t, t, image):
        given = x_t, t, image, None
        return network.apply(variables, *given, method="denoise"), plain.apply(
            alone, *given, method="denoise"
        )

    with_latent, without = outputs(x_t, t, image)
    assert with_latent.shape == (2, 5, 7, 2)
    np.testing.assert_array_equal(with_latent, without)
    with pytest.raises(ValueError, match="latent=False"):
        plain.apply(alone, image, x_t, x_t, method="latents")


def test_q_sees_the_mask_and_p_what_was_said(toy):
    network, variables, (image, mask, _) = toy
    run = jax.jit(lambda *given: network.apply(variables, *given, method="latents"))
    q, p = run(image, mask, mask)
    assert q[0].shape == p[1].shape == (2, latent.DIMENSIONS)
    q_said, p_said = run(image, mask, mask + 1)
    np.testing.assert_array_equal(q[0], q_said[0])
    assert np.abs(p[0] - p_said[0]).max() > 1e-4


def test_the_release_s_start_of_the_encoders():
    """N(0, 2 / fan in) weights, biases near zero but for the last, N(0, 1)."""
    encoder, x = latent.GaussianEncoder((64,)), jnp.zeros((1, 4, 4, 2))
    params = encoder.lazy_init(jax.random.key(0), x)["params"]
    kernel, bias = params["conv_0_1"]["kernel"], params["conv_0_1"]["bias"]
    assert abs(kernel.std() / np.sqrt(2 / (9 * 64)) - 1) < 0.02
    assert 0 < jnp.abs(bias).max() < 0.003
    assert 0.5 < params["head"]["bias"].std() < 1.6
