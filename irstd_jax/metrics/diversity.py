"""How samples of one posterior differ, and how far they are from the truth.

With the distance d = 1 - IoU of two masks, 0 for two empty ones, of samples S, S' and
the truth Y (Szekely & Rizzo; Kohl et al., "A Probabilistic U-Net", NeurIPS 2018):

    (1)  GED^2 = 2 E d(S, Y) - E d(S, S') - E d(Y, Y')

With one label the last term is 0. The second is over pairs of DIFFERENT samples, as
independence wants: so the figure does not depend on their number, may lie below 0, and
is smaller than that of codes that pair a sample with itself as well.

    (2)  diversity = E d(S, S')
    (3)  spread    = mean deviation over samples of the pixels that any sample holds
"""

import numpy as np

from irstd_jax.metrics import overlap


def distances(one, other):
    """1 - IoU of masks (n, pixels) and (m, pixels), of bool: (n, m)."""
    # float64 products count exactly, and go through BLAS.
    one, other = one.astype(np.float64), other.astype(np.float64)
    shared = one @ other.T
    union = one.sum(1)[:, None] + other.sum(1) - shared
    return 1 - np.divide(shared, union, out=np.ones_like(shared), where=union > 0)


def ged_squared(masks, truth):
    """(GED^2 by (1), diversity by (2)) of masks (n, h, w) and truth (h, w), of bool.

    One mask alone has diversity 0.
    """
    n = len(masks)
    any_ = masks.any(0) | truth
    # Where all agree on background, nothing is to be compared.
    masks, truth = masks[:, any_], truth[any_]
    between = distances(masks, masks).sum() / max(n * (n - 1), 1)
    return 2 * distances(masks, truth[None]).mean() - between, between


def spread(samples, masks):
    """(sum of deviations, number of pixels) for (3); samples (n, h, w) in [0, 1]."""
    held = masks.any(0)
    deviation = np.asarray(samples, np.float64)[:, held].std(0)
    return deviation.sum(), np.int64(deviation.size)


def binary(samples, threshold):
    """Samples (n, h, w) or (n, h, w, 1) as masks (n, h, w): p > threshold."""
    samples = np.asarray(samples)
    if samples.ndim == 3:
        samples = samples[..., None]
    return np.stack([overlap.plane(one, "a sample") > threshold for one in samples])
