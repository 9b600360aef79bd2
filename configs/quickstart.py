"""The quick start: generated scenes and a small network, minutes on 2 CPU cores.

  python launch.py

Trains, evaluates on scenes it has not seen, and writes pictures into runs/quickstart.
What it reaches is in benchmarks/RESULTS.md. Nothing is downloaded.
"""

from configs import common


def get_config(variant=""):
    """The recipe; see the module."""
    config = common.irstd_diff("quickstart", "synthetic", "generated")
    common.small(config)
    common.narrow(config, 8, 16, (1, 2, 4), ())
    config.model.encoder_heights = (5, 4, 0)
    config.num_steps = 280
    config.log_every = 10
    config.evaluate_every = 280
    config.checkpoint_every = 50
    config.data.update({"normalisation": "nuaa", "crop": 64, "batch_size": 8})
    config.data.size = 128
    config.data.seed = 0
    config.data.count = {"train": 200, "validation": 16, "test": 40}
    config.optimizer.update({"warmup": 20, "ema": 0.98})
    # The middle of three levels attends over a quarter of the image: smaller tiles.
    config.predict.update({"tile": 256, "overlap": 32})
    config.evaluation.canvas_multiple = 64
    if variant == "tiny":
        common.tiny(config)
        config.data.size = 32
        config.data.count = {"train": 8, "validation": 2, "test": 2}
        config.name = "quickstart_tiny"
    elif variant:
        common.variant_of(variant, {"": None, "tiny": None})
    return config
