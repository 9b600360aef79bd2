"""Confidence intervals over images: the percentile bootstrap on additive counts.

Drawing n images with replacement is drawing how often each image occurs, a multinomial
weight vector; a metric being a function of summed counts, the repeats are the rows of
`weights @ counts`, and no image is looked at again (Efron & Tibshirani, 1993, ch. 13).
"""

import jax
import numpy as np


def intervals(states, compute, repeats=1000, level=0.95, seed=0):
    """Percentile intervals {name: (low, high)} of every value that `compute` returns.

    states: counts of n images, stacked along a leading axis (see `metrics.stack`);
    compute: counts with a leading axis of repeats -> dict of arrays (repeats,). Repeats
    in which a value is undefined (nan) are left out of its interval; a value that never
    exists has the interval (nan, nan).
    """
    if not 0 < level < 1:
        raise ValueError(f"level {level} is not between 0 and 1; 0.95 is usual")
    check(repeats)
    n = len(jax.tree.leaves(states)[0])
    draws = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), repeats)
    weights = draws.astype(np.float64)
    sums = jax.tree.map(lambda leaf: np.tensordot(weights, leaf, axes=1), states)
    return {name: interval(found, level) for name, found in compute(sums).items()}


def check(repeats):
    """Refuses a number of repeats, `evaluation.bootstrap`, that gives no interval."""
    if repeats < 1:
        raise ValueError(
            f"evaluation.bootstrap must be at least 1, got {repeats}; 1000 repeats are "
            "usual"
        )


def interval(values, level):
    """The central interval that holds `level` of the finite values."""
    values = values[np.isfinite(values)]
    if values.size == 0:
        return np.nan, np.nan
    tail = 50 * (1 - level)
    low, high = np.percentile(values, [tail, 100 - tail])
    return float(low), float(high)
