"""Stage one of the Diff-Prior: an autoencoder of infrared images.

  python launch.py --config=configs/diff_mosaic/autoencoder.py:small

`small` keeps a quarter of each side (a factor of 8, as in Stable Diffusion, erases
targets of 2-3 px) and trains on 2 CPU cores. The default has the published size.
"""

from ml_collections import ConfigDict

from configs.diff_mosaic import priors


def get_config(variant=""):
    """The recipe; see the module."""
    config, networks = priors.recipe("autoencoder", variant)
    config.task = ConfigDict(
        {
            "name": "autoencoding",
            "kl_weight": 1e-6,
            "target_weight": 10.0,  # more weight to a target's pixels
            "edge_weight": 1.0,
        }
    )
    config.model = ConfigDict(networks["autoencoder"])
    if variant == "small":
        config.num_steps = 2_000
        config.data.update({"target_share": 0.5, "crop": 64})
    return config
