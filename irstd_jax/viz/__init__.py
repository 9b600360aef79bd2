"""Pictures for people: every function takes arrays and returns uint8 (h, w, 3)."""

from irstd_jax.viz.canvas import HIT, MISS, PREDICTION, WRONG, contact_sheet
from irstd_jax.viz.curves import pd_fa, roc, training_curve
from irstd_jax.viz.figures import (
    activation,
    posterior_samples,
    residual,
    sampling_strip,
    wavelet,
)
from irstd_jax.viz.overlays import overlay

__all__ = [
    "HIT",
    "MISS",
    "PREDICTION",
    "WRONG",
    "activation",
    "contact_sheet",
    "overlay",
    "pd_fa",
    "posterior_samples",
    "residual",
    "roc",
    "sampling_strip",
    "training_curve",
    "wavelet",
]
