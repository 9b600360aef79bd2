"""Published weights: reading files, and naming what is in them."""

from irstd_jax.weights import engine, irstd_diff

TABLES = {"irstd_diff": irstd_diff.table}


def convert(name, state_dict, **fields):
    """{torch name: array} -> Flax variables {"params", "batch_stats"} as float32.

    Strict both ways. A "module." prefix is taken off; `num_batches_tracked` and
    `relative_position_index` are no weights and are dropped.

    Args:
      name: of the network, as in irstd_jax.models.build.
      state_dict: what the authors' checkpoint holds.
      fields: of the network, where it is not the published configuration.

    Raises:
      ValueError: unknown network, or weights that do not fit it: the message lists
        all missing, unexpected and misshapen names.
    """
    return engine.convert(table(name, **fields), state_dict)


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
