"""The weights that come with the library: small files beside their model cards.

NAME.safetensors, at most 10 MB, parameters in half precision (with NAME.2.safetensors
where it takes more), and NAME.md, which says what it learnt from, how, how long, and
what it reaches under which protocol.
"""

import os
import pathlib

import numpy as np
from flax import traverse_util

from irstd_jax.weights import store

BOX = pathlib.Path(__file__).parent / "box"
LARGEST = 10_000_000  # bytes of a file
DEFAULT = "general"  # what predict uses that is told nothing


def names():
    """The shipped weights, sorted."""
    stems = (path.stem for path in BOX.glob("*.safetensors"))
    return sorted(stem for stem in stems if "." not in stem)


def default():
    """The name of the weights that predict uses when told nothing, "" without any."""
    return DEFAULT if DEFAULT in names() else ""


def locate(name):
    """The path of shipped weights, or of a file if that is what `name` is.

    Raises FileNotFoundError, which lists the shipped names, where it is neither.
    """
    path = pathlib.Path(name)
    if path.is_file():
        return path
    if name in names():
        return BOX / f"{name}.safetensors"
    raise FileNotFoundError(
        f"no weights {name!r}: neither a file nor one of those that come with the "
        f"library, {', '.join(names()) or 'of which there are none'}"
    )


def pack(source, destination):
    """Copies what predicts of a weights file, in half precision; statistics stay whole.

    Of the config that it was trained by, paths keep their last name alone.

    What is larger than `LARGEST` becomes several files (store.save).

    Raises ValueError where a parameter does not fit into half precision.
    """
    variables, about = store.load(source)
    flat = traverse_util.flatten_dict(variables)
    # A teacher that a network learnt from is not read again.
    flat = {path: leaf for path, leaf in flat.items() if path[0] != "teacher"}
    for path, leaf in flat.items():
        if "batch_stats" in path:
            continue
        if not np.abs(leaf).max() <= np.finfo(np.float16).max:
            raise ValueError(
                f"{source}: {'/'.join(path)} is too large for half precision"
            )
        flat[path] = np.asarray(leaf, np.float16)
    about = about | {"config": without_paths(about["config"])}
    # Room for the names and the config within what a file may have.
    store.save(
        destination, traverse_util.unflatten_dict(flat), about, int(0.98 * LARGEST)
    )


def without_paths(config):
    """A nested config whose texts hold the last name of a path, not where it lay.

    Some texts hold several paths, by commas.
    """
    if isinstance(config, dict):
        return {name: without_paths(value) for name, value in config.items()}
    if isinstance(config, list | tuple):
        return [without_paths(value) for value in config]
    if not isinstance(config, str):
        return config
    parts = (
        pathlib.PurePath(p).name if os.path.isabs(p) else p for p in config.split(",")
    )
    return ",".join(parts)
