"""Pictures for people: every function takes arrays and returns uint8 (h, w, 3)."""

from irstd_jax.viz.canvas import HIT, MISS, PREDICTION, WRONG, contact_sheet, grey
from irstd_jax.viz.curves import (
    over_evaluations,
    pd_fa,
    reliability,
    roc,
    tradeoff,
    training_curve,
)
from irstd_jax.viz.figures import (
    activation,
    posterior_samples,
    residual,
    sampling_strip,
    wavelet,
)
from irstd_jax.viz.overlays import overlay, verdict
from irstd_jax.viz.uncertainty import uncertainty

__all__ = [
    "HIT",
    "MISS",
    "PREDICTION",
    "WRONG",
    "activation",
    "contact_sheet",
    "grey",
    "over_evaluations",
    "overlay",
    "pd_fa",
    "posterior_samples",
    "reliability",
    "residual",
    "roc",
    "sampling_strip",
    "tradeoff",
    "training_curve",
    "uncertainty",
    "verdict",
    "wavelet",
]
