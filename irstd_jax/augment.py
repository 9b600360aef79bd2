"""Making a set: labelled images composed, harmonised and resampled from real ones.

Sample i is a pure function of the settings, the priors' weights and i. Its stages, each
of which may be left out (`augment.stages`):

  (compose)    parents from the TRAINING part, joined by the block `compose`
  degrade      Eq. 4: what the Pixel-Prior shall harmonise
  pixel_prior  SwinIR: the smooth image
  diff_prior   latent diffusion: the realistic image
  retarget     the mosaic's targets put back under the mask

Below OUT it writes images/NAME.png and masks/NAME.png (8 bits), at the end train.txt
and manifest.json; a folder that `data.extra` of a detector's recipe takes. Then
quality.json and pictures/ in the workdir (quality.py). A run that is killed goes on
where it was. Priors that are not there are trained first, in WORKDIR/priors.
"""

import pathlib
import shutil

import jax
import numpy as np

from irstd_jax import data, files, priors, progress, quality
from irstd_jax.mosaic import compose, degrade, parents, retarget

STAGES = ("degrade", "pixel_prior", "diff_prior", "retarget")
MANIFEST, MAKING = "manifest.json", "making.json"
# What a sample depends on, of the block augment.
DECIDE = ("seed", "batch_size", "compose", "gather", "degrade", "stages", "border")


def run(config, workdir, output=None, overwrite=False):
    """Makes `augment.count` samples in `output` (default WORKDIR/set) and judges them.

    Returns:
      0, or 143 where SIGTERM came while a prior was trained.

    Raises:
      FileExistsError: a set is there, of other settings or complete, and `overwrite`
        is false.
      ValueError: settings that do not fit, too few images, no targets.
    """
    workdir = pathlib.Path(workdir)
    output = pathlib.Path(output or workdir / "set")
    maker, stages = settings(config)
    check_free(output, overwrite)
    source = data.load(config.data, "train")
    anchors = parents.targeted(source)
    code = priors.provide(config, workdir, stages)
    if code:
        return code
    trained = {
        stage: priors.trained(config, workdir, stage)
        for stage in stages
        if stage in priors.OUTPUTS
    }

    def make(indices, stages=stages):
        return samples(config.augment, maker, stages, trained, source, anchors, indices)

    begin(output, making(config, source, trained), overwrite)
    write_set(config, output, make)
    manifest = described(config, source, anchors, maker, trained)
    files.write_text(output / "train.txt", "".join(f"{n}\n" for n in names(config)))
    files.write_json(output / MANIFEST, manifest)
    print(f"{config.augment.count} samples in {output}")
    return quality.run(config, workdir, output, source, make, names(config))


def settings(config):
    """(Composition, stages) of a config, checked before anything is done."""
    stages = tuple(config.augment.stages)
    unknown = set(stages) - set(STAGES)
    if unknown:
        raise ValueError(
            f"unknown augment.stages {sorted(unknown)}; choose from {STAGES}"
        )
    if config.augment.count < 1 or config.augment.batch_size < 1:
        raise ValueError("augment.count and augment.batch_size must be 1 or more")
    if config.data.get("extra"):
        raise ValueError(
            f"data.extra names augmented sets ({config.data.extra}), and the manifest "
            "could not name the real parents of what is made of those: leave it empty"
        )
    block = {k: plain(v) for k, v in config.augment.compose.items()}
    return compose.Composition(**block), tuple(s for s in STAGES if s in stages)


def plain(value):
    """A config's value for a frozen dataclass: lists, which JSON makes, as tuples."""
    return tuple(value) if isinstance(value, list) else value


def names(config):
    """The names of all samples, in order."""
    method, count = config.augment.compose.method, config.augment.count
    return [f"{method}_{index:05d}" for index in range(count)]


# --- the samples ----------------------------------------------------------------------


def samples(block, maker, stages, trained, source, anchors, indices):
    """All stages of the samples `indices`: {stage: (b, side, side, 1) in [0, 1]}.

    The keys are "mosaic", "mask", those of the stages that are run, and "final".
    """
    tiles = [tiles_of(block, maker, source, anchors, index) for index in indices]
    image, mask = (np.stack(part) for part in zip(*tiles, strict=True))
    keys = jax.vmap(jax.random.fold_in, (None, 0))(
        jax.random.key(block.seed), np.asarray(indices)
    )
    compose_keys, degrade_keys = jax.vmap(jax.random.split, out_axes=1)(keys)
    mosaic, mask = compose.compose(compose_keys, image, mask, maker)
    made = {"mosaic": mosaic, "mask": mask, "final": mosaic}
    labels = [f"{index:05d}" for index in indices]
    for stage in stages:
        if stage == "degrade":
            shared = jax.random.key(block.seed)
            changes = dict(block.degrade)
            how = degrade.preset(changes.pop("preset"), **changes)
            image, _ = degrade.degrade(degrade_keys, mosaic, how, mask, shared)
        elif stage == "retarget":
            image = retarget.retarget(made["final"], mosaic, mask, block.border)
        else:
            image = trained[stage].apply(made["final"], labels)
        made[stage] = made["final"] = image
    return {name: np.asarray(value) for name, value in made.items()}


def tiles_of(block, maker, source, anchors, index):
    """The parents' crops of a sample, (p, t, t, 1) each of images and masks."""
    chosen = parents.parents(maker.parents, len(source), index, block.seed, anchors)
    rng = np.random.default_rng([block.seed, 2, index])
    return parents.gather(source, chosen, maker.tile, rng, **block.gather)


# --- the folder -----------------------------------------------------------------------


def check_free(output, overwrite):
    """Refuses a complete set, or a folder of something else, unless overwritten."""
    if (output / MANIFEST).exists() and not overwrite:
        raise FileExistsError(
            f"{output} holds a complete set: name another --output, or replace it by "
            "--overwrite"
        )
    foreign = (output / "images").exists() and not any(
        (output / name).exists() for name in (MANIFEST, MAKING)
    )
    if foreign:
        raise FileExistsError(
            f"{output} holds images that this program has not made: name another "
            "--output"
        )


def making(config, source, trained):
    """What a set depends on: a part of a set made otherwise must not go on.

    What a source says of itself changes with all that decides its samples.
    """
    return {
        "augment": {k: v for k, v in config.augment.to_dict().items() if k in DECIDE},
        "data": {k: config.data[k] for k in priors.TRAINING_PART},
        "source": source.describe(),
        "priors": {name: prior.about for name, prior in trained.items()},
    }


def begin(output, facts, overwrite):
    """Opens the folder: new, or one that the same settings have begun."""
    path = output / MAKING
    old = files.read_json(path) if path.exists() else None
    same = old == files.as_json(facts)
    if overwrite and ((output / MANIFEST).exists() or not same):
        # First what says that the set is whole: a kill must not leave only that.
        for name in (MANIFEST, "train.txt"):
            (output / name).unlink(missing_ok=True)
        for name in ("masks", "images"):
            shutil.rmtree(output / name, ignore_errors=True)
    elif old is not None and not same:
        changed = [k for k in facts if old.get(k) != files.as_json(facts)[k]]
        raise FileExistsError(
            f"{output} was begun with other settings ({', '.join(changed)}): name "
            "another --output, or begin anew by --overwrite"
        )
    files.write_json(path, facts)


def write_set(config, output, make):
    """Makes the samples that are not there, batch by batch.

    A mask is written after its image, so that what has a mask is complete. Batches are
    the same whether or not a run was cut: rounding may depend on a batch's size.
    """
    labels, size = names(config), config.augment.batch_size
    with progress.bar(total=len(labels), unit="image", desc="augment") as bar:
        for first in range(0, len(labels), size):
            indices = list(range(first, min(first + size, len(labels))))
            missing = [
                i
                for i in indices
                if not (output / "masks" / f"{labels[i]}.png").exists()
            ]
            if missing:
                made = make((indices * size)[:size])
                for row, index in enumerate(indices):
                    write_sample(output, labels[index], made, row)
            bar.update(len(indices))


def write_sample(output, name, made, row):
    """One image and its mask, as 8-bit PNG files."""
    image = np.rint(np.clip(made["final"][row, ..., 0], 0, 1) * 255)
    files.write_image(output / "images" / f"{name}.png", image.astype(np.uint8))
    mask = (made["mask"][row, ..., 0] > 0).astype(np.uint8) * 255
    files.write_image(output / "masks" / f"{name}.png", mask)


def described(config, source, anchors, maker, trained):
    """The manifest: how the set came about, and what each sample is made of."""
    block = config.augment
    rows = [
        {
            "name": name,
            "parents": [
                source.names[k]
                for k in parents.parents(
                    maker.parents, len(source), index, block.seed, anchors
                )
            ],
        }
        for index, name in enumerate(names(config))
    ]
    same = {
        name: all(
            prior.about["trained_on"][k] == config.data[k] for k in priors.TRAINING_PART
        )
        for name, prior in trained.items()
    }
    foreign = [name for name, known in same.items() if not known]
    words = "Composed of images of the training part alone. "
    if foreign:
        words += (
            f"What images {' and '.join(foreign)} learnt from is not known: they may "
            "be of the test part."
        )
    elif trained:
        words += "The priors have seen no other."
    return making(config, source, trained) | {
        "words": words,
        "same_training_part": same,
        "samples": rows,
    }
