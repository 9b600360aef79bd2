"""IRSTD-Diff by the paper's recipe on IRSTD-1k (800 / 201 images).

  python launch.py --config=configs/irstd1k.py

The paper reports IoU 65.71, Pd 93.15 %, Fa 5.80e-6 (Table III) with the released fusion
rule, images resized to 256. It asks for a GPU: 80,000 steps of 39.6 M parameters.
Variants: `small` (a narrow network, about an hour on 2 CPU cores), `tiny` (seconds).
"""

from configs import common


def get_config(variant=""):
    """The recipe; see the module."""
    config = common.irstd_diff("irstd1k", "irstd1k", "80_20")
    return common.with_variant(config, variant)
