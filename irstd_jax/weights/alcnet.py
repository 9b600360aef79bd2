"""The names of ALCNet's published weights, an MXNet file (`.params`).

Blocks and fusions are named as the authors' code names them; the names of stem and head
are those of their ACM, of the same code.
"""

from irstd_jax.models import build
from irstd_jax.weights import detectors

NAMES = (
    *detectors.TRUNK,
    *detectors.BODY,
    (r"narrow_(\d)/conv/", r"dec_c\1.0/"),
    (r"narrow_(\d)/norm/", r"dec_c\1.1/"),
    *detectors.gate("up", "bottomup_att", False),
    (r"norm_high/", "bn1/"),
    (r"norm_low/", "bn2/"),
    (r"fuse_(\d)/", r"fpn_\1/"),
)


def table(**fields):
    """The entries for ALCNet(**fields); the published ones by default."""
    return detectors.table(build("alcnet", **fields), NAMES)
