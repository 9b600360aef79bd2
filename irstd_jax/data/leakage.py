"""Leakage: generated images that show an image of the test part.

Every generated image, and every tile of it of the size of its parents, is compared
with every reference by the correlation of thumbnails (see `duplicates`), in all eight
orientations. So a copy is found whole or as a tile of a mosaic, flipped, turned,
brighter or of more contrast. A copy that was cropped otherwise is not: what went INTO
a mosaic, its manifest says; this looks for what a network has by heart.

Test images of some published sets are near-copies of training images (frames of one
scene). A tile made of such a training image is like the test image, too, and no leak.
So a copy counts as leaked where it is more like the test image than like any training
image.
"""

from typing import NamedTuple

import numpy as np

from irstd_jax.data import duplicates

SLACK = 1e-3  # of correlation: the scatter of thumbnails of 8 bits


class Row(NamedTuple):
    """A thumbnail with the name of its image, and the tile (y, x, h, w) of it."""

    name: str
    thumbnail: np.ndarray
    tile: tuple[int, int, int, int]


class Nearest(NamedTuple):
    """The reference that a generated image or tile is most like."""

    name: str
    tile: tuple[int, int, int, int]
    reference: str
    correlation: float


def rows(images, size=None):
    """The rows of (name, image (h, w, 1) or (h, w) in [0, 1]) pairs and their tiles.

    size: side or (h, w) of the tiles that are looked at beside the whole image.
    """
    found = []
    for name, image in images:
        plane = image[..., 0] if np.ndim(image) == 3 else image
        for y, x, h, w in tiles(plane.shape, size):
            small = duplicates.thumbnail(plane[y : y + h, x : x + w])
            found.append(Row(name, small, (y, x, h, w)))
    return found


def tiles(shape, size=None):
    """The whole image and its tiles (y, x, h, w) of `size`, side by side.

    Where the size does not divide the image, the last tiles end at its edge.
    """
    whole = (0, 0, *shape)
    if not size:
        return [whole]
    size = (size, size) if np.isscalar(size) else tuple(size)
    steps = [
        sorted({min(start, n - side) for start in range(0, n, side)})
        for n, side in zip(shape, size, strict=True)
        if side <= n
    ]
    if len(steps) < 2 or size == tuple(shape):
        return [whole]
    return [whole, *((y, x, *size) for y in steps[0] for x in steps[1])]


def orientations(values):
    """The eight turns and flips (8, n, 48 * 48) of thumbnails (n, 48 * 48)."""
    side = duplicates.THUMBNAIL
    planes = values.reshape(-1, side, side)
    turned = [np.rot90(planes, k, (1, 2)) for k in range(4)]
    both = [*turned, *(plane[:, :, ::-1] for plane in turned)]
    return np.stack([plane.reshape(values.shape) for plane in both])


def nearest(queries, references):
    """The `Nearest` reference of each row; rows without texture are left out.

    Any two pictures of mere sky correlate, so they would tell nothing.
    """
    queries = [row for row in queries if duplicates.textured(row)]
    references = [row for row in references if duplicates.textured(row)]
    if not queries or not references:
        return []
    standard = duplicates.standardised(queries)
    correlation = np.max(
        [
            standard @ turned.T / duplicates.THUMBNAIL**2
            for turned in orientations(duplicates.standardised(references))
        ],
        axis=0,
    )
    return [
        Nearest(row.name, row.tile, references[k].name, min(float(values[k]), 1.0))
        for row, values, k in zip(
            queries, correlation, correlation.argmax(1), strict=True
        )
    ]


def copies(found, threshold=duplicates.CORRELATION):
    """[(generated, reference, correlation)] above the threshold, the likest first.

    Once for each pair of names, by the tile that is most like the reference.
    """
    best = {}
    for row in found:
        pair = row.name, row.reference
        if row.correlation > threshold:
            best[pair] = max(row.correlation, best.get(pair, 0.0))
    ordered = sorted(best.items(), key=lambda item: (-item[1], item[0]))
    return [(*pair, correlation) for pair, correlation in ordered]


def report(generated, test, train=(), size=None, threshold=duplicates.CORRELATION):
    """What JSON holds of the check of a generated set.

    Args:
      generated, test, train: (name, image in [0, 1]) pairs; without `train`, every
        near-copy of a test image counts as leaked.
      size: of the parents' tiles in a generated image, or None.
    Returns:
      {"threshold", "generated", "tiles", "tiles_with_texture", "test", "train": the
      highest correlations, "near_test": [(generated, test name, correlation)],
      "leaked": those of them that are no nearer to a training image}.
    """
    queries = rows(generated, size)
    to_test, to_train = (nearest(queries, rows(part)) for part in (test, train))
    by_tile = {(row.name, row.tile): row.correlation for row in to_train}
    leaked = [
        row
        for row in to_test
        if row.correlation > by_tile.get((row.name, row.tile), -1.0) + SLACK
    ]
    return {
        "threshold": threshold,
        "generated": len({row.name for row in queries}),
        "tiles": len(queries),
        "tiles_with_texture": sum(map(bool, map(duplicates.textured, queries))),
        "test": spread(to_test),
        "train": spread(to_train),
        "near_test": copies(to_test, threshold),
        "leaked": copies(leaked, threshold),
    }


def spread(found):
    """Median, 99 % quantile and maximum of the correlations, or None of none."""
    if not found:
        return None
    values = [row.correlation for row in found]
    names = ("median", "q99", "max")
    return dict(
        zip(names, map(float, np.quantile(values, (0.5, 0.99, 1))), strict=True)
    )
