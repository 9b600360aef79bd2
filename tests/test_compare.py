"""The verb compare: what is done once, what is done again, what is told."""

import csv
import functools
import json
import shutil

import numpy as np
import pytest
from ml_collections import ConfigDict

from configs import compare as recipe
from irstd_jax import (
    benchmark,
    compare,
    comparison,
    data,
    evaluate,
    files,
    literature,
    tasks,
    train,
)


@functools.cache
def tiny():
    """The tiny comparison, of one detector alone."""
    config = recipe.get_config("tiny")
    config.only.systems = "acm_fpn"
    config.systems.acm_fpn.recipe.num_steps = 2
    return config


def small(**changes):
    config = ConfigDict(tiny().to_dict())
    config.update(changes)
    return config


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    """A comparison of a detector with itself, whose weights are given the second time.

    The second is named as a system of its own.
    """
    folder = tmp_path_factory.mktemp("compare")
    config = small()
    assert compare.run(config, folder) == 0
    return folder


def twice(workdir):
    """The config whose second system is judged by the first one's weights."""
    config = small()
    config.systems.acm_unet.recipe = config.systems.acm_fpn.recipe
    weights = workdir / "runs" / "acm_fpn.synthetic.0" / "best.safetensors"
    config.systems.acm_unet.weights.synthetic = str(weights)
    config.only.systems = "acm_fpn, acm_unet"
    return config


def rows(workdir):
    return {
        row["system"]: row for row in files.read_json(workdir / "table.json")["rows"]
    }


def test_given_weights_score_as_their_own_run(workdir, monkeypatch):
    monkeypatch.setattr(train, "run", never)
    assert compare.run(twice(workdir), workdir) == 0
    told = rows(workdir)
    assert told["acm_fpn"]["scores"] == told["acm_unet"]["scores"]
    assert (
        told["acm_fpn"]["steps"] == 2 and 0 < told["acm_fpn"]["scores"]["AUC"]["mean"]
    )
    with (workdir / "table.csv").open(encoding="utf-8", newline="") as file:
        first, second = csv.DictReader(file)
    assert first["IoU"] == second["IoU"] and first["system"] == "acm_fpn"
    text = (workdir / "table.md").read_text(encoding="utf-8")
    assert "3 test images" in text and "| acm_unet | 0 |" in text
    for name in ("roc", "pd_fa", "hard"):
        assert (workdir / f"{name}.synthetic.png").stat().st_size > 1000
    assert (workdir / "tradeoff.png").is_file() and (workdir / "table.tex").is_file()


def never(*args, **fields):
    raise AssertionError("this was done already")


def test_nothing_is_done_twice(workdir, monkeypatch):
    for module, name in ((train, "run"), (evaluate, "judge"), (benchmark, "measured")):
        monkeypatch.setattr(module, name, never)
    before = (workdir / "table.json").read_text()
    (workdir / "table.json").unlink()
    config = twice(workdir) if "acm_unet" in before else small()
    assert compare.run(config, workdir) == 0
    assert (workdir / "table.json").read_text() == before


def test_another_protocol_judges_again_without_training(workdir, tmp_path, monkeypatch):
    """Where all is a target, IoU is the share of the pixels that are."""
    copy = shutil.copytree(workdir, tmp_path / "copy")
    monkeypatch.setattr(train, "run", never)
    config = small()
    config.evaluation.threshold = 0.001
    assert compare.run(config, copy) == 0
    source = data.load(compare.jobs(config, copy)[0].recipe.data, "test")
    masks = [source[i]["mask"] for i in range(len(source))]
    share = sum(m.sum() for m in masks) / sum(m.size for m in masks)
    assert rows(copy)["acm_fpn"]["scores"]["IoU"]["mean"] == pytest.approx(share)


@pytest.mark.parametrize(
    ("field", "value", "count", "side"), [("images", 2, 2, 32), ("size", 48, 3, 48)]
)
def test_what_is_shown_is_what_was_judged(
    field, value, count, side, workdir, tmp_path, monkeypatch
):
    """Some images of a set, or all of them resized, reach table and hard images."""
    copy = shutil.copytree(workdir, tmp_path / "copy")
    (copy / "hard.synthetic.png").unlink()
    monkeypatch.setattr(train, "run", never)
    config = small()
    config.evaluation[field] = value
    assert compare.run(config, copy) == 0
    masks = comparison.read_masks(copy / "runs" / "acm_fpn.synthetic.0")
    assert [mask.shape for mask in masks.values()] == [(side, side)] * count
    assert (copy / "hard.synthetic.png").stat().st_size > 1000


def test_a_comparison_may_leave_the_time_out(workdir, tmp_path, monkeypatch):
    copy = shutil.copytree(workdir, tmp_path / "copy")
    (copy / "tradeoff.png").unlink()
    monkeypatch.setattr(train, "run", never)
    config = small()
    config.benchmark.repeats = 0
    assert compare.run(config, copy) == 0
    assert rows(copy)["acm_fpn"]["seconds_per_image"] is None
    assert not (copy / "tradeoff.png").exists()


def test_a_report_of_another_evaluation_is_not_taken(workdir, tmp_path, monkeypatch):
    copy = shutil.copytree(workdir, tmp_path / "copy")
    before = rows(copy)
    report = copy / "runs" / "acm_fpn.synthetic.0" / "report.json"
    report.write_text(report.read_text().replace('"IoU": ', '"IoU": 1', 1))
    monkeypatch.setattr(train, "run", never)
    assert compare.run(small(), copy) == 0
    assert rows(copy)["acm_fpn"]["scores"] == before["acm_fpn"]["scores"]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("optimizer.learning_rate", 0.5),
        ("data.batch_size", 16),
        ("data.augment.noise", 0.1),
        ("validation.choose", "best"),
        ("start", "a.safetensors"),
    ],
)
def test_another_recipe_is_not_judged_by_the_old_run(field, value, workdir):
    config = small()
    recipe = config.systems.acm_fpn.recipe
    recipe.update_from_flattened_dict({field: value})
    with pytest.raises(ValueError, match="another config"):
        compare.run(config, workdir)


def test_data_may_be_moved(tmp_path):
    facts = []
    for root in ("here", "there"):
        job = compare.jobs(compare.chosen(small(root=root)), tmp_path)[0]
        assert job.training[0].data.root == root
        facts.append(compare.asked(job))
    assert facts[0] == facts[1]


@pytest.mark.parametrize(
    ("system", "field", "value"),
    [
        ("irstd_diff", "sampling.steps", 7),
        ("irstd_diff", "predict.mode", "discriminative"),
        ("irstd_diff", "task.parameterisation", "eps"),
        ("acm_fpn", "data.batch_size", 16),
        ("acm_fpn", "data.crop", 16),
        ("tophat", "task.rule", "half"),
    ],
)
def test_what_something_costs_is_known_by_what_it_depends_on(
    system, field, value, tmp_path, monkeypatch
):
    """A record of an earlier version, which knew fewer facts, is held to those."""
    monkeypatch.setattr(benchmark, "measured", lambda *args, **fields: {"taken": "new"})
    config = small()
    config.only.systems = system
    config = compare.chosen(config)
    compare.cost(config, tmp_path, system)
    path = tmp_path / "costs" / f"{system}.json"
    asked = files.read_json(path)["asked"]
    old = {k: asked[k] for k in ("benchmark", "model", "training", "views")}
    for facts in (old, asked):
        files.write_json(path, {"asked": facts, "taken": "before"})
        assert compare.cost(config, tmp_path, system) == {"taken": "before"}
    config.systems[system].recipe.update_from_flattened_dict({field: value})
    assert compare.cost(config, tmp_path, system) == {"taken": "new"}


def test_masks_are_those_of_the_report(workdir, tmp_path):
    """The IoU of the masks that are kept, by hand, is that of the report."""
    copy = shutil.copytree(workdir, tmp_path / "copy")
    config = small()
    config.evaluation.threshold = 0.01
    job = compare.jobs(compare.chosen(config), copy)[0]
    folder = job.folder
    assert folder == copy / "runs" / "acm_fpn.synthetic.0"
    compare.judge(job)
    masks, source = comparison.read_masks(folder), data.load(job.recipe.data, "test")
    truth = {
        s["name"]: s["mask"][..., 0] > 0 for s in map(source.__getitem__, range(3))
    }
    assert masks.keys() == truth.keys()
    both = sum((masks[n] & truth[n]).sum() for n in truth)
    either = sum((masks[n] | truth[n]).sum() for n in truth)
    assert 0 < both < either
    report = json.loads((folder / "report.json").read_text())
    assert report["modes"]["discriminative"]["IoU"] == pytest.approx(both / either)


def test_an_interrupted_training_ends_the_comparison(tmp_path, monkeypatch):
    monkeypatch.setattr(train, "run", lambda config, workdir: train.INTERRUPTED)
    monkeypatch.setattr(compare, "judge", never)
    assert compare.run(small(), tmp_path) == train.INTERRUPTED
    assert not (tmp_path / "table.json").exists()


def test_minutes_are_as_many_steps_as_they_hold(tmp_path, monkeypatch):
    """Of a training that has begun they stay, even if the time is taken again."""
    seconds = {"train_step_seconds": 0.25}
    monkeypatch.setattr(compare, "cost", lambda *_: seconds)
    config = compare.chosen(small(minutes=2.0))
    recipe, folder = compare.jobs(config, tmp_path)[0].training

    def steps():
        limited = compare.within_budget(config, tmp_path, "acm_fpn", recipe, folder)
        return limited.num_steps

    assert steps() == 480 and recipe.num_steps == 2
    seconds["train_step_seconds"] = 0.5
    assert steps() == 240
    (folder / "checkpoints" / "100").mkdir(parents=True)
    seconds["train_step_seconds"] = 0.1
    assert steps() == 240
    config.minutes = 1.0
    assert steps() == 600  # another config, which will be refused
    config.minutes = 2.0
    assert steps() == 240


def test_sets_seeds_and_protocol_reach_every_recipe(tmp_path):
    config = small(seeds=(3, 4))
    config.only.systems = "acm_fpn,realtime"
    config.systems.realtime.weights.synthetic = "a.safetensors"
    config.evaluation.matching = "overlap"
    jobs = compare.jobs(compare.chosen(config), tmp_path)
    told = [(job.system, job.seed, job.recipe.seed) for job in jobs]
    # In the preset's order, whatever that of the flag.
    assert told == [("realtime", 3, 3), ("acm_fpn", 3, 3), ("acm_fpn", 4, 4)]
    assert len({job.folder for job in jobs}) == 3
    for job in jobs:
        assert job.recipe.evaluation.matching == "overlap"
        assert job.recipe.data.name == "synthetic" and job.recipe.data.size == 32
    assert not tiny().systems.realtime.weights.synthetic


def test_what_learns_its_own_is_trained_once_and_judged_on_every_set(
    workdir, tmp_path, monkeypatch
):
    """The training is that of the fixture; only its folder has another name."""
    config = small()
    config.sets = dict.fromkeys(("one", "two"), tiny().sets.synthetic.to_dict())
    config.systems.acm_fpn.learns = "its own"
    shutil.copytree(workdir / "costs", tmp_path / "costs")
    begun = []

    def copied(recipe, folder):
        begun.append((folder, recipe.data.name, recipe.num_steps))
        source = workdir / "runs" / "acm_fpn.synthetic.0"
        others = shutil.ignore_patterns("config.json")
        shutil.copytree(source, folder, ignore=others, dirs_exist_ok=True)
        return 0

    monkeypatch.setattr(train, "run", copied)
    assert compare.run(config, tmp_path) == 0
    # On the data of its recipe, not on generated scenes.
    assert begun == [(tmp_path / "runs" / "acm_fpn.0", "nuaa_sirst", 2)]
    told = files.read_json(tmp_path / "table.json")["rows"]
    assert [row["set"] for row in told] == ["one", "two"]
    assert told[0]["scores"] == told[1]["scores"] == rows(workdir)["acm_fpn"]["scores"]
    monkeypatch.setattr(compare, "judge", never)
    assert compare.run(config, tmp_path) == 0


def test_what_learns_nothing_is_judged_once_and_as_it_is(tmp_path):
    config = small(seeds=(3, 4))
    config.only.systems = "tophat,lcm"
    config.systems.lcm.recipe.task.rule = "deviations"
    planned = compare.jobs(compare.chosen(config), tmp_path)
    assert [(job.system, job.seed) for job in planned] == [
        ("tophat", 3),
        ("lcm", 3),
        ("lcm", 4),
    ]
    assert [job.training is None for job in planned] == [True, False, False]
    for job in planned:
        assert job.recipe.data.normalisation == "none" and job.recipe.data.size == 32
    before = compare.asked(planned[0])
    config.systems.tophat.recipe.task.rule = "half"
    assert compare.asked(compare.jobs(config, tmp_path)[0]) != before


def test_rows_stand_as_in_the_papers():
    """Table III begins with local contrast, and ends with the paper's own."""
    config = compare.chosen(recipe.get_config("table3"))
    assert config.order[:2] == ("wslcm", "tllcm") and config.order[-1] == "irstd_diff"
    published = list(literature.TABLES["irstd_diff"])
    cited = [config.systems[name].published for name in config.order]
    assert cited == [name for name in published if name in cited]
    assert config.form.metrics == ("IoU", "Fa", "Pd") and config.evaluation.size == 256
    config = compare.chosen(recipe.get_config("table1"))
    cited = [config.systems[name].published for name in config.order]
    assert cited == list(literature.TABLES["diff_mosaic"])[: len(cited)]


@pytest.mark.parametrize("variant", sorted(recipe.VARIANTS))
def test_every_system_of_every_variant_is_a_task(variant, tmp_path):
    config = compare.chosen(recipe.get_config(variant))
    planned = compare.jobs(config, tmp_path)
    assert len(planned) == len(config.systems) * len(config.sets)
    for name, block in config.systems.items():
        first = next(job for job in planned if job.system == name)
        tasks.build(first.training[0] if first.training else first.recipe)
        assert not block.published or any(
            block.published in table for table in literature.TABLES.values()
        )


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("systems", "acm_fpn,unknown", "only.systems names 'unknown'; choose from"),
        ("sets", "nuaa", "only.sets names 'nuaa'; choose from"),
    ],
)
def test_unknown_names_are_refused(field, value, words, tmp_path):
    config = small()
    config.only[field] = value
    with pytest.raises(ValueError, match=words):
        compare.run(config, tmp_path)


def test_no_seed_is_refused(tmp_path):
    with pytest.raises(ValueError, match="seeds is empty"):
        compare.run(small(seeds=()), tmp_path)


def test_minutes_of_a_step_that_is_not_timed_are_refused(tmp_path):
    config = small(minutes=1.0)
    config.benchmark.repeats = 0
    with pytest.raises(ValueError, match="minutes=1.0 needs benchmark.repeats of 1"):
        compare.run(config, tmp_path)


def test_intervals_of_no_repeats_are_refused_before_anything_is_done(tmp_path):
    config = small()
    config.evaluation.bootstrap = 0
    with pytest.raises(ValueError, match="evaluation.bootstrap must be at least 1"):
        compare.run(config, tmp_path)
    assert not list(tmp_path.iterdir())


# --- comparison.py --------------------------------------------------------------------


def test_masks_come_back(tmp_path):
    rng = np.random.default_rng(0)
    masks = {name: rng.random((7, 9)) > 0.5 for name in ("a/b", "ü", "mask_0")}
    comparison.write_masks(tmp_path, masks)
    back = comparison.read_masks(tmp_path)
    assert back.keys() == masks.keys()
    assert all(np.array_equal(back[name], masks[name]) for name in masks)


def test_iou_of_masks():
    a, b = np.zeros((2, 4, 4), bool)
    assert comparison.iou(a, b) == 1
    a[0, :3], b[0, 1:] = True, True
    assert comparison.iou(a, b) == pytest.approx(2 / 4)


def test_images_are_hard_where_systems_fail():
    truth = np.zeros((8, 8, 1), np.uint8)
    truth[2, 2] = truth[6, 6] = 1
    sample = {"name": "a", "mask": truth}
    hit, none = truth[..., 0] > 0, np.zeros((8, 8), bool)
    good = comparison.difficulty(sample, {"one": {"a": hit}, "two": {"a": hit}})
    half = comparison.difficulty(sample, {"one": {"a": hit}, "two": {"a": none}})
    assert (good, half) == ((1.0, -2), (0.5, -2))


def test_scores_are_told_with_their_spread():
    one = {"mean": 0.5, "deviation": None, "interval": [0.25, 0.75]}
    assert comparison.spread("IoU", one) == "0.5000 (0.2500-0.7500)"
    several = {"mean": 2e-5, "deviation": 1e-6, "interval": None}
    assert comparison.spread("Fa", several) == "20.00 ± 1.00"


def test_what_does_not_exist_is_a_dash():
    """No IoU where nothing is and nothing is found, no time without repeats."""
    none = {"mean": np.nan, "deviation": None, "interval": [None, None]}
    assert comparison.spread("IoU", none) == "-"
    several = {"mean": np.nan, "deviation": np.nan, "interval": None}
    assert comparison.spread("Fa", several) == "- ± -"
    row = {
        "system": "one",
        "mode": comparison.ALONE,
        "rule": None,
        "seeds": [0],
        "scores": dict.fromkeys(comparison.SHOWN, none),
        "parameters": 1000,
        "gmac": None,
        "seconds_per_image": None,
        "published": [],
    }
    assert comparison.line(row) == ["one", "0", *"------", "1,000", "-", "-", ""]
    assert comparison.beside(row, "basic_irstd", "IoU") == "-"


def test_a_figure_of_some_images_is_not_held_against_one_of_all(tmp_path):
    told = {}
    for variant in ("", "brief"):
        config = compare.chosen(recipe.get_config(variant))
        job = compare.job(config, tmp_path, "dnanet", "nudt_sirst", 0)
        told[variant] = comparison.reported("dnanet", job)
    assert told[""] and len(told[""]) == len(told["brief"])
    for all_of, some_of in zip(told[""], told["brief"], strict=True):
        assert some_of["differs"] == ["all images", *all_of["differs"]]


def test_claims_say_what_differs():
    figure = {"source": "basic_irstd", "IoU": 0.7482, "Pd": 0.9354, "Fa": 38.28e-6}
    assert comparison.claim(figure | {"differs": []}) == (
        "0.748 / 0.935 / 38.28 BasicIRSTD (same protocol)"
    )
    told = comparison.claim(
        figure | {"Pd": None, "differs": ["256 px", "best on test"]}
    )
    assert told == "0.748 / - / 38.28 BasicIRSTD (256 px, best on test)"
