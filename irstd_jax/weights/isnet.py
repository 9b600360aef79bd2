"""The names of ISNet's weights: BasicIRSTD's copy, and PAL's, of other offsets."""

from irstd_jax.models import build
from irstd_jax.weights import detectors

# Layers that both copies have and never run, and PAL's constants of the gradient.
UNUSED = tuple(
    f"{name}."
    for name in (
        *(f"{kind}{i}" for kind in ("res", "d", "gate") for i in (1, 2, 3)),
        "cw",
        "SA",
        "SA_att",
        "head2",
        "conv2_1",
        "conv16",
        "grad_extractor",
    )
)
EDGE = (
    (r"^gradient/", "dsup/"),
    (r"^edge/", "fuse/"),
    (r"^side_(\d)/", r"dsn\1/"),
    (r"^(edge_\d)/first_(in|out)/", r"\1/res1/conv_\2/"),
    (r"^(edge_\d)/second_(in|out)/", r"\1/res2/conv_\2/"),
    (r"gated/", "gate/"),
    (r"alpha_norm/", "gate/_gate_conv.0/"),
    (r"alpha_in/", "gate/_gate_conv.1/"),
    (r"alpha_out/conv/", "gate/_gate_conv.3/"),
    (r"alpha_out/norm/", "gate/_gate_conv.4/"),
    # In this branch alone blocks are torchvision's.
    *((f"(^edge_.*/){old}", rf"\1{new}") for old, new in detectors.BASIC),
    (r"^edge_(\d)/", r"myb\1/"),
)
EXCHANGE = (
    (r"^fuse2/", "TTOA_low/"),
    (r"^fuse1/", "TTOA_high/"),
    (r"narrow/", "preprocess.0/"),
    (r"widen/", "preprocess.1/"),
    (r"column/", "dcn_colum/"),
    (r"row/", "dcn_row/"),
)


def table(name, **fields):
    """The entries for "isnet" or "isnet_dcnv2" with the given fields."""
    network = build(name, **fields)
    offset = "conv_offset_mask/" if network.modulated else "conv_offset/"
    names = (*EDGE, *EXCHANGE, (r"offset/", offset))
    return detectors.table(network, (*names, *detectors.TRUNK, *detectors.BODY))
