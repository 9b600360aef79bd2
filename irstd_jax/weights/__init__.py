"""Published weights: reading files, and naming what is in them."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from irstd_jax.weights import (
    acm,
    agpcnet,
    alcnet,
    autoencoder_kl,
    detectors,
    dnanet,
    engine,
    generative,
    irstd_diff,
    isnet,
    latent_unet,
    swinir,
    text_encoder,
    uiunet,
)


class Names(NamedTuple):
    """How the weights of a network are named in its authors' files.

    Attributes:
      table: the network's fields -> its entries (engine.Entry).
      prefix: what precedes the names in a checkpoint of a larger system, or "".
      canonical: (state dict, fields) -> the same in the table's spelling, of networks
        whose weights go about under several; or None.
      unused: how the names of layers begin that the release has and never runs.
    """

    table: Callable
    prefix: str = ""
    canonical: Callable | None = None
    unused: tuple[str, ...] = ()


def latent(name):
    """The row of a network of Stable Diffusion."""
    prefix = latent_unet.PREFIXES[name]
    return Names(partial(latent_unet.table, name), prefix, latent_unet.canonical)


NETWORKS = {
    "acm_fpn": Names(partial(acm.table, "acm_fpn"), detectors.PREFIX),
    "acm_unet": Names(
        partial(acm.table, "acm_unet"), detectors.PREFIX, detectors.canonical
    ),
    "acm_unet_basicirstd": Names(
        partial(acm.table, "acm_unet_basicirstd"), detectors.COLLECTION
    ),
    "agpcnet": Names(agpcnet.table, detectors.PREFIX),
    "alcnet": Names(alcnet.table, detectors.PREFIX, detectors.canonical),
    "alcnet_basicirstd": Names(
        partial(acm.table, "alcnet_basicirstd"),
        detectors.COLLECTION,
        unused=acm.UNUSED,
    ),
    "autoencoder_kl": Names(
        autoencoder_kl.table, autoencoder_kl.PREFIX, autoencoder_kl.canonical
    ),
    "cimd": Names(partial(generative.table, "cimd")),
    "cimd_256": Names(partial(generative.table, "cimd_256")),
    "control_net": latent("control_net"),
    "dnanet": Names(dnanet.table, detectors.PREFIX),
    "irstd_diff": Names(irstd_diff.table),
    "isnet": Names(
        partial(isnet.table, "isnet"), detectors.COLLECTION, unused=isnet.UNUSED
    ),
    "isnet_dcnv2": Names(
        partial(isnet.table, "isnet_dcnv2"), detectors.PREFIX, unused=isnet.UNUSED
    ),
    "latent_unet": latent("latent_unet"),
    "medsegdiff": Names(partial(generative.table, "medsegdiff")),
    "medsegdiff_v1": Names(partial(generative.table, "medsegdiff_v1")),
    "segdiff": Names(partial(generative.table, "segdiff")),
    "swinir": Names(swinir.table, swinir.PREFIX),
    "text_encoder": Names(
        text_encoder.table, text_encoder.PREFIX, text_encoder.canonical
    ),
    "uiunet": Names(uiunet.table, detectors.PREFIX),
}


def convert(name, state_dict, **fields):
    """{torch name: array} -> Flax variables {"params", "batch_stats"} as float32.

    Strict both ways. A "module." prefix is taken off; engine.IGNORED are no weights and
    are dropped, as are layers that never run. Of a larger system's checkpoint the
    network's part is taken.

    Args:
      name: of the network, as in irstd_jax.models.build.
      state_dict: what the authors' checkpoint holds.
      fields: of the network, where it is not the published configuration.

    Raises:
      ValueError: unknown network, or weights that do not fit it: the message lists
        all missing, unexpected and misshapen names.
    """
    row = names_of(name)
    state_dict = engine.part(state_dict, row.prefix)
    if row.canonical:
        state_dict = row.canonical(state_dict, **fields)
    return engine.convert(row.table(**fields), state_dict, row.unused)


def invert(name, variables, **fields):
    """Flax variables -> {torch name: array}: the inverse of `convert`."""
    return engine.invert(table(name, **fields), variables)


def table(name, **fields):
    """The entries (engine.Entry) of a network."""
    return names_of(name).table(**fields)


def names_of(name):
    """The row of a network; an error that lists them for another name."""
    if name not in NETWORKS:
        raise ValueError(
            f"no published names for {name!r}; choose from {sorted(NETWORKS)}"
        )
    return NETWORKS[name]
