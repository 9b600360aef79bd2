"""The Diff-Prior: what learns, what its loss is, and how it resamples."""

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs.diff_mosaic import autoencoder, control, latent_prior, pixel_prior
from irstd_jax import tasks
from irstd_jax.diffusion import process, schedule
from irstd_jax.tasks import latent_diffusion

SIZE = 16


def recipe(module, **changes):
    config = module.get_config("tiny")
    config.data.crop = SIZE
    config.update(changes)
    return config


@pytest.fixture(scope="module")
def first():
    """Variables of the autoencoder, with latents of deviation 1/2."""
    variables = tasks.build(recipe(autoencoder)).init(jax.random.key(0))
    latent = {"mean": jnp.zeros(()), "square": jnp.full((), 0.25)}
    return variables | {"batch_stats": {"latent": latent}}


@pytest.fixture(scope="module")
def prior(first):
    """(task, variables) of the part "unet"; what is zero at the start is not here."""
    task = tasks.build(recipe(latent_prior))
    return task, moved(task.init(jax.random.key(1), autoencoder=first))


@pytest.fixture(scope="module")
def controlled(prior):
    """(task, variables) of the part "control" on that prior."""
    restorer = tasks.build(recipe(pixel_prior)).init(jax.random.key(2))
    task = tasks.build(recipe(control))
    return task, task.init(jax.random.key(3), unet=prior[1], restorer=restorer)


def moved(variables):
    """Parameters with noise on them."""
    leaves, tree = jax.tree.flatten(variables["params"])
    rng = np.random.default_rng(0)
    leaves = [x + np.float32(0.1) * rng.standard_normal(x.shape) for x in leaves]
    params = jax.tree.unflatten(tree, [jnp.float32(x) for x in leaves])
    return variables | {"params": params}


@pytest.fixture(scope="module")
def batch():
    rng = np.random.default_rng(0)
    image = rng.random((2, SIZE, SIZE, 1)).astype(np.float32)
    return {"image": image, "mask": np.zeros_like(image)}


def undegraded(task):
    """The task without the degradation, which takes long to compile."""
    return dataclasses.replace(task, degrade=lambda keys, images, masks: 0.5 * images)


def keys(count=2, seed=5):
    return jax.random.split(jax.random.key(seed), count)


def test_only_its_part_learns(prior, controlled):
    assert set(prior[1]["params"]) == {"unet"}
    assert set(prior[1]["frozen"]) == {"autoencoder", "context"}
    assert set(controlled[1]["params"]) == {"control"}
    parts = {"autoencoder", "context", "unet", "restorer"}
    assert set(controlled[1]["frozen"]) == parts
    jax.tree.map(
        np.testing.assert_array_equal,
        controlled[1]["frozen"]["unet"],
        prior[1]["params"]["unet"],
    )


def test_the_loss_is_the_error_of_the_denoiser(prior, batch):
    """Once more by hand: latents of variance 1, a time and a noise for each key."""
    task, variables = prior
    task = dataclasses.replace(task, loss_kind="x0")
    _, latent_keys, draw_keys = latent_diffusion.split(keys(), 3)
    frozen = variables["frozen"]
    mean, logvar = task.moments(frozen, batch["image"])
    noise = jnp.stack([jax.random.normal(k, mean.shape[1:]) for k in latent_keys])
    z0 = 2.0 * (mean + jnp.exp(logvar / 2) * noise)
    errors = []
    for i, key in enumerate(draw_keys):
        t_key, eps_key = jax.random.split(key)
        t = jax.random.randint(t_key, (1,), 0, 1000)
        z = z0[i : i + 1]
        z_t = process.q_sample(
            task.schedule, z, t, jax.random.normal(eps_key, z.shape[1:])
        )
        found = task.denoiser(variables, None)(z_t, t)
        errors.append(float(jnp.mean((found - z) ** 2)))
    loss, aux = task.loss(variables, batch, keys())
    np.testing.assert_allclose(loss, np.mean(errors), rtol=1e-4)
    np.testing.assert_allclose(aux["terms"]["x0"], loss, rtol=1e-6)


def test_a_new_control_changes_nothing(prior, controlled, batch):
    """Its outputs are zero: the samples are those of the prior alone."""
    (plain, alone), (task, variables) = prior, controlled
    z = jax.random.normal(jax.random.key(0), (2, 4, 4, 4))
    t = jnp.array([10, 500])
    hint = jnp.ones_like(z)
    np.testing.assert_allclose(
        task.denoiser(variables, hint)(z, t),
        plain.denoiser(alone, None)(z, t),
        atol=1e-4,
    )


def test_the_control_gets_a_gradient(controlled, batch):
    task, variables = undegraded(controlled[0]), controlled[1]
    grads = jax.jit(
        jax.grad(lambda p: task.loss(variables | {"params": p}, batch, keys())[0])
    )(variables["params"])
    assert float(jnp.abs(grads["control"]["zero_0"]["kernel"]).max()) > 0


@pytest.fixture(scope="module")
def resample(prior):
    task, variables = prior
    run = jax.jit(lambda image, k: task.predict(variables, {"image": image}, k))
    return lambda image, k: np.asarray(run(image, k)["realistic"])


def test_resampling_keeps_sizes_and_range(resample):
    image = np.random.default_rng(0).random((2, 13, 18, 1)).astype(np.float32)
    found = resample(image, keys())
    assert found.shape == image.shape
    assert found.min() >= 0 and found.max() <= 1


def test_resampling_depends_on_each_key_alone(resample, batch):
    image = batch["image"]
    both = resample(image, keys())
    np.testing.assert_array_equal(both, resample(image, keys()))
    swapped = resample(image[::-1], keys()[::-1])
    np.testing.assert_allclose(both, swapped[::-1], atol=1e-5)
    assert np.abs(both - resample(image, keys(seed=6))).max() > 1e-4


class Rebuilt(nn.Module):
    """Right for latents of .7, at the levels of a schedule of so many steps."""

    steps: int

    def __call__(self, z, t, context, controls):
        rebuilt = schedule.noise_schedule("scaled_linear", self.steps)
        alpha, sigma = process.signal_and_noise(rebuilt, t, z)
        return (z - alpha * 0.7) / sigma


@pytest.mark.parametrize("steps", [40, 1500])
def test_a_rebuilt_schedule_is_the_one_that_gives_z0(prior, steps):
    """The task learns eps at 1000 times; every sample is .7."""
    how = latent_diffusion.Resampling(
        steps=steps, spacing="rebuilt", guidance_scale=0.0
    )
    task = dataclasses.replace(
        prior[0], unet=Rebuilt(steps), parameterisation="eps", sampling=how
    )
    variables = {"frozen": {"context": jnp.zeros((1, 1))}, "params": {"unet": {}}}
    found = task.resample(variables, jnp.zeros((2, 4, 4, 1)), keys())
    np.testing.assert_allclose(found, 0.7, atol=1e-4)


def test_full_guidance_gives_the_target_back(prior, batch):
    """Scale 1/2 is the whole way: the decoded hint, here with half of what it lost."""
    task, variables = prior
    how = dataclasses.replace(
        task.sampling,
        guidance_scale=0.5,
        guidance_rule="x0",
        guidance_start=2000,
        color="none",
        residual=0.5,
    )
    task = dataclasses.replace(task, sampling=how)
    hint = task.encode(variables["frozen"], batch["image"])
    decoded = task.decode(variables["frozen"], hint)
    expected = jnp.clip((decoded + batch["image"]) / 2, 0, 1)
    assert np.abs(expected - jnp.clip(decoded, 0, 1)).max() > 0.01
    found = task.predict(variables, batch, keys())["realistic"]
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_the_target_is_encoded_once(prior, batch, monkeypatch):
    """The release encodes it at every repeat of every step: 90 times a sample."""
    task, variables = prior
    calls, moments = [], latent_diffusion.LatentDiffusion.moments

    def counted(self, frozen, image):
        calls.append(image.shape)
        return moments(self, frozen, image)

    monkeypatch.setattr(latent_diffusion.LatentDiffusion, "moments", counted)
    jax.eval_shape(lambda: task.predict(variables, batch, keys()))
    assert len(calls) == 1


def test_low_frequencies_are_those_of_the_smooth_image(prior, batch):
    """By the colour correction, whatever the prior makes (it is not clipped here)."""
    task, _ = prior
    dark = {"image": 0.5 + 0.05 * batch["image"]}
    for name, off in (("wavelet", 0.02), ("none", None)):
        how = dataclasses.replace(task.sampling, color=name)
        one = dataclasses.replace(task, sampling=how)
        found = one.predict(prior[1], dark, keys())["realistic"]
        shift = float(
            jnp.abs(found.mean((1, 2, 3)) - dark["image"].mean((1, 2, 3))).max()
        )
        if off is not None:
            assert shift < off
        else:
            assert shift > 0.02


def test_tiles_as_large_as_the_latent_change_nothing(prior, resample, batch):
    task, variables = prior
    how = dataclasses.replace(task.sampling, tile=64, overlap=8)
    one = dataclasses.replace(task, sampling=how)
    found = one.predict(variables, batch, keys())["realistic"]
    np.testing.assert_allclose(found, resample(batch["image"], keys()), atol=1e-5)
    how = dataclasses.replace(task.sampling, tile=2, overlap=0)
    small = dataclasses.replace(task, sampling=how)
    found = small.predict(variables, batch, keys())["realistic"]
    assert found.shape == batch["image"].shape and np.isfinite(found).all()


def test_tiles_are_for_drawing_and_not_for_learning(prior, batch):
    task, variables = prior
    how = dataclasses.replace(task.sampling, tile=2, overlap=0)
    tiled = dataclasses.replace(task, sampling=how)
    losses = [one.loss(variables, batch, keys())[0] for one in (task, tiled)]
    assert losses[0] == losses[1]


def test_scores_are_of_each_image(controlled, batch):
    task, variables = undegraded(controlled[0]), controlled[1]
    scores, pictures = jax.jit(lambda k: task.score(variables, batch, k))(keys())
    assert scores["mse"].shape == (2,) and bool((scores["mse"] > 0).all())
    assert {x.shape for x in pictures.values()} == {batch["image"].shape}
    assert task.chosen_by == ("mse", -1)


@pytest.mark.parametrize(
    "fields",
    [
        {"sampler": "ddim"},
        {"sampler": "dpm_solver"},
        {"sampler": "edm_heun"},
        {"spacing": "rebuilt"},
    ],
)
def test_guidance_of_the_mean_is_of_ancestral_steps_alone(fields):
    """Log-SNR times have no weight in its table, and Q_t is the weight in ddpm."""
    config = latent_prior.get_config()
    latent_diffusion.Resampling(**config.sampling)
    config.sampling.update(fields)
    with pytest.raises(ValueError, match="or guidance_rule='x0', which is for all"):
        tasks.build(config)
    for change in ({"guidance_rule": "x0"}, {"guidance_scale": 0.0}):
        latent_diffusion.Resampling(**config.sampling.to_dict() | change)


@pytest.mark.parametrize(
    "block, field, value",
    [("task", "part", "vae"), ("task", "loss", "l1")],
)
def test_refusals(block, field, value):
    config = recipe(latent_prior)
    config[block][field] = value
    with pytest.raises(ValueError, match=f"unknown {block}.{field} {value!r}"):
        tasks.build(config)
