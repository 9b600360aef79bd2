"""What samples of a posterior say about an image: their mean, spread and targets."""

import numpy as np

from irstd_jax.viz import canvas, overlays

MOST = 60  # targets that are written; the surest
LIKELY = 0.5


def uncertainty(image, samples, boxes, probabilities):
    """The image, the samples' mean and deviation, and the targets with their share.

    Targets of half the samples or more are boxed in blue, others circled in yellow.

    Args:
      image: (h, w) or (h, w, 1), any range; contrast is stretched.
      samples: (n, h, w) in [0, 1].
      boxes: (y0, x0, y1, x1) of the targets, half-open, the surest first.
      probabilities: of the targets, the share of samples that hold each.
    """
    image, samples = canvas.plane(image), np.asarray(samples, np.float64)
    if samples.shape[1:] != image.shape:
        raise ValueError(f"samples of {samples.shape[1:]} for an image {image.shape}")
    scale = overlays.magnification(image.shape)
    grey, deviation = canvas.grey(image), samples.std(axis=0)
    marks = [
        overlays.Mark(
            tuple(box), canvas.PREDICTION if p >= LIKELY else canvas.MISS, f"{p:.2f}"
        )
        for box, p in zip(boxes, probabilities, strict=True)
    ]
    large = canvas.enlarge(grey, scale)
    marked = overlays.point_at(
        large, marks[:MOST], scale, [mark.text for mark in marks[:MOST]]
    )
    cells = {
        "image": large,
        f"mean of {len(samples)} samples": canvas.enlarge(
            canvas.grey(samples.mean(axis=0), 0, 1), scale
        ),
        # 0.5 is the largest deviation that values in [0, 1] can have.
        f"deviation, 0 to 0.5; at most {deviation.max():.2f}": canvas.enlarge(
            canvas.heat(deviation, 0, 0.5), scale
        ),
        told(marks): marked,
    }
    return canvas.grid([[canvas.caption(cell, text) for text, cell in cells.items()]])


def told(marks):
    """How many targets there are, and how many are shown."""
    likely = sum(mark.colour == canvas.PREDICTION for mark in marks)
    text = f"targets by share of samples: {likely} of half, {len(marks) - likely} less"
    return text + f"; {MOST} shown" * (len(marks) > MOST)
