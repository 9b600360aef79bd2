"""What the recipes share: every field, with the paper's values for IRSTD-Diff."""

import os

from ml_collections import ConfigDict


def variant_of(name, variants):
    """The function of a named variant; an error that lists them for another name."""
    if name not in variants:
        raise ValueError(f"unknown variant {name!r}; choose from {sorted(variants)}")
    return variants[name]


def words(argument, choices, usage, least=2):
    """The words of a recipe's argument, by commas, of which the last may lack.

    Args:
      argument: what stands behind FILE.py: on the command line.
      choices: {kind of word: its choices}, in their order.
      usage: how the argument is written, for the error.
      least: how many words there must be.

    Returns:
      A word a kind, "" where it lacks.
    """
    given = argument.split(",")
    if not least <= len(given) <= len(choices):
        raise ValueError(f"{argument!r} is not {usage}")
    given += [""] * (len(choices) - len(given))
    for (kind, known), word in zip(choices.items(), given, strict=True):
        if word not in known:
            raise ValueError(f"unknown {kind} {word!r}; choose from {sorted(known)}")
    return given


def on_scenes(config):
    """Generated scenes of 128 px: 200 to learn from, 40 to be judged by."""
    config.data.size = 128
    config.data.seed = 0
    config.data.count = {"train": 200, "validation": 16, "test": 40}


def recipe(name, dataset, split):
    """The blocks that every task has; `task` and `model` are still to come.

    Args:
      name: of the recipe, and of its default workdir.
      dataset: `data.name`.
      split: `data.split`.
    """
    return ConfigDict(
        {
            "name": name,
            "seed": 0,
            "num_steps": 80_000,
            "log_every": 100,
            "evaluate_every": 5_000,
            "checkpoint_every": 1_000,
            "weights": "",  # a weights file; "" = the best of the workdir
            "start": "",  # a weights file from which training begins; "" = at random
            "views": 1,  # of an image, mirrored and turned, to judge it by: 2, 4, 8
            "parallel": "pmap",  # or "sharded"
            "data": {
                "name": dataset,
                "root": os.environ.get("IRSTD_DATA", "data"),
                "split": split,
                "reader": "files",  # or "tfds"
                "mask_threshold": 127,  # grey values above it are target
                "validation_share": 0.1,  # cut from training by a fixed rule
                "extra": "",  # folders of augmented sets, by commas, for training
                "extra_share": 0.0,  # of the draws; 0 = every sample once
                "extra_scale": "1.0",  # factor of their size, or "released" (0.5)
                "batch_size": 4,
                "threads": 4,
                "channels": 3,
                "stretch": 0.0,  # percentile that becomes black; 0 = levels as they are
                "normalisation": "none",
                "resize": 0,  # both sides in pixels; 0 = native size
                "crop": 0,  # side of training crops; 0 = whole images
                "target_share": 0.5,  # of the crops that shall hold a target
                "augment": no_augmentation(),
            },
            "optimizer": {
                "learning_rate": 1e-4,
                "decay": "linear",
                "warmup": 0,
                "weight_decay": 0.0,
                "clip": 0.0,
                "ema": 0.9999,
                "accumulate": 1,
            },
            "validation": {
                "choose": "best",  # the weights that are kept, or "last"
                "images": 0,  # 0 = all of the validation part
            },
            "evaluation": {
                "at_end": True,
                "part": "test",
                "images": 0,  # 0 = all of the part
                "size": 0,  # 0 = native
                "threshold": 0.5,
                "matching": "centroid",
                "batch_size": 4,
                "canvas_multiple": 64,
                "bootstrap": 1000,
                "seed": 0,
            },
            "benchmark": {
                "size": 256,
                "batch_size": 1,
                "repeats": 3,  # 0: compile alone
                "train_size": 0,  # 0 = the recipe's
                "train_batch_size": 0,  # 0 = the recipe's
                "images": 4,  # through the whole of predict; 0 = none
                "cache": False,  # True: compile times are of JAX's cache, if warm
            },
        }
    )


def detecting(config, mode):
    """Adds what a task with masks needs: how it is judged, and how it predicts.

    Args:
      config: of `recipe`.
      mode: of the probability map that validation and predict look at.
    """
    config.validation.mode = mode
    config.evaluation.fused_threshold = 0.2843  # the release's: its PNG is 73 or more
    config.predict = ConfigDict(
        {
            "size": 0,  # 0 = native
            "mode": mode,
            "tile": 512,  # larger images go through in tiles
            "overlap": 64,
            "probabilities": False,
            "figures": 0,  # images for which the paper's figures are drawn
        }
    )
    config.export = ConfigDict(
        {
            "size": (256, 256),  # (h, w), where predict.size is 0
            "dtype": "float32",  # or "bfloat16"
            "platforms": ("cpu", "cuda", "tpu"),  # of StableHLO
        }
    )
    return config


def irstd_diff(name, dataset, split):
    """The paper's recipe (Table I and section IV.A) on one data set; see `recipe`."""
    config = detecting(recipe(name, dataset, split), "diffusion")
    config.task = ConfigDict(
        {
            "name": "mask_diffusion",
            "parameterisation": "eps",  # or "x0", "v", "logit"
            "mask_range": (0.0, 1.0),  # or (-1.0, 1.0)
            "schedule": "linear",
            "steps": 100,
            "encoder_weight": 10.0,  # lambda of Eq. 16
            # What is not the paper (tasks/mask_diffusion.py):
            "iou_weight": 0.0,  # of soft IoU on the encoder's maps
            "mask_iou_weight": 0.0,  # of soft IoU on the mask; for "logit"
            "weighting": "output",  # or "min_snr", "sigmoid", "flow", "x0", "eps", "v"
            "weighting_bias": 0.0,  # of "sigmoid"
            "times": "uniform",  # or "shift", "power", "logit_normal"
            "last_share": 0.0,  # of the draws at the last time
            "target_weight": 0.0,  # what a target weighs more, in pixels
            "source": "noise",  # or "encoder": the path begins at its estimate
            "source_noise": 0.1,
        }
    )
    config.model = ConfigDict(
        {
            "name": "irstd_diff",
            "image_channels": 3,
            "channels": 64,
            "channel_mult": (1, 1, 2, 2, 4, 4),
            "num_res_blocks": 2,
            "num_heads": 4,
            "attention_downsamplings": (16,),
            "encoder_channels": 64,
            "encoder_heights": (7, 6, 5, 4, 0, 0),
            "conditional_encoder": True,
            "liw": True,
            "liw_levels": 2,
            "detach_condition": True,
            "prior": 0.5,  # of target pixels, before training
            "token_layout": "spatial",
            "dtype": "float32",
            "remat": False,
        }
    )
    config.sampling = ConfigDict(
        {
            "sampler": "ddpm",
            "steps": 100,
            "spacing": "respaced",  # or "rebuilt": the paper's Table VII
            "variance": "large",
            "eta": 0.0,  # of ddim
            "start": "noise",  # or "encoder", with a strength below 1
            "strength": 1.0,  # share of the levels that are run
            "samples": 1,
            "ensemble": "mean",
        }
    )
    config.data.update({"normalisation": "irstd_diff_sirst", "resize": 256})
    # Few sampling steps suffice to rank the states of one run.
    config.validation.update({"sampler": "ddim", "steps": 10})
    config.evaluation.size = 256
    return config


def no_augmentation():
    """Every augmentation off: the released recipe has none."""
    return {
        "flip": False,
        "quarter_turns": False,
        "scale": (1.0, 1.0),
        "brightness": 0.0,
        "contrast": 0.0,
        "noise": 0.0,
        "frame": 0.0,
    }


def narrow(config, channels, encoder_channels, channel_mult, attention):
    """A smaller network of the same kind, for one grey channel."""
    config.model.update(
        {
            "image_channels": 1,
            "channels": channels,
            "channel_mult": channel_mult,
            "num_res_blocks": 1,
            "attention_downsamplings": attention,
            "encoder_channels": encoder_channels,
        }
    )
    config.data.channels = 1


def small(config):
    """About an hour on 2 CPU cores: a narrow network on 128 px crops, native scale."""
    narrow(config, 8, 16, (1, 2, 2, 4), (8,))
    config.model.encoder_heights = (6, 5, 4, 0)
    config.model.detach_condition = False
    config.model.prior = 0.01
    config.num_steps = 1_600
    config.log_every = 50
    config.evaluate_every = 400
    config.checkpoint_every = 100
    config.task.update(
        {
            "parameterisation": "x0",
            "mask_range": (-1.0, 1.0),
            "encoder_weight": 1.0,
            "iou_weight": 0.2,
        }
    )
    config.data.update({"batch_size": 8, "resize": 0, "crop": 128, "threads": 2})
    config.data.augment.update(
        {
            "flip": True,
            "quarter_turns": True,
            "scale": (0.8, 1.25),
            "brightness": 0.1,
            "contrast": 0.2,
        }
    )
    config.optimizer.update(
        {
            "learning_rate": 2e-3,
            "decay": "cosine",
            "warmup": 100,
            "clip": 1.0,
            "ema": 0.995,
        }
    )
    config.sampling.update({"sampler": "ddim", "steps": 5})
    config.validation.update({"steps": 3})
    config.evaluation.update({"size": 0, "canvas_multiple": 128})
    config.predict.mode = "fused_logodds"  # above `diffusion` on validation images


def realtime(config):
    """One evaluation an image on a CPU: a mask-logit network at half resolution."""
    small(config)
    config.model = ConfigDict(
        {
            "name": "realtime",
            "image_channels": 1,
            "widths": (16, 32, 64, 96),
            "blocks": (1, 1, 1, 1),
            "denoiser_widths": (16,),
            "denoiser_blocks": (1,),
            "detach_condition": False,
            "prior": 0.01,
            "dtype": "float32",
        }
    )
    config.task.update(
        {
            "parameterisation": "logit",
            "mask_iou_weight": 1.0,
            "iou_weight": 0.5,
            "times": "shift",
            "last_share": 0.3,  # the time of the one evaluation
        }
    )
    config.num_steps = 6_000
    config.evaluate_every = 1_000
    config.checkpoint_every = 200
    config.data.augment.noise = 0.02
    config.optimizer.update({"warmup": 200, "ema": 0.998})
    config.sampling.steps = 1
    # The rate ends at zero, and NUAA-SIRST's 21 validation images choose by luck.
    config.validation.update({"choose": "last", "steps": 1})
    config.evaluation.canvas_multiple = 64
    config.predict.mode = "diffusion"


def accurate(config):
    """`realtime` at half its speed: wider, and two blocks a level on the way down."""
    realtime(config)
    config.model.update({"widths": (24, 32, 64, 96), "blocks": (2, 2, 2, 2)})


def tiny(config):
    """Seconds: a few steps of a toy of `small`, to see that all parts work."""
    small(config)
    narrow(config, 8, 8, (1, 1), ())
    config.model.encoder_heights = (3, 3, 0)
    config.model.liw_levels = 1
    config.data.resize = 0
    config.sampling.update({"sampler": "ddim", "steps": 2})
    config.validation.steps = 2
    config.optimizer.ema = 0.9
    brief(config)


def brief(config):
    """What all tiny variants of detecting recipes share: few steps, small images."""
    config.num_steps = 4
    config.log_every = 1
    config.evaluate_every = 2
    config.checkpoint_every = 2
    config.data.update({"batch_size": 8, "crop": 32, "threads": 1})
    config.optimizer.update({"warmup": 0, "flat": True})  # flat: it compiles sooner
    config.validation.images = 2
    config.evaluation.update(
        {"size": 32, "batch_size": 8, "canvas_multiple": 32, "bootstrap": 20}
    )
    # With few levels a U-Net's middle attends over half the image: small tiles.
    config.predict.update({"tile": 64, "overlap": 16})


def published(config):
    """The paper's recipe as it is."""


# Those that learn from the grey images, at the native size and by DNANet's split.
NATIVE = ("accurate", "realtime", "small", "tiny")
VARIANTS = {
    "": published,
    "accurate": accurate,
    "paper": published,
    "realtime": realtime,
    "small": small,
    "tiny": tiny,
}


def with_variant(config, variant):
    """The recipe changed by a variant, whose name joins the recipe's."""
    variant_of(variant or "", VARIANTS)(config)
    if variant:
        config.name = f"{config.name}_{variant}"
    return config
