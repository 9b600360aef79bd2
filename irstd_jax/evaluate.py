"""Judging trained weights on a part of a data set, each mode under one protocol.

Writes W/report.json, and under W/pictures the ROC and Pd-Fa curves, the reliability of
probabilities and a contact sheet. Where the task draws several samples an image, they
are judged as a distribution, too: the report's block "posterior". A killed evaluation
goes on from what a network had taken long to answer (answers.py).
A network that makes images is judged by its task's scores on crops (scoring.py).
"""

import functools
import pathlib
from typing import Any, NamedTuple

import jax
import numpy as np

from irstd_jax import (
    answers,
    credence,
    data,
    files,
    inference,
    metrics,
    scoring,
    tasks,
    viz,
)
from irstd_jax.data import pipeline, transforms
from irstd_jax.progress import bar

SHOWN = ("IoU", "nIoU", "precision", "recall", "F1", "Pd", "Fa", "Fa_reference", "AUC")
PICTURES = 12
REPORT = "report.json"


class Judged(NamedTuple):
    """What judging a part gives.

    Attributes:
      counts: {mode: stacked `metrics.Counts` of its images}.
      pictures: rows of a contact sheet, one an image.
      thresholds: {mode: the probability from which a pixel is a target}.
      count: number of images.
      calibration: {mode: stacked `metrics.calibration.Counts`} of those that are
        probabilities, and "votes", the share of the samples that hold a pixel, where
        several were drawn.
      samples: stacked `metrics.samples.Counts`, or None.
    """

    counts: dict
    pictures: list
    thresholds: dict
    count: int
    calibration: dict
    samples: Any = None


def run(config, workdir):
    """Evaluates `config.evaluation.part` and reports; returns the exit code 0."""
    config, variables, about = inference.trained(config, workdir)
    task = tasks.detector(config)
    source, label = asked_for(config), weights_label(about)
    inference.warn_of_split(config, about, label)
    if hasattr(task, "score"):
        return score_images(config, workdir, task, variables, source, about)
    metrics.bootstrap.check(config.evaluation.bootstrap)
    predict = functools.partial(inference.predictor(task), jax.device_put(variables))
    with answers.kept(predict, workdir, config.to_dict(), variables) as predict:
        judged = judge(config, predict, source, progress=True)
        learnt = inference.learnt_from(about)
        report = make_report(config, judged, source, task, label, learnt)
        paths = write(workdir, report, judged)
    print(table(report))
    for path in paths:
        print(path)
    return 0


def asked_for(config):
    """The source of `config.evaluation`: its part, or so many images of it."""
    settings = config.evaluation
    # Runs of earlier versions lack the field.
    return data.some(data.load(config.data, settings.part), settings.get("images", 0))


def score_images(config, workdir, task, variables, source, about):
    """Reports the scores of a task that makes images; returns the exit code 0."""
    run = scoring.scorer(task)
    means, spread, rows = scoring.score(config, run, jax.device_put(variables), source)
    side = config.data.crop or config.data.resize
    report = {
        "data": source.describe(),
        "crop": side or "native",
        "seed": config.evaluation.seed,
        "weights": weights_label(about),
        "learnt_from": inference.learnt_from(about) or None,
        "scores": {
            name: {"mean": means[name], "deviation": spread[name]} for name in means
        },
    }
    workdir = pathlib.Path(workdir)
    files.write_json(workdir / REPORT, report)
    files.write_image(workdir / "pictures" / "test.png", viz.contact_sheet(rows))
    print(f"{len(source)} {config.evaluation.part} images, crops of {side} px")
    for name in means:
        print(f"{name:18}{means[name]:12.5f} +- {spread[name]:.5f} over images")
    print(workdir / REPORT, workdir / "pictures" / "test.png", sep="\n")
    return 0


def weights_label(about):
    """Which weights, in words that a reader can check."""
    name = about["config"]["name"]
    if "learnt" in about:
        return f"{name}, learnt: {about['learnt']}"
    if "step" in about:
        return f"{name}, step {about['step']}, moving average"
    return f"{name}, converted from {about.get('source', '?')}"


def judge(config, predict, source, progress=False, calibrate=True, each=None):
    """Predicts and counts the images of a source.

    Args:
      config: with the blocks data and evaluation.
      predict: (images, names, seed) -> maps by mode; of `inference.predictor`.
      source: of samples.
      progress: show a bar.
      calibrate: count what a report says of calibration and of samples, too.
      each: called with every sample and its maps by mode, in no order.

    Returns:
      A `Judged`.
    """
    settings = config.evaluation
    prepare = pipeline.preparation(config.data)
    samples = (sized(source[i], settings.size) for i in range(len(source)))
    done = inference.predictions(
        predict,
        samples,
        prepare.image,
        batch_size=settings.batch_size,
        multiple=settings.canvas_multiple,
        seed=settings.seed,
    )
    if progress:
        done = bar(done, total=len(source), unit="image", desc="evaluate")
    rows, pictures, modes = [], [], []
    for sample, prediction in done:
        if each is not None:
            each(sample, prediction)
        truth = sample["mask"][..., 0]
        modes = [mode for mode in tasks.MODES if mode in prediction]
        state = states(settings, prediction, modes, truth, calibrate)
        rows.append((sample["name"], state))
        pictures.append(picture(sample, prediction, modes))
        pictures = sorted(pictures, key=lambda row: row["name"])[:PICTURES]
    # The order in which batches filled up must not show in the report.
    rows = [state for _, state in sorted(rows, key=lambda row: row[0])]
    stacked = metrics.stack(rows)
    return Judged(
        {mode: stacked["counts"][mode] for mode in modes},
        pictures,
        {mode: threshold(settings, mode) for mode in modes},
        len(source),
        stacked["calibration"],
        stacked["samples"],
    )


def states(settings, prediction, modes, truth, calibrate):
    """What is counted of an image, as in `Judged`, without its leading axis."""
    counts = {}
    for mode in modes:
        rule = metrics.Settings(
            threshold=threshold(settings, mode), matching=settings.matching
        )
        counts[mode] = metrics.count(prediction[mode][..., 0], truth, rule)
    more = {"calibration": {}, "samples": None}
    if calibrate:
        claims = [mode for mode in modes if mode in tasks.PROBABILITIES]
        more = credence.count(settings, prediction, claims, truth)
    return {"counts": counts} | more


def threshold(settings, mode):
    """0.5 but for the released rule, whose score was cut elsewhere."""
    return settings.fused_threshold if mode == "fused" else settings.threshold


def sized(sample, size):
    """The sample at its native size (0), or brought to `size` by `size` pixels."""
    return transforms.resize(sample, size) if size else sample


def picture(sample, prediction, modes):
    """One row of the contact sheet: the image, its truth, what each mode says."""
    row = {"name": sample["name"], "image": sample["image"][..., 0]}
    row["truth"] = sample["mask"][..., 0].astype(np.float32)
    return row | {mode: prediction[mode][..., 0] for mode in modes}


def scores(judged):
    """{mode: {metric: value}}."""
    return {
        mode: metrics.compute(metrics.total(counts))
        for mode, counts in judged.counts.items()
    }


def make_report(config, judged, source, task, weights, learnt=None):
    """The JSON-able report: protocol, modes, curves, intervals.

    `learnt` is which images the weights learnt from, where that is known.
    """
    about, settings = source.describe(), config.evaluation
    protocol = metrics.Protocol(
        set=about["set"],
        split=about["split"],
        part=about["part"],
        count=about["count"],
        hash=about["hash"],
        size_rule=f"resized to {settings.size}" if settings.size else "native",
        threshold=settings.threshold,
        matching=settings.matching,
        mask_rule=about["mask_rule"],
        seed=settings.seed,
        weights=weights,
        **tasks.protocol(task),
    )
    calibration = {
        mode: metrics.calibration.compute(metrics.total(counts))
        for mode, counts in judged.calibration.items()
    }
    modes = {}
    for mode, values in scores(judged).items():
        intervals = metrics.intervals(
            judged.counts[mode], repeats=settings.bootstrap, seed=settings.seed
        )
        modes[mode] = values | {
            "threshold": judged.thresholds[mode],
            "intervals": {name: intervals[name] for name in SHOWN},
        }
        if mode in calibration:
            modes[mode]["calibration"] = calibration[mode]
    report = {
        "protocol": protocol.as_dict()
        | {"repairs": about.get("repairs", []), "learnt_from": learnt or None},
        "words": protocol.describe(),
        "modes": modes,
        "curves": {
            mode: metrics.curves(metrics.total(counts))
            | credence.curves(judged.calibration.get(mode), counts)
            for mode, counts in judged.counts.items()
        },
    }
    if judged.samples is not None:
        report["posterior"] = credence.posterior(
            settings, judged.samples, judged.calibration["votes"], report["curves"]
        )
    return report


def write(workdir, report, judged):
    """Writes the report and its pictures, and returns their paths."""
    workdir = pathlib.Path(workdir)
    pictures = workdir / "pictures"
    curves = report["curves"]
    files.write_json(workdir / REPORT, report)
    drawn = {"roc.png": viz.roc(curves), "pd_fa.png": viz.pd_fa(curves)}
    drawn |= credence.pictures(report)
    drawn["test.png"] = viz.contact_sheet(judged.pictures)
    for name, drawing in drawn.items():
        files.write_image(pictures / name, drawing)
    return [workdir / REPORT, *(pictures / name for name in drawn)]


def table(report):
    """The report as text for a terminal: a figure, and its interval below it."""
    modes = report["modes"]
    rows = [["", *modes]]
    for name in SHOWN:
        rows.append([label(name), *(cell(name, values) for values in modes.values())])
        bounds = (values["intervals"][name] for values in modes.values())
        rows.append(["", *(interval(name, pair) for pair in bounds)])
    width = 2 + max(len(text) for row in rows for text in row)
    lines = [
        f"{head:18}" + "".join(text.rjust(width) for text in texts)
        for head, *texts in rows
    ]
    if "posterior" in report:
        lines += ["", *posterior_lines(report["posterior"])]
    return "\n".join([report["words"], "", *lines])


def posterior_lines(about):
    """The figures of the samples as a distribution, each with its interval."""
    return [f"{about['samples']} samples as a distribution"] + [
        f"{name:18}{cell(name, about)}  {interval(name, about['intervals'][name])}"
        for name in credence.FIGURES
    ]


def label(name):
    """The metric's name with its unit."""
    return f"{name} 1e-6" if name.startswith("Fa") else name


def cell(name, values):
    """A figure as people read it: false alarms in millionths of the pixels."""
    return (
        f"{values[name] * 1e6:.2f}" if name.startswith("Fa") else f"{values[name]:.4f}"
    )


def interval(name, bounds):
    """A confidence interval in the form of `cell`."""
    return "-".join(cell(name, {name: bound}) for bound in bounds)
