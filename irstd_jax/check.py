"""The verb check: everything that is wrong with a data set, found in one go.

Problems (missing, damaged or contradictory files and lists; joined sets of which one
learns what the other holds out) make the exit code 1.
Warnings do not: grey masks, which the mask rule settles; a judged part without any
target; near-duplicates across parts, which the published splits have; counts that
differ from the published split; masks that lie beside their targets.
"""

import collections
import concurrent.futures
import contextlib
import os
from typing import NamedTuple

import numpy as np
from scipy import ndimage

from irstd_jax import data
from irstd_jax.data import (
    benchmarks,
    duplicates,
    images,
    lists,
    pairs,
    registration,
    shared,
)

AWAY = 0.1  # px between masks and targets, on average, that are worth a warning


class Row(NamedTuple):
    """What one image and its mask are like; `fault` is set where they can't be read."""

    name: str
    fault: str = ""
    shape: tuple[int, int] = (0, 0)
    mode: str = ""
    areas: tuple[int, ...] = ()
    grey_mask: bool = False
    sums: tuple[float, float, int] = (0.0, 0.0, 0)
    thumbnail: np.ndarray | None = None
    offsets: np.ndarray = registration.NONE


def run(config, workdir=None):
    """Prints the table, the warnings and the problems of each set of `config.data`.

    Nothing is written, so `workdir`, which every verb is given, is not used.

    Returns:
      The exit code: 1 where there is any problem, else 0.
    """
    try:
        members = data.singles(config.data)
    except ValueError as error:
        return refused(error)
    codes = [checked(one, joined=len(members) > 1) for one in members]
    return max(*codes, apart(members))


def refused(error):
    """Prints what keeps a set from being opened; the exit code."""
    print(f"PROBLEM: {error}\nproblems: 1")
    return 1


def apart(members):
    """Prints what sets share that they must not; the exit code."""
    plans = {}
    for one in members:
        if one.name != "synthetic":
            with contextlib.suppress(ValueError):  # told where the set was opened
                plans[one.name] = data.plan(one)
    try:
        shared.refuse(plans)
    except ValueError as error:
        return refused(error)
    return 0


def checked(settings, joined=False):
    """Prints what there is to say of one set, of several or alone; the exit code."""
    try:
        sources, problems = opened(settings, joined)
    except ValueError as error:
        return refused(error)
    rows = dict.fromkeys(data.PARTS, [])
    rows |= {part: survey(source) for part, source in sources.items()}
    problems += faults(rows)
    warnings = published_counts(settings, sources) + repaired(sources) + remarks(rows)
    print(heading(sources))
    print(table(rows))
    print(training_statistics(rows["train"]))
    for kind, sentences in (("warning", warnings), ("PROBLEM", problems)):
        for sentence in sentences:
            print(f"{kind}: {sentence}")
    print(f"problems: {len(problems)}, warnings: {len(warnings)}")
    return 1 if problems else 0


def opened(settings, joined=False):
    """({part: source}, problems), the sources holding all that could be opened.

    Generated scenes that join other sets may lack in some parts.
    """
    if settings.name == "synthetic":
        counted = [part for part in data.PARTS if data.count(settings, part)]
        parts = counted if joined and counted else data.PARTS
        return {part: data.load(settings, part) for part in parts}, []
    plan = data.plan(settings)
    threshold = settings.get("mask_threshold", 127)
    problems, sources = list(plan.problems), {}
    for part in data.PARTS:
        try:
            sources[part] = pairs.unchecked(plan, part, threshold)
        except ValueError:
            # The head of a repairable file is damaged; the survey will name the file.
            bare = plan._replace(repairable=())
            sources[part] = pairs.unchecked(bare, part, threshold)
    return sources, problems


def survey(source):
    """The rows of all samples of a source, decoded by a few threads."""
    workers = min(8, os.cpu_count() or 1)
    with concurrent.futures.ThreadPoolExecutor(workers) as pool:
        return list(pool.map(lambda index: examine(source, index), range(len(source))))


def examine(source, index):
    """The row of one sample."""
    name = source.names[index]
    try:
        sample = source[index]
        mode, levels = file_facts(source, name)
    except ValueError as error:
        return Row(name, fault=str(error))
    image, mask = sample["image"][..., 0], sample["mask"][..., 0]
    labels, _ = ndimage.label(mask, np.ones((3, 3)))
    pixels = image.astype(np.float64)
    return Row(
        name,
        shape=image.shape,
        mode=mode,
        areas=tuple(np.bincount(labels.ravel())[1:].tolist()),
        grey_mask=bool(levels - {0, 255}),
        sums=(pixels.sum(), np.square(pixels).sum(), pixels.size),
        thumbnail=duplicates.thumbnail(image),
        offsets=registration.offsets(image, mask),
    )


def file_facts(source, name):
    """(pixel mode of the image, grey levels of the mask) as the files have them."""
    if not isinstance(source, pairs.Pairs):
        return "generated", set()
    image, mask = source.pairs[name]
    grey, _ = images.read_grey(mask, pairs.called(mask, name))
    counts = np.bincount(np.rint(grey * 255).astype(np.uint8).ravel())
    return images.read_head(image)[2], set(np.flatnonzero(counts).tolist())


def faults(rows):
    """The problems that only decoding shows."""
    found = [row.fault for part in rows.values() for row in part if row.fault]
    return found + without_target(rows, ("train",))


def without_target(rows, parts):
    """A sentence for each of the parts whose masks, all read, hold no target."""
    read = {part: [row for row in rows[part] if not row.fault] for part in parts}
    return [
        pairs.no_target(len(members), part)
        for part, members in read.items()
        if members and not any(row.areas for row in members)
    ]


def remarks(rows):
    """Warnings on masks and on near-copies across parts."""
    found = without_target(rows, ("validation", "test"))
    for part, members in rows.items():
        grey = [row.name for row in members if row.grey_mask]
        if grey:
            found.append(
                f"{len(grey)} {part} masks hold grey values, which the mask rule "
                f"settles: {lists.some(grey)}"
            )
    training = rows["train"] + rows["validation"]
    found += beside(training)
    for part, references, words in (
        ("validation", rows["train"], "training"),
        ("test", training, "training or validation"),
    ):
        copies, count = duplicates.near_copies(rows[part], references)
        if copies:
            shown = [f"{query} of {copy} ({r:.3f})" for query, copy, r in copies]
            found.append(
                f"{len(copies)} of {count} textured {part} images are near-copies of "
                f"{words} images: {lists.some(shown)}"
            )
    return found


def beside(rows):
    """A warning where all masks lie to one side of their targets."""
    offsets = np.concatenate([registration.NONE, *(row.offsets for row in rows)])
    told = registration.shift(offsets)
    if told is None:
        return []
    (y, x), error = told
    # What is less is no more than a resampling may leave, or luck.
    if np.hypot(y, x) < max(AWAY, 5 * error.max()):
        return []
    vertical, horizontal = "below" if y > 0 else "above", "right" if x > 0 else "left"
    return [
        f"masks lie {abs(y):.2f} px {vertical} and {abs(x):.2f} px {horizontal} of the "
        f"light of their targets, on average of {len(offsets)} clear ones of training: "
        "mirrored and turned images (data.augment.flip, quarter_turns, mirror; views) "
        "have them on every side, where no network can foretell them"
    ]


def published_counts(settings, sources):
    """A warning where the lists do not have the counts of the published split."""
    layout = benchmarks.LAYOUTS.get(settings.name)
    if layout is None:
        return []
    counts = layout.splits[settings.split].counts
    here = len(sources["train"]) + len(sources["validation"]), len(sources["test"])
    if counts in (None, here):
        return []
    return [
        f"{here[0]} training and {here[1]} test images can be read; the published "
        f"split {settings.split} has {counts[0]} and {counts[1]}"
    ]


def repaired(sources):
    """A warning for each mask that is scaled down to its image."""
    return [
        f"the mask of {name} ({part}) is larger than its image; it is scaled down"
        for part, source in sources.items()
        for name in source.describe().get("repairs", [])
    ]


def heading(sources):
    """The set, its split and the rules that hold for all parts."""
    facts = next(reversed(sources.values())).describe()
    keys = ("set", "split", "mask_rule", "validation_rule")
    return "\n".join(f"{key}: {facts[key]}" for key in keys if facts.get(key))


def table(rows):
    """The counts of each part as aligned text."""
    columns = {part: column(members) for part, members in rows.items()}
    lines = [["", *columns]]
    for key in columns["train"]:
        lines.append([key, *(str(values[key]) for values in columns.values())])
    widths = [max(map(len, cells)) for cells in zip(*lines, strict=True)]
    return "\n".join("  ".join(map(str.ljust, line, widths)).rstrip() for line in lines)


def column(members):
    """The cells of one part."""
    read = [row for row in members if not row.fault]
    areas = [area for row in read for area in row.areas]
    pixels = sum(row.sums[2] for row in read)
    modes = collections.Counter(row.mode for row in read)
    return {
        "images read": len(read),
        "unreadable": len(members) - len(read),
        "targets": len(areas),
        "images without target": sum(not row.areas for row in read),
        "median target pixels": f"{np.median(areas):g}" if areas else "-",
        "share of target pixels": f"{sum(areas) / pixels:.4%}" if pixels else "-",
        "sizes (w x h)": sizes([row.shape for row in read]),
        "pixel modes": " ".join(f"{mode}:{n}" for mode, n in modes.most_common())
        or "-",
        "grey masks": sum(row.grey_mask for row in read),
    }


def sizes(shapes):
    """One size, or the range of many."""
    if not shapes:
        return "-"
    heights, widths = zip(*shapes, strict=True)
    if len(set(shapes)) == 1:
        return f"{widths[0]}x{heights[0]}"
    span = f"{min(widths)}-{max(widths)} x {min(heights)}-{max(heights)}"
    return f"{span} ({len(set(shapes))})"


def training_statistics(members):
    """Mean and standard deviation of the training pixels, for the normalisation."""
    total, squares, count = np.sum([row.sums for row in members] or [(0, 0, 0)], axis=0)
    if not count:
        return "training pixels: none"
    mean = total / count
    std = np.sqrt(max(squares / count - mean**2, 0))
    return (
        f"training pixels: mean {mean:.5f} std {std:.5f} of 1, "
        f"{255 * mean:.1f} and {255 * std:.1f} of 255"
    )
