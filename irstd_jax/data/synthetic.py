"""Generated infrared scenes with known targets, in the manner of NUDT-SIRST.

A scene is made as a camera would see it, in this order:

    radiance   one of BACKGROUNDS, brought to a random level and contrast
    decoys     wires, broad glows: bright things that are no targets
    optics     a Gaussian blur of .4 to .9 pixels
    sensor     shot noise ~ sqrt(signal), 1/f drift, column pattern, read noise
    targets    point (PSF), spot (Gaussian) or extended (blurred bodies), added in
               front of the sensor, so that they share its noise, with
                   contrast = SCR * max(sigma, 3/255),                         (1)
               contrast: the mean of what is added over the target's mask; sigma: the
               standard deviation of the finished background around the target. The
               floor of 3/255 keeps targets visible in a flawless sky; a contrast above
               115/255 is cut to that, as nearly all real ones are below it
    defects    hot and dead single pixels, without the blur that real points have
    digits     clipped to [0, 1] and rounded to 8 bits

The mask holds the pixels where a target adds more than MASK_SHARE of its peak.

Scene i of a part depends on (seed, part, i) and the recipe alone, so parts share no
scene, and a longer part begins with the scenes of a shorter one.
"""

import dataclasses
import functools
import hashlib
import json
import zlib

import numpy as np

from irstd_jax.data.scenery import BACKGROUNDS, blur, fractal, white

VERSION = 1  # raise it when the same seed would give other scenes
PARTS = ("train", "validation", "test")
MASK_SHARE = 0.3
SMALLEST = 16
SIGMA_FLOOR = 3 / 255
CONTRAST_LIMIT = 115 / 255
SURROUND = 10  # pixels around a target's box that count as its background
REACH = 14  # a target is drawn on a patch of 2 * REACH + 1 pixels a side
GAP = 6  # pixels kept free between two targets
BRIGHTEST_GROUND = 0.7  # above it a target would saturate


def exposed(rng, radiance):
    """Radiance at a random level and contrast: infrared cameras choose them freely."""
    level, gain = rng.uniform(0.15, 0.65), rng.uniform(0.4, 1.3)
    return np.clip(level + gain * (radiance - radiance.mean()), 0, 0.95)


def decoys(rng, image):
    """The image with, in some, a wire or a broad glow that is too wide for a target."""
    h, w = image.shape
    y, x = np.arange(h)[:, None], np.arange(w)[None]
    if rng.random() < 0.12:
        a, b = rng.uniform(-0.4, 0.4), rng.uniform(0.1, 0.9) * h
        sag = rng.uniform(0, 0.15) / w * (x - w / 2) ** 2
        wire = np.exp(-0.5 * ((y - a * x - b + sag) / 0.6) ** 2)
        image = image + rng.uniform(0.05, 0.2) * wire
    if rng.random() < 0.15:
        cy, cx, r = rng.uniform(0, h), rng.uniform(0, w), rng.uniform(7, 16)
        glow = np.exp(-0.5 * (((y - cy) ** 2 + (x - cx) ** 2) / r**2) ** 1.5)
        image = image + rng.uniform(0.05, 0.25) * glow
    return image


def sensor(rng, h, w):
    """What a camera adds to a clean frame, as a function of the frame."""
    shot = rng.uniform(0.001, 0.008) * white(rng, h, w)
    fixed = rng.uniform(0, 0.003) * fractal(rng, h, w, 1.0)
    fixed += rng.uniform(0, 0.004) * rng.standard_normal((1, w)) * (rng.random() < 0.5)
    fixed += rng.uniform(0.001, 0.003) * white(rng, h, w)
    if rng.random() < 0.3:  # sharpened or compressed frames have coarser grain
        shot, fixed = 1.5 * blur(shot, 0.7), 1.5 * blur(fixed, 0.7)
    return lambda frame: frame + np.sqrt(np.maximum(frame, 0)) * shot + fixed


def defects(rng, image, mask):
    """The image with a few hot or dead pixels, away from targets."""
    image = image.copy()
    if rng.random() < 0.4:
        for _ in range(rng.integers(1, 5)):
            y, x = (rng.integers(n) for n in image.shape)
            near = mask[max(y - 3, 0) : y + 4, max(x - 3, 0) : x + 4]
            if not near.any():
                image[y, x] += rng.choice([-1, 1, 1]) * rng.uniform(0.1, 0.4)
    return image


# Targets: rng -> what they add, on a patch of 2 * REACH + 1 a side, centred up to half
# a pixel, any scale.

GRID = np.arange(-REACH, REACH + 1, dtype=np.float64)


def gaussian(sigma_y, sigma_x, angle, centre):
    dy, dx = GRID[:, None] - centre[0], GRID[None] - centre[1]
    u = np.cos(angle) * dy - np.sin(angle) * dx
    v = np.sin(angle) * dy + np.cos(angle) * dx
    return np.exp(-0.5 * ((u / sigma_y) ** 2 + (v / sigma_x) ** 2))


def point(rng):
    """A source without extent: the point spread function of the optics alone."""
    sigma = rng.uniform(0.75, 1.3)
    return gaussian(sigma, sigma, 0.0, rng.uniform(-0.5, 0.5, 2))


def spot(rng):
    """A Gaussian of a few pixels, somewhat elongated."""
    sigma, ratio = rng.uniform(1.2, 2.4), rng.uniform(0.65, 1)
    angle, centre = rng.uniform(0, np.pi), rng.uniform(-0.5, 0.5, 2)
    return gaussian(sigma, sigma * ratio, angle, centre)


def extended(rng):
    """One to three bodies (hull, wing, tail), of uneven heat, blurred by the optics."""
    angle, length = rng.uniform(0, np.pi), rng.uniform(3.5, 7.5)
    y, x = GRID[:, None], GRID[None]
    along = np.cos(angle) * x + np.sin(angle) * y
    across = np.cos(angle) * y - np.sin(angle) * x
    bodies = [(0.0, length, rng.uniform(1.0, 2.2))]
    for _ in range(rng.integers(0, 3)):
        place, span = rng.uniform(-0.6, 0.6) * length, rng.uniform(1.5, 4.0)
        bodies.append((place, rng.uniform(0.8, 1.8), span))
    inside = [((along - p) / a) ** 2 + (across / c) ** 2 < 1 for p, a, c in bodies]
    heat = np.any(inside, axis=0) * (1 + rng.uniform(-0.4, 0.4) * along / length)
    return blur(heat, rng.uniform(0.6, 0.9))


TARGETS = {"point": (point, 0.3), "spot": (spot, 0.45), "extended": (extended, 0.25)}


def drawn(rng):
    """One target of a random kind: (profile with mean 1 over its mask, mask)."""
    makers, shares = zip(*TARGETS.values(), strict=True)
    profile = np.maximum(makers[rng.choice(len(makers), p=shares)](rng), 0)
    inside = profile > MASK_SHARE * profile.max()
    return profile / profile[inside].mean(), inside


def window(y, x, reach):
    """Slices of the square within `reach` of a pixel, cut at the upper left borders."""
    return np.s_[max(y - reach, 0) : y + reach + 1, max(x - reach, 0) : x + reach + 1]


def placed(rng, frame, mask, inside):
    """A centre (y, x) that holds the target whole, apart from others, on dim ground.

    None where 20 tries find no such place.
    """
    extent = np.argwhere(inside) - REACH
    low, high = -extent.min(axis=0), np.array(frame.shape) - extent.max(axis=0)
    if np.any(low >= high):
        return None
    for _ in range(20):
        y, x = rng.integers(low, high)
        near = window(y, x, np.abs(extent).max() + GAP)
        if not mask[near].any() and frame[window(y, x, 2)].mean() < BRIGHTEST_GROUND:
            return y, x
    return None


def targeted(rng, frame, count, clutter_ratio):
    """What `count` targets add to a finished background (h, w), and their mask."""
    h, w = frame.shape
    added = np.zeros((h + 2 * REACH, w + 2 * REACH))
    mask = np.zeros(added.shape, bool)
    body = np.s_[REACH : REACH + h, REACH : REACH + w]
    for _ in range(count):
        profile, inside = drawn(rng)
        ratio = np.exp(rng.uniform(*np.log(clutter_ratio)))
        centre = placed(rng, frame, mask[body], inside)
        if centre is None:
            continue
        y, x = centre
        half = np.abs(np.argwhere(inside) - REACH).max()
        sigma = max(frame[window(y, x, half + SURROUND)].std(), SIGMA_FLOOR)
        patch = np.s_[y : y + len(GRID), x : x + len(GRID)]
        added[patch] += min(ratio * sigma, CONTRAST_LIMIT) * profile
        mask[patch] |= inside
    return added[body], mask[body]


def scenes(count, size):
    """The first so many scenes of (h, w), one after the other, always the same."""
    for number in range(count):
        yield scene(np.random.default_rng(number), size)


def scene(
    rng,
    size=(128, 128),
    clutter_ratio=(3.0, 20.0),
    targets=(1, 3),
    empty=0.1,
    background=None,
    name="scene",
):
    """One Sample: image float32 (h, w, 1), multiples of 1/255; mask uint8 (h, w, 1).

    size: (h, w), at least 16. clutter_ratio: bounds of the SCR of equation (1), drawn
    evenly in its logarithm. targets: least and greatest number (fewer where no free
    place is left). empty: share of scenes without any. background: one of BACKGROUNDS,
    else each is as likely.
    """
    h, w = size
    if background not in (None, *BACKGROUNDS):
        raise ValueError(
            f"unknown background {background!r}; choose from {sorted(BACKGROUNDS)}"
        )
    kind = background or rng.choice(list(BACKGROUNDS))
    radiance = decoys(rng, exposed(rng, BACKGROUNDS[kind](rng, h, w)))
    clean = blur(radiance, rng.uniform(0.4, 0.9))
    capture = sensor(rng, h, w)
    count = 0 if rng.random() < empty else rng.integers(targets[0], targets[1] + 1)
    added, mask = targeted(rng, capture(clean), count, clutter_ratio)
    image = defects(rng, capture(clean + added), mask)
    levels = np.rint(255 * np.clip(image, 0, 1)).astype(np.float32)
    return {
        "name": name,
        "image": (levels / 255)[..., None],
        "mask": mask.astype(np.uint8)[..., None],
    }


@dataclasses.dataclass(frozen=True)
class Recipe:
    """What decides every scene; fields as in `scene`."""

    seed: int = 0
    size: tuple[int, int] = (128, 128)
    clutter_ratio: tuple[float, float] = (3.0, 20.0)
    targets: tuple[int, int] = (1, 3)
    empty: float = 0.1

    def __post_init__(self):
        if min(self.size) < SMALLEST:
            raise ValueError(f"synthetic size {self.size} is below {SMALLEST} pixels")
        if not 0 < self.clutter_ratio[0] <= self.clutter_ratio[1]:
            raise ValueError(
                f"clutter_ratio {self.clutter_ratio} is not 0 < low <= high"
            )
        if not 0 <= self.targets[0] <= self.targets[1]:
            raise ValueError(f"targets {self.targets} is not 0 <= least <= greatest")
        if not 0 <= self.empty <= 1:
            raise ValueError(f"empty {self.empty} is not a share between 0 and 1")


@functools.lru_cache(maxsize=1024)
def digits(recipe, part, i):
    """Scene i of a part as 8-bit (image, mask): less to keep than a Sample."""
    rng = np.random.default_rng([recipe.seed, zlib.crc32(part.encode()), i])
    fields = dataclasses.asdict(recipe)
    del fields["seed"]
    sample = scene(rng, **fields)
    return np.rint(255 * sample["image"]).astype(np.uint8), sample["mask"]


@dataclasses.dataclass(frozen=True)
class Scenes:
    """A Source of generated scenes: made when asked for, the newest 1024 kept."""

    recipe: Recipe
    part: str
    count: int

    def __len__(self):
        return self.count

    def __getitem__(self, i):
        if not 0 <= i < self.count:
            raise IndexError(f"scene {i} of {self.count} in part {self.part!r}")
        image, mask = digits(self.recipe, self.part, int(i))
        return {
            "name": self.names[i],
            "image": image.astype(np.float32) / 255,
            "mask": mask.copy(),
        }

    @functools.cached_property
    def names(self):
        return tuple(f"{self.part}_{i:06d}" for i in range(self.count))

    def describe(self):
        """The protocol's words for this part; equal hashes mean equal scenes."""
        facts = dataclasses.asdict(self.recipe) | {"version": VERSION}
        identity = json.dumps([facts, self.part, self.count]).encode()
        return {
            "set": "synthetic",
            "split": "generated",
            "part": self.part,
            "count": self.count,
            "hash": hashlib.sha256(identity).hexdigest()[:16],
            "mask_rule": f"contribution > {MASK_SHARE} of its peak",
            "repairs": [],
            **facts,
        }


def load(settings, part):
    """The Source of a part ("train", "validation", "test") by the `data` block.

    settings.count gives the number of scenes of each part; size (one int or (h, w)),
    seed, clutter_ratio, targets and empty may be absent: the defaults of Recipe hold.
    """
    if part not in PARTS:
        raise ValueError(f"unknown part {part!r}; choose from {list(PARTS)}")
    count = (settings.get("count") or {}).get(part, 0)
    if count < 1:
        raise ValueError(f"data.count must name a number of scenes for part {part!r}")
    given = {f.name for f in dataclasses.fields(Recipe)} & set(settings.keys())
    fields = {key: settings[key] for key in given if settings[key] is not None}
    if isinstance(fields.get("size"), int):
        fields["size"] = (fields["size"],) * 2
    fields = {k: v if np.isscalar(v) else tuple(v) for k, v in fields.items()}
    return Scenes(Recipe(**fields), part, count)
