"""The paper's figures: that what they show is what the network computes."""

import dataclasses
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import quickstart
from irstd_jax import explain, models
from irstd_jax.diffusion import samplers
from irstd_jax.diffusion.schedule import noise_schedule
from irstd_jax.models.liw import LIW
from irstd_jax.ops import haar
from irstd_jax.tasks import views
from irstd_jax.tasks.mask_diffusion import Sampling


@pytest.fixture(scope="module")
def config():
    return quickstart.get_config("tiny")


@pytest.fixture(scope="module")
def seen(config):
    """(maps, the network's own feature, LIW alone on `before`) of one image."""
    fields = {k: v for k, v in config.model.items() if k != "name"}
    network = models.build("irstd_diff", **fields)
    image = jax.random.normal(jax.random.key(0), (1, 16, 16, 1))
    t = jnp.zeros(1, jnp.int32)
    shapes = jax.eval_shape(network.init, jax.random.key(0), image, image, t)
    rng = np.random.default_rng(0)
    variables = jax.tree.map(
        lambda leaf: np.float32(0.1 + 0.3 * np.abs(rng.normal(size=leaf.shape))), shapes
    )

    @jax.jit
    def look(variables, image):
        maps = explain.features(network, variables, image)
        feature, _ = network.apply(variables, image, method="condition")
        inner = {kind: tree["encoder"]["liw"] for kind, tree in variables.items()}
        alone = LIW(config.model.liw_levels).apply(inner, maps["before"])
        return maps, feature, alone

    return jax.device_get(look(variables, image))


def test_maps_are_those_of_the_network(seen):
    maps, feature, alone = seen
    assert {x.shape for n, x in maps.items() if len(n) > 2} == {(1, 8, 8, 8)}
    close = {"rtol": 1e-4, "atol": 1e-5}
    np.testing.assert_allclose(maps["de_2"], feature, **close)
    np.testing.assert_allclose(maps["after"], alone, **close)
    details = maps["hl"], maps["lh"], maps["hh"]
    np.testing.assert_allclose(haar.idwt(maps["ll"], details), maps["before"], **close)
    assert np.abs(maps["skipped"] - maps["de_2"]).max() > 1e-3


def test_pictures_of_maps(seen):
    maps = explain.cropped(seen[0], (16, 16), (11, 16))
    assert maps["before"].shape == (6, 8, 8) and maps["ll"].shape == (3, 4, 8)
    image = np.random.default_rng(0).random((11, 16, 1))
    for picture in (explain.wavelet(maps), explain.activations(image, maps)):
        assert picture.dtype == np.uint8 and picture.shape[2] == 3
        assert picture.std() > 10
    few = {name: maps[name] for name in ("before", "de_2")}
    assert (
        explain.activations(image, few).shape[1]
        < explain.activations(image, maps).shape[1]
    )


class Encoderless(nn.Module):
    """What `drawer` asks of a network without conditional encoder."""

    remat: bool = False
    conditional_encoder: bool = False


@dataclasses.dataclass(frozen=True)
class Task:
    """Samples that are the image, and one chain that fades it in."""

    sampling: Sampling
    network: nn.Module = dataclasses.field(default_factory=Encoderless)
    schedule: Any = noise_schedule("linear", 50)

    def predict(self, variables, batch, keys, trajectory):
        image = batch["image"]
        chain = [image * i / self.sampling.steps for i in range(self.sampling.steps)]
        samples = jnp.stack([image] * self.sampling.samples, 1)
        return {"samples": samples, "trajectory": jnp.stack(chain, 1)}


@pytest.mark.parametrize("count", [1, 2])
def test_drawer(count, config, monkeypatch):
    shown = {}
    monkeypatch.setattr(
        explain.viz,
        "sampling_strip",
        lambda frames, times: shown.update(frames=frames, times=times),
    )
    monkeypatch.setattr(
        explain.viz,
        "posterior_samples",
        lambda samples, image: shown.update(samples=samples),
    )
    config.data.normalisation = "none"
    task = views.seen(Task(Sampling("ddim", 20, samples=3)), count)
    draw = explain.drawer(config, task, {})
    image = np.random.default_rng(0).random((11, 30, 1)).astype(np.float32)
    assert list(draw(image, "a")) == ["sampling", "posterior"]
    assert shown["samples"].shape == (explain.SAMPLES, 11, 30)
    np.testing.assert_array_equal(shown["samples"][0], image[..., 0])
    assert shown["frames"].shape == (explain.FRAMES, 11, 30)
    assert shown["times"][0] == 49 and shown["times"][-1] == 0
    np.testing.assert_allclose(shown["frames"][-1], image[..., 0] * 19 / 20, rtol=1e-5)
    other = config.copy_and_resolve_references()
    other.task.name = "segmentation"
    with pytest.raises(ValueError, match="predict.figures=0"):
        explain.drawer(other, None, {})


def test_window_holds_the_largest_probability():
    image = np.arange(20 * 30).reshape(20, 30, 1)
    probability = np.zeros((20, 30))
    probability[2, 27] = 1
    part = explain.window(image, probability, 8)
    assert part.shape == (8, 8, 1) and image[2, 27] in part
    np.testing.assert_array_equal(explain.window(image, probability, 0), image)
    assert explain.window(image, probability, 25).shape == (20, 25, 1)


@pytest.mark.parametrize(
    "sampler, strength",
    [("ddpm", 1.0), ("ddim", 0.5), ("edm_heun", 1.0), ("dpm_solver", 0.6)],
)
def test_visited_times_are_those_the_network_is_told(sampler, strength):
    task = Task(Sampling(sampler, 5, strength=strength))
    told = []

    def denoise(x, t):
        jax.debug.callback(lambda t: told.append(int(t)), t[0], ordered=True)
        return x

    _, chain = samplers.sample(
        denoise,
        task.schedule,
        jax.random.split(jax.random.key(0), 1),
        (2, 2, 1),
        sampler=sampler,
        steps=5,
        start=jnp.zeros((1, 2, 2, 1)) if strength < 1 else None,
        strength=strength,
        trajectory=True,
    )
    jax.effects_barrier()
    times = explain.visited(task)
    assert list(times) == told and len(times) == len(chain)
