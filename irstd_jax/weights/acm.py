"""The names of ACM's published weights: the authors' PyTorch code, U-Net and FPN."""

from irstd_jax.models import build
from irstd_jax.models.detectors.acm import FUSIONS
from irstd_jax.weights import detectors

NAMES = (
    (r"norm_in/", "stem.0/"),
    (r"stem_(\d)/conv/", lambda m: f"stem.{3 * int(m[1]) + 1}/"),
    (r"stem_(\d)/norm/", lambda m: f"stem.{3 * int(m[1]) + 2}/"),
    (r"conv_in/conv/", "body.0/"),
    (r"conv_in/norm/", "body.1/"),
    (r"conv_out/conv/", "body.3/"),
    (r"conv_out/norm/", "body.4/"),
    (r"shortcut/conv/", "downsample.0/"),
    (r"shortcut/norm/", "downsample.1/"),
    (r"layer(\d)_(\d+)/", r"layer\1.\2/"),
    (r"high/conv/", "feature_high.0/"),
    (r"high/norm/", "feature_high.1/"),
    (r"post/conv/", "post.0/"),
    (r"post/norm/", "post.1/"),
    (r"head_in/conv/", "head.block.0/"),
    (r"head_in/norm/", "head.block.1/"),
    (r"head_out/", "head.block.4/"),
)


def gates(fusion):
    """Renamings of the two gates: a pool in front of one moves its numbers by one."""
    return [
        (f"/{ours}_{layer}/", f"/{theirs}.{place + pooled}/")
        for ours, theirs, pooled in zip(
            ("down", "up"), ("topdown", "bottomup"), FUSIONS[fusion], strict=True
        )
        for layer, place in (
            ("in/conv", 0),
            ("in/norm", 1),
            ("out/conv", 3),
            ("out/norm", 4),
        )
    ]


def table(name, **fields):
    """The entries for "acm_unet" or "acm_fpn" with the given fields."""
    network = build(name, **fields)
    if network.stem != "quarter":
        raise ValueError(f"no published weights have stem={network.stem!r}")
    return detectors.table(network, (*gates(network.fusion), *NAMES))
