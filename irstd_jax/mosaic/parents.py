"""Which images go into a sample, and crops of them: on the host, in NumPy.

Both are functions of (seed, index) alone, so a killed run goes on without doubles. Pass
the TRAINING split's source only: whatever enters a sample reaches the detector.
"""

import numpy as np
from scipy import ndimage

SMALL = ("pad", "resize")
LARGEST = 4  # a tile is at most so many times the side of the image that it mirrors


def targeted(source):
    """Indices of the images with a target: those that can anchor a sample.

    Raises ValueError if there is none.
    """
    found = tuple(i for i in range(len(source)) if source[i]["mask"].any())
    if not found:
        raise ValueError(f"none of the {len(source)} images has a target to anchor on")
    return found


def parents(count, size, index, seed, anchors=None):
    """The images of sample `index`: an anchor and count - 1 partners, all different.

    Anchors run through a shuffled list, shuffled anew each round, so each image anchors
    a sample before one does twice. Partners are drawn evenly from all other images.

    Args:
      count: parents of a sample (`Composition.parents`).
      size: images in the source.
      index, seed: of the sample and of the run; nothing else matters.
      anchors: indices that may anchor (see `targeted`); all by default.
    """
    if size < count:
        raise ValueError(f"{size} images are too few: a sample takes {count} different")
    anchors = range(size) if anchors is None else anchors
    lap, place = divmod(index, len(anchors))
    order = np.random.default_rng([seed, 0, lap]).permutation(len(anchors))
    anchor = int(anchors[order[place]])
    rng = np.random.default_rng([seed, 1, index])
    others = rng.choice(size - 1, count - 1, replace=False)
    # Numbers from the anchor on stand for the next image: it is left out.
    return anchor, *(int(k + (k >= anchor)) for k in others)


def gather(source, indices, tile, rng, small="pad", target_share=0.5, min_share=0.0):
    """Native-scale crops of the images, the anchor's with a target.

    Args:
      source: images [i] -> {"image": (h, w, 1) in [0, 1], "mask": (h, w, 1)}.
      indices: as of `parents`, the anchor first.
      tile: side of the crops in pixels.
      rng: numpy Generator, such as default_rng([seed, 2, index]).
      small: what is done to an image with a side below the tile: "pad" mirrors it at
        its bottom and right (targets and masks too); "resize" is the released rule,
        both sides brought to the tile, bilinear, its aspect lost, and its mask by
        nearest neighbour, but without losing a target.
      target_share: the chance that a partner's crop is held to a target, if it has one.
      min_share: a target of which the crop's border leaves less than this share loses
        its mask; the one that the crop is held to never does.

    Returns:
      images float32 (p, tile, tile, 1), masks float32 {0, 1} of the same shape.

    Raises:
      ValueError: for an anchor without a target, an unknown `small`, a tile more than
        4 times as long as a side that has to be padded.
    """
    if small not in SMALL:
        raise ValueError(
            f"unknown rule {small!r} for small images; choose from {SMALL}"
        )
    crops = []
    for number, index in enumerate(indices):
        sample = source[index]
        name = sample.get("name", index)
        if number == 0 and not sample["mask"].any():
            raise ValueError(f"image {name!r} has no target and cannot be the anchor")
        fit = {"pad": padded, "resize": resized}[small]
        image, mask = fit(sample["image"], sample["mask"] > 0, tile, name)
        held = number == 0 or rng.random() < target_share
        crops.append(crop(image, mask, tile, rng, held, min_share))
    images, masks = (
        np.stack(part).astype(np.float32) for part in zip(*crops, strict=True)
    )
    return images, masks


def crop(image, mask, tile, rng, held, min_share):
    """A random window (tile, tile, 1) of both; `held`: with a random target whole.

    A target larger than the window is held by one of its pixels.
    """
    labels, n = ndimage.label(mask[..., 0], np.ones((3, 3)))
    chosen = int(rng.integers(1, n + 1)) if held and n else 0
    starts = _free(rng, mask.shape, tile)
    if chosen:
        pixels = np.argwhere(labels == chosen)
        low, high = pixels.min(0), pixels.max(0)
        if np.any(high - low >= tile):
            low = high = pixels[rng.integers(len(pixels))]
        starts = _holding(rng, mask.shape, tile, low, high)
    window = tuple(slice(start, start + tile) for start in starts)
    left = labels[window]
    whole, seen = (
        np.bincount(part.ravel(), minlength=n + 1) for part in (labels, left)
    )
    stays = seen >= min_share * whole
    stays[0], stays[chosen] = False, chosen > 0
    return image[window], stays[left][..., None]


def _free(rng, shape, tile):
    """The first row and column of a window anywhere in the image."""
    return [int(rng.integers(n - tile + 1)) for n in shape[:2]]


def _holding(rng, shape, tile, low, high):
    """The same, of a window that holds all from pixel `low` to pixel `high`."""
    return [
        int(rng.integers(max(last - tile + 1, 0), min(first, n - tile) + 1))
        for n, first, last in zip(shape[:2], low, high, strict=True)
    ]


def padded(image, mask, tile, name):
    """Both mirrored at the bottom and right, up to the tile on each side."""
    if tile > LARGEST * min(mask.shape[:2]):
        raise ValueError(
            f"tile {tile} is too large for image {name!r} of {mask.shape[:2]}: a tile "
            f"is at most {LARGEST} times a side; take a smaller one"
        )
    widths = [(0, max(tile - n, 0)) for n in mask.shape[:2]] + [(0, 0)]
    return np.pad(image, widths, "symmetric"), np.pad(mask, widths, "symmetric")


def resized(image, mask, tile, name):
    """Both at (tile, tile) if a side is shorter, else unchanged: the released rule."""
    if min(mask.shape[:2]) >= tile:
        return image, mask
    rows, columns = (_interpolation(n, tile) for n in mask.shape[:2])
    image = np.einsum("ij,jkc,lk->ilc", rows, image, columns)
    near = [np.minimum(np.arange(tile) * n // tile, n - 1) for n in mask.shape[:2]]
    grown = mask[np.ix_(*near)]
    # A shrinking side skips pixels: each target pixel is entered where it lies now.
    y, x = np.nonzero(mask[..., 0])
    h, w = mask.shape[:2]
    grown[(2 * y + 1) * tile // (2 * h), (2 * x + 1) * tile // (2 * w)] = True
    return image, grown


def _interpolation(old, new):
    """(new, old) weights of linear interpolation at half-pixel centres."""
    centre = np.clip((np.arange(new) + 0.5) * old / new - 0.5, 0, old - 1)
    return np.maximum(1 - np.abs(centre[:, None] - np.arange(old)), 0)
