"""Our weights file: safetensors with the flat names of the Flax variables.

Nothing in it is executed; its metadata say which network it is for (the config), and
where it comes from. It is written whole or not at all.
"""

import hashlib
import json
import math
import pathlib

import numpy as np
import safetensors
import safetensors.numpy
from flax import traverse_util

from irstd_jax import files

FORMAT = "irstd_jax weights 1"
CONVERT = "--mode=convert --input=FILE --output=OUT.safetensors"


def save(path, variables, about, largest=None):
    """Writes {"params", "batch_stats"} and the JSON-able dict `about` to `path`.

    With `largest`, in bytes of arrays, into as many volumes as that takes:
    NAME.safetensors, which holds the digests of the others, NAME.2.safetensors, ...
    """
    flat = traverse_util.flatten_dict(dict(variables), sep="/")
    arrays = {name: np.asarray(value, order="C") for name, value in flat.items()}
    first, *others = shared_out(arrays, largest or math.inf)
    metadata = {"format": FORMAT, "about": json.dumps(files.finite(about))}
    if others:
        digests = []
        for number, part in enumerate(others, 2):
            write(volume(path, number), part, {"format": FORMAT})
            digests.append(digest(volume(path, number)))
        metadata["volumes"] = json.dumps(digests)
    # It comes last: where it is, the weights are whole.
    write(path, first, metadata)


def shared_out(arrays, largest):
    """[{name: array}], each of at most `largest` bytes or of one array, in order."""
    parts, size = [{}], 0
    for name, array in arrays.items():
        size += array.nbytes
        if parts[-1] and size > largest:
            parts.append({})
            size = array.nbytes
        parts[-1][name] = array
    return parts


def write(path, arrays, metadata):
    """One safetensors file, from the arrays' own memory, which may be gigabytes."""
    save_file = safetensors.numpy.save_file
    files.write_by(path, lambda aside: save_file(arrays, aside, metadata))


def load(path):
    """(variables, about) of a file written by `save`; half precision becomes float32.

    Raises:
      FileNotFoundError: there is none.
      ValueError: the file is damaged or of another kind, or a volume is missing.
    """
    if not pathlib.Path(path).is_file():
        raise FileNotFoundError(f"no weights file {path}")
    arrays, metadata = read(path)
    if metadata.get("format") != FORMAT:
        raise ValueError(
            f"{path} is not a weights file of irstd_jax: bring published weights by "
            f"{CONVERT}"
        )
    for number, known in enumerate(json.loads(metadata.get("volumes", "[]")), 2):
        further = volume(path, number)
        if not further.is_file() or digest(further) != known:
            raise ValueError(
                f"{path} goes on in {further}, which is not there or of other weights: "
                "fetch both again, and keep them together"
            )
        arrays |= read(further)[0]
    variables = traverse_util.unflatten_dict(arrays, sep="/")
    return {"batch_stats": {}} | variables, json.loads(metadata["about"])


def read(path):
    """({flat name: array}, metadata) of one safetensors file."""
    try:
        with safetensors.safe_open(path, "numpy") as file:
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            metadata = file.metadata() or {}
    except safetensors.SafetensorError as error:
        raise ValueError(
            f"{path} is damaged ({error}) or no safetensors file: fetch or save it "
            f"again, or, if it is of PyTorch, bring it by {CONVERT}"
        ) from None
    return {name: single(array) for name, array in arrays.items()}, metadata


def volume(path, number):
    """Where volume 2, 3, ... of the weights at `path` lies."""
    return pathlib.Path(path).with_suffix(f".{number}.safetensors")


def digest(path):
    """SHA-256 of a file; of a first volume it stands for all of them."""
    with pathlib.Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def single(array):
    """Parameters are float32 in memory, whatever they are in a file."""
    return array.astype(np.float32) if array.dtype == np.float16 else array
