"""Judging a network that makes images: its task's scores on crops of a part.

The crops are those of training without augmentation, each cut at a place that its name
alone decides, so that two judgements see the same pixels.
"""

import dataclasses
import zlib

import jax
import numpy as np

from irstd_jax import inference
from irstd_jax.data import pipeline

PICTURES = 6


def scorer(task):
    """`score(variables, batch, keys)`: the task's, compiled once a shape."""
    titles = []

    @jax.jit
    def run(variables, batch, keys):
        scores, pictures = task.score(variables, batch, keys)
        titles[:] = pictures  # a compiled function would sort them
        return scores, tuple(pictures.values())

    def score(variables, batch, keys):
        scores, pictures = jax.tree.map(np.asarray, run(variables, batch, keys))
        return scores, dict(zip(titles, pictures, strict=True))

    return score


def score(config, run, variables, source):
    """Scores the images of a source.

    Args:
      config: with the blocks data and evaluation.
      run: of `scorer`.
      variables: of the task.
      source: of samples.

    Returns:
      ({score: mean over the images}, {score: its deviation}, rows of a contact sheet).
    """
    prepare = dataclasses.replace(pipeline.preparation(config.data), augment=None)
    size, seed = config.evaluation.batch_size, config.evaluation.seed
    values, rows = {}, []
    for first in range(0, len(source), size):
        last = min(first + size, len(source))
        samples = [source[i] for i in range(first, last)]
        names = [sample["name"] for sample in samples]
        crops = [cut(prepare, sample) for sample in samples]
        # A rest is filled up with repeats, so that one program serves all batches.
        filled = {k: np.stack([c[k] for c in (crops * size)[:size]]) for k in crops[0]}
        keys = inference.image_keys((names * size)[:size], seed)
        scores, pictures = run(variables, filled, keys)
        for name, each in scores.items():
            values.setdefault(name, []).extend(each[: len(samples)])
        shown = range(min(len(samples), PICTURES - len(rows)))
        rows += [row(names[i], {k: v[i] for k, v in pictures.items()}) for i in shown]
    means = {name: float(np.mean(each)) for name, each in values.items()}
    spread = {name: float(np.std(each)) for name, each in values.items()}
    return means, spread, rows


def cut(prepare, sample):
    """The network's input of a sample: "image" (h, w, c) and "mask" (h, w, 1)."""
    rng = np.random.default_rng(zlib.crc32(sample["name"].encode()))
    return prepare.training(sample, rng)


def row(name, pictures):
    """A row of a contact sheet from arrays (h, w, 1 or 3) in [0, 1]."""
    shown = {title: np.clip(x, 0, 1).mean(-1) for title, x in pictures.items()}
    return {"name": name} | shown
