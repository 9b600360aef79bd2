"""The names of UIU-Net's published weights; they hold for every width and depth."""

from irstd_jax.models import build
from irstd_jax.weights import detectors

NAMES = (
    (r"^en_(\d)/", r"stage\1/"),
    (r"^de_(\d)/", r"stage\1d/"),
    (r"/conv_in/", "/rebnconvin/"),
    (r"/down_(\d)/", lambda m: f"/rebnconv{int(m[1]) + 1}/"),
    (r"^stage.*/conv/", lambda m: m[0].replace("/conv/", "/conv_s1/")),
    (r"^stage.*/norm/", lambda m: m[0].replace("/norm/", "/bn_s1/")),
    (r"side_(\d)/", r"side\1/"),
    (r"fuse/", "outconv/"),
    (r"fuse_(\d)/", r"fuse\1/"),
    (r"high/conv/", "feature_high.0/"),
    (r"high/norm/", "feature_high.1/"),
    (r"down_in/conv/", "topdown.1/"),
    (r"down_in/norm/", "topdown.2/"),
    (r"down_out/conv/", "topdown.4/"),
    (r"down_out/norm/", "topdown.5/"),
    (r"up_in/conv/", "bottomup.0/"),
    (r"up_in/norm/", "bottomup.1/"),
    (r"up_out/", "bottomup.3.conv1/"),
    (r"post/conv/", "post.0/"),
    (r"post/norm/", "post.1/"),
)


def table(**fields):
    """The entries for UIUNet(**fields); the published ones by default."""
    network = build("uiunet", **fields)

    # Decoders of the U-blocks count down: with L layers, ours i is theirs L - 1 - i.
    def counted(match):
        height = network.heights[int(match[1]) - 1] or 4
        return f"stage{match[1]}{match[2]}/rebnconv{height - 1 - int(match[3])}d/"

    names = (*NAMES[:2], (r"^stage(\d)(d?)/up_(\d)/", counted), *NAMES[2:])
    return detectors.table(network, names)
