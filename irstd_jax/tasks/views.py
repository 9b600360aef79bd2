"""Looking at an image several times, mirrored and turned, and taking the mean.

With n of the 8 reflections and turns g of a square and a detector's map p(x),

    q(x) = 1/n sum_g g^-1 p(g x)                                                (1)

A small target looks alike from all sides, clutter less so, and a network is sure of it
in some views alone: the mean has fewer false alarms at the same detections. It costs n
evaluations, one batch n times as large (with quarter turns two batches).

Where masks lie to one side of their targets (data/registration.py), it costs accuracy.

n = 2: mirrored left-right; 4: up-down as well; 8: quarter turns as well. Every view
draws its own samples, and all of these are kept. No noise is drawn twice where a view
draws one sample, or where its sampler draws none on its way (ddim with eta 0, pndm,
dpm_solver, edm_heun, consistency in one step). Several samples of other samplers, in
chains that begin at noise, are not wholly independent: with views and samples counted
from 0, sample 1 of view i > 0 begins at the noise of the first step of sample i of
view 0. It stays so for the figures that were drawn so.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

# (quarter turns, mirrored); the first half keeps rows rows.
ALL = tuple((turns, mirrored) for turns in (0, 2, 1, 3) for mirrored in (False, True))
COUNTS = (1, 2, 4, 8)


def seen(task, count):
    """A task of a detector as it is through so many views; with 1 the task itself.

    Raises ValueError for another number, and for a task that gives no probabilities.
    """
    if count not in COUNTS:
        raise ValueError(f"views is {count}; choose from {COUNTS}")
    if count > 1 and (hasattr(task, "score") or hasattr(task, "cut")):
        raise ValueError(
            f"views={count} is a mean of probabilities, which this task does not give: "
            "leave it at 1"
        )
    return Views(task, count) if count > 1 else task


@dataclasses.dataclass(frozen=True)
class Views:
    """A task that predicts by (1), and is in all else the one that it holds."""

    task: Any
    views: int

    def __getattr__(self, name):
        return getattr(self.task, name)

    def predict(self, variables, batch, keys, **fields):
        """As of the task: maps are means, samples are those of all views.

        What else it returns is of the image as it is.
        """
        chosen, found = list(enumerate(ALL[: self.views])), []
        for group in filter(None, (chosen[:4], chosen[4:])):
            images = [turned(batch["image"], *view) for _, view in group]
            output = self.task.predict(
                variables,
                batch | {"image": jnp.concatenate(images)},
                jnp.concatenate([numbered(keys, number) for number, _ in group]),
                **fields,
            )
            parts = {k: jnp.split(v, len(group)) for k, v in output.items()}
            found += [
                {k: turned_back(part[i], *view) for k, part in parts.items()}
                for i, (_, view) in enumerate(group)
            ]
        return {name: joined(name, [part[name] for part in found]) for name in found[0]}


def joined(name, arrays):
    """What all views give under a name, as one."""
    if name == "samples":
        return jnp.concatenate(arrays, axis=1)
    return arrays[0] if name == "trajectory" else sum(arrays) / len(arrays)


def numbered(keys, view):
    """Keys (b,) of a view; the first has those that the image has alone.

    A task folds the number of a sample into them, so the key of view i is that of
    sample i of the first view: see the module for what they share.
    """
    return jax.vmap(jax.random.fold_in, (0, None))(keys, view) if view else keys


def turned(x, turns, mirrored):
    """(..., h, w, c) by quarter turns, then left-right."""
    x = jnp.rot90(x, turns, (-3, -2))
    return x[..., ::-1, :] if mirrored else x


def turned_back(x, turns, mirrored):
    """The inverse of `turned`."""
    x = x[..., ::-1, :] if mirrored else x
    return jnp.rot90(x, -turns, (-3, -2))
