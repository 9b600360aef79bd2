"""One evaluation a mask, distilled from a trained mask diffusion: DATASET[,VARIANT].

  python launch.py --config=configs/nuaa_sirst.py:small
  python launch.py --config=configs/distillation.py:nuaa_sirst,small \
      --config.parts.teacher=runs/nuaa_sirst_small/best.safetensors

The student is the teacher's network, begins with its weights, and learns to say at once
where the teacher's chain of `task.grid` deterministic steps ends; its encoder stays. So
the teacher's model, and what the task block says of its masks and times, must be those
of this recipe. A file of DATASET's recipe and VARIANT is, with one exception: at the
paper's size the network of eps is no teacher (tasks/distillation.py), so there it is to
be trained by

  python launch.py --config=configs/nuaa_sirst.py --config.task.parameterisation=v \
      --config.task.mask_range="(-1.0, 1.0)"

Data sets: nuaa_sirst, nudt_sirst, irstd1k, synthetic (the quick start's scenes).
Variants: those of their recipes (small, tiny, realtime, accurate; none is the paper's
size). A third word, `alone`, is consistency training: no teacher, and all of the
network learns, at the pace of the data set's recipe (not `realtime` and `accurate`,
whose BatchNorms need one):

  python launch.py --config=configs/distillation.py:nuaa_sirst,small,alone

--config.sampling.steps=2 and more refine a sample; --config.sampling.samples=9 draws
several. No run at the paper's size has been made.
"""

from ml_collections import ConfigDict

from configs import irstd1k, nuaa_sirst, nudt_sirst, quickstart

RECIPES = {
    "irstd1k": irstd1k.get_config,
    "nuaa_sirst": nuaa_sirst.get_config,
    "nudt_sirst": nudt_sirst.get_config,
    "synthetic": quickstart.get_config,
}


def get_config(argument="nuaa_sirst,small"):
    """The recipe; see the module."""
    dataset, variant, alone = (*argument.split(","), "", "")[:3]
    if dataset not in RECIPES:
        raise ValueError(f"unknown data set {dataset!r}; choose from {sorted(RECIPES)}")
    if alone not in ("", "alone") or argument.count(",") > 2:
        raise ValueError(
            f"distillation.py:{argument} is not DATASET, DATASET,VARIANT or "
            "DATASET,VARIANT,alone"
        )
    if alone and variant in ("realtime", "accurate"):
        raise ValueError(
            f"the denoiser of {variant!r} has BatchNorms, which this task leaves as "
            "a teacher made them: it cannot learn alone"
        )
    config = RECIPES[dataset](variant)
    if dataset != "synthetic" and variant in ("", "paper"):
        full_size(config)
    elif variant != "tiny":
        small(config)
    distilled(config)
    if alone:
        untaught(config, RECIPES[dataset](variant))
    config.name = "_".join(filter(None, ("distillation", dataset, variant, alone)))
    return config


def distilled(config):
    """The task, its teacher and its sampler in the place of mask diffusion's."""
    logit = config.task.parameterisation == "logit"
    fields = {
        "name": "distillation",
        "grid": min(40, config.task.steps),  # N, times between which it learns
        "spacing": "logsnr",  # or "karras", "uniform"
        # For v "karras" is exact; a bounded output wants "lcm".
        "boundary": "karras" if config.task.parameterisation == "v" else "lcm",
        "deviation": 0.5,  # of the boundary
        "distance": "bce" if logit else "pseudo_huber",  # or "l2"
        "teacher": "ddim",  # or "none"
        "target_decay": 0.0,  # mu of theta-
        "train_encoder": False,
    }
    config.task = ConfigDict(config.task.to_dict() | fields)
    config.teacher = config.model  # one network: a change of it is one of both
    config.parts = ConfigDict({"teacher": ""})
    # Decay would wear an encoder away that has no gradient.
    config.optimizer.weight_decay = 0.0
    config.sampling.update({"sampler": "consistency", "steps": 1})
    config.validation.update({"sampler": "consistency", "steps": 1})


def full_size(config):
    """The paper's size."""
    config.task.update({"parameterisation": "v", "mask_range": (-1.0, 1.0)})
    config.num_steps = 20_000
    config.evaluate_every = 2_000
    config.optimizer.update(
        {"learning_rate": 1e-5, "decay": "constant", "warmup": 500, "clip": 1.0}
    )
    config.optimizer.ema = 0.999


def small(config):
    """For 2 CPU cores: a tenth of the rate that the teacher learnt at."""
    config.num_steps = 800
    config.evaluate_every = 200
    config.checkpoint_every = 50
    config.optimizer.learning_rate = config.optimizer.learning_rate / 10
    config.optimizer.update({"warmup": 40, "ema": 0.99})


def untaught(config, base):
    """Consistency training, at the pace of the recipe `base`."""
    config.task.update({"teacher": "none", "train_encoder": True})
    config.parts = ConfigDict({})
    del config.teacher
    for name in ("num_steps", "evaluate_every", "checkpoint_every", "optimizer"):
        config[name] = base[name]
