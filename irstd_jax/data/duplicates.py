"""Near-copies: images of two parts whose thumbnails are all but proportional.

Thumbnails of 48 x 48 are compared by Pearson's correlation. Frames of one video, and
scenes that were made from one background, come out above .98; independent scenes do
not, if both have texture: any two pictures of mere sky correlate.
"""

import numpy as np
from PIL import Image

THUMBNAIL = 48
CORRELATION = 0.98
TEXTURE = 8.0  # the least standard deviation of a thumbnail, of 255


def thumbnail(image):
    """(48 * 48,) of a grey image in [0, 1], bilinear in 8 bits, as values of 255."""
    grey = Image.fromarray(np.rint(image * 255).astype(np.uint8))
    small = grey.resize((THUMBNAIL, THUMBNAIL), Image.BILINEAR)
    return np.asarray(small, np.float32).ravel()


def near_copies(queries, references):
    """Finds for each textured query the reference that is most like it.

    Args:
      queries, references: rows with `name` and `thumbnail` (or None).
    Returns:
      (copies, count): (query, reference, correlation) of each near-copy, and how many
      queries have texture.
    """
    queries = [row for row in queries if textured(row)]
    references = [row for row in references if textured(row)]
    if not queries or not references:
        return [], len(queries)
    correlation = standardised(queries) @ standardised(references).T / THUMBNAIL**2
    copies = [
        (query.name, references[values.argmax()].name, float(values.max()))
        for query, values in zip(queries, correlation, strict=True)
        if values.max() > CORRELATION
    ]
    return copies, len(queries)


def textured(row):
    return row.thumbnail is not None and row.thumbnail.std() >= TEXTURE


def standardised(rows):
    """(n, 48 * 48) thumbnails of mean 0 and variance 1."""
    values = np.stack([row.thumbnail for row in rows])
    values = values - values.mean(1, keepdims=True)
    return values / values.std(1, keepdims=True)
