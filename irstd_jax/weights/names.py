"""Bringing the names of a state dict to one spelling before a strict conversion."""

import re


def bare(state_dict, *prefixes):
    """Takes off each prefix that all names have, in the order given."""
    for prefix in prefixes:
        if state_dict and all(name.startswith(prefix) for name in state_dict):
            state_dict = {n.removeprefix(prefix): a for n, a in state_dict.items()}
    return state_dict


def renamed(state_dict, rename):
    """{rename(name): array}; raises ValueError where two names become one."""
    origin = {}
    for name in state_dict:
        new = rename(name)
        if new in origin:
            raise ValueError(f"{origin[new]!r} and {name!r} both mean {new!r}")
        origin[new] = name
    return {new: state_dict[name] for new, name in origin.items()}


def substituted(name, rules):
    """The name after re.sub of all (old, new), in their order."""
    for old, new in rules:
        name = re.sub(old, new, name)
    return name


def highest(state_dict, pattern):
    """The largest number that the pattern's group matches in any name; -1 = none."""
    found = (re.search(pattern, name) for name in state_dict)
    return max((int(match[1]) for match in found if match), default=-1)


def kind(path, leaf):
    """The axes (engine.KINDS) of a network made of 2D convolutions and linear maps."""
    if path[-1] != "kernel":
        return "same"
    return {4: "conv", 2: "linear"}[leaf.ndim]
