"""The names of AGPCNet's published weights; they hold for every width and scale."""

from irstd_jax.models import build
from irstd_jax.weights import detectors

CONTEXT = (
    (r"context_in/conv/", "context.conv1.0/"),
    (r"context_in/norm/", "context.conv1.1/"),
    (r"context_out/conv/", "context.conv2.0/"),
    (r"context_out/norm/", "context.conv2.1/"),
    (r"context_(\d)/attention/", r"context_\1/non_local/"),
    (r"guide_attention/", "attention.non_local_att/"),
    *detectors.gate("guide", "attention.conv_att", False),
    (r"context_(\d)/mix/conv/", r"context_\1/conv.0/"),
    (r"context_(\d)/mix/norm/", r"context_\1/conv.1/"),
    (r"context_(\d)/", r"context.scale_list.\1/"),
    (r"(query|key|value)/", r"\1_conv/"),
)
FUSION = (
    *detectors.gate("down", "ca", True),
    *detectors.gate("up", "pa", False),
    (r"high/conv/", "plus_conv.0/"),
    (r"high/norm/", "plus_conv.1/"),
    (r"post/conv/", "end_conv.0/"),
    (r"post/norm/", "end_conv.1/"),
)
NAMES = (
    *CONTEXT,
    *FUSION,
    (r"^stem/conv/", "backbone.conv1/"),
    (r"^stem/norm/", "backbone.bn1/"),
    (r"^layer", "backbone.layer"),
    *detectors.BASIC,
    *detectors.TRUNK,
)


def table(**fields):
    """The entries for AGPCNet(**fields); the published ones by default."""
    return detectors.table(build("agpcnet", **fields), NAMES)
