r"""The forward process, its posterior, and what a network may be asked to predict.

With alpha_t, sigma_t of the schedule (`irstd_jax.diffusion.schedule`), equation numbers
in brackets [] being those of the IRSTD-Diff paper:

    x_t = alpha_t x0 + sigma_t eps,                    eps ~ N(0, 1)       (1)  [4]
    q(x_{t-1} | x_t, x0) = N(mu_t, beta~_t)                                (2)  [9]
    mu_t = (alpha_{t-1} beta_t x0 + sqrt(1 - beta_t) sigma_{t-1}^2 x_t) / sigma_t^2
                                                                           (3)  [10]
    beta~_t = beta_t sigma_{t-1}^2 / sigma_t^2                             (4)  [11]

with alpha_{-1} = 1, sigma_{-1} = 0: at t = 0 the posterior is x0 itself. The reverse
chain draws with a fixed variance, "small" = beta~_t or "large" = beta_t. The paper's
Eq. 14 writes sqrt(beta_t) where a variance belongs; its released code has the variance
beta_t, and at t = 0, where no noise is drawn, stores beta~_1. We follow the code.

A network predicts one of eps, x0 or v; given x_t each fixes the other two:

    v  = alpha_t eps - sigma_t x0                                               (5)
    x0 = (x_t - sigma_t eps) / alpha_t = alpha_t x_t - sigma_t v                (6)
    eps = (x_t - alpha_t x0) / sigma_t                                          (7)

The paper predicts eps. (6) then multiplies its error by sigma_t / alpha_t, 221 at the
last of T = 100 linear steps; x0 and v have no such factor.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from irstd_jax.diffusion.schedule import Schedule


def at(table: np.ndarray, t: jax.Array, like: jax.Array) -> jax.Array:
    """Entries t (b,) of a table (T,), shaped to multiply `like` (b, ...)."""
    entries = jnp.asarray(table, like.dtype)[t]
    return entries.reshape(t.shape + (1,) * (like.ndim - t.ndim))


def signal_and_noise(schedule: Schedule, t: jax.Array, like: jax.Array):
    """alpha_t and sigma_t for t (b,), each (b, 1, ...) to multiply `like` (b, ...)."""
    return at(schedule.alpha, t, like), at(schedule.sigma, t, like)


def q_sample(schedule: Schedule, x0: jax.Array, t: jax.Array, eps: jax.Array):
    """x_t of Eq. 1 for x0, eps (b, h, w, c) and t (b,)."""
    alpha, sigma = signal_and_noise(schedule, t, x0)
    return alpha * x0 + sigma * eps


def _before(schedule):
    """alpha and sigma one time earlier, clean data before t = 0."""
    return np.append(1.0, schedule.alpha[:-1]), np.append(0.0, schedule.sigma[:-1])


def posterior(schedule: Schedule, x0: jax.Array, x: jax.Array, t: jax.Array):
    """Mean (b, h, w, c) and variance (b, 1, 1, 1) of q(x_{t-1} | x_t, x0), Eq. 3, 4."""
    alpha, sigma = _before(schedule)
    weight_x0 = alpha * schedule.betas / schedule.sigma**2
    weight_x = np.sqrt(1.0 - schedule.betas) * (sigma / schedule.sigma) ** 2
    mean = at(weight_x0, t, x) * x0 + at(weight_x, t, x) * x
    return mean, at(small_variance(schedule), t, x)


def small_variance(schedule: Schedule) -> np.ndarray:
    """beta~_t of Eq. 4, shape (T,): exact where the data are a single point."""
    _, sigma = _before(schedule)
    return schedule.betas * (sigma / schedule.sigma) ** 2


def large_variance(schedule: Schedule) -> np.ndarray:
    """beta_t, shape (T,): exact where the data are N(0, 1). The released choice."""
    return np.append(small_variance(schedule)[1], schedule.betas[1:])


VARIANCES = {"large": large_variance, "small": small_variance}


class Parameterisation(NamedTuple):
    """What the network predicts, and the way back to x0."""

    target: Callable  # (x0, eps, alpha, sigma) -> output
    to_x0: Callable  # (output, x, alpha, sigma) -> x0


PARAMETERISATIONS = {
    "eps": Parameterisation(
        target=lambda x0, eps, alpha, sigma: eps,
        to_x0=lambda output, x, alpha, sigma: (x - sigma * output) / alpha,
    ),
    "x0": Parameterisation(
        target=lambda x0, eps, alpha, sigma: x0,
        to_x0=lambda output, x, alpha, sigma: output,
    ),
    "v": Parameterisation(
        target=lambda x0, eps, alpha, sigma: alpha * eps - sigma * x0,
        to_x0=lambda output, x, alpha, sigma: alpha * x - sigma * output,
    ),
}


def _parameterisation(kind):
    if kind not in PARAMETERISATIONS:
        choices = sorted(PARAMETERISATIONS)
        raise ValueError(f"unknown parameterisation {kind!r}; choose from {choices}")
    return PARAMETERISATIONS[kind]


def target(kind: str, x0, eps, alpha, sigma):
    """What a network of this kind should have said. Arrays of one broadcast shape."""
    return _parameterisation(kind).target(x0, eps, alpha, sigma)


def to_x0(kind: str, output, x, alpha, sigma):
    """The x0 that a network's output means at x = x_t. Not clipped."""
    return _parameterisation(kind).to_x0(output, x, alpha, sigma)


def convert(source: str, destination: str, output, x, alpha, sigma):
    """A network's output as if a network of the other kind had given it (Eq. 5-7)."""
    x0 = to_x0(source, output, x, alpha, sigma)
    return target(destination, x0, (x - alpha * x0) / sigma, alpha, sigma)
