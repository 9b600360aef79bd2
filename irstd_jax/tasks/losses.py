"""Losses of logit maps against masks, for networks of one map and of several.

Each takes logits (b, h, w, k) and a mask (b, h, w, 1) in {0, 1}, and gives the losses
of the k maps, (k,); p is the sigmoid of a logit. `axis` names the mapped axis over
which a batch is spread: a loss that is no mean over images sums over it, so that its
gradient, averaged over the devices, is that of the whole batch on one device.
"""

import jax
import jax.numpy as jnp
import optax


def soft_iou(logits, mask, axis=None):
    """1 - (p m + 1) / (p + m - p m + 1), sums over pixels, mean over images.

    The 1 makes an empty image without detection right.
    """
    return (1 - smooth_ratio(*overlap(logits, mask))).mean(0)


def soft_iou_batch(logits, mask, axis=None):
    """The same with sums over the pixels of all images of the batch."""
    both, either = (total(x.sum(0), axis) for x in overlap(logits, mask))
    return 1 - smooth_ratio(both, either)


def bce(logits, mask, axis=None):
    """-m log(p) - (1 - m) log(1 - p), mean over pixels."""
    mask = jnp.broadcast_to(mask, logits.shape)
    return optax.sigmoid_binary_cross_entropy(logits, mask).mean((0, 1, 2))


def focal(logits, mask, axis=None):
    """-m (1 - p)^2 log(p) - (1 - m) p^2 log(1 - p), a target pixel.

    The sum over the batch by its number of target pixels, or by 1 if it has none: as
    LESPS has it, after CornerNet, whose third factor (1 - m)^4 is 1 on binary masks.
    """
    p = jax.nn.sigmoid(logits)
    hit = mask * jnp.square(1 - p) * jax.nn.log_sigmoid(logits)
    quiet = (1 - mask) * jnp.square(p) * jax.nn.log_sigmoid(-logits)
    pixels = total(mask.sum(), axis)
    return -total((hit + quiet).sum((0, 1, 2)), axis) / jnp.maximum(pixels, 1)


def target_weights(mask, extra, window=15):
    """Weights of the pixels, 1 + extra m / a: a target weighs `extra` pixels more.

    a is the number of target pixels in the window around a pixel, which is the area of
    a target that fits into it and lies apart from others. Without, an error on a
    target of 3 px costs a thirtieth of one on a target of 90 px.

    Args:
      mask: (b, h, w, 1) in {0, 1}.
      extra: in pixels.
      window: side in pixels, odd.
    """
    area = mask
    for axis in (1, 2):
        size = [1, 1, 1, 1]
        size[axis] = window
        area = jax.lax.reduce_window(area, 0.0, jax.lax.add, size, (1,) * 4, "SAME")
    return 1 + extra * mask / jnp.maximum(area, 1)


LOSSES = {
    "bce": bce,
    "focal": focal,
    "soft_iou": soft_iou,
    "soft_iou_batch": soft_iou_batch,
}


def overlap(logits, mask):
    """Soft intersection and union of each image and map, both (b, k)."""
    probability = jax.nn.sigmoid(logits)
    both = (probability * mask).sum((1, 2))
    return both, probability.sum((1, 2)) + mask.sum((1, 2)) - both


def smooth_ratio(both, either):
    return (both + 1) / (either + 1)


def total(x, axis):
    """The sum over the devices, if the batch is spread over some."""
    return x if axis is None else jax.lax.psum(x, axis)
