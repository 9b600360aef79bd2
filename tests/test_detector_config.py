"""configs/detector.py: every network, set and variant is one that can run."""

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp
import pytest

from configs import detector
from irstd_jax import models, tasks, train
from irstd_jax.data import pipeline, transforms
from irstd_jax.models import layers
from irstd_jax.training import optimizer


@pytest.mark.parametrize("variant", sorted(detector.VARIANTS))
@pytest.mark.parametrize("dataset", sorted(detector.DATASETS))
@pytest.mark.parametrize("network", sorted(detector.DETECTORS))
def test_every_combination_makes_its_parts(network, dataset, variant):
    config = detector.get_config(f"{network},{dataset},{variant}")
    task = tasks.build(config)
    assert task.image_shape[2] == config.data.channels == task.network.in_channels
    prepared = pipeline.preparation(config.data)
    assert prepared.normalisation in transforms.PRESETS
    assert set(config.data.augment) <= set(transforms.AUGMENTATIONS)
    optimizer.make_optimizer(config.optimizer, config.num_steps)
    assert config.name.startswith(f"{network}_{dataset}")


@pytest.mark.parametrize("network", sorted(detector.DETECTORS))
def test_networks_are_the_published_ones(network):
    published = models.build(network)
    for variant in ("", ",published"):
        config = detector.get_config(f"{network},nudt_sirst{variant}")
        made = tasks.build(config).network
        for field in dataclasses.fields(published):
            if field.name not in ("parent", "dtype", "prior", "momentum"):
                assert getattr(made, field.name) == getattr(published, field.name)
        assert jnp.dtype(made.dtype) == jnp.dtype(published.dtype)
        assert made.prior == (published.prior if variant else 0.01)
        if hasattr(made, "momentum"):
            assert made.momentum == (published.momentum if variant else 0.9)


@pytest.mark.parametrize("network", sorted(detector.DETECTORS))
def test_an_untrained_network_expects_few_targets(network):
    """At half of all pixels the soft IoU learnt nothing in 1000 steps."""
    heads = {
        "dnanet": {"final_1", "final_2"},
        "uiunet": {"side_1", "side_2", "side_3", "fuse"},
    }
    fields = detector.get_config(f"{network},synthetic,tiny").model
    image = jnp.zeros((1, 32, 32, fields.in_channels))
    found = starts(models.build(**fields), image)
    assert found.keys() == heads.get(network, {"head_out"})
    assert all(start == layers.log_odds(0.01) for start in found.values())


def starts(network, *inputs):
    """{name: start} of the convolutions whose biases begin elsewhere than at 0."""
    found = {}

    def note(call, arguments, keywords, context):
        if isinstance(context.module, layers.Conv) and context.module.start:
            found[context.module.name] = context.module.start
        return call(*arguments, **keywords)

    with nn.intercept_methods(note):
        jax.eval_shape(lambda: network.init(jax.random.key(0), *inputs))
    return found


def test_published_recipes_are_those_of_the_facts():
    acm = detector.get_config("acm_unet,nuaa_sirst,published")
    assert (acm.num_steps, acm.data.split) == (300 * 42, "idx_427")
    assert dict(tasks.build(acm).losses) == {"soft_iou": 1.0}
    rate = optimizer.schedule(acm.optimizer, acm.num_steps)
    assert rate(acm.num_steps // 2) == pytest.approx(0.05 * 0.5**0.9, rel=1e-4)
    alcnet = detector.get_config("alcnet,nuaa_sirst,published")
    assert (alcnet.num_steps, alcnet.data.batch_size) == (300 * 170, 2)
    assert optimizer.schedule(alcnet.optimizer, alcnet.num_steps)(50_000) == 0.1
    agpcnet = detector.get_config("agpcnet,nuaa_sirst,published")
    assert agpcnet.num_steps == 5 * 26 and agpcnet.optimizer.name == "sgd"
    assert dict(tasks.build(agpcnet).losses) == {"soft_iou": 1.0}
    dnanet = detector.get_config("dnanet,nudt_sirst,published")
    assert dnanet.num_steps == 3_000 * 16 and dnanet.data.batch_size == 40
    assert dict(tasks.build(dnanet).losses) == {"soft_iou_batch": 1.0}
    pal = detector.get_config("isnet_dcnv2,nuaa_sirst,published")
    assert (pal.optimizer.name, pal.data.normalisation) == ("adamw", "nuaa")
    task = tasks.build(pal)
    assert dict(task.losses) == {"bce": 1.0} and task.edge_losses == ()
    uiunet = detector.get_config("uiunet,nudt_sirst,published")
    task = tasks.build(uiunet)
    assert dict(task.losses) == {"bce": 1.0} and task.supervision == "sum"
    assert uiunet.optimizer.learning_rate == 1e-3 and uiunet.data.batch_size == 3


@pytest.mark.parametrize(
    "network", ["acm_unet_basicirstd", "alcnet_basicirstd", "isnet"]
)
def test_basicirstd_s_recipe(network):
    config = detector.get_config(f"{network},nudt_sirst,published")
    assert (config.num_steps, config.data.batch_size) == (400 * 41, 16)
    rate = optimizer.schedule(config.optimizer, config.num_steps)
    rates = [rate(epoch * 41 + 20) for epoch in (0, 199, 200, 299, 300)]
    assert rates == pytest.approx([5e-4, 5e-4, 5e-5, 5e-5, 5e-6])
    assert dict(tasks.build(config).losses) == {"soft_iou_batch": 1.0}
    edges = {"bce": 10.0, "soft_iou_batch": 1.0} if network == "isnet" else {}
    assert dict(tasks.build(config).edge_losses) == edges
    assert config.validation.choose == "last"
    mean, std = transforms.PRESETS[config.data.normalisation]
    assert (255 * mean[0], 255 * std[0]) == pytest.approx((107.809, 33.0227), 1e-4)


def test_the_common_recipe_is_common():
    """But for the network, its name and channels, all fields are equal."""
    names = sorted(detector.DETECTORS)
    configs = [detector.get_config(f"{n},nudt_sirst").to_dict() for n in names]
    for config in configs:
        del config["model"], config["name"], config["data"]["channels"]
    assert all(config == configs[0] for config in configs)


@pytest.mark.parametrize(
    "argument, words",
    [
        ("resnet,nudt_sirst", "unknown network 'resnet'; choose from"),
        ("dnanet,coco", "unknown data set 'coco'; choose from"),
        ("dnanet,nudt_sirst,huge", "unknown variant 'huge'; choose from"),
        ("dnanet,nudt_sirst,tiny,small", "is not NETWORK,DATASET or"),
        ("dnanet", "is not NETWORK,DATASET or"),
    ],
)
def test_what_is_unknown_is_refused(argument, words):
    with pytest.raises(ValueError, match=words):
        detector.get_config(argument)


def test_the_tiny_variant_trains_and_evaluates(tmp_path):
    config = detector.get_config("acm_fpn,synthetic,tiny")
    assert train.run(config, tmp_path) == 0
    assert (tmp_path / "best.safetensors").is_file()
    assert (tmp_path / "report.json").is_file()
