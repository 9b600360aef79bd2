"""Images that joined sets share: what the one teaches must not judge the other.

No pixel is decoded. Two images are the same if their files have the same bytes, which
is asked of files of one size alone; and if they have one name in two sets of a family:
SIRST-v2 holds NUAA-SIRST's images under their names, and may have saved them anew.
"""

import collections
import hashlib
import itertools
import os
import pathlib

from irstd_jax.data import lists

FAMILIES = ({"nuaa_sirst", "sirst_v2"},)


def refuse(plans):
    """Refuses sets to be joined of which one holds out what another learns from.

    Args:
      plans: {set: `pairs.Plan`}.

    Raises ValueError, which names some of the images.
    """
    for learnt, judged in itertools.permutations(plans, 2):
        one, other = plans[learnt], plans[judged]
        training = files(one, "train")
        for part in ("test", "validation"):
            held = files(other, part)
            found = same_bytes(training, held)
            if any({learnt, judged} <= family for family in FAMILIES):
                found |= {name: name for name in training.keys() & held.keys()}
            if found:
                told = [f"{name} as {found[name]}" for name in sorted(found)]
                raise ValueError(
                    f"{len(found)} {part} images of {other.title} ({other.split}) are "
                    f"training images of {one.title} ({one.split}), which would spoil "
                    f"the figures: {lists.some(told)}; leave one of the sets out of "
                    "data.name, or choose splits that keep these images apart"
                )


def kin(one, other):
    """Whether two sets are one, or of a family."""
    return one == other or any({one, other} <= family for family in FAMILIES)


def files(plan, part):
    """{name: the image's path or bytes} of a part, of what is there."""
    return {n: plan.pairs[n][0] for n in plan.parts[part] if n in plan.pairs}


def same_bytes(one, other):
    """{name in `other`: name in `one`} of files (path or bytes) that are the same."""
    groups = [by_size(one), by_size(other)]
    sizes = groups[0].keys() & groups[1].keys()
    known, asked = (
        {name: digest(files[name]) for size in sizes for name in group[size]}
        for files, group in zip((one, other), groups, strict=True)
    )
    names = {value: name for name, value in known.items()}
    return {name: names[value] for name, value in asked.items() if value in names}


def by_size(files):
    """{bytes: names} of files."""
    groups = collections.defaultdict(list)
    for name, file in files.items():
        memory = isinstance(file, bytes)
        groups[len(file) if memory else os.path.getsize(file)].append(name)
    return groups


def digest(file):
    data = file if isinstance(file, bytes) else pathlib.Path(file).read_bytes()
    return hashlib.sha256(data).digest()
