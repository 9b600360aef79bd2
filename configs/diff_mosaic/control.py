"""Stage three of the Diff-Prior: the control branch, which ties samples to an image.

  python launch.py --config=configs/diff_mosaic/control.py:small \
      --config.parts.unet=runs/latent_prior_small/best.safetensors \
      --config.parts.restorer=runs/pixel_prior_small/best.safetensors

The released recipe (AdamW 1e-4, one image a GPU, constant rate, loss of eps): the
control branch alone learns, the U-Net, the autoencoder and the Pixel-Prior stay as they
are. What it leaves is the whole Diff-Prior in one file. A checkpoint of Diff-Mosaic or
DiffBIR becomes the same by --mode=convert with this recipe.

Memory at the full size, float32, 1 GB = 1e9 bytes: control 1.45 (363,153,280
parameters), with its average and Adam's two moments 5.81, gradients 1.45, what stays
3.86 (U-Net 865,910,724, autoencoder 83,653,863, Pixel-Prior 15,792,587): 11.12 GB. To
it 7 to 8 GB for the gradient of one image of 512 px, as XLA plans it for a CPU, in
float32 and in bfloat16 with remat (benchmarks/README.md).
"""

from ml_collections import ConfigDict

from configs.diff_mosaic import latent_prior, priors


def get_config(variant=""):
    """The recipe; see the module."""
    config, networks = priors.recipe("control", variant)
    config.task = ConfigDict(latent_prior.task("control"))
    config.model = ConfigDict(priors.control(networks["unet"]))
    config.unet = ConfigDict(networks["unet"])
    config.autoencoder = ConfigDict(networks["autoencoder"])
    config.restorer = ConfigDict(networks["swinir"])
    config.parts = ConfigDict({"unet": "", "restorer": ""})
    config.sampling = ConfigDict(latent_prior.sampling(variant))
    latent_prior.adapt(config, variant)
    if variant == "small":
        config.num_steps = 800
    return config
