"""SegDiff: published sizes and outputs, its encoder by hand, what depends on what."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import signal

from irstd_jax import models, weights
from irstd_jax.models.generative import rrdb

TOY = dict(
    image_channels=1,
    channels=4,
    channel_mult=(1, 1),
    num_res_blocks=1,
    num_heads=1,
    attention_downsamplings=(),
    groups=2,
    rrdb_blocks=1,
    rrdb_channels=3,
    rrdb_growth=2,
)


def normal(*shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


@pytest.fixture(scope="module")
def reference(golden_root, seeded):
    """What we compute and what the authors' code computed, of the same weights."""
    fixture = seeded.load("segdiff", golden_root)
    network = models.build("segdiff")
    variables = weights.convert("segdiff", seeded.state_dict(fixture))

    @jax.jit
    def run(variables, image, x_t, t):
        feature, _ = network.apply(variables, image, method="condition")
        return feature, network.apply(
            variables, x_t, t, image, feature, method="denoise"
        )

    image, x_t = (fixture[f"in/{n}"].transpose(0, 2, 3, 1) for n in ("image", "x"))
    feature, eps = run(variables, image, x_t, jnp.asarray(fixture["in/t"], jnp.int32))
    return {"condition_every8th": feature[:1, ..., ::8], "eps": eps}, fixture


def test_reference_output(reference, agrees):
    mine, fixture = reference
    assert {f"out/{name}" for name in mine} == {n for n in fixture if n[:4] == "out/"}
    for name, output in mine.items():
        agrees(output, fixture[f"out/{name}"])
