"""Eq. 16 against its formula, sampling with exact networks, the rules of fusion."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from irstd_jax.diffusion import process, schedule
from irstd_jax.tasks import mask_diffusion
from irstd_jax.tasks.mask_diffusion import MaskDiffusion, Sampling

SCHEDULE = schedule.noise_schedule("linear", 100)


class Oracle(nn.Module):
    """Knows the mask: it is the image. `kind` is what it says of it."""

    kind: str = "x0"
    low: float = -1.0
    high: float = 1.0
    encoder: bool = True

    def condition(self, image, train=False):
        logits = jnp.repeat(8.0 * image - 4.0, 3, axis=-1)
        return (image, logits) if self.encoder else (None, None)

    def denoise(self, x_t, t, image, feature, train=False):
        x0 = self.low + (self.high - self.low) * image
        alpha, sigma = process.signal_and_noise(SCHEDULE, t, x_t)
        eps = (x_t - alpha * x0) / sigma
        return process.target(self.kind, x0, eps, alpha, sigma)

    def __call__(self, image, x_t, t, train=False):
        feature, logits = self.condition(image, train)
        return self.denoise(x_t, t, image, feature, train), logits


def task(network, sampling=None, **fields):
    settings = {
        "parameterisation": network.kind,
        "mask_range": (network.low, network.high),
        "encoder_weight": 10.0,
        "iou_weight": 0.0,
    } | fields
    return MaskDiffusion(
        network=network,
        schedule=SCHEDULE,
        image_shape=(8, 8, 1),
        sampling=sampling or Sampling(sampler="ddim", steps=4),
        **settings,
    )


@pytest.fixture
def batch():
    mask = np.zeros((3, 8, 8, 1), np.float32)
    mask[0, 2:4, 3:5] = mask[1, 6, 1] = 1
    return {"image": mask, "mask": mask}


def keys(n, seed=0):
    return jax.random.split(jax.random.key(seed), n)


@pytest.mark.parametrize("kind", ["eps", "x0", "v"])
@pytest.mark.parametrize("span", [(0.0, 1.0), (-1.0, 1.0)])
def test_an_exact_network_has_no_diffusion_loss_and_samples_the_mask(kind, span, batch):
    exact = task(Oracle(kind, *span))
    _, aux = exact.loss({}, batch, keys(3))
    # eps = (x_t - alpha x0) / sigma loses digits where sigma is small.
    assert aux["terms"]["mse"] < 1e-8
    prediction = jax.jit(exact.predict)({}, batch, keys(3))
    np.testing.assert_allclose(prediction["diffusion"], batch["mask"], atol=1e-4)
    for mode in ("discriminative", "fused_logodds"):
        assert ((prediction[mode] > 0.5) == (batch["mask"] > 0)).all()


def test_loss_is_equation_16(batch):
    wrong = task(Oracle("eps", 0.0, 1.0), parameterisation="x0")
    loss, aux = wrong.loss({}, batch, keys(3))
    logits, mask = 8 * batch["image"] - 4, batch["mask"]
    maps = 3 * np.mean(np.logaddexp(0, logits) - mask * logits)
    draw = jax.vmap(wrong._draw, (0, None))(keys(3), (8, 8, 1))
    # This oracle says eps where x0 is asked for.
    expected = np.mean((np.asarray(draw[1]) - mask) ** 2)
    np.testing.assert_allclose(aux["terms"]["bce"], maps, rtol=1e-5)
    np.testing.assert_allclose(aux["terms"]["mse"], expected, rtol=1e-4)
    np.testing.assert_allclose(loss, expected + 10 * maps, rtol=1e-4)


def test_times_are_drawn_from_all_of_the_schedule(batch):
    t, eps = jax.vmap(task(Oracle())._draw, (0, None))(keys(4000), (2, 2, 1))
    assert (t.min(), t.max()) == (0, 99)
    assert abs(t.mean() - 49.5) < 4 * 28.9 / 4000**0.5
    assert abs(eps.std() - 1) < 0.02


def test_an_image_s_sample_does_not_depend_on_its_batch(batch):
    random = task(Oracle("x0"), Sampling(steps=5), parameterisation="eps")
    together = random.predict({}, batch, keys(3))["samples"]
    alone = random.predict({}, {"image": batch["image"][1:2]}, keys(3)[1:2])["samples"]
    np.testing.assert_allclose(together[1:2], alone, atol=1e-6)


def test_samples_of_one_image_differ_and_are_counted(batch):
    sampling = Sampling(steps=5, samples=3)
    random = task(Oracle("x0"), sampling, parameterisation="eps")
    prediction = random.predict({}, batch, keys(3), trajectory=True)
    samples = prediction["samples"]
    assert samples.shape == (3, 3, 8, 8, 1)
    assert not np.allclose(samples[:, 0], samples[:, 1])
    np.testing.assert_allclose(prediction["diffusion"], samples.mean(1), atol=1e-6)
    assert prediction["trajectory"].shape == (3, 5, 8, 8, 1)
    np.testing.assert_allclose(
        prediction["trajectory"][:, -1], samples[:, 0], atol=1e-6
    )


def test_without_encoder_there_is_one_mode_and_one_term(batch):
    plain = task(Oracle(encoder=False))
    _, aux = plain.loss({}, batch, keys(3))
    assert set(aux["terms"]) == {"loss", "mse"}
    assert set(plain.predict({}, batch, keys(3))) == {"samples", "diffusion"}


@pytest.mark.parametrize(
    ("sample", "least"), [(1.0, 0.0345), (0.0, 0.2845), (-1.0, 0.5345)]
)
def test_released_rule_at_the_released_threshold(sample, least):
    """Section 9 of the facts: the logit from which a pixel is a target."""
    logits = jnp.array([least - 1e-3, least + 1e-3]).reshape(2, 1, 1, 1)
    score = mask_diffusion.released_fusion(logits, jnp.full((2, 1, 1, 1), sample))
    assert (score.ravel() > 0.2845).tolist() == [False, True]


def test_released_rule_where_both_agree():
    """Logits that truncate to 1 on just the sampled pixels: half of each."""
    logits = jnp.array([1.5, 1.5, -3.0, -3.0]).reshape(1, 2, 2, 1)
    sample = jnp.array([1.0, 1.0, -1.0, -1.0]).reshape(1, 2, 2, 1)
    score = mask_diffusion.released_fusion(logits, sample * 0.2)
    np.testing.assert_allclose(score.ravel(), [0.85, 0.85, 0, 0], atol=1e-6)
    # A logit of 5 truncates to 5, and such agreement does not count there.
    score = mask_diffusion.released_fusion(jnp.where(logits > 0, 5.0, -5.0), sample)
    np.testing.assert_allclose(score.ravel(), [1, 1, 0, 0], atol=1e-6)


def test_logodds_fusion_hears_both():
    logits = jnp.array([5.0, 1.0, -1.0, -5.0]).reshape(1, 2, 2, 1)
    for probability, expected in ((1.0, [1, 1, 1, 0]), (0.0, [1, 0, 0, 0])):
        score = mask_diffusion.logodds_fusion(logits, probability)
        assert (score.ravel() > 0.5).tolist() == [bool(x) for x in expected]
