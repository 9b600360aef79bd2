"""AGPCNet: reference outputs, patches and attention by hand, any size, refusals."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from irstd_jax import models, weights
from irstd_jax.models.detectors import agpcnet

TOY = {"channels": (4, 4, 4, 4, 64), "scales": (3, 2), "in_channels": 1}
# Where the authors' modules end in ours, for the fixture's `mid_gamma/*`.
PARTS = {
    "context": "context_out",
    "context.conv1": "context_in",
    "fuse12": "fuse12",
    "fuse23": "fuse23",
    "head": "head_out",
}
PARTS |= {f"backbone.layer{i}": f"layer{i}_1" for i in range(1, 5)}


def toy(**fields):
    return models.build("agpcnet", **(TOY | fields))


def image(h, w, b=2, c=1, seed=0):
    x = np.random.default_rng(seed).normal(size=(b, h, w, c))
    return jnp.asarray(x, jnp.float32)


@pytest.mark.parametrize("scales", [(10, 6, 5, 3), (10, 6, 5, 4)])
def test_published_size(count, scales):
    network = models.build("agpcnet", scales=scales)
    shapes = jax.eval_shape(network.init, jax.random.key(0), image(80, 80, c=3))
    assert count(shapes["params"]) == 12_360_461


@pytest.fixture(scope="module")
def fixture(golden_root, seeded):
    return seeded.load("agpcnet", golden_root)


@pytest.fixture(scope="module")
def published(fixture, seeded):
    """Variables by the factor of the gammas, that are so small that little is seen."""

    def variables(factor):
        state = seeded.state_dict(fixture)
        louder = {k: v * np.float32(factor) for k, v in state.items() if "gamma" in k}
        return weights.convert("agpcnet", state | louder)

    return {"as it is": variables(1), "loud": variables(fixture["gamma_times"])}


def test_reference_output_and_parts(fixture, published, recorded, agrees):
    run = recorded(models.build("agpcnet"))
    agrees(run(published["as it is"], fixture["in/x"])[0], fixture["out/logits"])
    logits, parts = run(published["loud"], fixture["in/x"])
    agrees(logits, fixture["out/logits_gamma"])
    names = [key for key in fixture if key.startswith("mid_gamma/")]
    assert names
    for key in names:
        name = key.removeprefix("mid_gamma/")
        place = name.replace("context.scale_list.", "context_")
        agrees(parts[PARTS.get(name, place)], fixture[key])


def test_reference_context_blocks(fixture, published, recorded, agrees):
    for i, scale in enumerate(models.build("agpcnet").scales):
        chosen = {k: tree[f"context_{i}"] for k, tree in published["loud"].items()}
        y, parts = recorded(agpcnet.Context(scale))(chosen, fixture["in/agcb"])
        agrees(y, fixture[f"out/agcb_{i}"])
        agrees(jax.nn.sigmoid(parts["guide_out/norm"]), fixture[f"out/gca_{i}"])


# --- parts -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "n, count, sides",
    [(32, 10, [3] * 9 + [5]), (16, 10, [1] * 9 + [7]), (6, 3, [2] * 3), (5, 1, [5])],
)
def test_the_last_patch_takes_what_remains(n, count, sides):
    found = [side for _, many, side in agpcnet.zones(n, count) for _ in range(many)]
    assert found == sides
    assert [before for before, *_ in agpcnet.zones(n, count)] in ([0], [0, count - 1])


def test_each_patch_attends_to_itself(randomised):
    """Patch by patch, with softmax in float64, and then its own guide."""
    x, guide = image(7, 8, c=4), image(3, 3, c=4, seed=1)
    attention = agpcnet.NonLocal(2)
    variables = randomised(attention, x)
    params = jax.tree.map(np.float64, variables["params"])

    def by_hand(patch):
        tokens = np.float64(patch).reshape(-1, 4)
        query, key, value = (
            tokens @ params[name]["kernel"][0, 0] + params[name]["bias"]
            for name in ("query", "key", "value")
        )
        energy = np.exp(query @ key.T)
        seen = energy / energy.sum(-1, keepdims=True) @ value
        return (tokens + params["gamma"] * seen).reshape(patch.shape)

    called = jax.jit(lambda x: attention.apply(variables, x))

    bounds = {"rows": [0, 2, 4, 7], "columns": [0, 2, 4, 8]}
    expected = np.zeros(x.shape)
    for b, i, j in np.ndindex(2, 3, 3):
        rows = slice(*bounds["rows"][i : i + 2])
        columns = slice(*bounds["columns"][j : j + 2])
        expected[b, rows, columns] = by_hand(x[b, rows, columns]) * guide[b, i, j]
    rows, columns = agpcnet.zones(7, 3), agpcnet.zones(8, 3)
    found = [[agpcnet.guided(called, x, guide, r, c) for c in columns] for r in rows]
    found = np.concatenate([np.concatenate(row, axis=2) for row in found], axis=1)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_untrained_context_is_what_it_sees():
    x = image(6, 6, c=8)
    y, _ = jax.jit(agpcnet.Context(3).init_with_output)(jax.random.key(0), x)
    np.testing.assert_array_equal(y, jax.nn.relu(x))


# --- the whole ---------------------------------------------------------------------


@pytest.mark.parametrize("h, w", [(11, 21), (3, 40), (37, 50)])
def test_every_size_is_kept_and_small_sides_are_padded(h, w):
    network = toy()
    assert network.least == 17 and models.build("agpcnet").least == 73
    run = network.init_with_output
    logits, _ = jax.eval_shape(run, jax.random.key(0), image(h, w))
    assert logits.shape == (2, h, w, 1) and logits.dtype == jnp.float32


@pytest.mark.parametrize(
    "fields, words",
    [
        ({"channels": (4, 4, 4, 64)}, "five widths, of which the last is 64"),
        ({"channels": (4, 4, 4, 4, 32)}, "five widths, of which the last is 64"),
        ({"scales": ()}, "scales must be 1 or more"),
        ({"in_channels": 3}, "in_channels=3, but image.shape=.2, 16, 16, 1."),
    ],
)
def test_what_cannot_work_is_refused(fields, words):
    with pytest.raises(ValueError, match=words):
        jax.eval_shape(toy(**fields).init, jax.random.key(0), image(16, 16))
