"""What can be learnt: each task is `init`, `loss` and `predict` over its networks.

A task that has nothing to descend on has `fit(samples) -> (variables, {name: number})`
in the place of `loss`: it looks at each training image once.

Some tasks detect: `predict` gives maps of MODES, which are judged by masks. The others
make images: they have `score(variables, batch, keys) -> ({name: (b,)}, {title: images
(b, h, w, c) in [0, 1]})`, and `chosen_by`, the score that chooses the best weights with
+1 where more is better and -1 where less is.

`init(key)` gives the variables {"params", "batch_stats"}; a task that stands on
networks trained before takes them as further arguments, by the names of the block
`parts`, and returns them in a collection of their own, which nothing changes.
"""

import dataclasses

from irstd_jax.tasks import (
    autoencoding,
    classical,
    distillation,
    latent_diffusion,
    mask_diffusion,
    restoration,
    segmentation,
    views,
)

PROBABILITIES = mask_diffusion.MODES  # what these maps say can be held against truth
MODES = (*PROBABILITIES, classical.MODE)
TASKS = {
    "autoencoding": autoencoding.from_config,
    "classical": classical.from_config,
    "distillation": distillation.from_config,
    "latent_diffusion": latent_diffusion.from_config,
    "mask_diffusion": mask_diffusion.from_config,
    "restoration": restoration.from_config,
    "segmentation": segmentation.from_config,
}


def build(config, norm_axis=None):
    """The task that `config.task.name` names, with the network of `config.model`.

    Args:
      config: a ConfigDict with the blocks task, model and data, and what else the
        task reads.
      norm_axis: name of the mapped axis over which BatchNorm averages, or None.
    """
    name = config.task.name
    if name not in TASKS:
        raise ValueError(f"unknown task.name {name!r}; choose from {sorted(TASKS)}")
    return TASKS[name](config, norm_axis)


def detector(config):
    """The task of a config as it judges images: through `config.views` of each."""
    # Runs of earlier versions lack the field.
    return views.seen(build(config), config.get("views", 1))


def learns(config):
    """Whether the task of a config needs weights to predict.

    Nothing is built: it is the weights that know their network.
    """
    settings = config.task
    return settings.name != "classical" or classical.chooses(settings)


def quick(task, settings):
    """The task as validation sees it: one sample an image, in few steps.

    Args:
      task: of `build`.
      settings: the validation block, with `sampler` and `steps` where a task samples.
    """
    if not hasattr(task, "sampling"):
        return task
    changes = {"sampler": settings.sampler, "steps": settings.steps, "samples": 1}
    return dataclasses.replace(
        task, sampling=dataclasses.replace(task.sampling, **changes)
    )


def protocol(task):
    """What the protocol of a task's figures says of the task itself, as a dict."""
    cut, count = getattr(task, "cut", None), getattr(task, "views", 1)
    facts = {"rule": cut} if cut else {}
    return sampling(task) | facts | ({"views": count} if count > 1 else {})


def sampling(task):
    """How a task draws, as a dict for reports; nothing for one that does not."""
    settings = getattr(task, "sampling", None)
    names = ("sampler", "steps", "samples", "ensemble")
    return {name: getattr(settings, name) for name in names} if settings else {}
