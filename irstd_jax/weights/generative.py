"""The names of SegDiff's, MedSegDiff's and CIMD's published weights.

Their U-Net is IRSTD-Diff's under the same names. What no release has is `widen` of
medsegdiff_v1, which is drawn anew at each call there: its weights are taken for
bridge="random". No release saves CIMD's two encoders either (`latent`); here they are
named as in its code.
"""

import re

import jax
import jax.numpy as jnp

from irstd_jax.models import build
from irstd_jax.weights import engine, irstd_diff

RRDB = (
    (r"rrdb/block_(\d+)/", r"rrdb/RRDB_trunk.\1/"),
    (r"dense_(\d)/conv_(\d)/", r"RDB\1/conv\2/"),
    (r"conv_trunk/", "trunk_conv/"),
    (r"conv_high/", "HRconv/"),
)
CALIBRATION = (
    (r"/norm/", "/instnorm/"),
    (r"down_(\d)_(\d)/", r"conv_blocks_context.\1.blocks.\2/"),
    (r"up_(\d)_(\d)/", r"conv_blocks_localization.\1.\2.blocks.0/"),
    (r"head/", "seg_outputs.0/"),
    (r"narrow_(\d)/", r"conv_trans_blocks_a.\1/"),
    (r"gate_(\d)/", r"conv_trans_blocks_b.\1/"),
    (r"filter_(\d)/weight", r"ffparser.\1/complex_weight"),
    (r"^encoder/", "hwm/"),
)
# Three convolutions a stage, each followed by a ReLU; a pool stands between stages.
LATENT = (
    (r"conv_(\d)_(\d)/", lambda m: f"encoder/layers.{7 * int(m[1]) + 2 * int(m[2])}/"),
    (r"head/", "conv_layer/"),
)
PARTS = {
    "unet": irstd_diff.UNET,
    "rrdb": RRDB,
    "encoder": CALIBRATION,
    "widen": (),
    "prior": LATENT,
    "posterior": LATENT,
}


def table(name, **fields):
    """The entries of a network by its name in models.NETWORKS, with these fields."""
    network = build(name, **fields)
    # In the release the bottom is one stage more.
    stages = len(getattr(network, "encoder_widths", ()))
    bottom = (r"bottom_(\d)/", rf"conv_blocks_context.{stages}.\1.blocks.0/")

    def torch_name(path, leaf):
        name = "/".join(path)
        for old, new in (*irstd_diff.LEAVES, bottom, *PARTS[path[0]]):
            name = re.sub(old, new, name)
        spectrum = path[-1] == "weight"
        return name.replace("/", "."), (
            "spectrum" if spectrum else irstd_diff.kind(path, leaf)
        )

    side = network.multiple
    image = jnp.zeros((1, side, side, network.image_channels))
    x_t, t = jnp.zeros((1, side, side, 1)), jnp.zeros(1, jnp.int32)
    shapes = jax.eval_shape(network.init, jax.random.key(0), image, x_t, t)
    return engine.table(shapes, torch_name)
