"""The networks, by name."""

from irstd_jax.models.irstd_diff import IRSTDDiff

NETWORKS = {"irstd_diff": IRSTDDiff}


def build(name, **fields):
    """The Linen module `name`; without fields, at its published configuration."""
    if name not in NETWORKS:
        raise ValueError(f"unknown network {name!r}; choose from {sorted(NETWORKS)}")
    return NETWORKS[name](**fields)
