"""How parents become one sample: METHODS, each on image and labels alike.

    mosaic      2x2 tiles. Released order: the anchor top left, then below it, top
                right, bottom right. Centre "grid": whole tiles, the output is 2t x 2t.
                Centre "random": the output is t x t, the four meet at a point drawn
                from the middle of it, and each quadrant shows a window of its parent
                that holds a random target pixel of it (any, if it has none). So all
                pixels are real ones, at native scale.
    cutmix      the box of `boxes`, at the same place in both, from parent 1. Up to
                TRIES are drawn until one leaves a target pixel of the anchor outside,
                else nothing is pasted.
    mixup       lam anchor + (1 - lam) partner, lam ~ Beta(a, a), at least 1/2. The
                anchor's targets count, the partner's where 1 - lam >= `visible`.
    copy_paste  all targets of parent 1, moved together, in the anchor: their pixels,
                their local background's level replaced by that of the new place, so
                that contrast is kept (but for the clip to [0, 1]). TRIES places are
                drawn until one is not within `gap` pixels of the anchor's targets, else
                nothing is pasted.

Labels are int32 (t, t), above 0 on targets; settings are a `compose.Composition`.
Sources: Mosaic (YOLOv4), CutMix (ICCV 2019), mixup (ICLR 2018), copy-paste (CVPR 2021),
and the released mosaic.py of Diff-Mosaic.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from irstd_jax.mosaic import boxes, geometry
from irstd_jax.mosaic.retarget import feather

TRIES = 16


def mosaic(key, images, labels, settings):
    if settings.centre == "grid":
        return grid(images), grid(labels)
    return _quadrants(key, images, labels, settings)


def grid(x):
    """(4, t, t, ...) -> (2t, 2t, ...): columns of two, the left one first."""
    left, right = jnp.concatenate(x[:2]), jnp.concatenate(x[2:])
    return jnp.concatenate([left, right], axis=1)


def _quadrants(key, images, labels, settings):
    centre_key, *keys = jax.random.split(key, 5)
    t = settings.tile
    low, high = (max(1, min(t - 1, round(s * t))) for s in settings.centre_range)
    centre = jax.random.randint(centre_key, (2,), low, high + 1)
    image, left = images[0], labels[0]
    for number, key in enumerate(keys):
        past = jnp.array([number % 2, number // 2])  # below, to the right
        start, length = past * centre, jnp.where(past, t - centre, centre)
        move = start - _window(key, labels[number] > 0, length, settings.margin)
        here = boxes.filled(jnp.concatenate([start, start + length]), t, t)
        # The window does not wrap: it lies inside the parent.
        part, marks = (jnp.roll(x[number], move, (0, 1)) for x in (images, labels))
        image, left = (
            jnp.where(here[..., None], part, image),
            jnp.where(here, marks, left),
        )
    return image, left


def _window(key, mask, length, margin):
    """First row and column (2,) of a window of `length` (2,) around a target pixel."""
    pixel_key, key = jax.random.split(key)
    pixel = jnp.stack(geometry.random_pixel(pixel_key, mask))
    last = jnp.array(mask.shape) - length
    margin = jnp.minimum(margin, (length - 1) // 2)
    lowest = jnp.clip(pixel - length + 1 + margin, 0, last)
    highest = jnp.clip(pixel - margin, 0, last)
    return jax.random.randint(key, (2,), lowest, highest + 1)


def cutmix(key, images, labels, settings):
    t = settings.tile
    draw = functools.partial(boxes.box, height=t, width=t)
    corners = jax.vmap(lambda k: draw(k, concentration=settings.concentration))(
        jax.random.split(key, TRIES)
    )
    inside = jax.vmap(lambda c: boxes.filled(c, t, t))(corners)
    chosen, good = first_good(((labels[0] > 0) & ~inside).any((1, 2)))
    box = inside[chosen] & good
    image = jnp.where(box[..., None], images[1], images[0])
    return image, jnp.where(box, labels[1], labels[0])


def first_good(good):
    """The index of the first true one, and whether there is any."""
    return jnp.argmax(good), good.any()


def mixup(key, images, labels, settings):
    lam = jax.random.beta(key, settings.concentration, settings.concentration)
    lam = jnp.maximum(lam, 1 - lam)
    image = lam * images[0] + (1 - lam) * images[1]
    seen = jnp.where(1 - lam >= settings.visible, labels[1], 0)
    return image, jnp.where(labels[0] > 0, labels[0], seen)


def copy_paste(key, images, labels, settings):
    free = geometry.dilated(labels[0] > 0, settings.gap)
    moves = _moves(key, labels[1] > 0, settings)
    moved = jax.vmap(lambda move: jnp.roll(labels[1], move, (0, 1)))(moves)
    chosen, good = first_good(~(free & (moved > 0)).any((1, 2)))
    pasted = jnp.where(good, moved[chosen], 0)
    t = settings.tile
    y, x = (jnp.clip(jnp.arange(t) - d, 0, t - 1) for d in moves[chosen])
    level = [
        local_background(i, m > 0, settings.ground)
        for i, m in zip(images, labels, strict=True)
    ]
    target = (images[1] - level[1])[y][:, x] + level[0]
    weight = feather((pasted > 0)[None, ..., None], settings.border)[0]
    weight = jnp.where(labels[0][..., None] > 0, 0.0, weight)
    image = jnp.clip(images[0] + weight * (target - images[0]), 0, 1)
    return image, jnp.where(pasted > 0, pasted, labels[0])


def _moves(key, mask, settings):
    """TRIES offsets (dy, dx) that leave all of the mask (t, t) inside."""
    if not settings.shift:
        return jnp.zeros((1, 2), jnp.int32)
    lows, highs = [], []
    for axis in (1, 0):
        occupied = mask.any(axis)
        lows.append(-jnp.argmax(occupied))
        highs.append(jnp.argmax(occupied[::-1]))
    bounds = jnp.stack(lows), jnp.stack(highs) + 1
    return jax.random.randint(key, (TRIES, 2), *bounds)


def local_background(image, mask, radius):
    """Mean (t, t, c) of the pixels around each that are no target nor next to one."""
    free = ~geometry.dilated(mask, 1)[..., None]
    total, count = (_box_sum(x, radius) for x in (image * free, 1.0 * free))
    everywhere = image.mean((0, 1))
    return jnp.where(count > 0, total / jnp.maximum(count, 1), everywhere)


def _box_sum(x, radius):
    """Sums over squares of 2 * radius + 1 pixels of (h, w, c), nothing outside."""
    for window in ((2 * radius + 1, 1, 1), (1, 2 * radius + 1, 1)):
        x = jax.lax.reduce_window(x, 0.0, jax.lax.add, window, (1, 1, 1), "SAME")
    return x


class Method(NamedTuple):
    """How many parents, and (key, images, labels, settings) -> image, labels."""

    parents: int
    apply: Callable


METHODS = {
    "mosaic": Method(4, mosaic),
    "cutmix": Method(2, cutmix),
    "mixup": Method(2, mixup),
    "copy_paste": Method(2, copy_paste),
}
