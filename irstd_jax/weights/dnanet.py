"""The names of DNANet's published weights; they hold for every width and depth."""

from irstd_jax.models import build
from irstd_jax.weights import detectors

NAMES = (
    (r"final_node_(\d+)/", r"conv0_4_final.\1/"),
    (r"node_(\d)_(\d)_(\d+)/", r"conv\1_\2.\3/"),
    (r"level_(\d)/", r"conv0_\1_1x1/"),
    (r"final_(\d)/", r"final\1/"),
    (r"conv_in/conv/", "conv1/"),
    (r"conv_in/norm/", "bn1/"),
    (r"conv_out/conv/", "conv2/"),
    (r"conv_out/norm/", "bn2/"),
    (r"channel_in/", "ca.fc1/"),
    (r"channel_out/", "ca.fc2/"),
    (r"place/", "sa.conv1/"),
    (r"shortcut/conv/", "shortcut.0/"),
    (r"shortcut/norm/", "shortcut.1/"),
)


def table(**fields):
    """The entries for DNANet(**fields); the published ones by default."""
    return detectors.table(build("dnanet", **fields), NAMES)
