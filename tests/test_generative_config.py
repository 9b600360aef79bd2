"""configs/generative.py: what it names can run, from training to masks."""

import dataclasses
import functools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from configs import generative
from irstd_jax import convert, inference, models, predict, tasks, train, weights
from irstd_jax.data import pipeline, transforms
from irstd_jax.training import optimizer


@pytest.mark.parametrize("variant", sorted(generative.VARIANTS))
@pytest.mark.parametrize("dataset", sorted(generative.DATASETS))
@pytest.mark.parametrize("network", sorted(generative.SEGMENTERS))
def test_every_combination_makes_its_parts(network, dataset, variant):
    config = generative.get_config(f"{network},{dataset},{variant}")
    task = tasks.build(config)
    assert task.image_shape[2] == config.data.channels == task.network.image_channels
    assert pipeline.preparation(config.data).normalisation in transforms.PRESETS
    optimizer.make_optimizer(config.optimizer, config.num_steps)
    assert config.name.startswith(f"{network}_{dataset}")
    assert bool(task.vlb_weight) == (network != "segdiff")


@pytest.mark.parametrize("network", sorted(generative.SEGMENTERS))
def test_networks_are_the_published_ones(network):
    published = models.build(network)
    made = tasks.build(generative.get_config(f"{network},nudt_sirst")).network
    for field in dataclasses.fields(published):
        if field.name not in ("parent", "dtype"):
            assert getattr(made, field.name) == getattr(published, field.name)


@pytest.mark.parametrize("network", ["medsegdiff", "medsegdiff_v1"])
def test_a_toy_has_a_loss_and_maps(network):
    """Traced alone, which takes a second or two: CIMD's is trained below."""
    config = generative.get_config(f"{network},synthetic,tiny")
    task = tasks.build(config)
    variables = jax.eval_shape(task.init, jax.random.key(0))
    batch = {name: jnp.zeros((2, 32, 32, 1)) for name in ("image", "mask")}
    keys = jax.random.split(jax.random.key(0), 2)
    loss, aux = jax.eval_shape(task.loss, variables, batch, keys)
    maps = jax.eval_shape(task.predict, variables, batch, keys)
    assert set(aux["terms"]) == {"loss", "mse", "vlb", "map_mse"} and loss.shape == ()
    assert jax.tree.structure(aux["batch_stats"]) == jax.tree.structure(
        variables["batch_stats"]
    )
    modes = tasks.PROBABILITIES if network == "medsegdiff" else ("diffusion",)
    assert set(maps) == {"samples", *modes}
    assert config.predict.mode in maps


def test_released_recipes_are_those_of_the_facts():
    segdiff = tasks.build(generative.get_config("segdiff,nuaa_sirst"))
    assert (segdiff.schedule.steps, segdiff.mask_range) == (100, (-1.0, 1.0))
    how = segdiff.sampling
    assert (how.sampler, how.steps, how.samples, how.clip) == ("ddpm", 100, 9, False)
    assert (how.variance, segdiff.vlb_weight) == ("large", 0.0)
    for name, samples in (("medsegdiff", 5), ("cimd", 4)):
        config = generative.get_config(f"{name},nuaa_sirst")
        task, how = tasks.build(config), tasks.build(config).sampling
        assert (task.schedule.steps, task.mask_range) == (1000, (0.0, 1.0))
        assert (how.steps, how.variance, how.samples) == (
            1000,
            "learned_range",
            samples,
        )
        assert how.clip and task.parameterisation == "eps"
        rate = optimizer.schedule(config.optimizer, config.num_steps)
        assert rate(config.num_steps // 2) == pytest.approx(1e-4)
    assert generative.get_config("cimd,nuaa_sirst").data.resize == 128


@pytest.mark.parametrize(
    "argument, words",
    [
        ("unet,nudt_sirst", "unknown network 'unet'; choose from"),
        ("cimd,coco", "unknown data set 'coco'; choose from"),
        ("cimd,nudt_sirst,huge", "unknown variant 'huge'; choose from"),
        ("cimd", "is not NETWORK,DATASET or"),
    ],
)
def test_what_is_unknown_is_refused(argument, words):
    with pytest.raises(ValueError, match=words):
        generative.get_config(argument)


def test_the_tiny_variant_trains_evaluates_and_predicts(tmp_path):
    """CIMD: the bound is learnt, ancestral sampling looks at the variance."""
    config = generative.get_config("cimd,synthetic,tiny")
    assert config.sampling.sampler == "ddpm"
    config.predict.update({"tile": 32, "overlap": 8})
    assert train.run(config, tmp_path) == 0
    report = json.loads((tmp_path / "report.json").read_text())
    assert set(report["modes"]) == {"diffusion"}
    lines = map(json.loads, (tmp_path / "metrics.jsonl").read_text().splitlines())
    bounds = [line["vlb"] for line in lines if "vlb" in line]
    assert bounds and np.isfinite(bounds).all()
    pixels = np.random.default_rng(0).integers(0, 255, (32, 32)).astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "scene.png")
    out = tmp_path / "out"
    assert predict.run(config, tmp_path, tmp_path / "scene.png", out) == 0
    assert (out / "masks" / "scene.png").is_file()


@pytest.mark.parametrize("network", ["medsegdiff_v1", "segdiff"])
def test_published_weights_by_a_recipe(network, tmp_path, monkeypatch):
    """From the authors' names to a file that knows its network, strictly."""
    # Names are made from a traced network, which takes a second: once is enough.
    row = weights.names_of(network)
    cached = row._replace(table=functools.cache(row.table))
    monkeypatch.setitem(weights.NETWORKS, network, cached)
    config = generative.get_config(f"{network},nuaa_sirst,tiny")
    if network == "medsegdiff_v1":
        config.model.bridge = "random"
    fields = {k: v for k, v in config.model.items() if k != "name"}
    rng = np.random.default_rng(0)
    state_dict = {
        e.name: rng.normal(size=e.shape).astype("f4")
        for e in weights.table(network, **fields)
    }
    source, output = tmp_path / "theirs.npz", tmp_path / "ours.safetensors"
    np.savez(source, **{f"module.{k}": v for k, v in state_dict.items()})
    assert convert.run(config, tmp_path, source, output) == 0
    using = generative.get_config("segdiff,nuaa_sirst,tiny")  # the file knows better
    using.weights = str(output)
    taken, variables, _ = inference.trained(using, tmp_path)
    assert (
        taken.model.name == network and taken.task.vlb_weight == config.task.vlb_weight
    )
    shapes = jax.eval_shape(tasks.build(taken).init, jax.random.key(0))
    assert jax.tree.map(np.shape, variables) == jax.tree.map(np.shape, shapes)
    back = weights.invert(network, variables, **fields)
    assert back.keys() == state_dict.keys()
    assert all(np.array_equal(back[name], state_dict[name]) for name in back)
    lost = min(state_dict)
    np.savez(source, stray=np.zeros(2), **{k: state_dict[k] for k in back if k != lost})
    with pytest.raises(ValueError) as error:
        convert.run(config, tmp_path, source, tmp_path / "other.safetensors")
    assert f"1 missing: {lost}" in str(error.value)
    assert "1 unexpected: stray" in str(error.value)
