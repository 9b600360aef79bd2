"""Host-side changes to Samples: size, place, orientation, grey level.

Image and mask always go through the same geometry. All of it is off by default, as in
the paper's recipe, which only resizes. The order, for whoever turns some on:

    long side -> scale -> mirror -> flip -> quarter turns                   (augment)
    -> brightness and contrast -> blur -> noise
    -> crop or resize to a fixed size
    -> frame
    -> normalise

Scale and quarter turns change the size of an image, so the fixed size comes after; a
frame lies at the border of what is left.
"""

import numpy as np
from PIL import Image
from scipy import ndimage

AUGMENTATIONS = (
    "long_side",
    "scale",
    "mirror",
    "flip",
    "quarter_turns",
    "brightness",
    "contrast",
    "blur",
    "blur_spares_targets",
    "noise",
    "frame",
)

FRAME_WIDTH = 4  # px, at most

# (mean, std) on images in [0, 1], one number a channel or one for all. The irstd_diff
# pairs are those of the paper's released code, which has one for NUAA-SIRST and
# IRSTD-1k; "nuaa" and "nudt" are the pixel statistics of the published files, "irstd1k"
# and what says so are BasicIRSTD's pairs, "imagenet" that of three colours which
# detectors borrow.
PRESETS = {
    "none": ((0.0,), (1.0,)),
    "nuaa": ((113 / 255,), (57.5 / 255,)),
    "nudt": ((107.8 / 255,), (55.5 / 255,)),
    "irstd1k": ((87.4661865234375 / 255,), (39.71953201293945 / 255,)),
    "nuaa_basicirstd": ((101.06385040283203 / 255,), (34.619606018066406 / 255,)),
    "nudt_basicirstd": ((107.80905151367188 / 255,), (33.02274703979492 / 255,)),
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "irstd_diff_sirst": (
        (0.28450727, 0.28450724, 0.28450724),
        (0.22880708, 0.22880709, 0.22880709),
    ),
    "irstd_diff_nudt": (
        (0.36956465, 0.36938766, 0.37360018),
        (0.23812144, 0.2380954, 0.24050511),
    ),
}


def pair(size):
    """(h, w) of one number or two."""
    h, w = (size, size) if np.isscalar(size) else size
    if min(h, w) < 1:
        raise ValueError(f"size {size} is not positive")
    return int(h), int(w)


def resampled(array, size, method):
    """A float or uint8 array (h, w, 1) at another size by one of PIL's methods."""
    h, w = size
    image = Image.fromarray(array[..., 0])
    return np.asarray(image.resize((w, h), method))[..., None]


def components(mask):
    """(labels (h, w), number) of the 8-connected targets of a mask (h, w, 1)."""
    return ndimage.label(mask[..., 0], np.ones((3, 3)))


def resize(sample, size):
    """The sample at `size` (one number or (h, w)), its aspect not kept.

    As the paper's code does, but in floats: the image bilinear, antialiased where it
    shrinks; the mask by nearest neighbour, by which a tiny target can vanish.
    """
    size = pair(size)
    image = resampled(sample["image"], size, Image.Resampling.BILINEAR)
    mask = resampled(sample["mask"], size, Image.Resampling.NEAREST)
    return sample | {"image": np.clip(image, 0, 1), "mask": mask}


def padded(array, size):
    """An array (h, w, c) grown at the bottom and right to `size`, by reflection.

    An axis too short to be reflected that far repeats its last line instead.
    """
    for axis, target in enumerate(size):
        n = array.shape[axis]
        if n >= target:
            continue
        widths = [(0, 0)] * array.ndim
        widths[axis] = (0, target - n)
        mode = "reflect" if target < 2 * n else "edge"
        array = np.pad(array, widths, mode=mode)
    return array


def canvas(h, w, multiple):
    """The smallest (h, w) that is no smaller, both multiples of `multiple`."""
    return -(-h // multiple) * multiple, -(-w // multiple) * multiple


def pad_to_multiple(array, multiple):
    """(array on its canvas, (h, w) before): `[:h, :w]` of a result crops it again."""
    h, w = array.shape[:2]
    return padded(array, canvas(h, w, multiple)), (h, w)


def corner(rng, lows, highs, length, side):
    """A start so that [start, start + side) holds lows..highs, inside [0, length)."""
    first, last = max(highs - side + 1, 0), min(lows, length - side)
    return int(rng.integers(first, last + 1))


def crop(sample, rng, size, target_share=0.5):
    """A random window of `size`; with chance `target_share` one that holds a target.

    Then a target is chosen evenly, and it lies whole at a random place in the window
    (one larger than the window: with a random pixel of it). Smaller samples are padded.
    """
    size = pair(size)
    image, mask = padded(sample["image"], size), padded(sample["mask"], size)
    lows = highs = None
    labels, n = components(mask)
    if n and rng.random() < target_share:
        chosen = rng.integers(1, n + 1)
        box = ndimage.find_objects(labels)[chosen - 1]
        lows = np.array([extent.start for extent in box])
        highs = np.array([extent.stop - 1 for extent in box])
        if np.any(highs - lows >= size):
            pixels = np.argwhere(labels == chosen)
            lows = highs = pixels[rng.integers(len(pixels))]
    starts = []
    for axis, side in enumerate(size):
        length = mask.shape[axis]
        low, high = (length, 0) if lows is None else (int(lows[axis]), int(highs[axis]))
        starts.append(corner(rng, low, high, length, side))
    window = tuple(slice(a, a + side) for a, side in zip(starts, size, strict=True))
    return sample | {"image": image[window], "mask": mask[window]}


def both(sample, change):
    """The sample with one geometric change made to image and mask alike."""
    return sample | {key: change(sample[key]) for key in ("image", "mask")}


def flip(sample, rng):
    """Mirrored up-down and left-right, each with chance one half."""
    steps = tuple(1 - 2 * rng.integers(0, 2, 2))
    return both(sample, lambda a: a[:: steps[0], :: steps[1]])


def mirror(sample, rng):
    """Mirrored left-right alone, with chance one half."""
    return both(sample, lambda a: a[:, ::-1]) if rng.random() < 0.5 else sample


def quarter_turns(sample, rng):
    """Turned by 0, 90, 180 or 270 degrees."""
    turns = int(rng.integers(4))
    return both(sample, lambda a: np.rot90(a, turns))


def scale(sample, rng, low, high):
    """Zoomed by a factor between `low` and `high`, even in its logarithm: `zoom`."""
    if not 0 < low <= high:
        raise ValueError(f"scale ({low}, {high}) is not 0 < low <= high")
    return zoom(sample, np.exp(rng.uniform(np.log(low), np.log(high))))


def long_side(sample, rng, low, high):
    """Zoomed so that the longer side has an even chance of each of `low` ... `high` px.

    As the published detectors do, but for the mask, which they resize by nearest
    neighbour: there small targets vanish.
    """
    if not 1 <= low <= high:
        raise ValueError(f"long_side ({low}, {high}) is not 1 <= low <= high")
    side = rng.integers(int(low), int(high) + 1)
    return zoom(sample, side / max(sample["mask"].shape))


def zoom(sample, factor):
    """The sample `factor` times as large.

    The image is bilinear, antialiased where it shrinks. A mask pixel is set where one
    target covers more than half of it, or, of a target that covers no pixel so far,
    as much of it as of any other.
    """
    h, w = sample["mask"].shape[:2]
    size = max(round(h * factor), 1), max(round(w * factor), 1)
    if size == (h, w):
        return sample
    image = resampled(sample["image"], size, Image.Resampling.BILINEAR)
    labels, n = components(sample["mask"])
    mask = np.zeros((*size, 1), np.uint8)
    for k in range(1, n + 1):
        cover = covered(labels == k, size)[..., None]
        mask[cover > min(0.5, 0.999 * cover.max())] = 1
    return sample | {"image": np.clip(image, 0, 1), "mask": mask}


def covered(mask, size):
    """The share of every pixel of a grid of `size` that a mask (h, w) covers.

    Exact areas: Pillow's box filter rounds to whole pixels, and skips some.
    """
    # A target is a speck: all is summed over its own rows and columns alone.
    ends = [np.flatnonzero(mask.any(axis=other)) for other in (1, 0)]
    own = [np.arange(i[0], i[-1] + 1) if i.size else np.arange(1) for i in ends]
    rows, columns = (
        _overlaps(cells, old, new)
        for cells, old, new in zip(own, mask.shape, size, strict=True)
    )
    return rows @ mask[np.ix_(*own)] @ columns.T


def _overlaps(cells, old, new):
    """(new, cells): the share of each new cell that each of these old ones fills."""
    edges = np.linspace(0, old, new + 1)[:, None]
    shared = np.minimum(edges[1:], cells + 1) - np.maximum(edges[:-1], cells)
    return np.maximum(shared, 0) * new / old


def brightness_contrast(sample, rng, brightness, contrast):
    """Grey levels shifted and stretched about their mean, clipped to [0, 1].

    The shift is even in +-brightness, the stretch even in 1 +- contrast.
    """
    image = sample["image"]
    shift = rng.uniform(-brightness, brightness)
    stretch = 1 + rng.uniform(-contrast, contrast)
    mean = image.mean()
    image = np.clip(mean + shift + stretch * (image - mean), 0, 1)
    return sample | {"image": image.astype(np.float32)}


def blur(sample, rng, deviation, spare_targets=False):
    """With chance one half, a Gaussian blur of deviation even in [0, deviation] px.

    spare_targets: target pixels stay as they were, as Diff-Mosaic's copy of DNANet has.
    """
    if rng.random() < 0.5:
        return sample
    image = sample["image"]
    blurred = ndimage.gaussian_filter(image[..., 0], rng.uniform(0, deviation))
    blurred = blurred[..., None]
    if spare_targets:
        blurred = np.where(sample["mask"] > 0, image, blurred)
    return sample | {"image": np.clip(blurred, 0, 1).astype(np.float32)}


def noise(sample, rng, deviation):
    """White noise added, its deviation even in [0, deviation]; clipped to [0, 1]."""
    image = sample["image"]
    grain = rng.uniform(0, deviation) * rng.standard_normal(image.shape, np.float32)
    return sample | {"image": np.clip(image + grain, 0, 1).astype(np.float32)}


def frame(sample, rng, chance):
    """With a chance, lines along some borders, as cameras and compression leave them.

    Each side has them with chance one half: 1 to 4 of any one grey level, a little
    different from line to line and along them. A side where they would hide a target
    pixel has none, so the mask stays as it is.
    """
    if rng.random() >= chance:
        return sample
    image = sample["image"].copy()
    for turns in np.flatnonzero(rng.random(4) < 0.5):
        width = rng.integers(1, FRAME_WIDTH + 1)
        strip = np.rot90(image, turns)[:width]
        if not np.rot90(sample["mask"], turns)[:width].any():
            strip[:] = lines(rng, strip.shape)
    return sample | {"image": image}


def lines(rng, shape):
    """Grey levels (n, length, 1) of a frame's lines, in [0, 1]."""
    n, length, _ = shape
    levels = rng.random() + 0.1 * rng.standard_normal((n, 1))
    grain = ndimage.gaussian_filter1d(rng.standard_normal((n, length)), 2)
    levels = levels + rng.uniform(0, 0.1) * grain
    return np.clip(levels, 0, 1)[..., None].astype(np.float32)


def augment(sample, rng, settings):
    """The changes that the `augment` block turns on, in the order above, but for frame.

    settings (a mapping, or None): mirror, flip, quarter_turns, blur_spares_targets
    (bool), long_side and scale ((low, high) or None), brightness, contrast, blur, noise
    and frame (0 is off). A field that is absent is off.
    """
    on = settings or {}
    unknown = set(on.keys()) - set(AUGMENTATIONS)
    if unknown:
        raise ValueError(
            f"unknown augmentation {sorted(unknown)}; choose from {AUGMENTATIONS}"
        )
    if on.get("long_side"):
        sample = long_side(sample, rng, *on.get("long_side"))
    if on.get("scale"):
        sample = scale(sample, rng, *on.get("scale"))
    if on.get("mirror"):
        sample = mirror(sample, rng)
    if on.get("flip"):
        sample = flip(sample, rng)
    if on.get("quarter_turns"):
        sample = quarter_turns(sample, rng)
    brightness, contrast = on.get("brightness") or 0, on.get("contrast") or 0
    if brightness or contrast:
        sample = brightness_contrast(sample, rng, brightness, contrast)
    if on.get("blur"):
        sample = blur(sample, rng, on.get("blur"), bool(on.get("blur_spares_targets")))
    if on.get("noise"):
        sample = noise(sample, rng, on.get("noise"))
    return sample


def normalise(image, mean, std, channels=1):
    """(h, w, 1) in [0, 1] -> float32 (h, w, channels): grey repeated, (x - mean) / std.

    mean and std hold one number, or one a channel: `normalise(x, *PRESETS["nuaa"])`.
    """
    mean, std = np.atleast_1d(mean), np.atleast_1d(std)
    for name, value in (("mean", mean), ("std", std)):
        if value.size not in (1, channels):
            raise ValueError(f"{name} has {value.size} numbers for {channels} channels")
    grey = np.repeat(image, channels, axis=-1)
    return ((grey - mean) / std).astype(np.float32)
