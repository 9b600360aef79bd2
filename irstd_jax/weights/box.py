"""The weights that come with the library: small files beside their model cards.

NAME.safetensors, at most 10 MB, parameters in half precision, and NAME.md, which says
what it learnt from, how, how long, and what it reaches under which protocol.
"""

import pathlib

import jax
import numpy as np

from irstd_jax.weights import store

BOX = pathlib.Path(__file__).parent / "box"
LARGEST = 10_000_000  # bytes of a file


def names():
    """The shipped weights, sorted."""
    return sorted(path.stem for path in BOX.glob("*.safetensors"))


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

    Raises ValueError where it would be larger than `LARGEST`, or a parameter does not
    fit into half precision.
    """
    variables, about = store.load(source)
    leaves = jax.tree.leaves(variables["params"])
    if not max(np.abs(leaf).max() for leaf in leaves) <= np.finfo(np.float16).max:
        raise ValueError(f"{source}: a parameter is too large for half precision")
    half = jax.tree.map(lambda x: np.asarray(x, np.float16), variables["params"])
    size = sum(leaf.nbytes for leaf in jax.tree.leaves(half))
    if size > LARGEST:
        raise ValueError(
            f"{source}: {size} bytes in half precision, and shipped files have at most "
            f"{LARGEST}"
        )
    # A teacher that a network learnt from is not read again.
    store.save(
        destination,
        {"params": half, "batch_stats": variables["batch_stats"]},
        about,
    )
