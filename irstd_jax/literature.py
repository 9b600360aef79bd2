"""What papers report of the systems that we compare, each figure with its protocol.

IoU and Pd in [0, 1], Fa as a fraction of the pixels, None where a paper gives none. A
figure of another protocol is another figure: the same weights on the same images move
by two points of IoU with the resize alone, and most papers keep the epoch that was best
on the test images (metrics/protocol.py).

Sources: IRSTD-Diff, Table III; Diff-Mosaic, Tables I and V; the table in the README of
the collection BasicIRSTD, whose classical rows others have copied. What it
calls ALCNet is a form of ACM (models/detectors/acm.py).
"""

from typing import NamedTuple


class Source(NamedTuple):
    """A table of a paper: its protocol.

    Attributes:
      title: what to cite.
      splits: {set: split}, in the names of data/ where it is one of ours.
      size: side in pixels to which images are brought, or "native".
      chosen: which weights of a training are judged.
    """

    title: str
    splits: dict
    size: object
    chosen: str


SOURCES = {
    "irstd_diff": Source(
        "IRSTD-Diff, Table III",
        {
            "nuaa_sirst": "idx_427",
            "nudt_sirst": "random 1062/265",
            "irstd1k": "random 800/201",
        },
        256,
        "best on test",
    ),
    "diff_mosaic": Source(
        "Diff-Mosaic, Table I",
        {"nuaa_sirst": "random 70/30", "nudt_sirst": "50_50"},
        256,
        "best on test",
    ),
    "basic_irstd": Source(
        "BasicIRSTD",
        {"nuaa_sirst": "50_50", "nudt_sirst": "50_50", "irstd1k": "80_20"},
        "native",
        "last",
    ),
}
SETS = ("nuaa_sirst", "irstd1k", "nudt_sirst")
# What tables call a system, and what kind they call it.
TITLES = {
    "acm": ("ACM", "CNN"),
    "agpcnet": ("AGPCNet", "CNN"),
    "alcnet": ("ALCNet", "CNN"),
    "cimd": ("CIMD", "diffusion"),
    "dnanet": ("DNANet", "CNN"),
    "dnanet + Diff-Mosaic": ("DNANet + Diff-Mosaic", "CNN, augmented"),
    "ipi": ("IPI", "low rank"),
    "irstd_diff": ("IRSTD-Diff", "diffusion"),
    "isnet": ("ISNet", "CNN"),
    "medsegdiff": ("MedSegDiff", "diffusion"),
    "mslstipt": ("MSLSTIPT", "low rank"),
    "new_tophat": ("New Top-hat", "filter"),
    "pstnn": ("PSTNN", "low rank"),
    "segdiff": ("SegDiff", "diffusion"),
    "tllcm": ("TLLCM", "local contrast"),
    "tophat": ("Top-hat", "filter"),
    "uiunet": ("UIU-Net", "CNN"),
    "uiunet + Diff-Mosaic": ("UIU-Net + Diff-Mosaic", "CNN, augmented"),
    "wslcm": ("WSLCM", "local contrast"),
}
# IoU %, Pd %, Fa 1e-6 of the sets in the order of SETS; () where none is given.
TABLES = {
    "irstd_diff": {
        "wslcm": ((1.16, 77.95, 5446), (3.45, 72.44, 6619), (2.28, 56.82, 1309)),
        "tllcm": ((11.03, 79.47, 7.27), (5.36, 63.97, 4.93), (7.06, 62.01, 46.12)),
        "mslstipt": ((10.30, 82.13, 1131), (10.37, 57.05, 3707), (8.34, 47.40, 888.1)),
        "pstnn": ((22.40, 77.95, 29.11), (24.57, 71.99, 35.26), (14.85, 66.13, 44.17)),
        "ipi": ((25.67, 85.55, 11.47), (27.92, 81.37, 16.18), (17.76, 74.49, 41.23)),
        "acm": ((63.06, 94.50, 4.04), (55.38, 83.22, 22.21), (65.94, 94.09, 5.60)),
        "agpcnet": ((69.08, 98.17, 4.48), (61.00, 88.36, 12.96), (84.49, 97.58, 2.69)),
        "isnet": ((71.12, 98.17, 7.14), (64.47, 92.12, 11.52), (81.35, 96.77, 4.66)),
        "dnanet": ((69.85, 98.17, 8.38), (64.44, 92.12, 8.98), (89.57, 98.12, 2.72)),
        "uiunet": ((75.30, 99.08, 8.83), (63.68, 92.81, 10.49), (91.98, 98.66, 2.92)),
        "segdiff": ((66.00, 94.50, 4.17), (47.41, 81.16, 8.67), (75.53, 94.89, 4.72)),
        "medsegdiff": (
            (64.19, 97.25, 16.80),
            (57.65, 81.16, 21.94),
            (78.27, 96.50, 10.15),
        ),
        "cimd": ((71.00, 97.25, 3.68), (62.32, 87.33, 6.84), (89.15, 97.31, 1.48)),
        "irstd_diff": (
            (74.09, 99.08, 1.46),
            (65.71, 93.15, 5.80),
            (92.14, 98.12, 1.08),
        ),
    },
    "diff_mosaic": {
        "new_tophat": ((34.05, 66.91, 743), (), (14.51, 54.4, 2086)),
        "wslcm": ((20.64, 60.86, 1342), (), (0.85, 74.6, 52391)),
        "tllcm": ((9.56, 56.12, 3046), (), (7.06, 62.01, 46.12)),
        "ipi": ((58.2, 67.1, 279), (), (17.76, 74.49, 41.23)),
        "alcnet": ((70, 71.71, 23.91), (), (72.13, 78.81, 21.22)),
        "acm": ((76.17, 86.31, 16.07), (), (71.11, 85.13, 22.51)),
        "uiunet": ((72.03, 98.1, 26.15), (), (89, 98.73, 6.02)),
        "dnanet": ((76.97, 95.41, 3.54), (), (88.38, 97.99, 4.04)),
        "dnanet + Diff-Mosaic": ((79.44, 99.99, 3.19), (), (91.18, 99.47, 1.91)),
        "uiunet + Diff-Mosaic": ((), (), (91.91, None, 1.40)),
    },
    "basic_irstd": {
        "tophat": ((7.142, 79.841, 1012.0), (), ()),
        "wslcm": (
            (1.021, 80.987, 45846),
            (0.989, 70.026, 15027),
            (0.848, 74.574, 52391.6),
        ),
        "tllcm": (
            (11.034, 79.473, 7.268),
            (5.357, 63.966, 4.928),
            (7.059, 62.014, 46.118),
        ),
        "ipi": (
            (25.674, 85.551, 11.470),
            (27.923, 81.374, 16.183),
            (17.758, 74.486, 41.230),
        ),
        "pstnn": (
            (22.401, 77.953, 29.109),
            (24.573, 71.988, 35.261),
            (14.848, 66.132, 44.170),
        ),
        "mslstipt": (
            (10.302, 82.128, 1131.0),
            (11.432, 79.027, 1524.0),
            (8.341, 47.399, 88.102),
        ),
        "acm": ((69.44, 92.02, 22.71), (60.33, 93.27, 68.49), (64.85, 96.72, 28.59)),
        "alcnet": ((61.05, 87.07, 55.98), (58.09, 92.93, 74.45), (61.13, 97.25, 29.09)),
        "isnet": ((70.49, 95.06, 67.98), (61.85, 90.24, 31.56), (81.24, 97.78, 6.34)),
        "dnanet": ((74.82, 93.54, 38.28), (65.74, 89.56, 12.34), (94.19, 99.26, 2.44)),
        "uiunet": ((77.53, 92.40, 9.33), (65.69, 91.25, 13.48), (90.52, 98.84, 8.34)),
    },
}


class Figure(NamedTuple):
    """A published figure; see the module for the units."""

    source: str
    IoU: float | None
    Pd: float | None
    Fa: float | None


def figures(system, data_set):
    """The `Figure`s of a system (a name of TABLES) on one set, by source."""
    found = []
    for source, table in TABLES.items():
        numbers = dict(zip(SETS, table.get(system, ((), (), ())), strict=True))
        if numbers.get(data_set):
            iou, pd, fa = numbers[data_set]
            scale = [(iou, 100), (pd, 100), (fa, 1e6)]
            found.append(Figure(source, *(v if v is None else v / s for v, s in scale)))
    return found


def differences(source, data_set, split, size):
    """In what a source's protocol differs from ours, as short texts; [] if in nothing.

    Args:
      source: a name of SOURCES.
      data_set, split: ours, in the names of data/.
      size: ours, side in pixels; 0 is native.
    """
    theirs = SOURCES[source]
    found = []
    if theirs.splits[data_set] != split:
        found.append(f"split {theirs.splits[data_set]}")
    if theirs.size != (size or "native"):
        found.append(f"{theirs.size} px" if theirs.size != "native" else "native size")
    if theirs.chosen != "last":
        found.append(theirs.chosen)
    return found
