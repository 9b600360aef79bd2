"""Conversion of PyTorch weights to Flax variables, strict in both directions.

A table has one entry for each Flax array: where it is, what it is called in PyTorch,
and how its axes differ. It is made from the shapes of the Flax network by a function
that names one path, so a network's own file is a list of renamings, not of tensors.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from flax import traverse_util

# Buffers that hold no weights: a counter of batches, the index of a bias table that
# follows from the window size, and the mask of shifted windows that follows from the
# size of the map. They are dropped by name, wherever they are.
IGNORED = ("num_batches_tracked", "relative_position_index", "attn_mask")
PREFIX = "module."  # what torch's DataParallel puts before every name


class Kind(NamedTuple):
    """How the axes of an array differ: from torch to Flax, and back."""

    to_flax: Callable
    to_torch: Callable


KINDS = {
    "same": Kind(lambda a: a, lambda a: a),
    "conv": Kind(lambda a: a.transpose(2, 3, 1, 0), lambda a: a.transpose(3, 2, 0, 1)),
    "linear": Kind(lambda a: a.T, lambda a: a.T),
    "pointwise": Kind(lambda a: a[..., 0].T, lambda a: a.T[..., None]),
    "channel_conv": Kind(lambda a: a[0, 0], lambda a: a[None, None]),
    "spectrum": Kind(
        lambda a: a.transpose(1, 2, 0, 3), lambda a: a.transpose(2, 0, 1, 3)
    ),
    "channels_first": Kind(lambda a: a[:, 0, 0], lambda a: a[:, None, None]),
}


class Entry(NamedTuple):
    """One array: its path in the variables, name and shape in torch, and kind."""

    path: tuple[str, ...]
    name: str
    kind: str
    shape: tuple[int, ...]


def table(variables, torch_name):
    """Entries for all arrays of `variables` (arrays or their shapes).

    `torch_name(path, leaf) -> (name, kind)` gets the path without its collection.
    Raises ValueError where two arrays get one name.
    """
    entries, seen = [], {}
    for path, leaf in traverse_util.flatten_dict(variables).items():
        name, kind = torch_name(path[1:], leaf)
        if name in seen:
            raise ValueError(f"{seen[name]} and {path} are both named {name!r}")
        seen[name] = path
        # A view of one zero: its shape is turned without any memory.
        shape = KINDS[kind].to_torch(np.broadcast_to(np.float32(0), leaf.shape)).shape
        entries.append(Entry(path, name, kind, shape))
    return entries


def convert(entries, state_dict, unused=()):
    """{torch name: array} -> nested dict of float32 arrays, by a table.

    `unused` is how the names of layers begin that a release has and never runs: they
    are dropped. Raises ValueError with all missing, unexpected, misshapen and doubled
    names.
    """
    weights, doubled = clean(state_dict, unused)
    wanted = {entry.name: entry for entry in entries}
    problems = {
        "missing": sorted(set(wanted) - set(weights)),
        "unexpected": sorted(set(weights) - set(wanted)),
        "misshapen": [
            f"{name} {np.shape(weights[name])} instead of {entry.shape}"
            for name, entry in sorted(wanted.items())
            if name in weights and np.shape(weights[name]) != entry.shape
        ],
        "given twice": doubled,
    }
    if any(problems.values()):
        raise ValueError(complaint(problems))
    flat = {}
    for path, name, kind, _ in entries:
        array = KINDS[kind].to_flax(np.asarray(weights[name], np.float32))
        flat[path] = np.ascontiguousarray(array)
    return traverse_util.unflatten_dict(flat)


def invert(entries, variables):
    """Flax variables -> {torch name: array}: the inverse of `convert`."""
    flat = traverse_util.flatten_dict(variables)
    return {
        name: np.ascontiguousarray(KINDS[kind].to_torch(np.asarray(flat[path])))
        for path, name, kind, _ in entries
    }


def part(state_dict, prefix):
    """What a larger system keeps under `prefix`, without it; all if nothing has it."""
    return {
        name.replace(prefix, "", 1): array
        for name, array in state_dict.items()
        if name.removeprefix(PREFIX).startswith(prefix)
    } or state_dict


def clean(state_dict, unused=()):
    """Weights without prefix and what is ignored, and the names given twice."""
    weights, doubled = {}, []
    for name, array in state_dict.items():
        name = name.removeprefix(PREFIX)
        if name.rsplit(".", 1)[-1] in IGNORED or name.startswith(tuple(unused)):
            continue
        if name in weights:
            doubled.append(name)
        weights[name] = array
    return weights, doubled


def complaint(problems):
    """One line a kind of problem, then its names."""
    lines = ["these weights do not fit the network:"]
    for problem, names in problems.items():
        if names:
            lines.append(f"{len(names)} {problem}: {', '.join(names)}")
    return "\n".join(lines)
