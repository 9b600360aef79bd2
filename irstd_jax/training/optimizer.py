"""Optimisers by name, as PyTorch defines them, and the course of the learning rate.

With the gradient g, the rate r and a weight p of decay w:

  adamw    p -= r (m / (sqrt(v) + 1e-8) + w p),  m and v the debiased means of g and g^2
           with .9 and .999
  adam     the same with g + w p in the place of g, and no decay beside it
  adagrad  p -= r g / (sqrt(sum of g^2 so far) + 1e-10), with g + w p in the place of g
  sgd      p -= r u,  u <- momentum u + g, with g + w p in the place of g
"""

import jax
import jax.numpy as jnp
import optax


def constant(peak, num_steps, warmup):
    """Up to `peak` in `warmup` steps, then level."""
    return warmed(peak, warmup, optax.constant_schedule(peak))


def linear(peak, num_steps, warmup):
    """Up to `peak` in `warmup` steps, then straight down to 0 (the paper)."""
    return warmed(peak, warmup, optax.linear_schedule(peak, 0.0, num_steps - warmup))


def cosine(peak, num_steps, warmup):
    """Up to `peak` in `warmup` steps, then down to 0 along half a cosine."""
    return optax.warmup_cosine_decay_schedule(0.0, peak, warmup, num_steps)


def poly(peak, num_steps, warmup, power=0.9):
    """Up to `peak` in `warmup` steps, then peak (1 - share of the rest)^power."""
    course = optax.polynomial_schedule(peak, 0.0, power, num_steps - warmup)
    return warmed(peak, warmup, course)


def steps(peak, num_steps, warmup, milestones=(0.5, 0.75), factor=0.1):
    """Up to `peak` in `warmup` steps; times `factor` at each share of `num_steps`."""
    falls = {round(share * num_steps): factor for share in milestones}
    course = optax.piecewise_constant_schedule(peak, falls)
    # Milestones count from the start of the run; `warmed` would begin them after it.
    return lambda step: course(step) * (jnp.minimum(step / warmup, 1) if warmup else 1)


def warmed(peak, warmup, course):
    """A straight rise to `peak`, then `course` from its beginning."""
    rise = optax.linear_schedule(0.0, peak, warmup)
    return optax.join_schedules([rise, course], [warmup])


DECAYS = {
    "constant": constant,
    "cosine": cosine,
    "linear": linear,
    "poly": poly,
    "steps": steps,
}
# What a decay may be told beside the three, as fields of the optimizer block.
OPTIONS = {"poly": ("power",), "steps": ("milestones", "factor")}


def adamw(rate, settings):
    return optax.adamw(rate, weight_decay=settings.weight_decay)


def adam(rate, settings):
    return coupled(settings, optax.scale_by_adam(), rate)


def adagrad(rate, settings):
    return coupled(settings, scale_by_adagrad(), rate)


def sgd(rate, settings):
    return coupled(settings, optax.trace(settings.get("momentum", 0.9)), rate)


OPTIMIZERS = {"adagrad": adagrad, "adam": adam, "adamw": adamw, "sgd": sgd}


def coupled(settings, rule, rate):
    """A rule that sees the gradient with the decay of the weights in it."""
    decay = optax.add_decayed_weights(settings.weight_decay)
    return optax.chain(decay, rule, optax.scale_by_learning_rate(rate))


def scale_by_adagrad(epsilon=1e-10):
    """g / (sqrt(sum of g^2) + epsilon), the sum from 0.

    optax.scale_by_rss has its epsilon under the root, where 1e-10 is 1e-5.
    """

    def init(params):
        return jax.tree.map(jnp.zeros_like, params)

    def update(updates, sums, params=None):
        sums = jax.tree.map(lambda s, g: s + jnp.square(g), sums, updates)
        scaled = jax.tree.map(lambda g, s: g / (jnp.sqrt(s) + epsilon), updates, sums)
        return scaled, sums

    return optax.GradientTransformation(init, update)


def make_optimizer(settings, num_steps):
    """The optimiser of a config's optimizer block.

    Args:
      settings: `name` (in OPTIMIZERS, by default "adamw"), `learning_rate`, `decay` (a
        name in DECAYS) and what OPTIONS has for it, `warmup` in steps, `weight_decay`,
        `clip` (largest norm of the gradient, 0 for none), `momentum` of sgd (.9),
        `flat` (see `flattened`; by default False).
      num_steps: of the run, at which the decay ends.

    Raises:
      ValueError: unknown optimiser or decay, or a warm-up that outlasts the run.
    """
    name = settings.get("name", "adamw")
    if name not in OPTIMIZERS:
        raise ValueError(
            f"unknown optimizer.name {name!r}; choose from {sorted(OPTIMIZERS)}"
        )
    optimiser = OPTIMIZERS[name](schedule(settings, num_steps), settings)
    if settings.clip:
        optimiser = optax.chain(optax.clip_by_global_norm(settings.clip), optimiser)
    return flattened(optimiser) if settings.get("flat") else optimiser


def flattened(optimiser):
    """The same rule on all weights as one vector, which compiles in a fourth of the
    time where they are hundreds of small arrays. Its state is of vectors, too."""
    inner = optax.flatten(optimiser)
    # Else each reshape would be a program of its own.
    return optax.GradientTransformation(jax.jit(inner.init), inner.update)


def schedule(settings, num_steps):
    """The learning rate by the step."""
    if settings.decay not in DECAYS:
        raise ValueError(
            f"unknown optimizer.decay {settings.decay!r}; choose from {sorted(DECAYS)}"
        )
    if not 0 <= settings.warmup < num_steps:
        raise ValueError(
            f"optimizer.warmup {settings.warmup} must be less than num_steps "
            f"{num_steps}"
        )
    options = OPTIONS.get(settings.decay, ())
    given = {name: settings[name] for name in options if name in settings}
    decay = DECAYS[settings.decay]
    return decay(settings.learning_rate, num_steps, settings.warmup, **given)
