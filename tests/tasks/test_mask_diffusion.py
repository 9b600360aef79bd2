"""Eq. 16 against its formula, sampling with exact networks, the rules of fusion."""

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import common
from irstd_jax import models, tasks
from irstd_jax.diffusion import process, schedule, variational, weighting
from irstd_jax.tasks import fusion, mask_diffusion
from irstd_jax.tasks.losses import target_weights
from irstd_jax.tasks.mask_diffusion import MaskDiffusion, Sampling

SCHEDULE = schedule.noise_schedule("linear", 100)


class Oracle(nn.Module):
    """Knows the mask: it is the image. `kind` is what it says of it."""

    kind: str = "x0"
    low: float = -1.0
    high: float = 1.0
    encoder: bool = True

    def condition(self, image, train=False):
        if not self.encoder:
            return None, None
        logits = jnp.repeat(8.0 * image - 4.0, 3, axis=-1)
        return image, logits

    def denoise(self, x_t, t, image, feature, train=False):
        if self.kind == "logit":
            return 40.0 * image - 20.0
        x0 = self.low + (self.high - self.low) * image
        alpha, sigma = process.signal_and_noise(SCHEDULE, t, x_t)
        eps = (x_t - alpha * x0) / sigma
        return process.target(self.kind, x0, eps, alpha, sigma)

    def __call__(self, image, x_t, t, train=False):
        feature, logits = self.condition(image, train)
        return self.denoise(x_t, t, image, feature, train), logits


def task(network, sampling=None, **fields):
    settings = {
        "parameterisation": getattr(network, "kind", "logit"),
        "mask_range": (getattr(network, "low", -1.0), getattr(network, "high", 1.0)),
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


@pytest.mark.parametrize("kind", mask_diffusion.PARAMETERISATIONS)
@pytest.mark.parametrize("span", [(0.0, 1.0), (-1.0, 1.0)])
def test_an_exact_network_has_no_diffusion_loss_and_samples_the_mask(kind, span, batch):
    exact = task(Oracle(kind, *span))
    _, aux = exact.loss({}, batch, keys(3))
    # eps = (x_t - alpha x0) / sigma loses digits where sigma is small.
    assert aux["terms"]["mask_bce" if kind == "logit" else "mse"] < 1e-8
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


def test_a_mask_learns_by_bce_and_soft_iou(batch):
    exact = task(Oracle("logit"), mask_iou_weight=2.0, encoder_weight=0.0)
    batch = batch | {"mask": jnp.roll(batch["mask"], 1, 1)}  # so the network errs
    loss, aux = exact.loss({}, batch, keys(3))
    logits, mask = 40 * batch["image"] - 20, batch["mask"]
    bce = np.mean(np.logaddexp(0, logits) - mask * logits)
    np.testing.assert_allclose(aux["terms"]["mask_bce"], bce, rtol=1e-5)
    # Of 4 pixels 2 stay right; of 1 none; the third image is empty.
    ious = [1 - 3 / 7, 1 - 1 / 3, 0]
    np.testing.assert_allclose(aux["terms"]["mask_iou"], np.mean(ious), atol=1e-5)
    np.testing.assert_allclose(loss, bce + 2 * np.mean(ious), rtol=1e-5)


@pytest.mark.parametrize("scheme", sorted(weighting.SCHEMES))
def test_a_weighting_means_the_same_for_every_output(scheme, batch):
    """One wrong guess of x0, said as eps, x0 and v."""

    class Wrong(Oracle):
        def denoise(self, x_t, t, image, feature, train=False):
            return super().denoise(x_t, t, 0.7 * image + 0.1, feature)

    def loss(kind):
        wrong = task(Wrong(kind), weighting=scheme, encoder_weight=0.0)
        # Traced, as in training: its tables are constants.
        return jax.jit(wrong.loss)({}, batch, keys(3))[0]

    first, *others = (loss(kind) for kind in ("eps", "x0", "v"))
    np.testing.assert_allclose(others, first, rtol=1e-3)


def test_the_statistics_of_both_halves_are_updated(batch):
    """The encoder runs first and the denoiser after it, on one set of statistics."""
    fields = {"widths": (4, 8), "blocks": (1, 1)}
    denoiser = {"denoiser_widths": (4, 4), "denoiser_blocks": (1, 1)}
    network = models.build("realtime", **fields, **denoiser)
    real = task(network)
    variables = real.init(jax.random.key(0))
    _, aux = jax.jit(real.loss)(variables, batch, keys(3))
    old, new = variables["batch_stats"], aux["batch_stats"]
    assert jax.tree.structure(new) == jax.tree.structure(old)
    moved = jax.tree.map(lambda a, b: bool(np.any(a != b)), old, new)
    assert all(jax.tree.leaves(moved))
    gradient = jax.jit(jax.grad(lambda v: real.loss(v, batch, keys(3))[0]))(variables)
    assert all(np.isfinite(x).all() for x in jax.tree.leaves(gradient))


# --- what the generative networks learn -----------------------------------------------


class Learned(Oracle):
    """Says v and, of x_t, a map of logits; a tenth of what it says is wrong."""

    learned_variance = True
    latent = True
    encoder: bool = False

    def denoise(self, x_t, t, image, feature, train=False):
        right = super().denoise(x_t, t, image, feature)
        return jnp.concatenate([0.9 * right, 0.5 + 0 * x_t, 3 * image - 2], -1)

    def latents(self, image, mask, said):
        """N(mean of the mask, 1), N(mean of what was said, e^2)."""
        mean, mean_p = (jnp.repeat(x.mean((1, 2)), 6, -1) for x in (mask, said))
        return (mean, 0 * mean), (mean_p, 1 + 0 * mean_p)


def drawn(task, batch):
    """t, eps and x_t as the loss draws them."""
    t, eps = jax.vmap(task._draw, (0, None))(keys(3), batch["mask"].shape[1:])
    x0 = task.mask_to_x0(batch["mask"])
    return t, eps, process.q_sample(SCHEDULE, x0, t, eps)


def test_a_learned_variance_has_its_bound_in_the_loss(batch):
    """The loss of the three channels is that of each alone; all by their formulas."""
    fields = {"vlb_weight": 0.5, "encoder_error": "mse", "encoder_weight": 10.0}
    learned = task(Learned("eps", 0.0, 1.0), **fields)
    loss, aux = learned.loss({}, batch, keys(3))
    t, eps, x_t = drawn(learned, batch)
    mask = batch["mask"]
    alpha, sigma = process.signal_and_noise(SCHEDULE, t, x_t)
    guess = (x_t - sigma * 0.9 * eps) / alpha
    v = 0.5 + 0 * x_t
    bound = variational.bound(SCHEDULE, mask, guess, x_t, t, v).mean()
    terms = aux["terms"]
    np.testing.assert_allclose(terms["vlb"], bound, rtol=1e-3)
    np.testing.assert_allclose(terms["mse"], np.mean((0.1 * eps) ** 2), rtol=1e-3)
    probability = 1 / (1 + np.exp(2 - 3 * mask))
    error = np.mean((probability - mask) ** 2)
    np.testing.assert_allclose(terms["map_mse"], error, rtol=1e-5)
    whole = terms["mse"] + 0.5 * terms["vlb"] + 10 * terms["map_mse"]
    np.testing.assert_allclose(loss, whole, rtol=1e-5)


def test_a_learned_variance_is_looked_at_by_ancestral_sampling(batch):
    """f is 0.75 everywhere; the other samplers see x0 alone."""
    sampling = Sampling(steps=5, variance="learned_range")
    learned = task(Learned("x0", 0.0, 1.0), sampling)
    prediction = learned.predict({}, batch, keys(3))
    assert set(prediction) == {"samples", "diffusion"}
    np.testing.assert_allclose(prediction["diffusion"], 0.9 * batch["mask"], atol=1e-5)
    x0, share = learned.denoiser({}, batch["image"], None)(batch["mask"], jnp.arange(3))
    assert (share == 0.75).all() and x0.shape == share.shape
    other = dataclasses.replace(sampling, sampler="ddim")
    other = dataclasses.replace(learned, sampling=other)
    x0 = other.denoiser({}, batch["image"], None)(batch["mask"], jnp.arange(3))
    assert x0.shape == share.shape


@pytest.mark.parametrize("said", ["eps", "x0"])
def test_the_kl_of_cimd_is_of_what_the_network_says(said, batch):
    """KL(N(m, 1) | N(n, e^2)), six times."""
    learned = task(Learned("eps", 0.0, 1.0), kl_weight=1e-3, kl_input=said)
    loss, aux = learned.loss({}, batch, keys(3))
    t, eps, x_t = drawn(learned, batch)
    alpha, sigma = process.signal_and_noise(SCHEDULE, t, x_t)
    told = {"eps": 0.9 * eps, "x0": (x_t - sigma * 0.9 * eps) / alpha}[said]
    apart = np.asarray(batch["mask"].mean((1, 2, 3)) - told.mean((1, 2, 3)))
    kl = 6 * (1 + (1 + apart**2) / (2 * np.e**2) - 0.5)
    np.testing.assert_allclose(aux["terms"]["kl"], kl.mean(), rtol=1e-3)
    without = dataclasses.replace(learned, kl_weight=0.0).loss({}, batch, keys(3))[0]
    np.testing.assert_allclose(loss - without, 1e-3 * kl.mean(), rtol=2e-2, atol=1e-5)


class Taught(Learned):
    """Each part has one parameter, by which it errs."""

    def setup(self):
        names = ("unet", "prior", "posterior")
        self.factor = {
            n: self.param(n, nn.initializers.constant(1.1), ()) for n in names
        }

    def denoise(self, x_t, t, image, feature, train=False):
        return self.factor["unet"] * super().denoise(x_t, t, image, feature)

    def latents(self, image, mask, said):
        mask, said = mask * self.factor["posterior"], said * self.factor["prior"]
        return super().latents(image, mask, said)


def test_the_encoders_of_cimd_learn_where_they_may(batch):
    """The denoiser does by the KL in any case: it says what the prior is told."""
    variables = {"params": dict.fromkeys(("unet", "prior", "posterior"), 1.1)}
    for learns in (False, True):
        fields = {"kl_weight": 1.0, "kl_trainable": learns}
        taught = task(Taught("eps", 0.0, 1.0), **fields)

        def kl(variables, taught=taught):
            return taught.loss(variables, batch, keys(3))[1]["terms"]["kl"]

        slopes = jax.grad(kl)(variables)["params"]
        assert slopes["unet"] != 0
        assert (slopes["prior"] != 0, slopes["posterior"] != 0) == (learns, learns)


def test_x0_is_clipped_where_it_is_asked(batch):
    class Far(Oracle):
        def denoise(self, x_t, t, image, feature, train=False):
            return 3.0 * image

    for clip, top in ((True, 1.0), (False, 3.0)):
        sampling = Sampling(sampler="ddim", steps=2, clip=clip)
        far = task(Far("x0", 0.0, 2.0, False), sampling)
        found = far.predict({}, batch, keys(3), trajectory=True)["trajectory"]
        assert found.max() == pytest.approx(min(1.0, top / 2), abs=1e-5)


def test_the_squared_mean_is_of_raw_samples(batch):
    """As released: background at -0.8 in [-1, 1] becomes 0.64."""

    class Low(Oracle):
        def denoise(self, x_t, t, image, feature, train=False):
            return 0 * x_t - 0.8

    sampling = Sampling(sampler="ddim", steps=1, ensemble="mean_squared")
    found = task(Low("x0", 0.0, 1.0), sampling).predict({}, batch, keys(3))
    np.testing.assert_allclose(found["diffusion"], 0.64, atol=1e-5)
    assert found["samples"].max() == 0


def test_the_soft_dice_rule_by_hand():
    """p = .9 and .1 where s is 1 and -1: Dice 2 * .9 / (1 + 1); else it is .1 / ..."""
    p = jnp.array([0.9, 0.1, 0.1, 0.1]).reshape(1, 2, 2, 1)
    logits, sample = jnp.log(p / (1 - p)), jnp.array([1.0, -1, -1, -1]).reshape(p.shape)
    score = fusion.soft_dice(logits, sample)  # 1.8 / 2.2 is above .65
    np.testing.assert_allclose(score.ravel(), [0.95, 0, 0, 0], atol=1e-6)
    score = fusion.soft_dice(logits, -sample)  # 2 * .3 / 4.2 is not
    np.testing.assert_allclose(score.ravel(), [0.65, 0.35, 0.35, 0.35], atol=1e-6)


def test_small_targets_weigh_as_much_as_large_ones():
    mask = np.zeros((1, 40, 40, 1), np.float32)
    mask[0, 4:7, 4:7] = mask[0, 30, 30] = 1
    weights = np.asarray(target_weights(mask, 18.0)) - 1
    assert weights[0, 4:7, 4:7].sum() == pytest.approx(18)
    assert weights[0, 30, 30, 0] == pytest.approx(18)
    assert weights.sum() == pytest.approx(36)


def test_target_weight_counts_in_both_losses(batch):
    light, heavy = (
        task(Oracle("eps", 0.0, 1.0), parameterisation="x0", target_weight=w)
        for w in (0.0, 100.0)
    )
    terms = [t.loss({}, batch, keys(3))[1]["terms"] for t in (light, heavy)]
    assert terms[1]["mse"] > 2 * terms[0]["mse"]
    assert terms[1]["bce"] > 2 * terms[0]["bce"]


def test_a_path_from_the_encoder_begins_at_its_estimate(batch):
    """The oracle's encoder is right, so both ends of the path are the mask."""
    fields = {"source": "encoder", "source_noise": 0.0}
    flow = task(Oracle("x0"), Sampling(sampler="ddim", steps=1), **fields)
    feature, logits = flow.network.condition(batch["image"])
    begun = flow.start(logits, keys(3), (8, 8, 1)) / SCHEDULE.sigma[-1]
    np.testing.assert_allclose(begun, 2 * jax.nn.sigmoid(logits[..., :1]) - 1)

    class Straight(Oracle):
        """Takes x_T for the mask: right if and only if it is the estimate."""

        def denoise(self, x_t, t, image, feature, train=False):
            return x_t / SCHEDULE.sigma[-1]

    prediction = task(Straight("x0"), flow.sampling, **fields).predict(
        {}, batch, keys(3)
    )
    found = prediction["diffusion"]
    np.testing.assert_allclose(found, prediction["discriminative"], atol=1e-5)


def test_a_chain_can_begin_at_the_encoder_s_result(batch):
    """With little noise the network's single step sees the estimate."""
    sampling = Sampling(sampler="ddim", steps=100, start="encoder", strength=0.01)

    class Copy(Oracle):
        def denoise(self, x_t, t, image, feature, train=False):
            return x_t

    prediction = task(Copy("x0"), sampling).predict({}, batch, keys(3))
    found, wanted = prediction["diffusion"], prediction["discriminative"]
    np.testing.assert_allclose(found, wanted, atol=6 * SCHEDULE.sigma[0])
    assert np.abs(found - 0.5).min() > 0.2


@pytest.mark.parametrize("kind", ["eps", "v"])
@pytest.mark.parametrize("steps", [40, 60, 150])
def test_a_rebuilt_schedule_is_the_one_that_gives_x0(kind, steps):
    """A network right at the rebuilt levels, for masks of .7: every sample is .7."""
    rebuilt = schedule.noise_schedule("linear", steps)

    class Rebuilt(Oracle):
        def denoise(self, x_t, t, image, feature, train=False):
            alpha, sigma = process.signal_and_noise(rebuilt, t, x_t)
            eps = (x_t - alpha * 0.7) / sigma
            return process.target(self.kind, 0.7, eps, alpha, sigma)

    how = Sampling(steps=steps, spacing="rebuilt")
    found = task(Rebuilt(kind, 0.0, 1.0), how).predict(
        {}, {"image": jnp.zeros((2, 8, 8, 1))}, keys(2)
    )
    np.testing.assert_allclose(found["samples"], 0.7, atol=1e-4)


def test_a_rebuilt_path_begins_at_its_own_level(batch):
    """From the encoder's estimate, at the noisiest level of the rebuilt schedule."""
    trained, rebuilt = (schedule.noise_schedule("rectified", n) for n in (100, 10))

    class Straight(Oracle):
        def denoise(self, x_t, t, image, feature, train=False):
            return x_t / rebuilt.sigma[-1]

    how = Sampling(sampler="ddim", steps=10, spacing="rebuilt")
    flow = task(Straight("x0"), how, source="encoder", source_noise=0.0)
    flow = dataclasses.replace(flow, schedule=trained)
    chain = flow.predict({}, batch, keys(3), trajectory=True)
    wanted = chain["discriminative"]
    np.testing.assert_allclose(chain["trajectory"][:, 0], wanted, atol=1e-6)


@pytest.mark.parametrize(
    "block, field, value, words",
    [
        ("task", "parameterisation", "mask", "unknown task.parameterisation 'mask'"),
        ("task", "weighting", "late", "unknown task.weighting 'late'"),
        ("task", "times", "late", "unknown task.times 'late'"),
        ("task", "source", "image", "unknown task.source 'image'"),
        ("task", "encoder_error", "l1", "unknown task.encoder_error 'l1'"),
        ("task", "fusion", "vote", "unknown task.fusion 'vote'"),
        ("task", "kl_input", "z", "unknown task.kl_input 'z'"),
        ("task", "vlb_weight", 1.0, "a network that learns its variance"),
        ("task", "kl_weight", 1.0, "cimd with latent=True"),
        ("sampling", "start", "image", "unknown sampling.start 'image'"),
        ("sampling", "start", "encoder", "wants a sampling.strength below 1"),
    ],
)
def test_what_is_unknown_is_refused(block, field, value, words):
    config = common.with_variant(
        common.irstd_diff("toy", "synthetic", "generated"), "tiny"
    )
    config[block][field] = value
    with pytest.raises(ValueError, match=words):
        tasks.build(config)


def test_an_estimate_wants_an_encoder():
    config = common.with_variant(
        common.irstd_diff("toy", "synthetic", "generated"), "tiny"
    )
    config.task.source = "encoder"
    tasks.build(config)
    config.model.conditional_encoder = False
    with pytest.raises(ValueError, match="no encoder's estimate"):
        tasks.build(config)


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
    score = fusion.released(logits, jnp.full((2, 1, 1, 1), sample))
    assert (score.ravel() > 0.2845).tolist() == [False, True]


def test_released_rule_where_both_agree():
    """Logits that truncate to 1 on just the sampled pixels: half of each."""
    logits = jnp.array([1.5, 1.5, -3.0, -3.0]).reshape(1, 2, 2, 1)
    sample = jnp.array([1.0, 1.0, -1.0, -1.0]).reshape(1, 2, 2, 1)
    score = fusion.released(logits, sample * 0.2)
    np.testing.assert_allclose(score.ravel(), [0.85, 0.85, 0, 0], atol=1e-6)
    # A logit of 5 truncates to 5, and such agreement does not count there.
    score = fusion.released(jnp.where(logits > 0, 5.0, -5.0), sample)
    np.testing.assert_allclose(score.ravel(), [1, 1, 0, 0], atol=1e-6)


def test_logodds_fusion_hears_both():
    logits = jnp.array([5.0, 1.0, -1.0, -5.0]).reshape(1, 2, 2, 1)
    for probability, expected in ((1.0, [1, 1, 1, 0]), (0.0, [1, 0, 0, 0])):
        score = fusion.logodds(logits, probability)
        assert (score.ravel() > 0.5).tolist() == [bool(x) for x in expected]
