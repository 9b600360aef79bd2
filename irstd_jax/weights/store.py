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


def save(path, variables, about):
    """Writes {"params", "batch_stats"} and the JSON-able dict `about` to `path`."""
    flat = traverse_util.flatten_dict(dict(variables), sep="/")
    arrays = {name: np.asarray(value, order="C") for name, value in flat.items()}
    metadata = {"format": FORMAT, "about": json.dumps(files.finite(about))}

    def write(aside):  # from the arrays' own memory, which may be gigabytes
        safetensors.numpy.save_file(arrays, aside, metadata)

    files.write_by(path, write)


def load(path):
    """(variables, about) of a file written by `save`; half precision becomes float32.

    Raises:
      FileNotFoundError: there is none.
      ValueError: the file is damaged or of another kind.
    """
    if not pathlib.Path(path).is_file():
        raise FileNotFoundError(f"no weights file {path}")
    try:
        with safetensors.safe_open(path, "numpy") as file:
            metadata = file.metadata() or {}
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            arrays = {name: single(array) for name, array in arrays.items()}
    except safetensors.SafetensorError as error:
        raise ValueError(
            f"{path} is damaged ({error}); fetch or save it again"
        ) from None
    if metadata.get("format") != FORMAT:
        raise ValueError(
            f"{path} is not a weights file of irstd_jax; bring published weights with "
            "--mode=convert --input=FILE --output=OUT.safetensors"
        )
    variables = traverse_util.unflatten_dict(arrays, sep="/")
    return {"batch_stats": {}} | variables, json.loads(metadata["about"])


def single(array):
    """Parameters are float32 in memory, whatever they are in a file."""
    return array.astype(np.float32) if array.dtype == np.float16 else array
