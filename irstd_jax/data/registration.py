"""How far masks lie from the light that they mark.

Where a set's images or masks were resampled, all masks may lie a fraction of a pixel to
one side of their targets. A network learns that like anything else, unless training
mirrors and turns its images: then masks lie to every side, and where is anyone's guess.
A quarter of a pixel down and to the side costs a target of 4 x 4 px a fifth of its IoU.
NUDT-SIRST is such a set (benchmarks/RESULTS.md).

Of a target, offset = centroid of the mask - centroid of the light, (y, x) in px; light
is what exceeds the median of the ground, within REACH of the mask, and the ground is
the ring of RING px around that. Targets that do not stand out from their ground tell
nothing, nor do extended ones, whose light has a shape of its own.
"""

import numpy as np
from scipy import ndimage

SMALLEST, LARGEST = 6, 120  # px of a target
REACH, RING = 2, 2  # px
CLEAR = 4.0  # mean of the target over the ground, in standard deviations of that
FEWEST = 30  # targets, to say anything of a set
NEIGHBOURS = np.ones((3, 3), bool)
NONE = np.empty((0, 2))  # no offsets


def offsets(image, mask):
    """The offsets (n, 2) of the targets of an image (h, w) that are fit to tell.

    mask: (h, w), target where above 0.
    """
    mask = mask > 0
    labels, _ = ndimage.label(mask, NEIGHBOURS)
    found = []
    for number, box in enumerate(ndimage.find_objects(labels), start=1):
        box = tuple(
            slice(max(side.start - REACH - RING, 0), side.stop + REACH + RING)
            for side in box
        )
        own = labels[box] == number
        found.append(offset(np.float64(image[box]), own, mask[box] & ~own))
    return np.array([one for one in found if one is not None]).reshape(-1, 2)


def offset(image, own, others):
    """The offset of one target, or None; `own`, `others`: its pixels, and of others."""
    near = ndimage.binary_dilation(own, NEIGHBOURS, iterations=REACH)
    ring = ndimage.binary_dilation(near, NEIGHBOURS, iterations=RING) & ~near
    ground = image[ring & ~others]
    if not SMALLEST <= own.sum() <= LARGEST or not ground.size or (near & others).any():
        return None
    light = np.where(near, np.maximum(image - np.median(ground), 0), 0)
    if image[own].mean() - np.median(ground) <= CLEAR * ground.std():
        return None
    centre = np.array(ndimage.center_of_mass(own))
    return centre - ndimage.center_of_mass(light)


def shift(found):
    """(mean offset (2,), its standard error (2,)) of offsets (n, 2), or None if few."""
    if len(found) < FEWEST:
        return None
    return found.mean(0), found.std(0, ddof=1) / len(found) ** 0.5
