"""Classical methods through the verbs, as a user runs them, at toy size."""

import functools
import inspect
import json

import jax
import numpy as np
import pytest
from PIL import Image

from configs import classical as recipe
from configs import compare as comparing
from irstd_jax import (
    benchmark,
    classical,
    compare,
    data,
    evaluate,
    export,
    files,
    inference,
    predict,
    runner,
    tasks,
    train,
)
from irstd_jax.classical import rules
from irstd_jax.data import synthetic
from irstd_jax.weights import store

SIZES = {"a": (40, 52), "b": (33, 47), "c": (40, 52)}


def toy(name="tophat", **task):
    """A tiny recipe, all of whose rules and sizes are one program a method."""
    config = recipe.get_config(f"{name},synthetic,tiny")
    config.task.update(task)
    return config


def library(name, image, rule):
    """The mask (h, w) of an image (h, w, 1) in [0, 1], without any verb."""
    fields = recipe.METHODS[name].model | recipe.METHODS[name].toy
    fields = {k: v for k, v in fields.items() if k != "dtype"}
    levels = np.rint(255 * image[None])
    return np.asarray(rules.mask(classical.saliency(name, levels, **fields), rule))[0]


@functools.cache
def samples(part):
    """The samples of a part of the toy's generated scenes."""
    source = data.load(toy().data, part)
    return [source[i] for i in range(len(source))]


def never(*args, **fields):
    raise AssertionError("this was done already")


@pytest.mark.parametrize("name", sorted(recipe.METHODS))
def test_recipes_hold_the_methods_as_published(name):
    config = recipe.get_config(f"{name},nudt_sirst,small")
    assert tasks.learns(config) is False
    fields, defaults = (
        config.model.to_dict(),
        inspect.signature(classical.METHODS[name]),
    )
    double = fields.pop("dtype") == "float64"
    assert double == (name in classical.DOUBLE) and fields.pop("name") == name
    known = list(defaults.parameters.values())[1:]
    assert fields == {parameter.name: parameter.default for parameter in known}
    assert recipe.get_config(name).name == f"{name}_nuaa_sirst"


def test_every_method_of_images_has_a_recipe():
    assert set(recipe.METHODS) == set(classical.METHODS) - {"mslstipt"}


def test_predict_needs_nothing_trained_and_sees_whole_images(tmp_path):
    """The masks of files of several sizes are those of the library, border included."""
    (tmp_path / "in").mkdir()
    scenes = {}
    for number, (name, size) in enumerate(SIZES.items()):
        scenes[name] = synthetic.scene(np.random.default_rng(number), size)["image"]
        levels = np.uint8(np.rint(255 * scenes[name][..., 0]))
        Image.fromarray(levels).save(tmp_path / "in" / f"{name}.png")
    config = toy()
    output = tmp_path / "out"
    assert predict.run(config, tmp_path / "none", tmp_path / "in", output) == 0
    for name, scene in scenes.items():
        with Image.open(output / "masks" / f"{name}.png") as image:
            found = np.asarray(image) > 0
        expected = library("tophat", scene, rules.build("peak"))[..., 0]
        np.testing.assert_array_equal(found, expected)
        assert found.any()
    told = json.loads((output / "detections.json").read_text())["settings"]
    assert told["mode"] == "saliency" and told["rule"] == "peak"
    assert "no probability" in told["score"]
    assert told["weights"] == "tophat_synthetic_tiny, learnt: nothing"


@pytest.mark.parametrize("name", sorted(set(recipe.METHODS) & classical.DOUBLE))
def test_double_precision_within_a_program_of_single(name):
    """The predictor's program holds a float64 loop, and gives what it gives alone."""
    y, x = np.mgrid[:36, :40]
    dot = 90 * np.exp(-((y - 17) ** 2 + (x - 22) ** 2) / 3)
    levels = np.rint(90 + 30 * np.sin(y / 17) + 20 * np.cos(x / 23) + dot)
    image = np.float32(levels / 255)[None, ..., None]
    config = toy(name)
    task = tasks.build(config)
    run = inference.predictor(task, keep=("saliency",))
    found = run(task.init(None), image, ["a"], 0)["saliency"]
    fields = {k: v for k, v in config.model.items() if k != "dtype"}
    saliency = classical.build(**fields)(levels[None, ..., None])
    expected = rules.graded(saliency, rules.build("peak"))
    assert found.dtype == np.float32 and found[0, 17, 22, 0] == 1
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert jax.numpy.ones(1).dtype == np.float32


def test_evaluate_needs_nothing_trained(tmp_path):
    """The IoU of the report is that of the library's masks."""
    config = toy(rule="half")
    assert evaluate.run(config, tmp_path) == 0
    pairs = [
        (library("tophat", s["image"], rules.build("half")), s["mask"] > 0)
        for s in samples("test")
    ]
    both = sum((mask & truth).sum() for mask, truth in pairs)
    either = sum((mask | truth).sum() for mask, truth in pairs)
    report = json.loads((tmp_path / "report.json").read_text())
    assert list(report["modes"]) == ["saliency"]
    saliency = report["modes"]["saliency"]
    assert 0 < both and saliency["IoU"] == pytest.approx(both / either)
    assert report["protocol"]["rule"] == "half"
    assert "p > 0.5, by the rule half" in report["words"]
    # It claims no probability, so there is nothing to calibrate.
    assert "calibration" not in saliency
    assert "reliability" not in report["curves"]["saliency"]
    assert not (tmp_path / "pictures" / "reliability.png").exists()


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    """The workdir in which a k was chosen, and its config."""
    folder = tmp_path_factory.mktemp("fitted")
    config = toy(rule="deviations")
    assert train.run(config, folder) == 0
    return folder, config


def test_training_chooses_k_on_the_training_part(fitted):
    """By trying all k on the library's maps; the report is of the one chosen."""
    folder, _ = fitted
    variables, about = store.load(folder / "best.safetensors")
    k = float(variables["params"]["k"])

    def iou(k, part):
        rule = rules.build("deviations", k=k)
        masks = [library("tophat", s["image"], rule) for s in samples(part)]
        truths = [s["mask"] > 0 for s in samples(part)]
        both, either = (
            sum(f(a, b).sum() for a, b in zip(masks, truths, strict=True))
            for f in (np.logical_and, np.logical_or)
        )
        return both / either

    scores = {candidate: iou(candidate, "train") for candidate in rules.CANDIDATES}
    assert k == max(scores, key=scores.get)
    assert about["training"] == {"k": k, "IoU": pytest.approx(scores[k])}
    row = json.loads((folder / "metrics.jsonl").read_text())
    assert row["step"] == 8 and row["loss"] == pytest.approx(1 - scores[k])
    report = json.loads((folder / "report.json").read_text())
    assert report["modes"]["saliency"]["IoU"] == pytest.approx(iou(k, "test"))
    assert f"k = {k:.4g}" in report["protocol"]["weights"]


def test_what_is_chosen_is_kept_and_found(fitted, tmp_path, monkeypatch):
    folder, config = fitted
    monkeypatch.setattr("irstd_jax.fitting.fitted", never)
    assert train.ended(config, folder) and not train.ended(config, tmp_path)
    config.evaluation.at_end = False
    assert train.run(config, folder) == 0
    other = toy(rule="deviations")
    other.model.side = 7
    with pytest.raises(ValueError, match="another config"):
        train.run(other, folder)
    # By its weights alone, as predict takes them.
    known = inference.known(folder / "best.safetensors", toy("lcm"))
    known.weights = str(folder / "best.safetensors")
    found, variables, _ = inference.trained(known, tmp_path)
    assert found.model.name == "tophat" and found.task.rule == "deviations"
    assert variables["params"]["k"] > 0


def test_a_k_that_is_given_needs_no_training(fitted, tmp_path):
    config = toy(rule="deviations", k=2.5)
    assert not tasks.learns(config)
    assert tasks.protocol(tasks.build(config)) == {"rule": "deviations, k = 2.5"}
    with pytest.raises(ValueError, match="nothing to learn: evaluate and predict work"):
        train.run(config, tmp_path)
    with pytest.raises(FileNotFoundError, match="train first"):
        inference.trained(toy(rule="deviations"), tmp_path)


@pytest.mark.parametrize(
    "block, fields, words",
    [
        ("task", {"rule": "otsu"}, "unknown task.rule 'otsu'; choose from"),
        ("task", {"k": 3.0}, "task.k 3.0 is for the rule deviations"),
        ("model", {"name": "mslstipt"}, "of images, take mslstipt_image"),
        ("model", {"name": "lmc"}, "unknown method 'lmc'; choose from"),
        ("model", {"dtype": "bfloat16"}, "tophat computes in float32"),
        ("data", {"normalisation": "nuaa"}, "set data.normalisation=none, not nuaa"),
        ("data", {"channels": 3}, "set data.channels=1, not 3"),
        ("evaluation", {"canvas_multiple": 64}, "evaluation.canvas_multiple=1, not 64"),
        ("predict", {"tile": 512}, "set predict.tile=0, not 512"),
    ],
)
def test_what_cannot_be_is_refused(block, fields, words):
    config = toy()
    config[block].update(fields)
    if fields.get("name") == "mslstipt":
        config.model = {"name": "mslstipt", "dtype": "float64"}
    with pytest.raises(ValueError, match=words):
        tasks.build(config)


@pytest.mark.parametrize(
    "argument, words",
    [
        ("lmc", "unknown method 'lmc'; choose from"),
        ("lcm,coco", "unknown data set 'coco'; choose from"),
        ("lcm,nuaa_sirst,huge", "unknown variant 'huge'; choose from"),
        ("lcm,nuaa_sirst,tiny,small", "is not METHOD"),
    ],
)
def test_unknown_recipes_are_refused(argument, words):
    with pytest.raises(ValueError, match=words):
        recipe.get_config(argument)


def test_a_benchmark_has_no_step_of_training(tmp_path):
    config = toy()
    config.benchmark.update({"size": 32, "repeats": 1, "images": 1, "cache": True})
    assert benchmark.run(config, tmp_path) == 0
    report = json.loads((tmp_path / "benchmark.json").read_text())
    assert list(report["parts"]) == ["predict"] and report["parameters"] == 0
    assert report["train_step_seconds"] is None and report["end_to_end"]["images"] == 1


def test_an_exported_method_gives_the_same_masks(tmp_path):
    config = toy()
    config.export.update({"size": (32, 32), "platforms": ("cpu",)})
    output = tmp_path / "tophat.stablehlo"
    assert export.run(config, tmp_path, output) == 0
    assert files.read_json(export.beside(output))["weights_sha256"] is None
    detect = runner.load(output.read_bytes(), output.suffix)
    for s in samples("test"):
        mask = library("tophat", s["image"], rules.build("peak"))
        np.testing.assert_array_equal(
            np.asarray(detect(s["image"][None]))[0] > 0.5, mask
        )


def test_methods_stand_in_a_comparison(tmp_path, monkeypatch):
    """One is judged as it is, one has its k chosen; rows are in the preset's order."""
    config = comparing.get_config("tiny")
    config.only.systems = "tophat,lcm"
    config.systems.lcm.recipe.task.rule = "deviations"
    config.order = ("tophat", "lcm")
    config.form.update({"source": "basic_irstd", "metrics": ("IoU", "Fa")})
    assert compare.run(config, tmp_path) == 0
    told = files.read_json(tmp_path / "table.json")["rows"]
    assert [(row["system"], row["rule"]) for row in told] == [
        ("tophat", "peak"),
        ("lcm", "deviations"),
    ]
    assert [row["parameters"] for row in told] == [0, 1]
    text = (tmp_path / "table.md").read_text(encoding="utf-8")
    assert "| tophat (peak) | 0 |" in text and "rule in brackets" in text
    lines = (tmp_path / "paper.md").read_text(encoding="utf-8").splitlines()
    rows = [line for line in lines if line.startswith(("| Top-hat", "| lcm"))]
    assert rows[0].startswith("| Top-hat | filter | ") and len(rows) == 2
    assert f"{told[0]['scores']['IoU']['mean'] * 100:.2f}" in rows[0]
    monkeypatch.setattr("irstd_jax.fitting.fitted", never)
    monkeypatch.setattr(evaluate, "judge", never)
    assert compare.run(config, tmp_path) == 0
