"""The published sets: where their files lie, and their splits by name.

A split name stands for the same images in every layout that people have: the authors'
own folders, DNANet's (50_50/, idx_427/) and BasicIRSTD's (img_idx/).
"""

import dataclasses
import pathlib

from irstd_jax.data import folder


@dataclasses.dataclass(frozen=True)
class Split:
    """Where the lists of a split may lie, the usual place first, and their counts.

    No lists at all means the rule of `lists.random_80_20`.
    """

    train: tuple[str, ...] = ()
    test: tuple[str, ...] = ()
    counts: tuple[int, int] | None = None


@dataclasses.dataclass(frozen=True)
class Layout:
    """A published set: the folders of its files, the usual name first, and its splits.

    `example` is one image and its mask; `origin` is where its authors publish it.
    """

    folders: tuple[str, ...]
    images: tuple[str, ...]
    masks: tuple[str, ...]
    example: tuple[str, str]
    splits: dict[str, Split]
    origin: str
    repairable: tuple[str, ...] = ()

    @property
    def title(self):
        return self.folders[0]


def listed(directory, train, title, counts):
    """The split whose lists lie in a folder, beside the images or in img_idx/."""
    return Split(
        (f"{directory}/{train}.txt", f"img_idx/train_{title}.txt"),
        (f"{directory}/test.txt", f"img_idx/test_{title}.txt"),
        counts,
    )


LAYOUTS = {
    "nuaa_sirst": Layout(
        folders=("NUAA-SIRST", "SIRST", "SIRST-v1"),
        images=("images",),
        masks=("masks",),
        example=("Misc_1.png", "Misc_1_pixels0.png"),
        splits={
            "50_50": listed("50_50", "train", "NUAA-SIRST", (213, 214)),
            "idx_427": Split(
                ("idx_427/trainval.txt",), ("idx_427/test.txt",), (341, 86)
            ),
            "random_80_20": Split(counts=(342, 85)),
        },
        origin="github.com/YimianDai/sirst",
        # Misc_111's mask is 592x400 for an image of 325x220, as published.
        repairable=("Misc_111",),
    ),
    "nudt_sirst": Layout(
        folders=("NUDT-SIRST",),
        images=("images",),
        masks=("masks",),
        example=("000001.png", "000001.png"),
        splits={
            "50_50": listed("50_50", "train", "NUDT-SIRST", (663, 664)),
            "random_80_20": Split(counts=(1062, 265)),
        },
        origin="github.com/YeRen123455/Infrared-Small-Target-Detection",
    ),
    "irstd1k": Layout(
        folders=("IRSTD-1k",),
        images=("IRSTD1k_Img", "images"),
        masks=("IRSTD1k_Label", "masks"),
        example=("XDU0.png", "XDU0.png"),
        splits={
            "80_20": Split(
                ("80_20/trainval.txt", "trainval.txt", "img_idx/train_IRSTD-1K.txt"),
                ("80_20/test.txt", "test.txt", "img_idx/test_IRSTD-1K.txt"),
                (800, 201),
            ),
            "random_80_20": Split(counts=(801, 200)),
        },
        origin="github.com/RuiZhang97/ISNet",
    ),
    "sirst_v2": Layout(
        folders=("SIRST-v2", "open-sirst-v2"),
        images=("mixed", "images"),
        masks=("annotations/masks", "masks"),
        example=("Misc_1.png", "Misc_1_pixels0.png"),
        splits={
            "official": Split(
                ("splits/trainval_full.txt", "trainval.txt", "train.txt"),
                ("splits/test_full.txt", "test.txt"),
            ),
            "random_80_20": Split(),
        },
        origin="github.com/YimianDai/open-sirst-v2",
        repairable=("Misc_111",),
    ),
}


def plan(settings):
    """The plan of a published set under `settings.root`, by `settings.split`.

    Raises:
      ValueError: the split is unknown, or the message says which files to put where.
    """
    layout = LAYOUTS[settings.name]
    split = split_of(layout, settings.split)
    root = locate(layout, settings.root)
    image_folder, mask_folder = first(root, layout.images), first(root, layout.masks)
    listed_parts = {"train": split.train, "test": split.test} if split.train else {}
    if not (image_folder.is_dir() and mask_folder.is_dir()):
        raise ValueError(absent(layout, settings))
    parts, problems = folder.read_lists(root, listed_parts)
    if len(parts) < len(listed_parts):
        raise ValueError(absent(layout, settings))
    if not listed_parts:
        parts, problems = folder.without_lists(image_folder, settings.split)
    return folder.arrange(
        title=layout.title,
        split=settings.split,
        image_folder=image_folder,
        mask_folder=mask_folder,
        parts=parts,
        share=settings.get("validation_share", 0.1),
        problems=problems,
        repairable=layout.repairable,
        origin=layout.origin,
    )


def split_of(layout, name):
    """The named split of a set."""
    if name not in layout.splits:
        raise ValueError(
            f"unknown split {name!r} of {layout.title}; choose from "
            f"{sorted(layout.splits)}"
        )
    return layout.splits[name]


def locate(layout, root):
    """The set's own folder: `root` itself, or the one in it that bears its name."""
    root = pathlib.Path(root).expanduser()
    wanted = {plain(name) for name in layout.folders}
    inside = sorted(root.iterdir()) if root.is_dir() else []
    for path in inside:
        if plain(path.name) in wanted and path.is_dir():
            return path
    if plain(root.resolve().name) in wanted or any(
        (root / name).is_dir() for name in layout.images
    ):
        return root
    return root / layout.title


def plain(name):
    """A folder name without case, hyphens and underscores."""
    return name.lower().replace("-", "").replace("_", "")


def first(root, names):
    """The first of the folders that is there, else the usual one."""
    return next((root / n for n in names if (root / n).is_dir()), root / names[0])


def absent(layout, settings):
    """What to put where, and how to point elsewhere, for a set that lacks files."""
    root = locate(layout, settings.root)
    image, mask = layout.example
    split = layout.splits[settings.split]
    wanted = [
        (first(root, layout.images), f"{image} ...", "the images"),
        (first(root, layout.masks), f"{mask} ...", "the masks"),
    ]
    counts = split.counts or (None, None)
    for candidates, count in zip((split.train, split.test), counts, strict=True):
        if candidates:
            number = f"{count} names" if count else "names"
            words = f"{number}, one a line" + other_places(candidates)
            wanted.append((root, candidates[0], words))
    lines = [f"{layout.title} is not complete in {root}. Put these there:"]
    for directory, name, words in wanted:
        there = "found" if is_there(directory, name) else "MISSING"
        lines.append(f"  {directory / name}   {words} [{there}]")
    lines.append(
        f"Its authors publish it at {layout.origin}. If it lies in "
        f"FOLDER/{layout.title} already, set the variable IRSTD_DATA=FOLDER or "
        "the flag --config.data.root=FOLDER"
    )
    return "\n".join(lines)


def other_places(candidates):
    """The other files that are taken for a list, in words."""
    return f" (or {', '.join(candidates[1:])})" if candidates[1:] else ""


def is_there(directory, name):
    """True where the list is a file, or the image folder holds any image."""
    if name.endswith(" ..."):
        return directory.is_dir() and bool(folder.index(directory)[0])
    return (directory / name).is_file()
