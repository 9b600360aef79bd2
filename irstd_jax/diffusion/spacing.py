"""Which noise levels a sampler visits, and which times it tells the network.

A network trained with T times can be sampled in K steps in two ways:

  respaced  K of the T training times are visited, and the network is told those
            times. The process between two of them is the same diffusion with betas
            recomputed from the ratio of their abar. Right for every K <= T.
  rebuilt   The schedule is made anew with K steps, and the network is told K-1 .. 0,
            times that meant other noise levels in training. What it says, eps or v,
            is turned into x0 at the levels of the new schedule (`told`). The paper's
            released code has no other way to take fewer or more steps, so this is
            likely the under- and over-sampling of its Table VII, collapse at K = 40
            and all, and is kept for that table. K > T tells the network times that
            it has never seen.

The K training times of "respaced" are even in the index ("uniform") or even in the
logarithm of the signal-to-noise ratio ("logsnr"). Both end at T - 1 (pure noise) and,
with K > 1, at 0, hold no time twice, and are all T times for K = T.
"""

from typing import NamedTuple

import numpy as np

from irstd_jax.diffusion.schedule import Schedule, noise_schedule


class Grid(NamedTuple):
    """Noise levels from the noisiest to the last before clean data, shape (K,) each.

    t: integers told to the network; alpha, sigma: float64, the true level.
    """

    t: np.ndarray
    alpha: np.ndarray
    sigma: np.ndarray


def uniform(schedule: Schedule, steps: int) -> np.ndarray:
    """Rising training times, even in the index, shape (steps,)."""
    if steps == 1:
        return np.array([schedule.steps - 1])
    return np.rint(np.linspace(0, schedule.steps - 1, steps)).astype(int)


def logsnr(schedule: Schedule, steps: int) -> np.ndarray:
    """Rising training times, even in log-SNR as far as integers can be, (steps,)."""
    if steps == 1:
        return np.array([schedule.steps - 1])
    wanted = np.linspace(schedule.logsnr[0], schedule.logsnr[-1], steps)
    nearest = np.abs(schedule.logsnr - wanted[:, None]).argmin(1)
    # The first times lie wide apart in log-SNR, so several levels may ask for one:
    # each takes the next free time, and leaves enough of them for those that follow.
    rank = np.arange(steps)
    distinct = np.maximum.accumulate(nearest - rank) + rank
    return np.minimum(distinct, schedule.steps - steps + rank)


LEVELS = {"uniform": uniform, "logsnr": logsnr}


def respaced(schedule: Schedule, steps: int, levels: str) -> Grid:
    """K = `steps` of the training times, told to the network as they are."""
    if steps > schedule.steps:
        raise ValueError(
            f"{steps} steps asked of a network trained with {schedule.steps} times: "
            f"respacing chooses among these, so take at most {schedule.steps} steps "
            "(or spacing='rebuilt', the over-sampling of the paper's Table VII)"
        )
    t = LEVELS[levels](schedule, steps)[::-1]
    return Grid(t, schedule.alpha[t], schedule.sigma[t])


def told(schedule: Schedule, steps: int, spacing: str) -> Schedule:
    """The schedule by which a time that the network is told is a noise level."""
    return noise_schedule(schedule.name, steps) if spacing == "rebuilt" else schedule


def rebuilt(schedule: Schedule, steps: int, levels: str) -> Grid:
    """All times of the schedule made anew with K = `steps` (`levels` has no say)."""
    schedule = told(schedule, steps, "rebuilt")
    return Grid(
        np.arange(steps)[::-1], schedule.alpha[::-1].copy(), schedule.sigma[::-1].copy()
    )


SPACINGS = {"respaced": respaced, "rebuilt": rebuilt}


def noise_levels(
    schedule: Schedule,
    steps: int | None = None,
    spacing: str = "respaced",
    levels: str = "uniform",
) -> Grid:
    """The grid of K = `steps` levels (None: all T), noisiest first.

    Raises ValueError for unknown names, K < 1, K > T where respaced, and where rebuilt
    for a K that the schedule refuses ("linear": K <= 20).
    """
    steps = schedule.steps if steps is None else steps
    if spacing not in SPACINGS:
        raise ValueError(f"unknown spacing {spacing!r}; choose from {sorted(SPACINGS)}")
    if levels not in LEVELS:
        raise ValueError(f"unknown levels {levels!r}; choose from {sorted(LEVELS)}")
    if steps < 1:
        raise ValueError(f"sampling needs at least 1 step, got {steps}")
    return SPACINGS[spacing](schedule, steps, levels)
