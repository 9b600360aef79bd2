"""Augmented sets as training data: the folders that `data.extra` names.

An augmented set is a folder with images/, masks/, train.txt and a manifest.json in
which {"samples": [{"name": ..., "parents": [names of real images]}, ...]}. A set made
of images that are held out here, from the test or the validation part, is refused.

The published loader brings the longer side of every image to one range. Real images of
256 px and mosaics of 512 px then differ in scale, and augmented targets are half as
large as real ones: that is `scale="released"`. The default keeps both at native scale.
"""

import dataclasses
import json
import pathlib
from typing import Any

import numpy as np
from absl import logging

from irstd_jax.data import folder, lists, mixed, pairs, transforms

RELEASED = 0.5  # 256 px real images against mosaics of 2 x 2 of them
MANIFEST = "manifest.json"
PREFIX = "extra"  # of the names, then the number of the folder


@dataclasses.dataclass(frozen=True)
class Extra:
    """An augmented set as a source: names under a prefix, one scale."""

    source: Any
    prefix: str
    scale: float
    facts: dict[str, Any]

    def __len__(self):
        return len(self.source)

    def __getitem__(self, index):
        sample = self.source[index]
        if self.scale != 1:
            # One factor: nothing is left to chance, and no target is lost.
            rng = np.random.default_rng(0)
            sample = transforms.scale(sample, rng, self.scale, self.scale)
        return sample | {"name": self.prefix + sample["name"]}

    @property
    def names(self):
        return tuple(self.prefix + name for name in self.source.names)

    def describe(self):
        return {**self.source.describe(), **self.facts, "scale": self.scale}


def join_real(real, settings, held_out):
    """The real training source joined with the sets that `settings` names, if any.

    Args:
      real: the training source, from which validation was cut already.
      settings: the data block; of it `extra` (a folder, several by commas or as a
        list; "" is none), `extra_share` (0), `extra_scale` (1.0, or "released") and
        `mask_threshold` (127).
      held_out: () -> {part: names} of the parts that must not come in by the extras.
    """
    roots = folders(settings.get("extra"))
    if not roots:
        return real
    factor = scale_of(settings.get("extra_scale", 1.0))
    forbidden = held_out()
    threshold = settings.get("mask_threshold", 127)
    extras = [
        extra(root, f"{PREFIX}{k}:", factor, forbidden, threshold)
        for k, root in enumerate(roots, 1)
    ]
    return mixed.join(real, extras, float(settings.get("extra_share", 0.0) or 0.0))


def folders(value):
    """The folders of `data.extra`: a sequence, or a text with commas between them."""
    parts = (value or "").split(",") if isinstance(value or "", str) else value
    return [pathlib.Path(part.strip()).expanduser() for part in parts if part.strip()]


def scale_of(value):
    """The factor of `data.extra_scale`."""
    if value == "released":
        return RELEASED
    try:
        factor = float(value)
    except ValueError:
        factor = 0.0
    if not 0 < factor < np.inf:
        raise ValueError(
            f"data.extra_scale is {value!r}; give a factor above 0, or 'released' for "
            f"the {RELEASED:g} of the published loader"
        )
    return factor


def extra(root, prefix, factor, held_out, threshold=127):
    """The `Extra` of an augmented set's folder; refuses one that leaks."""
    for name in ("images", "masks", "train.txt"):
        if not (root / name).exists():
            raise ValueError(
                f"data.extra names {root}, but there is no {root / name}: make the set "
                "by --mode=augment, or name another folder"
            )
    parts, problems = folder.read_lists(root, {"train": ("train.txt",)})
    plan = folder.arrange(
        title=f"augmented {root.name}",
        split="lists",
        image_folder=root / "images",
        mask_folder=root / "masks",
        parts=parts,
        share=0.0,
        problems=problems,
    )
    source = pairs.open_part(plan, "train", threshold)
    return Extra(source, prefix, factor, lineage(root, source.names, held_out))


def lineage(root, names, held_out):
    """What the manifest says of the parents of these samples, for `describe`.

    Raises:
      ValueError: a parent is in a held-out part, or the manifest cannot be read.
    """
    path = root / MANIFEST
    if not path.is_file():
        logging.warning(
            "%s has no %s: whether its samples hold test images cannot be told",
            *(root, MANIFEST),
        )
        return {"parents": None}
    parents = read_parents(path)
    unknown = set(names) - parents.keys()
    if unknown:
        raise ValueError(
            f"{path} says nothing of {len(unknown)} samples of train.txt: "
            f"{lists.some(sorted(unknown))}; make the set again"
        )
    used = {parent for name in names for parent in parents[name]}
    for part, members in held_out.items():
        leaked = sorted(used & set(members))
        if leaked:
            raise ValueError(
                f"{path}: {len(leaked)} of the {len(used)} parents are in the {part} "
                f"part: {lists.some(leaked)}. They would spoil its figures: make "
                "the set from this data set's training part, by the same data.split "
                "and data.validation_share"
            )
    return {"parents": len(used)}


def read_parents(path):
    """{sample name: (parents, ...)} of a manifest."""
    try:
        samples = json.loads(path.read_text(encoding="utf-8"))["samples"]
        found = {row["name"]: row["parents"] for row in samples}
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"cannot read {path}: {error!r}; it must hold "
            '{"samples": [{"name": ..., "parents": [...]}, ...]}; make the set again'
        ) from error
    for name, parents in found.items():
        whole = isinstance(parents, list) and all(isinstance(p, str) for p in parents)
        if not whole:
            raise ValueError(f"{path}: the parents of {name!r} are not a list of names")
    return found
