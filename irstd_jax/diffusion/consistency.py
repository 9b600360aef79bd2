r"""Consistency models: the whole way from noise to a mask in one evaluation.

Without noise of its own, diffusion moves x along a path, the probability flow. Between
times t_1 < .. < t_N of a schedule (t_1 = 0, t_N = T - 1) it is solved in steps of DDIM,

    x_{n} = a_n x0^ + s_n (x - a_{n+1} x0^) / s_{n+1},   x = x_{t_{n+1}}          (1)

with x0^ the word of a denoiser. A consistency function f(x, t) gives, anywhere on a
path, the path's end, so it needs to be asked once (Song et al., ICML 2023):

    f(x_{t_{n+1}}, t_{n+1}) = f(x_{t_n}, t_n),      f(., t_1) = what is there     (2)

Here f is made of a denoiser, whatever its network predicts, so that the boundary holds
by construction and a trained denoiser is a good f to begin with:

    f(x, t) = skip_t x + out_t x0^(x, t),           out_{t_1} = 0                 (3)

    lcm     c = d^2 / (tau^2 + d^2),  tau = 10 t:  skip = c,  out = sqrt(1 - c)   (4)
            (Luo et al. 2023; for d = 1/2, out is above .998 from t = 1 on)
    karras  with X = x / a, sigma = s / a and m = sigma of t_1 (Song et al. 2023)
                f = d^2 / ((sigma - m)^2 + d^2) X
                    + d (sigma - m) / sqrt(sigma^2 + d^2) F                       (5)
            where F is the output of a network whose x0^ is (Karras et al. 2022)
                x0^ = d^2 / (sigma^2 + d^2) X + sigma d / sqrt(sigma^2 + d^2) F   (6)

(6) in (5) gives x0^ the weight out = 1 - m / sigma, whatever d is, and for m = 0 f is
x0^ alone. With d = 1, F is -v: the "VP shortcut", f = a x - s
v, is (5) of a network of v. For d -> infinity f is one step (1) to t_1, over a_1. lcm
is x0^ from the second time on, where karras keeps some of x: .02 X at sigma = 1 for m =
.03, an error that a bounded x0^ cannot make up for. So lcm is for networks of x0 or
logits, and karras for those of v.

Both sides of (2) are compared at x = a x0 + s eps of the data, the right one fixed: the
loss is d(f(x, t_{n+1}), stop(f(x_n, t_n))). The x0^ of (1) is a teacher's
(distillation), or the truth: then x_n = a_n x0 + s_n eps, of the same eps (consistency
training), whose mean given x is that of a perfect teacher. Several evaluations refine a
sample: x = a_u x0 + s_u z with new noise z, x0 = f(x, u), at falling times u.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from irstd_jax.diffusion import process, samplers, spacing
from irstd_jax.diffusion.process import at
from irstd_jax.diffusion.schedule import Schedule

RHO = 7.0  # of the spacing of Karras et al.
HUBER = 0.00054  # of Song & Dhariwal, ICLR 2024: c over the root of the dimension
SURE = 1e-4  # "bce": probabilities nearer to 0 and 1 are all the same


# --- times ----------------------------------------------------------------------------


def karras(schedule: Schedule, count: int) -> np.ndarray:
    """Rising times, sigma^(1/7) even; levels that ask for one time share it."""
    sigma = schedule.sigma / schedule.alpha
    ends = sigma[[0, -1]] ** (1 / RHO)
    wanted = np.log(np.linspace(*ends, count) ** RHO)
    return np.unique(np.abs(np.log(sigma) - wanted[:, None]).argmin(1))


TIMES = {"karras": karras, "logsnr": spacing.logsnr, "uniform": spacing.uniform}


def times(schedule: Schedule, count: int, even: str = "logsnr") -> np.ndarray:
    """t_1 < .. < t_N, integers from 0 to T - 1; N is `count`, for karras at most.

    Raises ValueError for an unknown spacing, and a count not in 2 .. T.
    """
    if even not in TIMES:
        raise ValueError(f"unknown spacing {even!r}; choose from {sorted(TIMES)}")
    if not 2 <= count <= schedule.steps:
        raise ValueError(f"a grid has 2 to T = {schedule.steps} times, not {count}")
    return TIMES[even](schedule, count)


# --- the function ---------------------------------------------------------------------


def _lcm(schedule, deviation):
    """Eq. 4."""
    tau = 10.0 * np.arange(schedule.steps)
    length = np.hypot(tau, deviation)
    return (deviation / length) ** 2, tau / length


def _karras(schedule, deviation):
    """Eq. 5 with Eq. 6 in it."""
    sigma, square = schedule.sigma / schedule.alpha, deviation**2
    out = 1.0 - sigma[0] / sigma
    skip = square / ((sigma - sigma[0]) ** 2 + square)
    skip -= out * square / (sigma**2 + square)
    return skip / schedule.alpha, out


BOUNDARIES = {"karras": _karras, "lcm": _lcm}


def scalings(schedule: Schedule, boundary: str, deviation: float = 0.5):
    """skip and out of Eq. 3 for all times, float64 (T,) each; deviation is d.

    Raises ValueError for an unknown boundary, or a deviation that is not positive.
    """
    if boundary not in BOUNDARIES:
        choices = sorted(BOUNDARIES)
        raise ValueError(f"unknown boundary {boundary!r}; choose from {choices}")
    if not deviation > 0:
        raise ValueError(f"the boundary's deviation must be positive, got {deviation}")
    return BOUNDARIES[boundary](schedule, deviation)


def function(denoise: Callable, tables) -> Callable:
    """f(x, t) of Eq. 3: of `denoise(x, t) -> x0` and the tables of `scalings`."""
    skip, out = tables
    return lambda x, t: at(skip, t, x) * x + at(out, t, x) * denoise(x, t)


# --- learning -------------------------------------------------------------------------


class Path(NamedTuple):
    """The N - 1 steps from t_{n+1} (`late`) to t_n (`early`), n = 1 .. N - 1.

    x, x0: the weights of x and x0^ in Eq. 1, float64.
    """

    late: np.ndarray
    early: np.ndarray
    x: np.ndarray
    x0: np.ndarray


def path(schedule: Schedule, grid: np.ndarray) -> Path:
    """The steps between the times of a grid: what the sampler ddim does there."""
    t = grid[::-1]
    table = samplers.ddim(spacing.Grid(t, schedule.alpha[t], schedule.sigma[t]))
    x, x0 = (column[:-1, 0][::-1] for column in (table.x, table.x0))
    return Path(grid[1:], grid[:-1], x, x0)


def step(steps: Path, n: jax.Array, x: jax.Array, x0: jax.Array) -> jax.Array:
    """Eq. 1 for x, x0 (b, h, w, c), and n (b,) in 0 .. N - 2."""
    return at(steps.x, n, x) * x + at(steps.x0, n, x) * x0


def pair(schedule, steps, n, x0, eps, student, target, teacher=None):
    """Both sides of Eq. 2 at noised data; no gradient goes through the second.

    Args:
      schedule: of T times.
      steps: of `path`.
      n: (b,) int32 in 0 .. N - 2, the step.
      x0, eps: data and noise, (b, h, w, c).
      student, target: f(x, t), which learns and which it learns from.
      teacher: `denoise(x, t) -> x0`; None for the truth, which needs none.
    """
    late, early = (jnp.asarray(t, jnp.int32)[n] for t in (steps.late, steps.early))
    x = process.q_sample(schedule, x0, late, eps)
    told = x0 if teacher is None else teacher(x, late)
    before = jax.lax.stop_gradient(step(steps, n, x, told))
    return student(x, late), jax.lax.stop_gradient(target(before, early))


def l2(found, wanted, weights):
    """The mean square."""
    return jnp.mean(weights * jnp.square(found - wanted), (1, 2, 3))


def pseudo_huber(found, wanted, weights):
    """sqrt(|found - wanted|^2 + c^2) - c, over the root of the dimension."""
    return jnp.sqrt(l2(found, wanted, weights) + HUBER**2) - HUBER


def bce(found, wanted, weights):
    """Cross-entropy of the probabilities (found + 1) / 2 and (wanted + 1) / 2.

    Logarithms go on as tangents below SURE, so that the gradient neither vanishes nor
    explodes where a network without bounds leaves [-1, 1].
    """
    p = jnp.clip((wanted + 1) / 2, SURE, 1 - SURE)
    loss = -p * _log((1 + found) / 2) - (1 - p) * _log((1 - found) / 2)
    return jnp.mean(weights * loss, (1, 2, 3))


def _log(p):
    tangent = np.log(SURE) + (p - SURE) / SURE
    return jnp.where(p < SURE, tangent, jnp.log(jnp.maximum(p, SURE)))


DISTANCES = {"bce": bce, "l2": l2, "pseudo_huber": pseudo_huber}


def distance(name: str, found, wanted, weights=1.0) -> jax.Array:
    """How far images (b, h, w, c) about [-1, 1] are apart, (b,).

    weights: of the elements, to be broadcast. Raises ValueError for an unknown name.
    """
    if name not in DISTANCES:
        raise ValueError(f"unknown distance {name!r}; choose from {sorted(DISTANCES)}")
    return DISTANCES[name](found, wanted, weights)


# --- sampling -------------------------------------------------------------------------


def visited(grid: np.ndarray, steps: int) -> np.ndarray:
    """The times of `steps` evaluations, falling: even in the grid, without t_1.

    Raises ValueError where the grid has not so many.
    """
    if not 1 <= steps < len(grid):
        raise ValueError(
            f"a grid of {len(grid)} times allows 1 to {len(grid) - 1} steps, not "
            f"{steps}: at the first time nothing is left to do"
        )
    return grid[np.rint(np.linspace(len(grid) - 1, 0, steps + 1)).astype(int)[:-1]]


def sample(
    denoise: Callable,
    schedule: Schedule,
    keys: jax.Array,
    shape: tuple[int, int, int],
    *,
    grid: np.ndarray,
    boundary: str = "lcm",
    deviation: float = 0.5,
    steps: int = 1,
    clip: tuple[float, float] | None = (-1.0, 1.0),
    start: jax.Array | None = None,
    trajectory: bool = False,
):
    """One x0 (b, h, w, c) for each key, as `samplers.sample` and from its noise.

    Args:
      denoise: of a consistency model, `denoise(x, t) -> x0`; called `steps` times.
      grid: the times that it was trained at, of `times`.
      boundary, deviation: of `scalings`, as in training.
      clip, start, trajectory: see `samplers.sample`.
    """
    t = visited(grid, steps)
    # Eq. 1 of samplers with f in the place of x0^: x is forgotten, x0 noised anew.
    table = samplers.Table(
        t=t,
        x=np.zeros((steps, 1)),
        x0=np.append(schedule.alpha[t[1:]], 1.0)[:, None],
        noise=np.append(schedule.sigma[t[1:]], 0.0),
    )
    f = function(denoise, scalings(schedule, boundary, deviation))
    start_keys, step_keys = jax.vmap(jax.random.split, out_axes=1)(keys)
    x = samplers.draw(start_keys, shape) if start is None else start
    x0, every = samplers.integrate(f, table, step_keys, x, clip)
    return (x0, every) if trajectory else x0
