"""Views of an image: each is asked as it is turned, and answers are turned back."""

import collections
import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import classical, nuaa_sirst
from configs.diff_mosaic import pixel_prior
from irstd_jax import benchmark, evaluate, export, inference, tasks
from irstd_jax.diffusion import noise_schedule, samplers
from irstd_jax.tasks import views
from irstd_jax.tasks.mask_diffusion import MaskDiffusion, Sampling


@dataclasses.dataclass(frozen=True)
class Lopsided:
    """Each pixel and half of its right neighbour, and a number of its key."""

    sampling: str = "its own"

    def predict(self, variables, batch, keys, trajectory=False):
        image = batch["image"]
        beside = jnp.pad(image, ((0, 0), (0, 0), (0, 1), (0, 0)))[:, :, 1:]
        fused = variables * (image + 0.5 * beside)
        number = jax.vmap(jax.random.uniform)(keys)[:, None, None, None, None]
        output = {"fused": fused, "samples": image[:, None] + 0 * number + number}
        return output | ({"trajectory": fused[:, None]} if trajectory else {})


IMAGES = np.random.default_rng(0).random((2, 3, 5, 1), np.float32)
KEYS = jax.random.split(jax.random.key(0), 2)


def ask(count, **fields):
    return views.seen(Lopsided(), count).predict(2.0, {"image": IMAGES}, KEYS, **fields)


def neighbours(count):
    """Where the right neighbour of a view lies in the image: (dy, dx) of each view."""
    return [(0, 1), (0, -1), (0, -1), (0, 1), (1, 0), (1, 0), (-1, 0), (-1, 0)][:count]


@pytest.mark.parametrize("count", views.COUNTS)
def test_maps_are_means_of_views_turned_back(count):
    padded = np.pad(IMAGES, ((0, 0), (1, 1), (1, 1), (0, 0)))
    beside = [
        padded[:, 1 + dy : 4 + dy, 1 + dx : 6 + dx] for dy, dx in neighbours(count)
    ]
    expected = 2 * (IMAGES + 0.5 * np.mean(beside, axis=0))
    found = ask(count)
    np.testing.assert_allclose(found["fused"], expected, rtol=1e-6)
    assert found["samples"].shape == (2, count, *IMAGES.shape[1:])


def test_every_view_has_samples_of_its_own_the_first_those_of_the_image():
    found = np.asarray(ask(8)["samples"]) - IMAGES[:, None]
    numbers = found.mean((2, 3, 4))
    np.testing.assert_allclose(found - numbers[..., None, None, None], 0, atol=1e-6)
    assert len(np.unique(numbers.round(4))) == 16
    np.testing.assert_array_equal(ask(8)["samples"][:, :1], ask(1)["samples"])


class Blank(nn.Module):
    """Sees no target, whatever it is shown."""

    def condition(self, image):
        return None, None

    def denoise(self, x_t, t, image, feature):
        return 0 * x_t


def numbers(keys):
    return [tuple(jax.random.key_data(key).tolist()) for key in keys]


def drawn(monkeypatch, how):
    """The keys of all noise in one prediction of two images, in eight views each."""
    used, draw = [], samplers.draw

    def noted(keys, shape):
        used.extend(numbers(keys))
        return draw(keys, shape)

    monkeypatch.setattr(samplers, "draw", noted)
    schedule = noise_schedule("linear", 30)
    task = MaskDiffusion(Blank(), schedule, "x0", (0, 1), 0.0, 0.0, (3, 5, 1), how)
    with jax.disable_jit():
        views.seen(task, 8).predict({}, {"image": IMAGES}, KEYS)
    return used


def test_one_sample_a_view_shares_no_noise(monkeypatch):
    used = drawn(monkeypatch, Sampling(steps=3))
    assert len(used) == len(set(used)) == 8 * 2 * (1 + 3)


def test_samples_without_noise_on_the_way_share_none(monkeypatch):
    used = drawn(monkeypatch, Sampling(sampler="ddim", steps=3, samples=9))
    assert len(used) == len(set(used)) == 8 * 2 * 9


def test_samples_with_noise_on_the_way_share_what_is_said(monkeypatch):
    """Sample 1 of views 1 and 2 begins at the first step of the image's own 1 and 2."""
    used = drawn(monkeypatch, Sampling(steps=3, samples=3))
    fold, split = jax.random.fold_in, jax.random.split
    pairs = [(key, i) for key in KEYS for i in (1, 2)]
    begins = [split(fold(fold(key, i), 1))[0] for key, i in pairs]
    first_steps = [fold(split(fold(key, i))[1], 0) for key, i in pairs]
    assert numbers(begins) == numbers(first_steps)
    twice = [key for key, n in collections.Counter(used).items() if n > 1]
    assert sorted(twice) == sorted(numbers(begins))


def test_a_chain_is_of_the_image_as_it_is():
    alone, several = (ask(count, trajectory=True)["trajectory"] for count in (1, 4))
    np.testing.assert_array_equal(alone, several)


def test_one_view_is_the_task_itself_and_the_rest_is_its_own():
    task = Lopsided()
    assert views.seen(task, 1) is task
    assert views.seen(task, 2).sampling == "its own"
    assert not hasattr(views.seen(task, 2), "score")


@pytest.mark.parametrize("count", [0, 3, 16])
def test_other_numbers_are_refused(count):
    with pytest.raises(ValueError, match=rf"views is {count}; choose from \(1, 2"):
        views.seen(Lopsided(), count)


@pytest.mark.parametrize(
    "recipe",
    [
        classical.get_config("tophat,synthetic,tiny"),
        pixel_prior.get_config("tiny"),
    ],
    ids=lambda recipe: recipe.name,
)
def test_what_gives_no_probabilities_has_no_views(recipe):
    recipe.views = 4
    with pytest.raises(ValueError, match="views=4 is a mean of probabilities"):
        tasks.detector(recipe)


def tiny():
    config = nuaa_sirst.get_config("tiny")
    config.data.update({"name": "synthetic", "split": "generated", "size": 32})
    config.data.count = {"train": 4, "validation": 2, "test": 2}
    config.evaluation.update({"bootstrap": 10, "canvas_multiple": 32})
    return config


def test_reports_exports_and_costs_are_of_all_views(tmp_path):
    config = tiny()
    task = tasks.build(config)
    variables = inference.initial(config, task, jax.random.key(0))
    about = {"config": config.to_dict(), "step": 0}
    inference.store.save(tmp_path / "best.safetensors", variables, about)
    config.views = 2
    assert evaluate.run(config, tmp_path) == 0
    report = (tmp_path / evaluate.REPORT).read_text()
    assert "the mean over 2 views" in report and '"views": 2' in report
    config.export.size = (32, 32)
    # It holds its masks against those of the program.
    assert export.run(config, tmp_path, tmp_path / "detector.stablehlo") == 0
    assert '"views": 2' in (tmp_path / "detector.stablehlo.json").read_text()
    config.benchmark.update({"size": 32, "repeats": 0, "images": 0})
    two = benchmark.measured(config, training=False)
    config.views = 1
    one = benchmark.measured(config, training=False)
    assert two["sampling"]["views"] == 2 and "views" not in one["sampling"]
    ratio = two["parts"]["predict"]["flops"] / one["parts"]["predict"]["flops"]
    assert 1.8 < ratio < 2.2
