r"""Samplers: from noise to a mask, with `denoise(x, t) -> x0` and nothing else.

Levels i = 0 .. K-1 go from the noisiest to the last before clean data; a = alpha_i,
s = sigma_i, and a', s' belong to level i+1, with a' = 1, s' = 0 after the last. A hat
marks what the network says: x0^ = clip(denoise(x, t)), and eps^ = (x - a x0^) / s is
computed from it after clipping, so that the pair always adds up to x.

Every sampler below is linear in the states and predictions that it has seen, so each
*is* a table of coefficients, made in float64, and one scan drives them all:

    x_{i+1} = \sum_k P_ik x_{i-k} + \sum_k Q_ik x0^_{i-k} + g_i z_i,  z ~ N(0, 1) (1)

ddpm        Ho et al. 2020, IRSTD-Diff Eq. 10-14: with beta = 1 - (a / a')^2,
                P_0 = (a / a') s'^2 / s^2,   Q_0 = a' beta / s^2                  (2)
                g^2 = beta ("large", released) or beta s'^2 / s^2 ("small"), or
                between, by pixel: g = sqrt(beta) (s' / s)^(1 - f) ("learned_range",
                variational.py), for a network that says f beside x0^
ddim        Song et al. 2021: x' = a' x0^ + sqrt(s'^2 - g^2) eps^ + g z           (3)
                g = eta (s' / s) sqrt(beta); eta = 1 is ddpm with "small"
dpm_solver  Lu et al. 2022, DPM-Solver++(2M): lambda = log(a / s), h = lambda' -
            lambda, r = h_{i-1} / h_i
                x' = (s' / s) x + a' (1 - exp(-h)) D                              (4)
                D = (1 + 1 / 2r) x0^_i - 1 / 2r x0^_{i-1};   D = x0^_0 at i = 0
pndm        Liu et al. 2022, pseudo linear multistep: the transfer
                x' = (a' / a) x + (s' - a' s / a) eps~                            (5)
            with eps~ of Adams and Bashforth, order 4. The first three steps take
            orders 1, 2, 3 where the paper takes Runge and Kutta, whose half steps
            fall between training times. The method is of order 2 either way.
edm_heun    Karras et al. 2022: trapezoid rule for d(x / a) = eps^ d(s / a), the
            prediction (5) with eps^_i, then its correction from the same start with
            (eps^_i + eps^_{i+1}) / 2. No churn.

The last step of each returns x0^ itself, so there is no network call after the last
update; with it, multistep samplers end on the lower order. Network calls: K each, and
2K - 1 for edm_heun.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from irstd_jax.diffusion.process import VARIANCES
from irstd_jax.diffusion.schedule import Schedule
from irstd_jax.diffusion.spacing import Grid, noise_levels

RANGE = "learned_range"
ADAMS_BASHFORTH = (
    (1.0,),
    (3 / 2, -1 / 2),
    (23 / 12, -16 / 12, 5 / 12),
    (55 / 24, -59 / 24, 37 / 24, -9 / 24),
)


class Table(NamedTuple):
    """The coefficients of Eq. 1 for n network calls that look d calls back."""

    t: np.ndarray  # (n,)
    x: np.ndarray  # (n, d), P
    x0: np.ndarray  # (n, d), Q
    noise: np.ndarray  # (n,), g
    shrink: np.ndarray | None = None  # (n,), s' / s, where the network says f


def _table(t, x, x0, noise=None):
    """The table whose last call returns its prediction, exactly."""
    noise = np.zeros(len(t)) if noise is None else noise
    x[-1], x0[-1], noise[-1] = 0.0, 0.0, 0.0
    x0[-1, 0] = 1.0
    return Table(t, x, x0, noise)


def _next(grid):
    """a', s' of every level."""
    return np.append(grid.alpha[1:], 1.0), np.append(grid.sigma[1:], 0.0)


def ddpm(grid: Grid, variance: str = "large") -> Table:
    """Ancestral sampling, Eq. 2."""
    (_, a, s), (a_next, s_next) = grid, _next(grid)
    beta = 1.0 - (a / a_next) ** 2
    spread = beta * (s_next / s) ** 2 if variance == "small" else beta
    x = a / a_next * (s_next / s) ** 2
    x0 = a_next * beta / s**2
    table = _table(grid.t, x[:, None], x0[:, None], np.sqrt(spread))
    if variance != RANGE:
        return table
    # No noise follows the last level, where a power of s' = 0 could be infinite.
    return table._replace(shrink=np.append(s_next[:-1] / s[:-1], 1.0))


def ddim(grid: Grid, eta: float = 0.0) -> Table:
    """The generalised chain, Eq. 3: deterministic for eta = 0."""
    (_, a, s), (a_next, s_next) = grid, _next(grid)
    noise = eta * s_next / s * np.sqrt(1.0 - (a / a_next) ** 2)
    x = np.sqrt(s_next**2 - noise**2) / s
    return _table(grid.t, x[:, None], (a_next - x * a)[:, None], noise)


def dpm_solver(grid: Grid, order: int = 2) -> Table:
    """DPM-Solver++ in x0, Eq. 4; order 1 is ddim with eta = 0."""
    (_, a, s), (a_next, s_next) = grid, _next(grid)
    x, weight = s_next / s, a_next - a * s_next / s  # a' exp(-h) = a s' / s
    h = np.diff(np.log(a / s))
    back = np.zeros(len(a))
    if order == 2:
        back[1:-1] = h[1:] / (2 * h[:-1])
    x0 = np.stack([weight * (1 + back), -weight * back], 1)
    return _table(grid.t, np.stack([x, np.zeros_like(x)], 1), x0)


def pndm(grid: Grid) -> Table:
    """The pseudo linear multistep method, Eq. 5."""
    (_, a, s), (a_next, s_next) = grid, _next(grid)
    transfer = s_next - a_next * s / a
    x, x0 = np.zeros((2, len(a), 4))
    x[:, 0] = a_next / a
    for i in range(len(a)):
        for k, weight in enumerate(ADAMS_BASHFORTH[min(i, 3)]):
            x[i, k] += transfer[i] * weight / s[i - k]
            x0[i, k] -= transfer[i] * weight * a[i - k] / s[i - k]
    return _table(grid.t, x, x0)


def edm_heun(grid: Grid) -> Table:
    """Heun's method on sigma / alpha: rows predict, correct, predict, ..., predict."""
    (_, a, s), (a_next, s_next) = grid, _next(grid)
    half = (s_next - a_next * s / a) / 2
    x, x0 = np.zeros((2, 2 * len(a), 2))
    x[::2, 0], x0[::2, 0] = s_next / s, a_next - a * s_next / s
    # The corrections: column 0 is what was found at the predicted point, column 1
    # the start. The last level has none (s' = 0 there, and its row is cut off).
    now, to = slice(0, -1), slice(1, None)
    x[1:-1:2, 0], x0[1:-1:2, 0] = half[now] / s[to], -half[now] * a[to] / s[to]
    x[1:-1:2, 1] = a[to] / a[now] + half[now] / s[now]
    x0[1:-1:2, 1] = -half[now] * a[now] / s[now]
    t = np.repeat(grid.t, 2)[1:]
    return _table(t, x[:-1], x0[:-1])


SAMPLERS = {
    "ddpm": ddpm,
    "ddim": ddim,
    "pndm": pndm,
    "dpm_solver": dpm_solver,
    "edm_heun": edm_heun,
}


def _known(sampler):
    if sampler not in SAMPLERS:
        raise ValueError(f"unknown sampler {sampler!r}; choose from {sorted(SAMPLERS)}")
    return SAMPLERS[sampler]


def evaluations(sampler: str, steps: int) -> int:
    """How often the network is called in `steps` steps."""
    _known(sampler)
    return 2 * steps - 1 if sampler == "edm_heun" else steps


def draw(keys: jax.Array, shape: tuple[int, int, int]) -> jax.Array:
    """N(0, 1) of shape (b, *shape), each example from its own key alone."""
    return jax.vmap(lambda key: jax.random.normal(key, shape))(keys)


def integrate(denoise: Callable, table: Table, keys: jax.Array, x: jax.Array, clip):
    """Run the recurrence (1) from x (b, h, w, c).

    Returns the last prediction (b, h, w, c) and all of them (n, b, h, w, c). The state
    keeps the type of x, whatever the network computes in.
    """
    shape, (n, depth) = x.shape, table.x.shape
    stochastic, learned = table.noise.any(), table.shrink is not None

    def call(history, row):
        states, predictions = history
        i, t, weight_x, weight_x0, spread, *shrink = row
        x0 = denoise(states[0], jnp.broadcast_to(t, shape[:1]))
        if learned:
            x0, share = x0
            spread = spread * shrink[0] ** (1 - share.astype(x.dtype))
        x0 = x0.astype(x.dtype)
        x0 = x0 if clip is None else jnp.clip(x0, *clip)
        predictions = (x0, *predictions[:-1])
        following = sum(weight_x[k] * states[k] for k in range(depth))
        following += sum(weight_x0[k] * predictions[k] for k in range(depth))
        if stochastic:
            z = draw(jax.vmap(jax.random.fold_in, (0, None))(keys, i), shape[1:])
            following += spread * z.astype(x.dtype)
        return ((following, *states[:-1]), predictions), x0

    weights = (jnp.asarray(c, x.dtype) for c in table[1:] if c is not None)
    rows = (jnp.arange(n), jnp.asarray(table.t, jnp.int32), *weights)
    start = ((x,) * depth, (jnp.zeros_like(x),) * depth)
    (_, predictions), every = jax.lax.scan(call, start, rows)
    return predictions[0], every


def last_levels(grid: Grid, strength: float) -> Grid:
    """The last `strength` of a grid's levels, at least one."""
    kept = max(1, round(strength * len(grid.t)))
    return Grid(*(column[-kept:] for column in grid))


def sample(
    denoise: Callable,
    schedule: Schedule,
    keys: jax.Array,
    shape: tuple[int, int, int],
    *,
    sampler: str = "ddpm",
    steps: int | None = None,
    spacing: str = "respaced",
    levels: str | None = None,
    eta: float | None = None,
    variance: str = "large",
    clip: tuple[float, float] | None = (-1.0, 1.0),
    start: jax.Array | None = None,
    strength: float = 1.0,
    trajectory: bool = False,
):
    """One x0 (b, h, w, c) for each key: a pure function, to be jitted as a whole.

    denoise(x, t) -> x0 takes x (b, h, w, c) and t (b,) int32, a time of the schedule
    `spacing.told`. keys (b,) are typed, one an example, so an example depends neither
    on its batch nor on the devices. shape is (h, w, c). steps: None for all T. spacing,
    levels: see `irstd_jax.diffusion.spacing` (levels None: even in log-SNR for
    dpm_solver and edm_heun, in the index for the others). eta, in [0, 1], is for ddim
    alone; variance for ddpm alone, and with "learned_range" denoise gives (x0, f), f as
    x0. start, (b, h, w, c), replaces the noise x_T; with strength in (0, 1) it is clean
    data instead, is noised to the first of the last strength * K levels, and only these
    are run. With trajectory=True the result is (x0, the predictions of all network
    calls, (n, b, h, w, c)). The defaults are the released sampler of IRSTD-Diff.

    Raises ValueError for unknown names and for settings that cannot work.
    """
    make_table = _known(sampler)
    if variance not in (*VARIANCES, RANGE):
        choices = sorted((*VARIANCES, RANGE))
        raise ValueError(f"unknown variance {variance!r}; choose from {choices}")
    if eta is not None and sampler != "ddim":
        raise ValueError(f"eta belongs to the sampler 'ddim', not to {sampler!r}")
    if eta is not None and not 0.0 <= eta <= 1.0:
        raise ValueError(f"eta must lie in [0, 1], got {eta}")
    if not jnp.issubdtype(keys.dtype, jax.dtypes.prng_key) or keys.ndim != 1:
        raise ValueError("keys must be typed PRNG keys of shape (b,): jax.random.key")
    if not 0.0 < strength <= 1.0:
        raise ValueError(f"strength must lie in (0, 1], got {strength}")
    if strength < 1.0 and start is None:
        raise ValueError(f"strength {strength} needs clean data to start from")
    expected = (keys.shape[0], *shape)
    if start is not None and start.shape != expected:
        raise ValueError(f"start has shape {start.shape}; expected {expected}")

    if levels is None:
        levels = "logsnr" if sampler in ("dpm_solver", "edm_heun") else "uniform"
    grid = noise_levels(schedule, steps, spacing, levels)
    settings = {"ddpm": {"variance": variance}, "ddim": {"eta": eta or 0.0}}
    if strength < 1.0:
        grid = last_levels(grid, strength)
    table = make_table(grid, **settings.get(sampler, {}))
    start_keys, step_keys = jax.vmap(jax.random.split, out_axes=1)(keys)
    if start is None:
        x = draw(start_keys, shape)
    elif strength < 1.0:
        x = grid.alpha[0] * start + grid.sigma[0] * draw(start_keys, shape)
    else:
        x = start
    x0, every = integrate(denoise, table, step_keys, x, clip)
    return (x0, every) if trajectory else x0
