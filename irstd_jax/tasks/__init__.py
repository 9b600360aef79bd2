"""What can be learnt: each task is `init`, `loss` and `predict` over its networks."""

from irstd_jax.tasks import mask_diffusion

MODES = mask_diffusion.MODES
TASKS = {"mask_diffusion": mask_diffusion.from_config}


def build(config, norm_axis=None):
    """The task that `config.task.name` names, with the network of `config.model`.

    Args:
      config: a ConfigDict with the blocks task, model, data and sampling.
      norm_axis: name of the mapped axis over which BatchNorm averages, or None.
    """
    name = config.task.name
    if name not in TASKS:
        raise ValueError(f"unknown task.name {name!r}; choose from {sorted(TASKS)}")
    return TASKS[name](config, norm_axis)
