"""IRSTD-Diff by the paper's recipe on IRSTD-1k (800 / 201 images).

  python launch.py --config=configs/irstd1k.py

The paper reports IoU 65.71, Pd 93.15 %, Fa 5.80e-6 (Table III) with the released fusion
rule, images resized to 256. It asks for a GPU: 80,000 steps of 39.6 M parameters.
Variants, all of the grey images: `small` (a narrow network, an hour on 2 CPU cores or
less), `realtime` (one evaluation at half resolution), `accurate` (a wider one), `tiny`
(seconds). None has been trained on this set.
"""

from configs import common


def get_config(variant=""):
    """The recipe; see the module."""
    config = common.irstd_diff("irstd1k", "irstd1k", "80_20")
    if variant in common.NATIVE:
        config.data.normalisation = "irstd1k"
    return common.with_variant(config, variant)
