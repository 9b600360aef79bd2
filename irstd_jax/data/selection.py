"""Some samples of a source, evenly chosen: for a first look, or a quick verdict."""

import dataclasses
from typing import Any

from irstd_jax.data import lists


def some(source, count):
    """At most so many samples of a source, evenly chosen; 0 is all of them.

    Raises ValueError for a negative count.
    """
    if count < 0:
        raise ValueError(f"{count} images are none: give a number, or 0 for all")
    step = -(-len(source) // count) if count else 1
    return source if step == 1 else Some(source, range(0, len(source), step))


@dataclasses.dataclass(frozen=True)
class Some:
    """The samples of a source at some indices."""

    source: Any
    chosen: range

    @property
    def names(self):
        return tuple(self.source.names[i] for i in self.chosen)

    def __len__(self):
        return len(self.chosen)

    def __getitem__(self, index):
        return self.source[self.chosen[index]]

    def describe(self):
        """The facts of the source, and how many of its samples these are."""
        facts = self.source.describe()
        return facts | {
            "part": f"of {len(self.source)} {facts['part']}",
            "count": len(self),
            "hash": lists.fingerprint(self.names),
        }
