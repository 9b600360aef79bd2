r"""Guidance: samples drawn toward a target, by gradient steps on the predicted x0.

The squared distance to a target y, with a scale s for each element, has the gradient
step x0 <- x0 + 2 s (y - x0). r of them in a row move x0 by the share

    f = 1 - (1 - 2 s)^r                                                          (1)

of its way. At a time t of the schedule the guided prediction is

    x0' = x0 + w_t (y - x0)                                                      (2)
    w_t = f          rule "x0"
    w_t = f / 2 Q_t  rule "mean"                                                 (3)

for t + 1 < start, and 0 at noisier times. (3) is what the released code of Diff-Mosaic
does: it moves the mean of the ancestral step, in which x0 has the weight Q_t, by f / 2.
It takes the MEAN over the elements of a latent for its distance, so that its scale 400
means s = 400 / 16384 for a latent of 4 x 64 x 64 and another one for any other size; it
also encodes its target anew at each repeat, 90 times a sample.
"""

import numpy as np

from irstd_jax.diffusion import process, samplers, spacing

RULES = ("x0", "mean")


def share(scale, repeats):
    """f of Eq. 1; scale in [0, 0.5] per element, where 0.5 is the whole way."""
    if not 0.0 <= scale <= 0.5:
        raise ValueError(f"guidance scale must lie in [0, 0.5], got {scale}")
    return 1.0 - (1.0 - 2.0 * scale) ** repeats


def weights(schedule, steps, scale, repeats=5, start=200, rule="mean"):
    """w_t of Eq. 2 for every training time, float64 (T,).

    Args:
      schedule: of T steps.
      steps: of the sampler, which Q_t of the rule "mean" depends on.
      scale: s, for each element.
      repeats: r.
      start: guided are the times t with t + 1 < start.
      rule: "mean" (ddpm, respaced at even times, as released; at all other times its
        weight is 0, so another sampler is wrongly guided) or "x0" (any sampler).

    Raises ValueError for an unknown rule or a scale out of range.
    """
    if rule not in RULES:
        raise ValueError(f"unknown guidance rule {rule!r}; choose from {RULES}")
    table = np.full(schedule.steps, share(scale, repeats))
    if rule == "mean":
        coefficients = samplers.ddpm(spacing.noise_levels(schedule, steps), "small")
        table[:] = 0.0
        table[coefficients.t] = share(scale, repeats) / (2 * coefficients.x0[:, 0])
    return np.where(np.arange(schedule.steps) + 1 < start, table, 0.0)


def guided(denoise, target, weights):
    """`denoise` with Eq. 2 after it; target (b, h, w, c), weights (T,)."""

    def toward(x, t):
        x0 = denoise(x, t)
        return x0 + process.at(weights, t, x0) * (target - x0)

    return toward
