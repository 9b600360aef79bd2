"""Lists of names and the fixed rules that cut them: no seed, no order, no chance.

A name's place in a cut is the SHA-256 of the name under a salt. So a cut depends on the
names alone: neither on their order in a file nor on the machine.
"""

import hashlib
import pathlib

from irstd_jax.data.images import SUFFIXES


def read_list(path):
    """(names, problems) of a list file with one bare image name a line.

    Windows line ends, a byte-order mark, blank lines, a missing last line end and image
    suffixes are all fine. Names that could leave the image folder, and names that stand
    there twice, are problems; they are left out of the names.
    """
    try:
        lines = pathlib.Path(path).read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError:
        return (), [f"the list {path} is not UTF-8 text: save it as UTF-8"]
    names, problems = [], []
    for number, line in enumerate(lines, 1):
        name = stem(line.strip())
        if not name:
            continue
        where = f"{path} line {number}"
        if not is_bare(name):
            problems.append(
                f"{where}: {line.strip()!r} is no bare image name: remove folders, "
                "'..' and drive letters"
            )
        elif name in names:
            problems.append(f"{where}: {name!r} stands there twice: remove one")
        else:
            names.append(name)
    return tuple(names), problems


def stem(name):
    """The name without an image suffix; other dots are part of the name."""
    base, dot, suffix = name.rpartition(".")
    return base if dot and f".{suffix.lower()}" in SUFFIXES else name


def is_bare(name):
    """True for a name that cannot point out of the folder of images."""
    return not (set('/\\:"\0') & set(name)) and name not in (".", "..")


def by_hash(names, salt):
    """The names in the order of the SHA-256 of "salt/name"."""
    return sorted(
        names, key=lambda name: hashlib.sha256(f"{salt}/{name}".encode()).digest()
    )


def random_80_20(names):
    """(train, test): the first fifth, rounded down, by hash under "80_20" is the test.

    1327 names give 1062 and 265, the counts of the NUDT-SIRST split that was used in
    publications but never published.
    """
    ordered = by_hash(names, "80_20")
    fifth = len(ordered) // 5
    return tuple(sorted(ordered[fifth:])), tuple(sorted(ordered[:fifth]))


def cut_validation(names, share):
    """(train, validation): `share` of the names by hash under "validation"."""
    if not 0 <= share < 1:
        raise ValueError(
            f"data.validation_share is {share}; it is the fraction that is cut from "
            "training: choose from 0 to below 1"
        )
    count = round(share * len(names))
    if share > 0 and len(names) > 1:
        count = min(max(count, 1), len(names) - 1)
    ordered = by_hash(names, "validation")
    return tuple(sorted(ordered[count:])), tuple(sorted(ordered[:count]))


def fingerprint(names):
    """The SHA-256 of the sorted names, one a line: tells two splits apart."""
    return hashlib.sha256("\n".join(sorted(names)).encode()).hexdigest()


def some(names, count=5):
    """The first names for a message, with how many more there are."""
    names = list(names)
    more = len(names) - count
    return ", ".join(names[:count]) + (f" and {more} more" if more > 0 else "")
