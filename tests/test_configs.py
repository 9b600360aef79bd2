"""Every recipe, in every variant, is one that the program can run."""

import importlib

import numpy as np
import pytest

from configs import classical, common, detector, distillation, generative
from irstd_jax import data, models, tasks, train
from irstd_jax.data import pipeline

RECIPES = ("irstd1k", "nuaa_sirst", "nudt_sirst")


def recipe(name, variant=""):
    return importlib.import_module(f"configs.{name}").get_config(variant)


def by_default(block):
    """Whether a recipe's network is the one that its name alone builds."""
    network = models.build(block.name)
    return models.build(**block).clone(dtype=network.dtype) == network


def check_preparation(config):
    """An image of the set becomes one that the network takes."""
    grey = np.full((8, 8, 1), 0.5, np.float32)
    image = pipeline.preparation(config.data).image(grey)
    assert image.shape == (8, 8, config.data.channels)


@pytest.mark.parametrize("variant", sorted(common.VARIANTS))
@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_makes_its_task(name, variant):
    config = recipe(name, variant)
    task = tasks.build(config)
    assert task.image_shape[2] == config.data.channels
    check_preparation(config)


@pytest.mark.parametrize("name", RECIPES)
def test_what_builds_on_a_recipe_takes_its_images(name):
    for variant in ("", *common.VARIANTS):
        check_preparation(distillation.get_config(f"{name},{variant}"))
    for network in generative.SEGMENTERS:
        for variant in generative.VARIANTS:
            check_preparation(generative.get_config(f"{network},{name},{variant}"))
    for network in detector.DETECTORS:
        for variant in ("", "small", "tiny", "published"):
            check_preparation(detector.get_config(f"{network},{name},{variant}"))
    for method in classical.METHODS:
        check_preparation(classical.get_config(f"{method},{name}"))


@pytest.mark.parametrize("variant", ["", "small", "tiny"])
def test_the_general_recipe(variant):
    config = recipe("general", variant)
    assert tasks.build(config).image_shape == (
        32 if variant == "tiny" else 128,
    ) * 2 + (1,)
    names = [one.name for one in data.singles(config.data)]
    assert names[:2] == ["nuaa_sirst", "nudt_sirst"] or names == ["synthetic"]
    # Generated scenes teach, and judge nothing but the toy.
    assert bool(data.count(config.data, "test")) == (variant == "tiny")


def test_the_paper_is_the_default():
    config = recipe("irstd1k")
    task = tasks.build(config)
    assert (config.num_steps, config.data.batch_size) == (80_000, 4)
    assert task.parameterisation == "eps" and task.mask_range == (0.0, 1.0)
    assert task.schedule.steps == 100 and task.encoder_weight == 10.0
    assert config.optimizer.learning_rate == 1e-4 and config.optimizer.ema == 0.9999
    assert not any(
        value for key, value in config.data.augment.items() if key != "scale"
    )
    # Its size is counted by models/test_irstd_diff.py.
    assert by_default(config.model)


def test_an_unknown_variant_lists_the_others():
    with pytest.raises(ValueError, match="unknown variant 'huge'; choose from"):
        recipe("nudt_sirst", "huge")


def test_the_realtime_recipe_trains_and_validates_on_real_images(data_root, tmp_path):
    config = recipe("nuaa_sirst", "realtime")
    config.model.update(recipe("general", "tiny").model)
    common.brief(config)
    config.data.root = str(data_root)
    config.evaluation.at_end = False
    assert train.run(config, tmp_path) == 0
    assert (tmp_path / "best.safetensors").is_file()
    assert list((tmp_path / "pictures").glob("validation_*.png"))


# --- Diff-Mosaic ----------------------------------------------------------------------

PRIORS = ("pixel_prior", "autoencoder", "latent_prior", "control")


@pytest.mark.parametrize("variant", ["", "small", "tiny"])
@pytest.mark.parametrize("name", PRIORS)
def test_a_prior_makes_its_task(name, variant):
    config = recipe(f"diff_mosaic.{name}", variant)
    task = tasks.build(config)
    assert task.image_shape == (config.data.crop,) * 2 + (config.data.channels,)
    assert hasattr(task, "score") and config.data.split != "idx_427"


def test_the_published_priors():
    """Stable Diffusion 2.1, DiffBIR's SwinIR and its control.

    They are the networks' own defaults, whose sizes the tests of models/ count.
    """
    whole = recipe("diff_mosaic.control")
    blocks = (whole.model, whole.unet, whole.autoencoder, whole.restorer)
    names = ("control_net", "latent_unet", "autoencoder_kl", "swinir")
    for block, name in zip(blocks, names, strict=True):
        assert block.name == name and by_default(block)
    for name in ("pixel_prior", "autoencoder", "latent_prior"):
        assert recipe(f"diff_mosaic.{name}").model in blocks


def test_released_sampling_is_the_default():
    how = recipe("diff_mosaic.control").sampling
    assert (how.sampler, how.steps, how.variance) == ("ddpm", 50, "small")
    assert how.strength == 1 and how.guidance_start == 200 and how.color == "wavelet"
    assert how.guidance_scale * 4 * 64 * 64 == 400


def test_the_augmenting_recipe_holds_its_priors():
    config = recipe("diff_mosaic.augment", "small")
    assert set(config.recipes) == set(PRIORS)
    for name in PRIORS:
        assert (
            config.recipes[name].model == recipe(f"diff_mosaic.{name}", "small").model
        )
