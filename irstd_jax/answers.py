"""Answers of a predictor that outlive a killed judgement, so that it goes on.

    with answers.kept(predict, workdir, recipe, variables) as predict:
        ...  # judge by it, and write the report

A judgement of hours (IPI, or a hundred steps an image on a CPU) writes its report at
the end. Until then each answered batch is a file, named by all that it depends on:

    workdir / FOLDER / D(recipe, variables) / D(images, names, seed).npz    D a digest

so whatever else was asked, or comes after a change of recipe, weights or images, is
asked anew. What is answered within a second is not kept: there is little to lose.
"""

import contextlib
import hashlib
import json
import pathlib
import shutil
import time

import jax
import numpy as np

from irstd_jax import files

FOLDER = ".irstd_jax_answers"  # it is removed: no name that a user would choose
LEAST = 1.0  # seconds


@contextlib.contextmanager
def kept(predict, workdir, recipe, variables, least=LEAST):
    """A context of `predict`, but what took it `least` seconds or more is read again.

    What is kept is removed when the context ends well, and stays after an error.

    Args:
      predict: (images (b, h, w, c), names, seed) -> dict of arrays, a pure function.
      workdir: below which answers lie, one .npz a batch; those of others are removed.
      recipe: JSON-able, all of the config that answers depend on.
      variables: the tree of arrays that they depend on.
    """
    folder = pathlib.Path(workdir) / FOLDER
    own = folder / _digest(json.dumps(recipe, sort_keys=True), variables)
    for other in set(folder.glob("*")) - {own}:
        shutil.rmtree(other)

    def answer(images, names, seed):
        path = own / f"{_digest(json.dumps([*names, seed]), images)}.npz"
        if path.exists():
            with np.load(path, allow_pickle=False) as arrays:
                return dict(arrays)
        begun = time.perf_counter()
        output = predict(images, names, seed)
        if time.perf_counter() - begun >= least:
            files.write_by(path, lambda aside: _save(aside, output))
        return output

    yield answer
    shutil.rmtree(folder, ignore_errors=True)


def _save(path, arrays):
    with path.open("wb") as file:
        np.savez(file, **arrays)


def _digest(text, tree):
    """Of a text, and of the paths, types, shapes and bytes of arrays."""
    found = hashlib.blake2b(text.encode(), digest_size=16)
    for path, leaf in jax.tree.leaves_with_path(tree):
        array = np.ascontiguousarray(leaf)
        about = (jax.tree_util.keystr(path), array.dtype.str, array.shape)
        found.update(json.dumps(about).encode())
        found.update(array.tobytes())
    return found.hexdigest()
