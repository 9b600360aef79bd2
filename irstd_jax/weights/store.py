"""Our weights file: safetensors with the flat names of the Flax variables.

Nothing in it is executed; its metadata say which network it is for (the config), and
where it comes from. It is written whole or not at all.
"""

import json
import pathlib

import numpy as np
import safetensors
import safetensors.numpy
from flax import traverse_util

from irstd_jax import files

FORMAT = "irstd_jax weights 1"


def save(path, variables, about, largest=None):
    """Writes {"params", "batch_stats"} and the JSON-able dict `about` to `path`.

    With `largest`, in bytes of arrays, into as many `volumes` as that takes.
    """
    flat = traverse_util.flatten_dict(dict(variables), sep="/")
    parts, size = [{}], 0
    for name, value in flat.items():
        array = np.asarray(value, order="C")
        if largest and parts[-1] and size + array.nbytes > largest:
            parts.append({})
            size = 0
        parts[-1][name] = array
        size += array.nbytes
    metadata = {"format": FORMAT, "about": json.dumps(files.finite(about))}
    if len(parts) > 1:
        metadata["volumes"] = str(len(parts))
    # The first file last: it is there when the weights are whole.
    paths = volumes(path, len(parts))
    for file, arrays in reversed(list(zip(paths, parts, strict=True))):

        def write(aside, arrays=arrays):  # from their own memory, maybe gigabytes
            safetensors.numpy.save_file(arrays, aside, metadata)

        files.write_by(file, write)


def load(path):
    """(variables, about) of a file written by `save`; half precision becomes float32.

    Raises:
      FileNotFoundError: there is none.
      ValueError: the file is damaged or of another kind.
    """
    if not pathlib.Path(path).is_file():
        raise FileNotFoundError(f"no weights file {path}")
    arrays, metadata = read(path)
    if metadata.get("format") != FORMAT:
        raise ValueError(
            f"{path} is not a weights file of irstd_jax; bring published weights with "
            "--mode=convert --input=FILE --output=OUT.safetensors"
        )
    for further in volumes(path, int(metadata.get("volumes", 1)))[1:]:
        if not further.is_file():
            raise FileNotFoundError(
                f"{path} goes on in {further}, which is not there: keep them together"
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
            f"{path} is damaged ({error}); fetch or save it again"
        ) from None
    return {name: single(array) for name, array in arrays.items()}, metadata


def volumes(path, count):
    """The `count` files of weights that were cut: NAME.safetensors, NAME.2.safetensors.

    Shipped files must be small (box.py); the first says how many there are.
    """
    path = pathlib.Path(path)
    more = [path.with_suffix(f".{k}.safetensors") for k in range(2, count + 1)]
    return [path, *more]


def single(array):
    """Parameters are float32 in memory, whatever they are in a file."""
    return array.astype(np.float32) if array.dtype == np.float16 else array
