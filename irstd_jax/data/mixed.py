"""Several sources as one: real and augmented training samples, and several real sets.

By list, as released: the augmented samples are appended, each is drawn once an epoch.
By ratio: `share` of all draws are augmented; the kind that there is too little of is
repeated, evenly, so that an epoch still holds every sample. Which sample is drawn where
is one table made in advance: chance comes with the shuffling of the pipeline alone.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from irstd_jax.data import lists

BY_LIST = "by list: every sample once"


@dataclasses.dataclass(frozen=True)
class Mixed:
    """Several sources as one: entry i is sample `table[i][1]` of part `table[i][0]`."""

    parts: Sequence[Any]
    table: np.ndarray
    names: tuple[str, ...]
    rule: str

    def __len__(self):
        return len(self.table)

    def __getitem__(self, index):
        part, member = self.table[index]
        return self.parts[part][int(member)] | {"name": self.names[index]}

    def describe(self):
        """The facts of the whole, and under "parts" those of each source."""
        parts = [part.describe() for part in self.parts]
        draws = np.bincount(self.table[:, 0], minlength=len(parts)).tolist()
        return {
            **{key: parts[0][key] for key in ("split", "part", "mask_rule")},
            "repairs": sum((part["repairs"] for part in parts), []),
            "set": " + ".join(part["set"] for part in parts),
            "count": len(self),
            "hash": lists.fingerprint(self.names),
            "mixing": self.rule,
            "parts": [
                part | {"draws": n} for part, n in zip(parts, draws, strict=True)
            ],
        }


def union(sources):
    """Real sets {set: source} as one source, each sample once, named "set:sample"."""
    parts = list(sources.values())
    names = sum((prefixed(key, part.names) for key, part in sources.items()), ())
    return Mixed(parts, entries(parts, first=0), names, BY_LIST)


def prefixed(key, names):
    """Names of a set's samples where there are several sets."""
    return tuple(f"{key}:{name}" for name in names)


def join(real, extras, share=0.0):
    """Real samples and those of augmented sources, by list (share 0) or by ratio.

    share: of the draws of an epoch that are augmented, to the nearest draw; 1 leaves
    the real samples out.
    """
    if not 0 <= share <= 1:
        raise ValueError(
            f"data.extra_share is {share}; it is the share of the draws that are "
            "augmented, from 0 (each sample once, by list) to 1"
        )
    pool = entries(extras, first=1)
    own = entries([real], first=0)
    rule = BY_LIST
    if share:
        own, pool = repeated(own, pool, share)
        rule = f"by ratio: {share:g} of the draws are augmented"
    table = np.concatenate([own, pool])
    parts = [real, *extras]
    return Mixed(parts, table, draw_names(parts, table), rule)


def entries(sources, first):
    """(n, 2) rows (part, member) of all samples of the sources."""
    rows = [
        np.stack([np.full(len(source), k), np.arange(len(source))], -1)
        for k, source in enumerate(sources, first)
    ]
    return np.concatenate(rows)


def repeated(own, pool, share):
    """Both tables, the one that is too short for the share made longer."""
    if share == 1:
        return own[:0], pool
    wanted = len(own) * share / (1 - share)
    if wanted >= len(pool):
        return own, spread(pool, round(wanted))
    return spread(own, round(len(pool) * (1 - share) / share)), pool


def spread(table, count):
    """`count` rows of a shorter table, each as often as the others or once more."""
    return table[np.arange(count) * len(table) // count]


def draw_names(parts, table):
    """A name for each draw: the sample's, with :2, :3, ... where it is drawn again.

    No bare name holds a colon, and none is a set's: so all stay different.
    """
    names, seen = [], {}
    all_names = [part.names for part in parts]
    for part, member in table:
        name = all_names[part][member]
        seen[name] = seen.get(name, 0) + 1
        names.append(name if seen[name] == 1 else f"{name}:{seen[name]}")
    return tuple(names)
