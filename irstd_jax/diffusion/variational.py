r"""The variational bound, by which a network learns the variance of the reverse chain.

A network that gives v beside its prediction says how wide each step is, between the
two fixed choices (process.py), by pixel:

    log s_t^2 = f log beta_t + (1 - f) log beta~_t,   f = (v + 1) / 2              (1)

v = 1 is "large", v = -1 "small"; v is not bounded. beta~_0 = 0 is replaced by beta~_1.
With the chain's mean mu_t of x0^ (process.py, Eq. 3), x0^ not clipped,

    L_t = KL( N(mu_t(x0), beta~_t) | N(mu_t(x0^), s_t^2) )     t > 0               (2)
    L_0 = -log P(x0 | N(x0^, s_0^2))                                               (3)

    KL(N(m, a^2) | N(n, b^2)) = log(b / a) + (a^2 + (m - n)^2) / 2 b^2 - 1 / 2     (4)

means over pixels, in bits: divided by log 2. P in (3) is the Gaussian's mass in the bin
of x0, one of 256 levels even on [-1, 1], whose first and last bin are open. x0^ counts
as given there: only v learns by L_t, the prediction by its own error.

Source: Nichol & Dhariwal, Improved DDPM (ICML 2021), Eq. 15 and 16, Ho et al. 2020,
Eq. 13. The released codes approximate the normal distribution function in (3), to 5e-4,
and cut P at 1e-12; here its logarithm is exact in the tails.
"""

import jax
import jax.numpy as jnp
import numpy as np

from irstd_jax.diffusion import process

BIN = 2 / 255  # on [-1, 1]
SMALLEST = 1e-7  # of the difference of two logarithms


def share(v):
    """f of Eq. 1, of v (b, h, w, 1)."""
    return (v + 1) / 2


def log_variances(schedule):
    """log beta_t and log beta~_t, float64 (T,) each, as Eq. 1 takes them."""
    small = process.small_variance(schedule)
    return np.log(schedule.betas), np.log(np.append(small[1], small[1:]))


def log_variance(schedule, t, v):
    """Eq. 1 for t (b,) and v (b, h, w, 1)."""
    large, small = (process.at(table, t, v) for table in log_variances(schedule))
    return share(v) * large + (1 - share(v)) * small


def gaussian_kl(mean, log_variance, mean_p, log_variance_p):
    """Eq. 4 of N(mean, .) against N(mean_p, .), in nats, elementwise."""
    ratio = jnp.exp(log_variance - log_variance_p)
    apart = jnp.square(mean - mean_p) * jnp.exp(-log_variance_p)
    return 0.5 * (log_variance_p - log_variance + ratio + apart - 1)


def bin_nll(x0, mean, log_variance):
    """Eq. 3 in nats, elementwise: x0 in [-1, 1] against N(mean, exp(log_variance))."""
    scale = jnp.exp(-0.5 * log_variance)
    upper, lower = ((x0 + side * BIN / 2 - mean) * scale for side in (1, -1))
    mass = jnp.where(
        x0 < -1 + BIN / 2,
        jax.scipy.special.log_ndtr(upper),
        jnp.where(
            x0 > 1 - BIN / 2,
            jax.scipy.special.log_ndtr(-lower),
            log_mass(lower, upper),
        ),
    )
    return -mass


def log_mass(lower, upper):
    """log(Phi(upper) - Phi(lower)), from the side of zero where both are small."""
    right = lower > 0
    lower, upper = jnp.where(right, -upper, lower), jnp.where(right, -lower, upper)
    below, above = map(jax.scipy.special.log_ndtr, (lower, upper))
    return above + jnp.log(-jnp.expm1(-jnp.maximum(above - below, SMALLEST)))


def bound(schedule, x0, guess, x_t, t, v):
    """L_t of Eq. 2 and 3 in bits a pixel, (b,).

    Args:
      schedule: of T steps.
      x0: (b, h, w, 1), the truth, in [-1, 1].
      guess: (b, h, w, 1), x0^; no gradient goes through it.
      x_t: (b, h, w, 1), at times t (b,).
      v: (b, h, w, 1), of Eq. 1.
    """
    mean, _ = process.posterior(schedule, x0, x_t, t)
    mean_p, _ = process.posterior(schedule, jax.lax.stop_gradient(guess), x_t, t)
    log_variance_p = log_variance(schedule, t, v)
    _, small = log_variances(schedule)
    kl = gaussian_kl(mean, process.at(small, t, x_t), mean_p, log_variance_p)
    first = t.reshape(-1, *(1,) * (x0.ndim - 1)) == 0
    nats = jnp.where(first, bin_nll(x0, mean_p, log_variance_p), kl)
    return nats.mean(tuple(range(1, x0.ndim))) / np.log(2)
