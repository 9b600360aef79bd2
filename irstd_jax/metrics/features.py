"""What images are compared in: feature extractors, and features of a set of images.

An extractor is any function of a batch; the figures of two extractors have nothing to
do with each other, so a report prints the extractor's name beside each. Networks live
elsewhere: `features` takes those of a trained detector or of Inception as well.
"""

from collections.abc import Callable

import numpy as np

# (b, h, w, 1) images in [0, 1] -> (b, d) features.
Extractor = Callable[[np.ndarray], np.ndarray]


def features(extract, images, batch_size=16):
    """The features (n, d) float64 of images (h, w, 1) in their order.

    Sizes may differ: a batch is of one size, so its number of images may be less.
    """
    waiting, rows = {}, {}

    def run(group):
        indices, batch = zip(*group, strict=True)
        found = np.asarray(extract(np.stack(batch)), np.float64)
        if found.ndim != 2 or len(found) != len(batch):
            raise ValueError(
                f"the extractor made {found.shape} of {len(batch)} images; it must "
                f"give ({len(batch)}, d)"
            )
        rows.update(zip(indices, found, strict=True))
        group.clear()

    for index, image in enumerate(images):
        group = waiting.setdefault(np.shape(image), [])
        group.append((index, image))
        if len(group) == batch_size:
            run(group)
    for group in waiting.values():
        if group:
            run(group)
    if not rows:
        raise ValueError("no images were given to take features of")
    return np.stack([rows[index] for index in range(len(rows))])


def haar_statistics(images, levels=4):
    """Sub-band statistics (b, 6 levels) of images (b, h, w, 1): needs no training.

    Of LH, HL and HH of each level of a Haar transform: the mean of |x|, then the
    standard deviation, as log(1 + grey levels of 255): without the logarithm a few
    images of strong texture would decide all. Blocks are averaged, so that no level
    weighs more by its scale. It sees sharpness and noise at each scale and direction,
    and neither brightness nor objects. Odd last rows and columns are left out.
    """
    low = 255 * np.asarray(images, np.float64)[..., 0]
    if min(low.shape[1:]) < 2**levels:
        raise ValueError(
            f"{levels} levels need sides of {2**levels} px or more, not "
            f"{low.shape[1]}x{low.shape[2]}"
        )
    statistics = []
    for _ in range(levels):
        h, w = (side // 2 * 2 for side in low.shape[1:])
        a, b = low[:, 0:h:2, 0:w:2], low[:, 0:h:2, 1:w:2]
        c, d = low[:, 1:h:2, 0:w:2], low[:, 1:h:2, 1:w:2]
        low = (a + b + c + d) / 4
        bands = (c + d - a - b) / 4, (b + d - a - c) / 4, (a + d - b - c) / 4
        statistics += [np.abs(band).mean((1, 2)) for band in bands]
        statistics += [band.std((1, 2)) for band in bands]
    return np.log1p(np.stack(statistics, -1))


EXTRACTORS = {"haar_statistics": haar_statistics}
