r"""How much each time of the schedule counts in a loss, and how often it is drawn.

With snr = alpha_t^2 / sigma_t^2 the squared errors of the three outputs are those of
x0, weighed:

    |eps - eps^|^2 = snr |x0 - x0^|^2,   |v - v^|^2 = (snr + 1) |x0 - x0^|^2       (1)

so a weighting of the error of x0 is one of any output. SCHEMES gives it as w(snr):

    x0       1                             eps   snr            v   snr + 1
    min_snr  min(snr, 5)                   Hang et al., ICCV 2023
    sigmoid  e^b sigmoid(log snr - b)      Kingma & Gao 2023; its smooth form    (2)
    flow     (1 + sqrt(snr))^2             |u - u^|^2 of a rectified flow        (3)

(3): a flow X_u = (1 - u) x0 + u eps has the velocity eps - x0, whose error is that of
x0 over u^2, and as snr = ((1 - u) / u)^2, u is 1 / (1 + sqrt(snr)).

TIMES draws t; a sparse mask is easy to find at most times, so the noisy end is worth
more than its share. With r uniform in (0, 1), t is the floor of T times

    uniform  r                 shift         3 r / (1 + 2 r)
    power    sqrt(r), P(t) ~ t + 1/2         logit_normal  sigmoid(1 + z), z ~ N(0, 1)

No importance is corrected for: the bias is meant. `last_share` draws T - 1 in its
place with that chance, which the single evaluation of a one-step detector needs.
"""

import jax
import jax.numpy as jnp
import numpy as np

SCHEMES = {
    "eps": lambda snr, bias=0.0: snr,
    "flow": lambda snr, bias=0.0: (1 + jnp.sqrt(snr)) ** 2,
    "min_snr": lambda snr, bias=0.0: jnp.minimum(snr, 5.0),
    "sigmoid": lambda snr, bias=0.0: 1 / (1 / snr + jnp.exp(-bias)),
    "v": lambda snr, bias=0.0: snr + 1,
    "x0": lambda snr, bias=0.0: jnp.ones_like(snr),
}
TIMES = {
    "logit_normal": lambda r: jax.nn.sigmoid(1 + jax.scipy.stats.norm.ppf(r)),
    "power": jnp.sqrt,
    "shift": lambda r: 3 * r / (1 + 2 * r),
    "uniform": lambda r: r,
}


def weights(schedule, scheme, bias=0.0):
    """w of x0's squared error at every time, float32 (T,); bias is b of Eq. 2.

    Raises ValueError for an unknown scheme.
    """
    if scheme not in SCHEMES:
        raise ValueError(f"unknown weighting {scheme!r}; choose from {sorted(SCHEMES)}")
    # A table is a constant, also where a loss is being traced.
    with jax.ensure_compile_time_eval():
        snr = jnp.asarray(np.exp(schedule.logsnr), jnp.float32)
        return np.asarray(SCHEMES[scheme](snr, bias))


def draw_time(key, steps, times="uniform", last_share=0.0):
    """One training time, int32 in 0 .. steps - 1, by a rule of TIMES.

    Raises ValueError for an unknown rule, or a share outside [0, 1].
    """
    if times not in TIMES:
        raise ValueError(f"unknown times {times!r}; choose from {sorted(TIMES)}")
    if not 0.0 <= last_share <= 1.0:
        raise ValueError(f"last_share must lie in [0, 1], got {last_share}")
    if times == "uniform" and not last_share:
        return jax.random.randint(key, (), 0, steps)
    time_key, last_key = jax.random.split(key)
    r = jax.random.uniform(time_key, minval=jnp.finfo(jnp.float32).tiny)
    t = jnp.minimum(jnp.floor(TIMES[times](r) * steps).astype(jnp.int32), steps - 1)
    return jnp.where(jax.random.bernoulli(last_key, last_share), steps - 1, t)
