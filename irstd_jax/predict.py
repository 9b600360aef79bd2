"""Detecting targets in one's own images: masks, overlays, a list of detections.

Below OUT it writes, for every image,

  masks/NAME.png          0 and 255, at the image's own size
  overlays/NAME.png       the image with its detections, each enlarged at the right
  probabilities/NAME.png  on request; 16 bits, 65535 is 1
  figures/NAME_*.png      on request, for the first images (explain.py)
  uncertainty/NAME.png    of several samples: their mean, spread and targets

and at the end detections.json: how it was done, and for every image file its size and
detections, with several samples each with the share of them that agrees. NAME is the
file's name without suffix, or with it where files share one. The random numbers of an
image depend on the seed and on NAME alone.
"""

import collections
import functools
import os
import pathlib
import time

import jax
import numpy as np
from ml_collections import ConfigDict

from irstd_jax import (
    evaluate,
    explain,
    files,
    inference,
    metrics,
    pieces,
    progress,
    tasks,
    viz,
)
from irstd_jax.ahead import ahead
from irstd_jax.data import images, stretch
from irstd_jax.metrics import posterior

INDEX = "detections.json"
WRITERS = min(4, os.cpu_count() or 1)  # threads that draw and write pictures
SCORES = {  # what a detection's score is, of a probability or of a saliency
    True: "mean probability of the component's pixels",
    False: "mean of the component's pixels in the map: 0.5 at the rule's threshold, 1 "
    "at the largest saliency of the image; no probability",
}


def run(config, workdir, source, output, overwrite=False, samples=0):
    """Predicts the image or folder `source` into the folder `output`.

    Args:
      samples: of the posterior, drawn for each image; 0 for `config.sampling.samples`.

    Returns:
      0, or 1 where files could not be read; they are named at the end.

    Raises:
      FileExistsError: a result is already there, and `overwrite` is false.
      FileNotFoundError: no `source`, or no weights.
      ValueError: no image at all, none that can be read, or settings that do not fit.
    """
    started = time.monotonic()
    output = pathlib.Path(output)
    paths, ignored = find(source)
    names = result_names(paths)
    config, several = drawing(config, samples)
    guard(output, list(names.values()), config.predict, overwrite, several)
    config, variables, about = inference.trained(config, workdir)
    settings = config.predict
    task = tasks.detector(config)
    if hasattr(task, "score"):
        raise ValueError(
            f"these weights are of the task {config.task.name!r}, which detects "
            "nothing: predict wants a detector's"
        )
    if samples and not hasattr(task, "sampling"):
        raise ValueError(
            f"these weights are of the task {config.task.name!r}, which draws nothing, "
            f"so there are no {samples} samples of it: leave --samples away"
        )
    variables = jax.device_put(variables)
    drawn = ("samples",) * (hasattr(task, "sampling") and several)
    predict = inference.predictor(task, keep=(settings.mode, *drawn))
    predict = functools.partial(predict, variables)
    shown = set(list(names.values())[: settings.figures])
    draw = explain.drawer(config, task, variables) if shown else None

    found, failed, narrow = {}, {}, 0
    jobs = pieces.read(paths, names, config, failed)
    if len(paths) == 1:
        # A lone image shall not be computed batch_size times.
        jobs = list(jobs)
        count = max(1, sum(len(job.corners) for job in jobs))
        config.evaluation.batch_size = min(config.evaluation.batch_size, count)
    with progress.bar(total=len(paths), unit="image", desc="predict") as bar:
        for job, probability, facts in written(config, predict, jobs, output):
            found[job.path.name] = facts
            narrow += stretch.is_narrow(job.image)
            if job.name in shown:
                window = explain.window(job.image, probability, settings.tile)
                for kind, picture in draw(window, job.name).items():
                    files.write_image(figure(output, job.name, kind), picture)
            bar.update(len(found) + len(failed) - bar.n)
        bar.update(len(paths) - bar.n)
    if not found:
        raise ValueError("no image can be read" + bullets(failed.values()))
    report = {
        "settings": describe(config, task, about),
        "images": {name: found[name] for name in sorted(found)},
        "failed": failed,
    }
    files.write_json(output / INDEX, report)
    print(summary(found, output, time.monotonic() - started))
    if narrow:
        print(
            f"{narrow} of {len(found)} images use less than an eighth of the range of "
            "grey levels, which detectors hardly know: --config.data.stretch=0.01 "
            "draws them out"
        )
    if ignored:
        print(f"ignored, being no image by suffix: {', '.join(ignored)}")
    if failed:
        told = f"{len(failed)} of {len(paths)} files could not be read"
        print(told + bullets(failed.values()))
    return 1 if failed else 0


def drawing(config, samples):
    """(config with so many samples an image, 0 for its own; are there several?)."""
    if samples < 0:
        raise ValueError(f"{samples} samples: draw at least one")
    config = ConfigDict(config.to_dict())
    if "sampling" not in config:
        return config, False
    config.sampling.samples = samples or config.sampling.samples
    return config, config.sampling.samples > 1


def bullets(lines):
    """Lines below one that they belong to."""
    return ":" + "".join(f"\n  {line}" for line in lines)


def find(source):
    """(paths of the images, names of what is ignored) of a file or a folder, sorted."""
    source = pathlib.Path(source)
    if not source.exists():
        raise FileNotFoundError(f"there is no file or folder {source}")
    entries = sorted(source.iterdir()) if source.is_dir() else [source]
    entries = [path for path in entries if not path.name.startswith(".")]
    paths = [p for p in entries if p.suffix.lower() in images.SUFFIXES and p.is_file()]
    if not paths:
        suffixes = ", ".join(images.SUFFIXES)
        raise ValueError(f"no image in {source}: none of {suffixes}")
    ignored = sorted(set(entries) - set(paths))
    return paths, [path.name + "/" * path.is_dir() for path in ignored]


def result_names(paths):
    """{path: name of its results}: the stem, or the whole name where stems agree.

    Raises ValueError where even that leaves two files one name. Letters' case does not
    tell files apart, because some file systems do not either.
    """
    stems = collections.Counter(path.stem.casefold() for path in paths)
    names = {
        path: path.stem if stems[path.stem.casefold()] == 1 else path.name
        for path in paths
    }
    taken = {}
    for path, name in names.items():
        other = taken.setdefault(name.casefold(), path)
        if other is not path:
            raise ValueError(
                f"{other} and {path} would share the results {name}: rename one"
            )
    return names


def guard(output, names, settings, overwrite, several=False):
    """Refuses what cannot be done, or not without replacing results."""
    if settings.mode not in tasks.MODES:
        raise ValueError(
            f"unknown predict.mode {settings.mode!r}; choose from {tasks.MODES}"
        )
    kinds = ["masks", "overlays"] + ["probabilities"] * settings.probabilities
    kinds += ["uncertainty"] * several
    planned = [output / INDEX]
    planned += [output / kind / f"{name}.png" for name in names for kind in kinds]
    for name in names[: settings.figures]:
        planned += [figure(output, name, kind) for kind in explain.KINDS]
    existing = next((path for path in planned if path.exists()), None)
    if existing and not overwrite:
        raise FileExistsError(
            f"{existing} exists: name another --output, or replace results by "
            "--overwrite"
        )


def figure(output, name, kind):
    """Where a figure lies."""
    return output / "figures" / f"{name}_{kind}.png"


def written(config, predict, jobs, output):
    """Yields (job, probability, facts), as of `write`, of images that are on disk."""

    def detected():
        for number, (job, probability) in enumerate(
            pieces.detect(config, predict, jobs)
        ):
            if not number:
                # Masks are newer than this list from here on.
                (output / INDEX).unlink(missing_ok=True)
            yield job, probability

    def put(piece):
        return *piece, write(output, *piece, config)

    return ahead(put, detected(), WRITERS)


def write(output, job, probability, config):
    """Writes the pictures of an image; returns its size and detections."""
    size = job.native.shape[:2]
    probability = pieces.scaled(probability[..., None], size)[..., 0]
    mask = probability > evaluate.threshold(config.evaluation, config.predict.mode)
    detections = listed(mask, probability)
    samples = pieces.samples(job)
    if samples is not None:
        level = evaluate.threshold(config.evaluation, "diffusion")
        clusters = posterior.cluster(samples > level)
        detections = believed(detections, mask, clusters)
        picture = viz.uncertainty(
            job.native, samples, posterior.boxes(clusters), clusters.probability
        )
        files.write_image(output / "uncertainty" / f"{job.name}.png", picture)
    overlay = viz.overlay(
        job.native,
        mask,
        boxes=[detection["box"] for detection in detections],
        texts=[f"{detection['score']:.2f}" for detection in detections],
    )
    if config.predict.probabilities:
        levels = np.rint(probability * 65535).astype(np.uint16)
        files.write_image(output / "probabilities" / f"{job.name}.png", levels)
    files.write_image(output / "overlays" / f"{job.name}.png", overlay)
    files.write_image(output / "masks" / f"{job.name}.png", mask.astype(np.uint8) * 255)
    return {"name": job.name, "size": list(size), "detections": detections}


def listed(mask, probability):
    """The 8-connected components of a mask (h, w), as detections.json has them.

    centroid [y, x] and box [y0, x0, y1, x1], its ends exclusive, in pixels; area in
    pixels; score, the mean probability of the component's pixels.
    """
    parts = metrics.components(mask)
    total = np.bincount(parts.labels.ravel(), probability.ravel())[1:]
    return [
        {
            "centroid": [round(float(c), 2) for c in centroid],
            "box": [int(edge) for edge in box],
            "area": int(area),
            "score": round(float(score), 4),
        }
        for centroid, box, area, score in zip(
            parts.centroid, parts.box, parts.area, total / parts.area, strict=True
        )
    ]


def believed(detections, mask, clusters):
    """Detections of a mask (h, w), each with what the samples' targets say of it.

    probability: the share of the samples that hold it, 0 where none has a target whose
    centroid is within 3 px; interval: Wilson's, 95 %; votes: [samples that do, all].
    """
    votes = posterior.votes_for(clusters, metrics.components(mask))
    total = clusters.samples
    return [
        detection
        | {
            "probability": round(float(n / total), 4),
            "interval": [round(float(x), 4) for x in posterior.wilson(n, total)],
            "votes": [int(n), total],
        }
        for detection, n in zip(detections, votes, strict=True)
    ]


def describe(config, task, about):
    """How the detections were made."""
    settings, sampling = config.predict, tasks.protocol(task)
    if sampling.get("samples", 1) > 1:
        sampling["probability"] = "share of the samples that hold the target"
        sampling["interval"] = "of the probability: Wilson, 95 %"
    return {
        "weights": evaluate.weights_label(about),
        "mode": settings.mode,
        "threshold": evaluate.threshold(config.evaluation, settings.mode),
        "score": SCORES[settings.mode in tasks.PROBABILITIES],
        "stretch": config.data.get("stretch", 0),
        "size": settings.size or "native",
        "tile": settings.tile,
        "overlap": settings.overlap,
        "seed": config.evaluation.seed,
    } | sampling


def summary(found, output, seconds):
    """What was done, in a line, and where it lies."""
    targets = sum(len(image["detections"]) for image in found.values())
    return (
        f"{len(found)} images, {targets} targets found, {seconds / len(found):.2f} s "
        f"an image with starting up; masks, overlays and detections.json in {output}"
    )
