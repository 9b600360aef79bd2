"""Tiny data sets in the published layouts, for tests."""

import json
import pathlib

import numpy as np
from ml_collections import ConfigDict
from PIL import Image

NAMES = tuple(f"scene_{k}" for k in range(10))


def scene(seed, height=24, width=32):
    """(image, mask) uint8 (h, w): clutter with texture and one target of 9 pixels."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(20, 160, (6, 8)).astype(np.uint8)
    image = np.array(Image.fromarray(coarse).resize((width, height), Image.BILINEAR))
    mask = np.zeros((height, width), np.uint8)
    y, x = rng.integers(2, height - 5), rng.integers(2, width - 5)
    mask[y : y + 3, x : x + 3] = 255
    image[mask > 0] = 250
    return image, mask


def write(path, array):
    """Writes an array as the format that the path's suffix names."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)


def pair(root, name, seed, images="images", masks="masks", suffix=""):
    """Writes one image and its mask."""
    image, mask = scene(seed)
    write(root / images / f"{name}.png", image)
    write(root / masks / f"{name}{suffix}.png", mask)


def text(path, names):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(names) + "\n", encoding="utf-8")


def folder(root, names=NAMES, train=6):
    """An images/ + masks/ folder with train.txt and test.txt; returns its root."""
    for seed, name in enumerate(names):
        pair(root, name, seed)
    text(root / "train.txt", names[:train])
    text(root / "test.txt", names[train:])
    return root


def augmented(folder, parents, names=("m0", "m1"), manifest=True):
    """A set as --mode=augment leaves it: of each sample the same parents."""
    for seed, name in enumerate(names):
        pair(folder, name, 50 + seed)
    text(folder / "train.txt", names)
    if manifest:
        samples = [{"name": name, "parents": list(parents)} for name in names]
        (folder / "manifest.json").write_text(json.dumps({"samples": samples}))
    return folder


LAYOUTS = {
    "nuaa_sirst": ("NUAA-SIRST", "50_50/train.txt", "images", "masks", "_pixels0"),
    "nudt_sirst": ("NUDT-SIRST", "50_50/train.txt", "images", "masks", ""),
    "irstd1k": ("IRSTD-1k", "80_20/trainval.txt", "IRSTD1k_Img", "IRSTD1k_Label", ""),
    "sirst_v2": (
        *("SIRST-v2", "splits/trainval_full.txt", "mixed", "annotations/masks"),
        "_pixels0",
    ),
}
SPLITS = {
    "nuaa_sirst": "50_50",
    "nudt_sirst": "50_50",
    "irstd1k": "80_20",
    "sirst_v2": "official",
}


def benchmark(parent, name, names=NAMES, train=6):
    """A published set in small, in its published layout; returns its own folder."""
    title, train_list, images, masks, suffix = LAYOUTS[name]
    root = parent / title
    for seed, member in enumerate(names):
        pair(root, member, seed, images, masks, suffix)
    train_list = pathlib.PurePath(train_list)
    test_name = train_list.name.replace("trainval", "test").replace("train", "test")
    text(root / train_list, names[:train])
    text(root / train_list.with_name(test_name), names[train:])
    return root


def settings(root, name="folder", split="lists", **more):
    """The data block of a config."""
    return ConfigDict({"name": name, "root": str(root), "split": split, **more})
