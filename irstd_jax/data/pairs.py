"""Images with their masks: what a set holds, what is wrong with it, how it is read."""

import dataclasses
import os
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from absl import logging

from irstd_jax.data import images, lists

PARTS = ("train", "validation", "test")
REMEDIES = {
    "train": "list names in train.txt, or choose a split that has a training part",
    "validation": "set --config.data.validation_share above 0, or write a val.txt",
    "test": "list names in test.txt, or choose a split that has a test part",
}


class Plan(NamedTuple):
    """A data set as it was found, before any pixel is read.

    Attributes:
      title: the set's published name.
      split: which split of it.
      pairs: name -> (image, mask), each a path or the bytes of a file.
      parts: part -> names; "validation" is cut from "train" already.
      validation_rule: how the validation part was cut.
      problems: one sentence each, naming the file and the remedy.
      repairable: names whose mask may be scaled down to the image.
    """

    title: str
    split: str
    pairs: Mapping[str, tuple[Any, Any]]
    parts: dict[str, tuple[str, ...]]
    validation_rule: str
    problems: tuple[str, ...] = ()
    repairable: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Pairs:
    """A source of samples, each decoded when it is asked for; safe between threads."""

    names: tuple[str, ...]
    pairs: Mapping[str, tuple[Any, Any]]
    threshold: int
    repairs: tuple[str, ...]
    facts: dict[str, Any]

    def __len__(self):
        return len(self.names)

    def __getitem__(self, index):
        name = self.names[index]
        return {"name": name, **self.read(name)}

    def read(self, name):
        """Image and mask of a name; a mask of another size is an error or repaired."""
        image, mask = self.pairs[name]
        pixels = images.read_image(image, called(image, name))
        target = images.read_mask(mask, self.threshold, called(mask, name))
        if target.shape != pixels.shape:
            if name not in self.repairs:
                raise ValueError(
                    f"the mask {called(mask, name)} is {size(target)} and its image "
                    f"{called(image, name)} is {size(pixels)}: give the mask the size "
                    "of its image"
                )
            target = nearest(target, pixels.shape[:2])
        return {"image": pixels, "mask": target}

    def describe(self):
        """Which images these are and by which rules; a mapping that JSON can hold."""
        return {**self.facts, "repairs": list(self.repairs)}


def open_part(plan, part, threshold=127):
    """The source of one part of a plan.

    Raises:
      ValueError: the set has problems, the part is empty, or training has no target.
        Without any target in another part there is a warning.
    """
    refuse_problems(plan)
    if not plan.parts[part]:
        raise ValueError(
            f"the {part} part of {plan.title} ({plan.split}) is empty: {REMEDIES[part]}"
        )
    source = unchecked(plan, part, threshold)
    require_target(source, plan, part)
    return source


def refuse_problems(plan):
    """Raises the first problem of a plan, and says how many more there are."""
    if plan.problems:
        more = len(plan.problems) - 1
        rest = f" (and {more} more problems: --mode=check lists them)" if more else ""
        raise ValueError(f"{plan.title}: {plan.problems[0]}{rest}")


def unchecked(plan, part, threshold):
    """The source of the names that have both files, whatever else is wrong."""
    names = tuple(name for name in plan.parts[part] if name in plan.pairs)
    facts = {
        "set": plan.title,
        "split": plan.split,
        "part": part,
        "count": len(names),
        "hash": lists.fingerprint(names),
        "mask_rule": f"grey > {threshold} of 255",
        "validation_rule": plan.validation_rule,
    }
    return Pairs(names, plan.pairs, threshold, repairs(plan, names), facts)


def repairs(plan, names):
    """The repairable names whose mask is a larger picture of the image's shape."""
    found = []
    for name in sorted(set(plan.repairable) & set(names)):
        image, mask = plan.pairs[name]
        height, width, _ = images.read_head(image, called(image, name))
        tall, wide, _ = images.read_head(mask, called(mask, name))
        same_shape = abs(tall * width - wide * height) <= 0.01 * wide * height
        if tall > height and wide > width and same_shape:
            found.append(name)
            logging.warning(
                "%s: the mask of %s is %dx%d for an image of %dx%d; it is scaled down "
                "by nearest neighbour, as the set's later release corrects it",
                *(plan.title, name, wide, tall, width, height),
            )
    return tuple(found)


def require_target(source, plan, part):
    """Refuses a training part without any target, and warns of another.

    Mostly one mask is read to know.
    """
    for name in source.names:
        mask = source.pairs[name][1]
        if images.read_mask(mask, source.threshold, called(mask, name)).any():
            return
    rule = f" by the rule grey > {source.threshold}"
    told = no_target(len(source), part, f" of {plan.title} ({plan.split})", rule)
    if part == "train":
        raise ValueError(told)
    logging.warning("%s", told)


def no_target(count, part, of="", rule=""):
    """That none of the masks of a part has a target, and the remedy."""
    kind = "training" if part == "train" else part
    return (
        f"none of the {count} {kind} masks{of} has a target{rule}: check the masks, or "
        "set --config.data.mask_threshold"
    )


def called(file, name):
    """How errors call a file: by its path, or by the sample's name."""
    return str(file) if isinstance(file, str | os.PathLike) else repr(name)


def size(array):
    """ "WIDTHxHEIGHT" of an array (h, w, c)."""
    return f"{array.shape[1]}x{array.shape[0]}"


def nearest(mask, shape):
    """The mask (h, w, 1) at another (height, width): the pixel under each centre."""
    h, w, _ = mask.shape
    height, width = shape
    # In integers, so that a centre between two pixels does not depend on rounding.
    rows = (2 * np.arange(height) + 1) * h // (2 * height)
    columns = (2 * np.arange(width) + 1) * w // (2 * width)
    return mask[rows[:, None], columns]
