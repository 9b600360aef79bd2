"""The networks, by name."""

import functools

from irstd_jax.models.autoencoder_kl import AutoencoderKL
from irstd_jax.models.detectors.acm import ACM
from irstd_jax.models.detectors.agpcnet import AGPCNet
from irstd_jax.models.detectors.alcnet import ALCNet
from irstd_jax.models.detectors.dnanet import DNANet
from irstd_jax.models.detectors.isnet import ISNet
from irstd_jax.models.detectors.uiunet import UIUNet
from irstd_jax.models.generative.cimd import CIMD
from irstd_jax.models.generative.medsegdiff import MedSegDiff
from irstd_jax.models.generative.segdiff import SegDiff
from irstd_jax.models.irstd_diff import IRSTDDiff
from irstd_jax.models.latent_unet import ControlNet, LatentUNet
from irstd_jax.models.realtime import RealtimeDiff
from irstd_jax.models.swinir import SwinIR
from irstd_jax.models.text_encoder import TextEncoder

# What benchmarks run: see acm.py.
BASICIRSTD = {"in_channels": 1, "project": False, "momentum": 0.1}
# CIMD's release is for 128 px; its code would make this one of 256 px.
AT_256 = {"channel_mult": (1, 1, 2, 2, 4, 4), "attention_downsamplings": (16,)}
NETWORKS = {
    "acm_fpn": functools.partial(ACM, decoder="fpn"),
    "acm_unet": ACM,
    "acm_unet_basicirstd": functools.partial(ACM, blocks=3, **BASICIRSTD),
    "agpcnet": AGPCNet,
    "alcnet": ALCNet,
    "alcnet_basicirstd": functools.partial(ACM, decoder="deconv", **BASICIRSTD),
    "autoencoder_kl": AutoencoderKL,
    "cimd": CIMD,
    "cimd_256": functools.partial(CIMD, **AT_256),
    "control_net": ControlNet,
    "dnanet": DNANet,
    "irstd_diff": IRSTDDiff,
    "isnet": ISNet,
    "isnet_dcnv2": functools.partial(ISNet, modulated=True, in_channels=3),
    "latent_unet": LatentUNet,
    "medsegdiff": MedSegDiff,
    "medsegdiff_v1": functools.partial(MedSegDiff, highway=True),
    "realtime": RealtimeDiff,
    "segdiff": SegDiff,
    "swinir": SwinIR,
    "text_encoder": TextEncoder,
    "uiunet": UIUNet,
}


def build(name, **fields):
    """The Linen module `name`; without fields, at its published configuration.

    Lists, which JSON makes of tuples, become tuples again.
    """
    if name not in NETWORKS:
        raise ValueError(f"unknown network {name!r}; choose from {sorted(NETWORKS)}")
    fields = {k: tuple(v) if isinstance(v, list) else v for k, v in fields.items()}
    return NETWORKS[name](**fields)
