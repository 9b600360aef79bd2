"""Every recipe, in every variant, is one that the program can run."""

import importlib

import jax
import pytest

from configs import common
from irstd_jax import tasks, train
from irstd_jax.data import pipeline

RECIPES = ("irstd1k", "nuaa_sirst", "nudt_sirst")


def recipe(name, variant=""):
    return importlib.import_module(f"configs.{name}").get_config(variant)


@pytest.mark.parametrize("variant", sorted(common.VARIANTS))
@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_makes_its_task(name, variant):
    config = recipe(name, variant)
    task = tasks.build(config)
    assert task.image_shape[2] == config.data.channels
    assert pipeline.preparation(config.data).normalisation in (
        "irstd_diff_sirst",
        "irstd_diff_nudt",
        "nuaa",
        "nudt",
    )


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
    shapes = jax.eval_shape(task.init, jax.random.key(0))["params"]
    assert sum(x.size for x in jax.tree.leaves(shapes)) == 39_559_317


def test_an_unknown_variant_lists_the_others():
    with pytest.raises(ValueError, match="unknown variant 'huge'; choose from"):
        recipe("nudt_sirst", "huge")


@pytest.mark.parametrize("name", ["nuaa_sirst", "quickstart"])
def test_the_tiny_variant_trains_and_validates(name, data_root, tmp_path):
    config = recipe(name, "tiny")
    config.data.root = str(data_root)
    config.evaluation.at_end = False
    config.num_steps = 2
    assert train.run(config, tmp_path) == 0
    assert (tmp_path / "best.safetensors").is_file()
    assert list((tmp_path / "pictures").glob("validation_*.png"))
