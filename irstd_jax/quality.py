"""What an augmented set is worth: realism, fidelity of its targets, leakage, pictures.

quality.json in the workdir holds

  realism   FID and KID of crops against crops of the real training images, of the set,
            of its bare compositions, and of the real test images, without which the
            others mean little. Each figure is beside the extractor of its features
            (`quality.features`): "haar_statistics" (no training), "detector" (the
            deepest features of the detector of `quality.detector`, a weights file), or
            "package.module:function", such as one with Inception, of images
            (b, h, w, 1) in [0, 1] to (b, d)
  fidelity  are the labelled targets still there (metrics/fidelity.py): of the set, and,
            of its first `quality.samples`, after each stage. Restored targets are there
            by construction
  leakage   samples that are like an image of the test part (data/leakage.py); this
            only looks at it, and nothing is chosen by it

and pictures/stages.png the stages of the first samples.
"""

import importlib

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from irstd_jax import data, files, metrics, progress, tasks, viz
from irstd_jax.data import images, leakage, pipeline
from irstd_jax.metrics import features, fidelity, frechet
from irstd_jax.weights import store

NO_STAGES = ("mask", "final")


def run(config, workdir, output, source, make, names):
    """Judges the set in `output`, writes quality.json and pictures; the exit code 0.

    Args:
      config: with the blocks augment, data and quality.
      workdir: where the report goes.
      output: folder of the set.
      source: the real training part.
      make: indices -> {stage: (b, h, w, 1)}; the samples again, for what they were.
      names: of all samples.
    """
    generated = {name: read(output, name) for name in names}
    bare = remade(config, make, names, stages=())
    first = remade(config, make, names[: config.quality.samples])
    real, test = pairs(source), pairs(data.load(config.data, "test"))
    sets = {
        "generated": list(generated.values()),
        "composed": [made["mosaic"] for made in bare.values()],
        "real test": [image for _, image in test],
    }
    report = {
        "set": str(output),
        "count": len(names),
        "realism": realism(config, real, sets),
        "fidelity": {"set": faithful(generated, bare), "stages": by_stage(first)},
        "leakage": leaks(config, list(generated.items()), real, test),
    }
    files.write_json(workdir / "quality.json", report)
    shown = list(first.items())[: config.quality.pictures]
    sheet = viz.contact_sheet([row(name, made) for name, made in shown])
    files.write_image(workdir / "pictures" / "stages.png", sheet)
    print(table(report))
    print(workdir / "quality.json", workdir / "pictures" / "stages.png", sep="\n")
    return 0


def read(output, name):
    """A generated image (h, w, 1) in [0, 1] as it lies on the disk."""
    return images.read_image(output / "images" / f"{name}.png")


def remade(config, make, names, **arguments):
    """{name: {stage: (h, w, 1)}} of the first samples, by the batches of the set."""
    size, found = config.augment.batch_size, {}
    for first in progress.bar(range(0, len(names), size), unit="batch", desc="report"):
        indices = list(range(first, min(first + size, len(names))))
        made = make((indices * size)[:size], **arguments)
        for row, index in enumerate(indices):
            found[names[index]] = {stage: x[row] for stage, x in made.items()}
    return found


# --- realism --------------------------------------------------------------------------


def realism(config, real, sets):
    """A row for each extractor and set: FID and KID against the training images."""
    settings, found = config.quality, []
    for name in settings.features:
        extract = extractor(config, name)

        def described(pictures, extract=extract):
            rng = np.random.default_rng(settings.seed)
            cut = crops(pictures, settings.crop, settings.crops, rng)
            return features.features(extract, cut)

        reference = described([image for _, image in real])
        for what, pictures in sets.items():
            row = frechet.report(reference, described(pictures), name, settings.seed)
            found.append({"what": what, "crop": settings.crop} | row)
    return found


def crops(pictures, side, count, rng):
    """`count` random windows of each picture that is large enough."""
    found = []
    for picture in pictures:
        h, w, _ = picture.shape
        if min(h, w) >= side:
            for _ in range(count):
                y, x = rng.integers(h - side + 1), rng.integers(w - side + 1)
                found.append(picture[y : y + side, x : x + side])
    if not found:
        raise ValueError(
            f"no image is as large as quality.crop {side}: choose a smaller one"
        )
    return found


def extractor(config, name):
    """The function of images (b, h, w, 1) that a name of `quality.features` means."""
    if name in features.EXTRACTORS:
        return features.EXTRACTORS[name]
    if name == "detector":
        return detector_features(config.quality.detector)
    module, _, function = name.partition(":")
    if not function:
        known = sorted([*features.EXTRACTORS, "detector", "package.module:function"])
        raise ValueError(f"unknown quality.features {name!r}; choose from {known}")
    try:
        return getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError) as error:
        raise ValueError(f"quality.features {name!r} is not there: {error}") from None


def detector_features(path):
    """The means and deviations of a trained detector's deepest feature map."""
    if not path:
        raise ValueError(
            "quality.features has 'detector': name its weights by "
            "--config.quality.detector=FILE.safetensors"
        )
    variables, about = store.load(path)
    config = ConfigDict(about["config"])
    network, prepare = tasks.build(config).network, pipeline.preparation(config.data)

    @jax.jit
    def run(image):
        _, state = network.apply(
            variables, image, capture_intermediates=True, mutable=["intermediates"]
        )
        maps = [x for x in jax.tree.leaves(state) if x.ndim == 4 and x.shape[-1] > 1]
        # A map of 1 x 1 is a weight of some attention, and no picture.
        maps = [x for x in maps if min(x.shape[1:3]) > 1]
        deepest = min(maps, key=lambda x: (x.shape[1] * x.shape[2], -x.shape[3]))
        return jnp.concatenate([deepest.mean((1, 2)), deepest.std((1, 2))], -1)

    return lambda batch: run(np.stack([prepare.image(image) for image in batch]))


# --- fidelity and leakage -------------------------------------------------------------


def faithful(pictures, bare):
    """The figures of fidelity of {name: image} against the compositions `bare`."""
    counts = [
        fidelity.count(image, bare[name]["mosaic"], bare[name]["mask"])
        for name, image in pictures.items()
    ]
    total = jax.tree.map(lambda leaf: leaf.sum(0), metrics.stack(counts))
    return fidelity.compute(total)


def by_stage(first):
    """{stage: figures of fidelity} of some samples with all their stages."""
    stages = [s for s in next(iter(first.values())) if s not in NO_STAGES]
    return {
        stage: faithful({name: made[stage] for name, made in first.items()}, first)
        for stage in stages
    }


def leaks(config, generated, real, test):
    """Samples that are like test images, and no liker to a training image.

    All are (name, image) pairs.
    """
    return leakage.report(generated, test, real, config.augment.compose.tile)


def pairs(source):
    """(name, image) of all samples of a source."""
    samples = (source[i] for i in range(len(source)))
    return [(sample["name"], sample["image"]) for sample in samples]


# --- for people -----------------------------------------------------------------------


def row(name, made):
    """A row of a contact sheet: the stages of a sample."""
    stages = [stage for stage in made if stage not in NO_STAGES]
    return {"name": name} | {stage: made[stage][..., 0] for stage in [*stages, "mask"]}


def table(report):
    """The report as text for a terminal."""
    lines = []
    for row in report["realism"]:
        figures = (f"{k} {shown(row[k])}" for k in ("FID", "FID_infinity", "KID"))
        lines.append(f"{row['extractor']}, {row['what']}: {', '.join(figures)}")
        lines += [f"  {note}" for note in row["notes"]]
    stages = report["fidelity"]["stages"]
    for stage, kept in {"the set": report["fidelity"]["set"], **stages}.items():
        lines.append(
            f"{stage}: {kept['targets']:.0f} targets; contrast kept "
            f"{shown(kept['kept'])}, lost {shown(kept['lost'])}, area "
            f"{shown(kept['area_kept'])}; new blobs an image "
            f"{shown(kept['new_blobs_per_image'])}"
        )
    leaked = report["leakage"]["leaked"]
    lines.append(f"like a test image, and no training image: {len(leaked)}")
    lines += [f"  {name} ~ {other} ({r:.3f})" for name, other, r in leaked[:5]]
    return "\n".join(lines)


def shown(value):
    """A figure, or a dash where there is none."""
    return "-" if value is None or not np.isfinite(value) else f"{value:.4f}"
