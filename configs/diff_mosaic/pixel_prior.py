"""The Pixel-Prior of Diff-Mosaic: SwinIR learns to undo degradations.

  python launch.py --config=configs/diff_mosaic/pixel_prior.py:small

The default is the released recipe (AdamW 1e-4, batch 1, 20,000 steps, sum of squares)
with its 15.8 M parameters; `paper` is what the paper says (batch 4, learning rate 1e-3,
100 epochs, second-order degradation). The release begins from DiffBIR's
general_swinir_v1.ckpt, which it does not mention: convert it, and name the file by
--config.start. `small` trains on 2 CPU cores, `tiny` in seconds. All train on the
detector's training part alone; the released lists hold 191 of 214 test images.
"""

from ml_collections import ConfigDict

from configs.diff_mosaic import priors


def get_config(variant=""):
    """The recipe; see the module."""
    paper = variant == "paper"
    config, networks = priors.recipe("pixel_prior", "" if paper else variant)
    config.task = ConfigDict(
        {
            "name": "restoration",
            "loss": "sum",  # or "mean"
            "degradation": {"preset": "released"},  # and any field of Degradation
            "keep_targets": False,
        }
    )
    config.model = ConfigDict(networks["swinir"])
    if variant in ("", "paper"):
        config.num_steps = 20_000
        config.checkpoint_every = 500
        config.data.batch_size = 1
        config.optimizer.update({"decay": "constant", "learning_rate": 1e-4})
    if paper:
        config.name = "pixel_prior_paper"
        config.num_steps = 100 * 192 // 4
        config.data.batch_size = 4
        config.optimizer.learning_rate = 1e-3
        config.task.degradation.preset = "paper"
    if variant == "small":
        config.data.crop = 64
    if variant in ("small", "tiny"):
        config.task.loss = "mean"
        config.task.degradation.preset = "small"
    return config
