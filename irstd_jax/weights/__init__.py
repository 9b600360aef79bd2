"""Published weights: reading files, and naming what is in them."""

from functools import partial

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

TABLES = {
    "acm_fpn": partial(acm.table, "acm_fpn"),
    "acm_unet": partial(acm.table, "acm_unet"),
    "acm_unet_basicirstd": partial(acm.table, "acm_unet_basicirstd"),
    "agpcnet": agpcnet.table,
    "alcnet": alcnet.table,
    "alcnet_basicirstd": partial(acm.table, "alcnet_basicirstd"),
    "autoencoder_kl": autoencoder_kl.table,
    "cimd": partial(generative.table, "cimd"),
    "cimd_256": partial(generative.table, "cimd_256"),
    "control_net": partial(latent_unet.table, "control_net"),
    "dnanet": dnanet.table,
    "irstd_diff": irstd_diff.table,
    "isnet": partial(isnet.table, "isnet"),
    "isnet_dcnv2": partial(isnet.table, "isnet_dcnv2"),
    "latent_unet": partial(latent_unet.table, "latent_unet"),
    "medsegdiff": partial(generative.table, "medsegdiff"),
    "medsegdiff_v1": partial(generative.table, "medsegdiff_v1"),
    "segdiff": partial(generative.table, "segdiff"),
    "swinir": swinir.table,
    "text_encoder": text_encoder.table,
    "uiunet": uiunet.table,
}
# What precedes a network's names in a checkpoint of a larger system.
PREFIXES = {
    "acm_fpn": detectors.PREFIX,
    "acm_unet": detectors.PREFIX,
    "acm_unet_basicirstd": detectors.COLLECTION,
    "agpcnet": detectors.PREFIX,
    "alcnet": detectors.PREFIX,
    "alcnet_basicirstd": detectors.COLLECTION,
    "autoencoder_kl": autoencoder_kl.PREFIX,
    "control_net": latent_unet.PREFIXES["control_net"],
    "dnanet": detectors.PREFIX,
    "isnet": detectors.COLLECTION,
    "isnet_dcnv2": detectors.PREFIX,
    "latent_unet": latent_unet.PREFIXES["latent_unet"],
    "swinir": swinir.PREFIX,
    "text_encoder": text_encoder.PREFIX,
    "uiunet": detectors.PREFIX,
}
# Networks whose weights go about under several spellings: to that of the table.
SPELLINGS = {
    "acm_unet": detectors.canonical,
    "alcnet": detectors.canonical,
    "autoencoder_kl": autoencoder_kl.canonical,
    "control_net": latent_unet.canonical,
    "latent_unet": latent_unet.canonical,
    "text_encoder": text_encoder.canonical,
}
# How the names of layers begin that a release has and never runs.
UNUSED = acm.UNUSED | dict.fromkeys(("isnet", "isnet_dcnv2"), isnet.UNUSED)


def convert(name, state_dict, **fields):
    """{torch name: array} -> Flax variables {"params", "batch_stats"} as float32.

    Strict both ways. A "module." prefix is taken off; engine.IGNORED are no weights and
    are dropped, as are layers that never run (UNUSED). Of a larger system's checkpoint
    the network's part is taken (PREFIXES).

    Args:
      name: of the network, as in irstd_jax.models.build.
      state_dict: what the authors' checkpoint holds.
      fields: of the network, where it is not the published configuration.

    Raises:
      ValueError: unknown network, or weights that do not fit it: the message lists
        all missing, unexpected and misshapen names.
    """
    entries = table(name, **fields)
    if name in PREFIXES:
        state_dict = engine.part(state_dict, PREFIXES[name])
    if name in SPELLINGS:
        state_dict = SPELLINGS[name](state_dict, **fields)
    return engine.convert(entries, state_dict, UNUSED.get(name, ()))


def invert(name, variables, **fields):
    """Flax variables -> {torch name: array}: the inverse of `convert`."""
    return engine.invert(table(name, **fields), variables)


def table(name, **fields):
    """The entries (engine.Entry) of a network."""
    if name not in TABLES:
        raise ValueError(
            f"no published names for {name!r}; choose from {sorted(TABLES)}"
        )
    return TABLES[name](**fields)
