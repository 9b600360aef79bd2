"""The diffusion process and its samplers: theory on arrays, no networks."""

from irstd_jax.diffusion.ensemble import ENSEMBLES, combine
from irstd_jax.diffusion.process import (
    PARAMETERISATIONS,
    VARIANCES,
    convert,
    posterior,
    q_sample,
    signal_and_noise,
    target,
    to_x0,
)
from irstd_jax.diffusion.samplers import SAMPLERS, evaluations, sample
from irstd_jax.diffusion.schedule import SCHEDULES, Schedule, noise_schedule
from irstd_jax.diffusion.spacing import LEVELS, SPACINGS, Grid, noise_levels

__all__ = [
    "ENSEMBLES",
    "LEVELS",
    "PARAMETERISATIONS",
    "SAMPLERS",
    "SCHEDULES",
    "SPACINGS",
    "VARIANCES",
    "Grid",
    "Schedule",
    "combine",
    "convert",
    "evaluations",
    "noise_levels",
    "noise_schedule",
    "posterior",
    "q_sample",
    "sample",
    "signal_and_noise",
    "target",
    "to_x0",
]
