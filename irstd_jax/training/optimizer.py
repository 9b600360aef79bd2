"""AdamW and the course of its learning rate."""

import optax


def constant(peak, num_steps, warmup):
    """Up to `peak` in `warmup` steps, then level."""
    return optax.join_schedules(
        [optax.linear_schedule(0.0, peak, warmup), optax.constant_schedule(peak)],
        [warmup],
    )


def linear(peak, num_steps, warmup):
    """Up to `peak` in `warmup` steps, then straight down to 0 (the paper)."""
    return optax.join_schedules(
        [
            optax.linear_schedule(0.0, peak, warmup),
            optax.linear_schedule(peak, 0.0, num_steps - warmup),
        ],
        [warmup],
    )


def cosine(peak, num_steps, warmup):
    """Up to `peak` in `warmup` steps, then down to 0 along half a cosine."""
    return optax.warmup_cosine_decay_schedule(0.0, peak, warmup, num_steps)


DECAYS = {"constant": constant, "linear": linear, "cosine": cosine}


def make_optimizer(settings, num_steps):
    """AdamW (betas .9 and .999, eps 1e-8) by a config's optimizer block.

    Args:
      settings: `learning_rate`, `decay` (a name in DECAYS), `warmup` in steps,
        `weight_decay`, `clip` (largest norm of the gradient, 0 for none).
      num_steps: of the run, at which the decay ends.

    Raises:
      ValueError: unknown decay, or a warm-up that outlasts the run.
    """
    if settings.decay not in DECAYS:
        raise ValueError(
            f"unknown optimizer.decay {settings.decay!r}; choose from {sorted(DECAYS)}"
        )
    if not 0 <= settings.warmup < num_steps:
        raise ValueError(
            f"optimizer.warmup {settings.warmup} must be less than num_steps "
            f"{num_steps}"
        )
    rate = DECAYS[settings.decay](settings.learning_rate, num_steps, settings.warmup)
    adamw = optax.adamw(rate, weight_decay=settings.weight_decay)
    if settings.clip:
        return optax.chain(optax.clip_by_global_norm(settings.clip), adamw)
    return adamw
