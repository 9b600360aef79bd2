"""UIU-Net: reference outputs, its fusion by hand, any size, refusals."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from irstd_jax import models, weights
from irstd_jax.models.detectors import uiunet

TOY = {"channels": 4, "heights": (3, 3, 0), "in_channels": 1}


def toy(**fields):
    return models.build("uiunet", **(TOY | fields))


def image(h, w, b=2, c=1, seed=0):
    x = np.random.default_rng(seed).normal(size=(b, h, w, c))
    return jnp.asarray(x, jnp.float32)


def test_published_size(count):
    network, x = models.build("uiunet"), image(32, 32, c=3)
    shapes = jax.eval_shape(network.init, jax.random.key(0), x)
    assert count(shapes["params"]) == 50_541_461
    assert count(shapes["batch_stats"]) == 38_656


def test_reference_output(golden_root, seeded):
    fixture = seeded.load("uiunet", golden_root)
    variables = weights.convert("uiunet", seeded.state_dict(fixture))
    x = fixture["in/x"].transpose(0, 2, 3, 1)
    network = models.build("uiunet")
    run = jax.jit(lambda variables, x: jax.nn.sigmoid(network.apply(variables, x)))
    mine = run(variables, x)
    names = sorted(name for name in fixture if name.startswith("out/probability_"))
    assert mine.shape[-1] == len(names)
    for i, name in enumerate(names):
        expected = fixture[name]
        atol = 1e-4 * np.abs(expected).max()
        np.testing.assert_allclose(mine[:, None, ..., i], expected, rtol=0, atol=atol)


def test_fusion_is_its_formula(randomised):
    high, low = image(4, 5, c=8), image(4, 5, c=8, seed=1)
    fusion = uiunet.Fusion()
    variables = randomised(fusion, high, low)
    y = jax.jit(fusion.apply)(variables, high, low)

    def part(name, x, features=8, kernel=1, activation=jax.nn.relu):
        layer = uiunet.ConvNorm(features, kernel, bias=True, activation=activation)
        return layer.apply({kind: tree[name] for kind, tree in variables.items()}, x)

    h = part("high", high)
    mean = h.mean((1, 2), keepdims=True)
    d = part("down_out", part("down_in", mean, 2), activation=jax.nn.sigmoid)
    narrowed = part("up_in", low * d, 2)
    two = jnp.stack([narrowed.mean(-1), narrowed.max(-1)], axis=-1)
    conv = {"params": variables["params"]["up_out"]}
    u = jax.nn.sigmoid(uiunet.Conv(1, bias=False).apply(conv, two))
    parts = [part("post", 2 * x, kernel=3) for x in (low * d, h * u)]
    np.testing.assert_allclose(y, jnp.concatenate(parts, -1), atol=1e-5)


# --- the whole ---------------------------------------------------------------------


@pytest.fixture(scope="module")
def variables(randomised):
    return randomised(toy(), image(16, 16))


def test_an_odd_size_goes_through_as_it_is(variables):
    logits = jax.jit(toy().apply)(variables, image(13, 18))
    assert logits.shape == (2, 13, 18, 4) and logits.dtype == jnp.float32
    fuse = jax.tree.map(np.float64, variables["params"]["fuse"])
    fused = np.float64(logits[..., 1:]) @ fuse["kernel"][0, 0] + fuse["bias"]
    np.testing.assert_allclose(logits[..., :1], fused, atol=1e-5)


def test_remat_marks_the_blocks_and_renames_nothing(variables):
    def marks(remat):
        network = toy(remat=remat)
        run = jax.make_jaxpr(lambda x: network.apply(variables, x))
        names = [eqn.primitive.name for eqn in run(image(8, 8)).eqns]
        return sum(name in ("checkpoint", "remat", "remat2") for name in names)

    assert marks(False) == 0 and marks(True) == 5  # three stages down, two up


@pytest.mark.parametrize(
    "fields, words",
    [
        ({"heights": (3, 3)}, "heights are 3 to 6 numbers"),
        ({"heights": (3, 2, 0)}, "each 3 or more, or 0 for RSU4F"),
        ({"channels": 6}, "channels must divide by 4, not 6"),
        ({"in_channels": 3}, "in_channels=3, but image.shape=.2, 16, 16, 1."),
    ],
)
def test_what_cannot_work_is_refused(fields, words):
    with pytest.raises(ValueError, match=words):
        jax.eval_shape(toy(**fields).init, jax.random.key(0), image(16, 16))
