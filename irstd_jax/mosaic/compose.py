"""Samples made of several images, image and mask by the same geometry.

First each tile may be zoomed, flipped and turned (`geometry`), then one of `methods`
joins them: mosaic, cutmix, mixup or copy_paste. Targets that a border inside the sample
cuts: cut_targets "keep" leaves their mask; "drop" takes it away where less than
`min_share` of their pixels are left (a sliver of a target is none). If no target were
left at all, those that are cut stay.

At least one target: the anchor has one, and every method keeps some of it in sight.
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp

from irstd_jax.mosaic import geometry
from irstd_jax.mosaic.methods import METHODS

CUTS = ("keep", "drop")
CENTRES = ("grid", "random")
SMALLEST, LARGEST = 8, 2048


@dataclasses.dataclass(frozen=True)
class Composition:
    """Settings of `compose`, and of the host's part in it.

    Attributes:
      method: one of METHODS.
      tile: side t of the parents' crops in pixels, even.
      centre: "grid" or "random", of a mosaic.
      centre_range: where in the output a random centre may lie, as shares of it.
      margin: pixels that a random mosaic keeps around a target pixel, where it can.
      flips, quarter_turns: each tile is mirrored, turned at random.
      scale: range of each tile's zoom, within [1/2, 4], or None.
      concentration: a of the Beta(a, a) of CutMix and mixup.
      visible: the least weight at which mixup's partner has visible targets, <= 1/2.
      shift: copy-paste moves the targets; else they keep their place.
      gap: pixels between pasted targets and the anchor's.
      border: pixels over which pasted targets fade out.
      ground: radius in pixels of the local background.
      cut_targets: "keep" or "drop".
      min_share: see above.
    """

    method: str = "mosaic"
    tile: int = 256
    centre: str = "grid"
    centre_range: tuple[float, float] = (0.25, 0.75)
    margin: int = 4
    flips: bool = False
    quarter_turns: bool = False
    scale: tuple[float, float] | None = None
    concentration: float = 1.0
    visible: float = 0.4
    shift: bool = True
    gap: int = 2
    border: int = 2
    ground: int = 7
    cut_targets: str = "keep"
    min_share: float = 0.5

    def __post_init__(self):
        for name, choices in (
            ("method", METHODS),
            ("centre", CENTRES),
            ("cut_targets", CUTS),
        ):
            if getattr(self, name) not in choices:
                value, names = getattr(self, name), sorted(choices)
                raise ValueError(f"unknown {name} {value!r}; choose from {names}")
        if self.tile % 2 or not SMALLEST <= self.tile <= LARGEST:
            raise ValueError(
                f"tile {self.tile} is not an even number from {SMALLEST} to {LARGEST}"
            )
        if self.scale is not None and not 0.5 <= self.scale[0] <= self.scale[1] <= 4:
            raise ValueError(f"scale {self.scale} is not 0.5 <= low <= high <= 4")
        if not 0 < self.centre_range[0] <= self.centre_range[1] < 1:
            raise ValueError(f"centre_range {self.centre_range} is not inside (0, 1)")
        if not 0 < self.visible <= 0.5:
            raise ValueError(f"visible {self.visible} is not in (0, 0.5]")
        if self.concentration <= 0 or min(self.gap, self.border, self.ground) < 1:
            raise ValueError("concentration, gap, border and ground must be positive")

    @property
    def parents(self):
        """How many images a sample takes."""
        return METHODS[self.method].parents

    @property
    def side(self):
        """Height and width of a sample in pixels."""
        grid = self.method == "mosaic" and self.centre == "grid"
        return 2 * self.tile if grid else self.tile


@functools.partial(jax.jit, static_argnames="settings")
def compose(keys, images, masks, settings):
    """A batch of samples.

    Args:
      keys: (b,) keys, one a sample.
      images: (b, p, t, t, c) in [0, 1], the anchors first (`parents.gather`).
      masks: (b, p, t, t, 1), target above 0.
      settings: a `Composition`, with p its `parents` and t its `tile`.

    Returns:
      image (b, side, side, c) in [0, 1] and mask (b, side, side, 1) in {0, 1}.
    """
    tiles = (settings.parents, settings.tile, settings.tile)
    if images.shape[1:4] != tiles or masks.shape[1:] != (*tiles, 1):
        raise ValueError(
            f"images {images.shape} and masks {masks.shape} are not (b, parents, tile, "
            f"tile, c) with {tiles} of {settings.method}"
        )
    run = functools.partial(_sample, settings=settings)
    return jax.vmap(run)(keys, images, masks[..., 0] > 0)


def _sample(key, images, masks, settings):
    vary_key, key = jax.random.split(key)
    keys = jax.random.split(vary_key, len(images))
    vary = functools.partial(geometry.vary, settings=settings)
    images, masks = jax.vmap(vary)(keys, images, masks)
    labels = targets(masks, settings)
    image, left = METHODS[settings.method].apply(key, images, labels, settings)
    mask = left > 0
    if settings.cut_targets == "drop":
        mask = whole_enough(labels, left, settings.min_share)
    return image, mask[..., None].astype(image.dtype)


def targets(masks, settings):
    """Labels (p, t, t), above 0 on targets; one a target where cut ones are dropped."""
    if settings.cut_targets == "keep":
        return masks.astype(jnp.int32)
    labels = jax.vmap(geometry.components)(masks)
    first = masks[0].size * jnp.arange(len(masks))[:, None, None]
    return jnp.where(masks, labels + first, 0)


def whole_enough(before, after, min_share):
    """The mask of the labels of `after` that kept this share of their pixels `before`.

    All of them, if none has.
    """
    count = jnp.zeros(before.size + 1, jnp.int32)
    whole, left = (count.at[part.ravel()].add(1) for part in (before, after))
    kept = (left >= min_share * whole)[after] & (after > 0)
    return jnp.where(kept.any(), kept, after > 0)
