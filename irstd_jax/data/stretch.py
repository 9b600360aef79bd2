"""Grey levels drawn out: what one camera calls bright, in the terms of another.

Cameras of 12 or 14 bits fill a narrow band of a file's 16, and each scene its own. The
p-th percentile of an image's levels becomes 0, the (100 - p)-th 1, what lies outside is
cut off. A target is a few pixels among 65,536 of an image of 256 x 256: p = 0.01 spares
the brightest six of these, and still no single hot pixel sets the scale.
"""

import dataclasses
from typing import Any

import numpy as np

NARROW = 1 / 8  # of [0, 1]: less than this is hardly what a detector has learnt


def stretched(image, percentile):
    """An image (h, w, 1) in [0, 1] with its levels drawn out.

    Args:
      percentile: in [0, 50); 0 leaves levels as they are.

    An image of one level stays as it is. Where both percentiles are one level, the
    darkest and the brightest take their place.

    Raises ValueError for another percentile.
    """
    if not 0 <= percentile < 50:
        raise ValueError(
            f"data.stretch {percentile:g} is no percentile below 50: 0.01 is a good "
            "one, 0 leaves the levels as they are"
        )
    if not percentile:
        return image
    ends = np.array([percentile, 100 - percentile], np.float32)
    low, high = np.percentile(image, ends)
    if not high > low:
        low, high = image.min(), image.max()
    if not high > low:
        return image
    return np.clip((image - low) / (high - low), 0, 1).astype(np.float32)


def is_narrow(image):
    """Whether nearly all levels of an image lie in an eighth of [0, 1] or less."""
    low, high = np.percentile(image[::4, ::4], (0.1, 99.9))
    return high - low < NARROW


@dataclasses.dataclass(frozen=True)
class Stretched:
    """A source whose images are `stretched`."""

    source: Any
    percentile: float

    @property
    def names(self):
        return self.source.names

    def __len__(self):
        return len(self.source)

    def __getitem__(self, index):
        sample = self.source[index]
        return sample | {"image": stretched(sample["image"], self.percentile)}

    def describe(self):
        """The facts of the source, and the percentile."""
        return self.source.describe() | {"stretch": self.percentile}
