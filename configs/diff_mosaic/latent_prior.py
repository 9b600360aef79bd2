"""Stage two of the Diff-Prior: diffusion in the autoencoder's latents.

  python launch.py --config=configs/diff_mosaic/latent_prior.py:small \
      --config.parts.autoencoder=runs/autoencoder_small/best.safetensors

The release takes Stable Diffusion 2.1 for it (the default's sizes). To have that here,
convert a checkpoint or a folder of diffusers that you have, and go on with control.py:

  python launch.py --mode=convert --config=configs/diff_mosaic/latent_prior.py \
      --input=FILE_OR_FOLDER --output=stable_diffusion.safetensors

(with --config.task.parameterisation=v for the 768 px model.) Memory of training the
full size, float32, 1 GB = 1e9 bytes: U-Net 3.46 (865,910,724 parameters), with its
average and Adam's two moments 13.85, gradients 3.46, autoencoder 0.33 (83,653,863):
17.65 GB beside the activations (see benchmarks/README.md for those of control.py).
"""

from ml_collections import ConfigDict

from configs.diff_mosaic import priors


def get_config(variant=""):
    """The recipe; see the module."""
    config, networks = priors.recipe("latent_prior", variant)
    config.task = ConfigDict(task("unet"))
    config.model = ConfigDict(networks["unet"])
    config.autoencoder = ConfigDict(networks["autoencoder"])
    config.parts = ConfigDict({"autoencoder": ""})
    config.sampling = ConfigDict(sampling(variant))
    adapt(config, variant)
    return config


def task(part):
    """The fields of the task, for one of its parts."""
    return {
        "name": "latent_diffusion",
        "part": part,
        "schedule": "scaled_linear",
        "steps": 1_000,
        "parameterisation": "eps",  # as Stable Diffusion 2.1 base; or "v", "x0"
        "loss": "eps",  # as released; or "x0" (Eq. 6), "v", "min_snr"
        "degradation": {"preset": "released"},
        "keep_targets": False,
    }


def sampling(variant):
    """How images are drawn: as released, or as a small prior does it best."""
    released = {
        "sampler": "ddpm",
        "steps": 50,
        "spacing": "respaced",
        "variance": "small",
        "eta": 0.0,
        "strength": 1.0,  # from pure noise
        "guidance_scale": 400 / 16384,  # the released 400, for each element
        "guidance_repeats": 5,
        "guidance_start": 200,
        "guidance_rule": "mean",
        "color": "wavelet",  # or "adain", "none"
        "residual": 0.0,  # of what the autoencoder loses, given back
        "tile": 0,  # in latent pixels; 0 = whole images
        "overlap": 0,
    }
    if not variant:
        return released
    few = {"steps": 20 if variant == "small" else 2, "sampler": "ddim", "strength": 0.5}
    return released | few | {"guidance_rule": "x0"}


def adapt(config, variant):
    """The changes of the small variants, for both stages."""
    if not variant:
        config.data.batch_size = 1
        config.optimizer.update({"decay": "constant", "weight_decay": 0.01})
        return
    config.task.update({"parameterisation": "v", "loss": "v"})
    config.task.degradation.preset = "small"
    if variant == "small":
        config.num_steps = 1_500
        config.data.update({"batch_size": 16, "crop": 96})
        config.optimizer.ema = 0.998
