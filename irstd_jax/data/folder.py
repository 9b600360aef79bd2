"""Folders of images and masks, with lists of names or without.

ROOT/images/NAME.png        also .bmp .tif .tiff .jpg .jpeg
ROOT/masks/NAME.png         or NAME_pixels0.png, or another of the suffixes
ROOT/train.txt (or trainval.txt), ROOT/test.txt, ROOT/val.txt      each may be missing

Splits: "lists" takes the lists (val.txt, where it is there, is the validation part);
"random_80_20" cuts all images by the rule of `lists.random_80_20`; "none" makes all
images the test part, for a folder that a model is only judged on.
"""

import pathlib
from typing import NamedTuple

from irstd_jax.data import lists
from irstd_jax.data.images import SUFFIXES
from irstd_jax.data.pairs import Plan

SPLITS = ("lists", "random_80_20", "none")
LIST_FILES = {
    "train": ("trainval.txt", "train.txt"),
    "validation": ("val.txt",),
    "test": ("test.txt",),
}


class Names(NamedTuple):
    """The names of one part and the file or the rule that they are from."""

    names: tuple[str, ...]
    origin: str


def plan(settings):
    """The plan of the folder `settings.root` by the split `settings.split`."""
    root = pathlib.Path(settings.root).expanduser()
    split = settings.get("split") or "none"
    if split not in SPLITS:
        raise ValueError(
            f"unknown split {split!r} of a folder; choose from {list(SPLITS)}"
        )
    for name in ("images", "masks"):
        if not (root / name).is_dir():
            raise ValueError(absent(root, root / name))
    if split == "lists":
        parts, problems = read_lists(root)
        if not parts:
            raise ValueError(
                f"{root} has none of the lists trainval.txt, train.txt and test.txt: "
                "write one bare image name a line, or choose "
                "--config.data.split=random_80_20"
            )
    else:
        parts, problems = without_lists(root / "images", split)
    return arrange(
        title=f"folder {root.name}",
        split=split,
        image_folder=root / "images",
        mask_folder=root / "masks",
        parts=parts,
        share=settings.get("validation_share", 0.1),
        problems=problems,
    )


def absent(root, missing):
    """What to put where, for a folder that is not there."""
    return (
        f"there is no folder {missing}. Put these there:\n"
        f"  {root / 'images' / 'NAME.png'}   the images (or .tif, .bmp, .jpg)\n"
        f"  {root / 'masks' / 'NAME.png'}   their masks (or NAME_pixels0.png), "
        "targets white\n"
        f"  {root / 'train.txt'}, {root / 'test.txt'}   one name a line, if you have "
        "lists\nor name another folder by --config.data.root=FOLDER"
    )


def read_lists(root, files=None):
    """({part: Names}, problems) of the list files that are there."""
    parts, problems = {}, []
    for part, candidates in (files or LIST_FILES).items():
        path = next((root / c for c in candidates if (root / c).is_file()), None)
        if path is not None:
            names, faults = lists.read_list(path)
            problems += faults
            parts[part] = Names(names, str(path))
            if not names and not faults:
                problems.append(f"the list {path} is empty: write one name a line")
    if "train" in parts and "validation" in parts:
        # trainval.txt holds the names of val.txt, too.
        if pathlib.Path(parts["train"].origin).stem == "trainval":
            kept = set(parts["train"].names) - set(parts["validation"].names)
            parts["train"] = parts["train"]._replace(names=tuple(sorted(kept)))
    return parts, problems


def without_lists(image_folder, split):
    """({part: Names}, problems) by rule, of all images in the folder."""
    names, problems = index(image_folder)
    if not names:
        problems.append(f"{image_folder} holds no images ({' '.join(SUFFIXES)})")
    if split == "none":
        return {"test": Names(tuple(sorted(names)), "all images")}, problems
    train, test = lists.random_80_20(names)
    return {"train": Names(train, split), "test": Names(test, split)}, problems


def index(directory):
    """({stem: path}, problems) of the images in a folder, hidden files left out."""
    found, problems = {}, []
    for path in sorted(pathlib.Path(directory).iterdir()):
        if path.suffix.lower() not in SUFFIXES or path.name.startswith("."):
            continue
        if path.stem in found:
            problems.append(
                f"{path} and {found[path.stem].name} have the same name: keep one"
            )
        found.setdefault(path.stem, path)
    return found, problems


def arrange(
    title,
    split,
    image_folder,
    mask_folder,
    parts,
    share,
    problems=(),
    repairable=(),
    origin="your copy of the set",
):
    """The plan of two folders and the names of the parts, with all that is wrong.

    Args:
      title, split: what the set and its split are called.
      image_folder, mask_folder: the two folders, which are there.
      parts: part -> Names; a part may be missing.
      share: the fraction of training that becomes validation if no list says so.
      problems: what the lists had wrong already.
      repairable: names whose mask may be scaled down to its image.
      origin: from where missing files are had.
    """
    found, image_faults = index(image_folder)
    masks, mask_faults = index(mask_folder)
    named = {name for part in parts.values() for name in part.names}
    maskless = {name for name in named if mask_of(name, masks) is None}
    pairs = {
        name: (found[name], mask_of(name, masks))
        for name in sorted(named - maskless)
        if name in found
    }
    imageless = named - found.keys()
    faults = missing("images", imageless, named, image_folder, origin)
    faults += missing("masks", maskless, named, mask_folder, origin)
    problems = [*problems, *image_faults, *mask_faults, *faults, *overlaps(parts)]
    cut, rule = divided(parts, share)
    return Plan(title, split, pairs, cut, rule, unique(problems), tuple(repairable))


def mask_of(name, masks):
    """The mask file of an image name, by either of the published ways to name it."""
    return masks.get(name) or masks.get(f"{name}_pixels0")


def missing(what, names, named, directory, origin):
    """The problem of names without a file, if there are any."""
    if not names:
        return []
    return [
        f"{len(names)} of {len(named)} {what} are missing in {directory}: "
        f"{lists.some(sorted(names))}; put them there from {origin}, or take the names "
        "out of the lists"
    ]


def overlaps(parts):
    """A problem for each two parts that share names."""
    problems, seen = [], []
    for name, part in parts.items():
        for other in seen:
            shared = sorted(set(part.names) & set(parts[other].names))
            if shared:
                problems.append(
                    f"{len(shared)} names stand in {parts[other].origin} and in "
                    f"{part.origin}: {lists.some(shared)}; remove them from one"
                )
        seen.append(name)
    return problems


def divided(parts, share):
    """({part: names}, rule): the validation part is a list, or cut from training."""
    train = parts["train"].names if "train" in parts else ()
    if "validation" in parts:
        validation = parts["validation"].names
        rule = f"the list {pathlib.Path(parts['validation'].origin).name}"
    else:
        train, validation = lists.cut_validation(train, share)
        rule = f"{share:g} of the training names, by SHA-256 of validation/NAME"
    cut = {
        "train": tuple(sorted(train)),
        "validation": tuple(sorted(validation)),
        "test": tuple(sorted(parts["test"].names)) if "test" in parts else (),
    }
    return cut, rule


def unique(problems):
    """The problems in their order, each once."""
    return tuple(dict.fromkeys(problems))
