"""The names of ACM's published weights, and of the networks that benchmarks make of it.

acm_unet, acm_fpn      the authors' PyTorch code; with stem="full", project=False also
                       their first, in MXNet (a .params file)
acm_unet_basicirstd    BasicIRSTD, LESPS
alcnet_basicirstd      what they call ALCNet: its uplayer1 and uplayer2 never run
"""

from irstd_jax.models import build
from irstd_jax.models.detectors.acm import FUSIONS
from irstd_jax.weights import detectors

NAMES = (
    *detectors.TRUNK,
    (r"high/conv/", "feature_high.0/"),
    (r"high/norm/", "feature_high.1/"),
    (r"post/conv/", "post.0/"),
    (r"post/norm/", "post.1/"),
)
BLOCKS = {
    "acm_fpn": detectors.BODY,
    "acm_unet": detectors.BODY,
    "acm_unet_basicirstd": detectors.BASIC,
    "alcnet_basicirstd": detectors.BASIC,
}
# Layers that alcnet_basicirstd has and never runs.
UNUSED = ("uplayer1.", "uplayer2.")


def gates(fusion):
    """Renamings of the two gates of a fusion."""
    down, up = FUSIONS[fusion]
    return (
        *detectors.gate("down", "topdown", down),
        *detectors.gate("up", "bottomup", up),
    )


def table(name, **fields):
    """The entries for a name of BLOCKS with the given fields."""
    network = build(name, **fields)
    renamings = (*gates(network.fusion), *BLOCKS[name], *NAMES)
    return detectors.table(network, renamings)
