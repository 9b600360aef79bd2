"""What the recipes of the two priors share: the networks, and the data of stage one.

The published networks see three equal channels; those trained here one grey channel.
"""

from configs import common

# --- the published ones: DiffBIR's SwinIR, Stable Diffusion 2.1 and its control -------

SWINIR = {
    "name": "swinir",
    "in_channels": 3,
    "embed_dim": 180,
    "depths": (6,) * 8,
    "heads": (6,) * 8,
    "window": 8,
    "mlp_ratio": 2,
    "unshuffle": 8,
    "features": 64,
    "residual": False,
    "dtype": "float32",
    "remat": False,
}
AUTOENCODER = {
    "name": "autoencoder_kl",
    "channels_in": 3,
    "channels": 128,
    "channel_mult": (1, 2, 4, 4),
    "num_res_blocks": 2,
    "z_channels": 4,
    "dtype": "float32",
    "remat": False,
}
UNET = {
    "name": "latent_unet",
    "latent_channels": 4,
    "channels": 320,
    "channel_mult": (1, 2, 4, 4),
    "num_res_blocks": 2,
    "attention_downsamplings": (4, 2, 1),
    "head_width": 64,
    "context_dim": 1024,
    "groups": 32,
    "dtype": "float32",
    "remat": False,
}

# --- what learns from some hundreds of infrared images on 2 cores, and toys -----------

SMALL = {
    "swinir": SWINIR
    | {
        "in_channels": 1,
        "embed_dim": 48,
        "depths": (2,) * 4,
        "heads": (4,) * 4,
        "unshuffle": 4,
        "features": 16,
        # So it begins as the identity, and need not learn to copy what is clean.
        "residual": True,
    },
    "autoencoder": AUTOENCODER
    | {
        "channels_in": 1,
        "channels": 24,
        "channel_mult": (1, 2, 4),
        "num_res_blocks": 1,
        "z_channels": 8,  # with 4 the texture of a sensor's noise is lost
    },
    "unet": UNET
    | {
        "latent_channels": 8,
        "channels": 32,
        "channel_mult": (1, 2, 4),
        "num_res_blocks": 1,
        "attention_downsamplings": (4,),
        "head_width": 32,
        "context_dim": 32,
        # With as many groups as channels a normalisation takes the time away again.
        "groups": 8,
    },
}
TINY = {
    "swinir": SMALL["swinir"]
    | {"embed_dim": 8, "depths": (2,), "heads": (2,), "features": 4},
    "autoencoder": SMALL["autoencoder"]
    | {"channels": 8, "channel_mult": (1, 1), "z_channels": 4},
    "unet": SMALL["unet"]
    | {
        "latent_channels": 4,
        "channels": 8,
        "channel_mult": (1, 1),
        "attention_downsamplings": (),
        "head_width": 8,
        "context_dim": 8,
        "groups": 2,
    },
}
PUBLISHED = {"swinir": SWINIR, "autoencoder": AUTOENCODER, "unet": UNET}
NETWORKS = {"": PUBLISHED, "small": SMALL, "tiny": TINY}


def control(unet):
    """The control branch of a U-Net's fields: the condition latent is its hint."""
    return unet | {"name": "control_net", "hint_channels": unet["latent_channels"]}


def recipe(name, variant):
    """(config without task and model, networks) of a prior's recipe and variant.

    Crops at the native scale of NUAA-SIRST's training part, one pixel in one: the
    release enlarges images of 256 px to 512 for its priors and feeds them mosaics at
    native scale afterwards.
    """
    networks = common.variant_of(variant, NETWORKS)
    config = common.recipe(name, "nuaa_sirst", "50_50")
    config.data.update({"crop": 256, "target_share": 0.3, "threads": 2})
    config.data.channels = networks["autoencoder"]["channels_in"]
    config.data.augment.update({"flip": True, "quarter_turns": True})
    if variant == "small":
        small(config)
    if variant == "tiny":
        tiny(config)
    if variant:
        config.name = f"{name}_{variant}"
    return config, networks


def small(config):
    """For 2 CPU cores: half an hour each where other work shares them."""
    config.num_steps = 1_500
    config.log_every = 50
    config.evaluate_every = 500
    config.checkpoint_every = 100
    config.data.update({"batch_size": 8, "crop": 128})
    config.optimizer.update(
        {
            "learning_rate": 1e-3,
            "decay": "cosine",
            "warmup": 100,
            "clip": 1.0,
            "ema": 0.995,
        }
    )
    config.evaluation.batch_size = 8


def tiny(config):
    """Seconds: to see that all parts work."""
    config.data.name = "synthetic"
    config.data.split = "generated"
    config.data.size = 32
    config.data.seed = 0
    config.data.count = {"train": 8, "validation": 2, "test": 2}
    config.num_steps = 4
    config.log_every = 1
    config.evaluate_every = 2
    config.checkpoint_every = 2
    config.data.update({"batch_size": 8, "crop": 32, "threads": 1})
    config.optimizer.update({"learning_rate": 1e-3, "decay": "constant", "ema": 0.9})
    config.optimizer.flat = True  # it compiles sooner
    config.evaluation.update({"batch_size": 8})
