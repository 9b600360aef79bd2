r"""Noise schedules: how much of the mask is left at each training time.

Time is the integer index t = 0 .. T-1, least noise first. A schedule is a table of
variances beta_t (Eq. 2 of IRSTD-Diff); everything else follows from it:

    abar_t   = \prod_{s <= t} (1 - beta_s)                                      (1)
    alpha_t  = sqrt(abar_t),   sigma_t = sqrt(1 - abar_t)                       (2)
    logsnr_t = log(alpha_t^2 / sigma_t^2)                                       (3)

so that x_t = alpha_t x0 + sigma_t eps (Eq. 4). The registered schedules are

    linear:         beta from 1e-4 to 0.02, times 1000 / T                      (4)
    scaled_linear:  sqrt(beta) even from sqrt(0.00085) to sqrt(0.012), beta
                    times 1000 / T                                              (5)
    cosine:         abar(u) = cos^2(pi/2 (u + 0.008) / 1.008), u = (t + 1) / T,
                    beta capped at 0.999                                        (6)
    rectified:      abar(u) = (1 - u)^2 / ((1 - u)^2 + u^2), u = (t + 1) / (T + 1)
                                                                                (7)

(4) is Ho et al. 2020 as IRSTD-Diff uses it: T = 100 gives beta = 1e-3 .. 0.2. (5) is
the schedule of latent diffusion (T = 1000 there), (6) that of Nichol & Dhariwal 2021.
(7) is the straight path (1 - u) x0 + u eps of a rectified flow (Liu et al., ICLR 2023),
scaled to unit variance; `ddim` with eta = 0 takes on it the Euler steps of the flow.

The factor 1000 / T keeps the total noise about the same for every T, but drives the
last beta of (4) to 1 at T = 20: x_T then holds nothing of x0, 1 / alpha_T is infinite,
and below T = 20 beta is no variance any more. This is the "NW" (not working) of Table
VI; such a schedule is refused. T = 30, its smallest working entry, has
1 / alpha_T = 939.

Tables are float64 NumPy arrays: cumulative products of many numbers near one lose
their last digits in float32.
"""

import dataclasses
import functools

import numpy as np


# Compared and hashed by identity, so that jit takes a schedule as a static argument.
@dataclasses.dataclass(frozen=True, eq=False)
class Schedule:
    """Tables of length T, float64; `name` is the rule that made them."""

    name: str
    betas: np.ndarray

    @property
    def steps(self) -> int:
        """T, the number of training times."""
        return len(self.betas)

    @functools.cached_property
    def alpha_bar(self) -> np.ndarray:
        return np.cumprod(1.0 - self.betas)

    @functools.cached_property
    def alpha(self) -> np.ndarray:
        return np.sqrt(self.alpha_bar)

    @functools.cached_property
    def sigma(self) -> np.ndarray:
        return np.sqrt(1.0 - self.alpha_bar)

    @functools.cached_property
    def logsnr(self) -> np.ndarray:
        return 2.0 * (np.log(self.alpha) - np.log(self.sigma))


def linear(steps):
    """Betas of Eq. 4, shape (steps,)."""
    return np.linspace(1e-4, 0.02, steps) * (1000 / steps)


def scaled_linear(steps):
    """Betas of Eq. 5, shape (steps,)."""
    return np.linspace(0.00085**0.5, 0.012**0.5, steps) ** 2 * (1000 / steps)


def cosine(steps):
    """Betas of Eq. 6, shape (steps,)."""
    u = np.arange(steps + 1) / steps
    alpha_bar = np.cos(np.pi / 2 * (u + 0.008) / 1.008) ** 2
    return np.minimum(1.0 - alpha_bar[1:] / alpha_bar[:-1], 0.999)


def rectified(steps):
    """Betas of Eq. 7, shape (steps,)."""
    u = np.arange(steps + 1) / (steps + 1)
    alpha_bar = (1 - u) ** 2 / ((1 - u) ** 2 + u**2)
    return 1.0 - alpha_bar[1:] / alpha_bar[:-1]


SCHEDULES = {
    "cosine": cosine,
    "linear": linear,
    "rectified": rectified,
    "scaled_linear": scaled_linear,
}


def noise_schedule(name: str, steps: int) -> Schedule:
    """The named schedule with T = `steps` training times.

    Raises ValueError for an unknown name, fewer than two steps, or a T so small that
    beta reaches 1 ("linear": T <= 20, "scaled_linear": T <= 12).
    """
    if name not in SCHEDULES:
        raise ValueError(f"unknown schedule {name!r}; choose from {sorted(SCHEDULES)}")
    if steps < 2:
        raise ValueError(f"a schedule needs at least 2 steps, got {steps}")
    betas = SCHEDULES[name](steps)
    if betas.max() >= 1.0:
        raise ValueError(
            f"the {name} schedule does not work with {steps} steps: scaled by "
            f"1000 / {steps} its beta reaches {betas.max():.3g}, and from beta = 1 on "
            f"nothing of the mask is left (1 / alpha is infinite); "
            f"take more than {int(steps * betas.max())} steps"
        )
    return Schedule(name, betas)
