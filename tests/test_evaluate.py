"""Judging: perfect maps score perfectly, thresholds are each mode's."""

import json

import numpy as np
import pytest

from configs import nuaa_sirst, quickstart
from irstd_jax import data, evaluate, tasks


@pytest.fixture(scope="module")
def config():
    settings = quickstart.get_config("tiny")
    settings.data.count = {"train": 8, "validation": 2, "test": 5}
    settings.evaluation.update({"size": 0, "batch_size": 2})
    settings.evaluation.fused_threshold = 0.2
    return settings


@pytest.fixture(scope="module")
def source(config):
    return data.load(config.data, "test")


@pytest.fixture(scope="module")
def truth(source):
    return {
        sample["name"]: np.float32(sample["mask"])
        for sample in map(source.__getitem__, range(5))
    }


def answers(truth, **maps):
    """A predictor that gives functions of the truth."""

    def predict(images, names, seed):
        return {
            mode: np.stack([change(truth[name]) for name in names])
            for mode, change in maps.items()
        }

    return predict


def test_truth_scores_one_and_nothing_scores_zero(config, source, truth):
    predict = answers(truth, diffusion=lambda m: m, discriminative=lambda m: 0 * m)
    scores = evaluate.scores(evaluate.judge(config, predict, source))
    assert scores["diffusion"]["IoU"] == scores["diffusion"]["Pd"] == 1
    assert scores["diffusion"]["Fa"] == 0
    assert scores["discriminative"]["IoU"] == scores["discriminative"]["Pd"] == 0


def test_the_fused_mode_has_its_own_threshold(config, source, truth):
    low = lambda m: 0.3 * m  # noqa: E731
    judged = evaluate.judge(config, answers(truth, diffusion=low, fused=low), source)
    scores = evaluate.scores(judged)
    assert scores["fused"]["IoU"] == 1 and scores["diffusion"]["IoU"] == 0


def test_counts_do_not_depend_on_the_batches(config, source, truth):
    predict = answers(truth, diffusion=lambda m: np.roll(m, 1, 0))
    one = evaluate.judge(config, predict, source).counts["diffusion"]
    other = config.copy_and_resolve_references()
    other.evaluation.batch_size = 3
    two = evaluate.judge(other, predict, source).counts["diffusion"]
    for a, b in zip(one.overlap, two.overlap, strict=True):
        np.testing.assert_array_equal(a, b)


def test_some_images_are_judged_as_such(config, source, truth):
    config.evaluation.images = 2
    few = evaluate.asked_for(config)
    predict = answers(truth, diffusion=lambda m: m)
    judged = evaluate.judge(config, predict, few)
    assert judged.count == len(few) == 2 and few.names[0] == source.names[0]
    report = evaluate.make_report(config, judged, few, tasks.build(config), "made up")
    assert report["words"].startswith(f"2 of {len(source)} test images of ")
    assert report["protocol"]["hash"] != source.describe()["hash"]


def test_report_and_pictures_are_whole(config, source, truth, tmp_path):
    predict = answers(truth, diffusion=lambda m: 0.9 * m, fused=lambda m: m)
    judged = evaluate.judge(config, predict, source)
    learnt = {"name": "nuaa_sirst", "split": "50_50", "validation_share": 0.1}
    report = evaluate.make_report(
        config, judged, source, tasks.build(config), "made up", learnt
    )
    paths = evaluate.write(tmp_path, report, judged)
    assert all(path.stat().st_size > 500 for path in paths)
    told = json.loads((tmp_path / "report.json").read_text())
    assert told["protocol"]["count"] == 5 and told["protocol"]["weights"] == "made up"
    assert told["protocol"]["learnt_from"] == learnt
    assert told["modes"]["fused"]["threshold"] == 0.2
    assert told["modes"]["diffusion"]["intervals"]["IoU"] == [1.0, 1.0]
    text = evaluate.table(report)
    assert "IoU" in text and "fused" in text and "1.0000" in text


def drawn(*changes):
    """Several samples, each a function of the truth, and their mean."""
    return {
        "samples": lambda m: np.stack([change(m) for change in changes]),
        "diffusion": lambda m: np.mean([change(m) for change in changes], 0),
    }


def test_several_samples_are_judged_as_a_distribution(config, source, truth, tmp_path):
    """Three of four find all targets; one has a false alarm instead, in a corner."""

    def other(m):
        wrong = np.zeros_like(m)
        corner = min(
            [(0, 0), (0, -2), (-2, 0), (-2, -2)],
            key=lambda yx: np.roll(m, (3 - yx[0], 3 - yx[1]), (0, 1))[:8, :8].sum(),
        )
        wrong[corner[0] :, corner[1] :][:2, :2] = 1
        return wrong

    same = lambda m: m  # noqa: E731
    predict = answers(
        truth, **drawn(same, same, same, other), discriminative=lambda m: 0.9 * m
    )
    judged = evaluate.judge(config, predict, source)
    report = evaluate.make_report(
        config, judged, source, tasks.build(config), "made up"
    )
    paths = evaluate.write(tmp_path, report, judged)
    names = {path.name for path in paths}
    assert {"reliability.png", "posterior_pd_fa.png"} < names
    about = json.loads((tmp_path / "report.json").read_text())["posterior"]
    assert about["samples"] == 4
    points = about["pd_fa"]
    assert points["tau"] == [0.25, 0.5, 0.75, 1]
    assert points["Pd"] == [1, 1, 1, 0] and points["Fa"][1:] == [0, 0, 0]
    assert points["false_alarms_per_image"][0] == 1 == about["samples"] / 4
    assert points["Fa_discriminative"] == [0] * 4
    # Real are the targets of P = 3/4, false those of P = 1/4.
    assert about["target_ECE"] == pytest.approx(0.25)
    low, high = about["intervals"]["diversity"]
    assert low <= about["diversity"] <= high
    # What is claimed of pixels is what is claimed of targets: 3/4, 1/4, and 0.
    line = about["votes"]["reliability"]
    shares = {p: y for p, y in zip(line["probability"], line["share"], strict=True)}
    assert (shares[0.75], shares[0.25], shares[0]) == (1, 0, 0)
    text = evaluate.table(report)
    assert "4 samples as a distribution" in text and "GED2" in text


def test_repeats_of_the_bootstrap_are_asked_before_images(tmp_path, monkeypatch):
    settings = nuaa_sirst.get_config("realtime")
    settings.weights = "realtime-nuaa"
    settings.data.update(quickstart.get_config("tiny").data)
    settings.evaluation.bootstrap = 0
    monkeypatch.setattr(evaluate, "judge", lambda *_, **__: pytest.fail("it judged"))
    with pytest.raises(ValueError, match="evaluation.bootstrap must be at least 1"):
        evaluate.run(settings, tmp_path)


def test_validation_looks_at_scores_alone(config, source, truth):
    predict = answers(truth, **drawn(*[lambda m: m] * 2))
    judged = evaluate.judge(config, predict, source, calibrate=False)
    assert judged.samples is None and judged.calibration == {}
    assert evaluate.scores(judged)["diffusion"]["IoU"] == 1


def test_one_sample_is_no_distribution(config, source, truth, tmp_path):
    predict = answers(truth, **drawn(lambda m: 0.9 * m))
    judged = evaluate.judge(config, predict, source)
    assert judged.samples is None and list(judged.calibration) == ["diffusion"]
    report = evaluate.make_report(
        config, judged, source, tasks.build(config), "made up"
    )
    assert "posterior" not in report
    evaluate.write(tmp_path, report, judged)
    assert not (tmp_path / "pictures" / "posterior_pd_fa.png").exists()
    # 0.9 is said of pixels that are target, 0 of all others.
    calibration = report["modes"]["diffusion"]["calibration"]
    share = sum(m.sum() for m in truth.values()) / sum(m.size for m in truth.values())
    assert calibration["ECE_all"] == pytest.approx(0.1 * share, rel=1e-5)
    curve = report["curves"]["diffusion"]["reliability"]
    assert curve["share"][13] == 1 and curve["probability"][13] == pytest.approx(0.9)


def test_columns_of_the_table_stay_apart():
    """Fa near 1 has intervals of 25 characters."""
    values = dict.fromkeys(evaluate.SHOWN, 1.0)
    values["intervals"] = dict.fromkeys(evaluate.SHOWN, (1.0, 1.0))
    text = evaluate.table({"words": "words", "modes": {"a": values, "b": values}})
    rows = text.splitlines()[2:]
    assert len({len(row) for row in rows}) == 1
    assert "1000000.00-1000000.00  1000000.00-1000000.00" in text
