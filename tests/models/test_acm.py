"""ACM: reference outputs, parts against their formulas, any size, dropout by key."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from irstd_jax import models, weights
from irstd_jax.models.detectors import acm
from irstd_jax.models.layers import dropped
from irstd_jax.ops import resize

TOY = {"channels": (4, 16, 8, 8), "blocks": 1, "in_channels": 1, "dropout": 0.5}
# Our names of the reference outputs.
NETWORKS = {
    "acm_fpn": "acm_fpn",
    "acm_unet": "acm_unet",
    "acm_unet_basicirstd": "acm_unet_basicirstd",
    "alcnet": "alcnet_basicirstd",
}


def toy(kind="acm_unet", **fields):
    return models.build(kind, **(TOY | fields))


def image(h, w, b=2, c=1, seed=0):
    x = np.random.default_rng(seed).normal(size=(b, h, w, c))
    return jnp.asarray(x, jnp.float32)


def keys(*numbers):
    return jnp.stack([jax.random.key(n) for n in numbers])


@pytest.mark.parametrize("name, size", [("acm_unet", 519_843), ("acm_fpn", 387_187)])
@pytest.mark.parametrize("fusion", sorted(acm.FUSIONS))
def test_published_size(count, name, size, fusion):
    network = models.build(name, fusion=fusion)
    shapes = jax.eval_shape(network.init, jax.random.key(0), image(16, 16, c=3))
    assert count(shapes["params"]) == size


@pytest.mark.parametrize(
    "name, fields, parameters, statistics",
    [
        ("acm_unet_basicirstd", {}, 397_823, None),
        ("alcnet_basicirstd", {}, 426_961, None),
        # The first code's file, .5 M numbers in 290 arrays.
        ("acm_unet", {"stem": "full", "project": False}, None, 520_009),
    ],
)
def test_other_forms_have_their_sizes(count, name, fields, parameters, statistics):
    network = models.build(name, **fields)
    x = image(16, 16, c=network.in_channels)
    shapes = jax.eval_shape(network.init, jax.random.key(0), x)
    assert count(shapes["params"]) == (parameters or count(shapes["params"]))
    assert count(shapes) == (statistics or count(shapes))


@pytest.fixture(scope="module", params=sorted(NETWORKS))
def reference(request, golden_root, seeded, recorded):
    """What we compute and what the authors' code computed, of the same weights."""
    fixture, name = seeded.load(request.param, golden_root), NETWORKS[request.param]
    variables = weights.convert(name, seeded.state_dict(fixture))
    network = models.build(name)
    logits, parts = recorded(network)(variables, fixture["in/x"])
    # Their modules end where the last of our blocks and layers do.
    parts["stem"] = resize.max_pool_3x3(parts["stem_2"])
    parts["head"] = parts["head_out"]
    for level in ("layer1", "layer2", "layer3", "uplayer1", "uplayer2"):
        parts[level] = parts.get(f"{level}_{network.blocks - 1}")
    return logits, parts, fixture


def test_reference_output(reference, agrees):
    logits, _, fixture = reference
    agrees(logits, fixture["out/logits"])
    if "out/probability" in fixture:
        agrees(jax.nn.sigmoid(logits), fixture["out/probability"])


def test_reference_parts(reference, agrees):
    _, parts, fixture = reference
    names = [key.removeprefix("mid/") for key in fixture if key.startswith("mid/")]
    assert names
    for name in names:
        agrees(parts[name], fixture[f"mid/{name}"])


# --- parts ---------------------------------------------------------------------


def test_fusion_is_its_formula(randomised):
    high, low = image(3, 4, c=8), image(3, 4, c=4, seed=1)
    network = acm.Fusion("asym_bi")
    variables = randomised(network, high, low)

    def part(name, x, kernel, features, activation):
        layer = acm.ConvNorm(features, kernel, bias=True, activation=activation)
        chosen = {kind: tree[name] for kind, tree in variables.items()}
        return layer.apply(chosen, x)

    def gate(name, x):
        hidden = part(f"{name}_in", x, 1, 1, jax.nn.relu)
        return part(f"{name}_out", hidden, 1, 4, jax.nn.sigmoid)

    h = part("high", high, 1, 4, jax.nn.relu)
    d, u = gate("down", h.mean((1, 2), keepdims=True)), gate("up", low)
    expected = part("post", 2 * low * d + 2 * h * u, 3, 4, jax.nn.relu)
    y = jax.jit(network.apply)(variables, high, low)
    np.testing.assert_allclose(y, expected, atol=1e-5)


@pytest.mark.parametrize("kind, local", [("bi_local", True), ("bi_global", False)])
def test_what_the_gates_see(randomised, kind, local):
    """A gate of means moves everywhere when one pixel moves, the other there alone."""
    high, low = image(5, 5, b=1, c=4), image(5, 5, b=1, c=4, seed=1)
    network = acm.Fusion(kind)
    variables = randomised(network, high, low)
    run = jax.jit(network.apply)
    moved = run(variables, high, low.at[0, 0, 0].add(9.0)) - run(variables, high, low)
    # The last convolution alone carries it by a pixel.
    assert jnp.any(moved[0, 1, 1] != 0)
    assert jnp.all(moved[0, 2:, 2:] == 0) == local


# --- the whole -------------------------------------------------------------------


@pytest.fixture(scope="module")
def variables(randomised):
    return randomised(toy(), image(16, 16))


def test_an_odd_size_is_padded_and_cropped(variables):
    run = jax.jit(toy().apply)
    x = image(37, 50)
    logits = run(variables, x)
    assert logits.shape == (2, 37, 50, 1) and logits.dtype == jnp.float32
    padded = jnp.pad(x, ((0, 0), (0, 11), (0, 14), (0, 0)), mode="reflect")
    larger = run(variables, padded)
    np.testing.assert_allclose(logits, larger[:, :37, :50], atol=1e-5)


@pytest.mark.parametrize("kind", ["acm_unet", "acm_fpn"])
@pytest.mark.parametrize("stem", sorted(acm.STEMS))
def test_every_kind_keeps_the_size(kind, stem):
    network = toy(kind, stem=stem)
    x = image(network.multiple + 1, 3)
    logits, _ = jax.eval_shape(network.init_with_output, jax.random.key(0), x)
    assert logits.shape == (2, network.multiple + 1, 3, 1)


@pytest.fixture(scope="module")
def train(variables):
    @jax.jit
    def run(x, keys):
        return toy().apply(variables, x, True, keys, mutable=["batch_stats"])

    return run


def test_dropout_is_each_example_s_own():
    """What falls out depends on an example's key alone, not on its place."""
    x = jnp.ones((2, 16, 16, 4))
    same = dropped(x, keys(3, 3), 0.25)
    np.testing.assert_array_equal(same[0], same[1])
    first, turned = (dropped(x, keys(*pair), 0.25) for pair in ((3, 4), (4, 3)))
    assert jnp.any(first[0] != first[1])
    np.testing.assert_array_equal(first, turned[::-1])


def test_the_network_drops_each_example_by_its_own_key():
    """BatchNorm joins a batch: so the batch is twice the same image.

    Without pooled gates: where two equal means are all that a BatchNorm sees, it
    divides rounding by the root of epsilon.
    """
    network = toy(fusion="bi_local")
    x = jnp.repeat(image(32, 32, b=1), 2, axis=0)
    known = network.init(jax.random.key(0), x)

    @jax.jit
    def run(keys):
        return network.apply(known, x, True, keys, mutable=["batch_stats"])[0]

    same, first, turned = (run(keys(*pair)) for pair in ((3, 3), (3, 4), (4, 3)))
    close = functools.partial(np.testing.assert_allclose, atol=1e-4)
    close(same[0], same[1])
    assert np.abs(first[0] - first[1]).max() > 1e-2
    close(first, turned[::-1])


def test_dropout_keeps_the_mean():
    x = jnp.ones((4, 32, 32, 4))
    y = dropped(x, keys(*range(4)), 0.25)
    assert sorted(np.unique(y)) == [0, np.float32(1 / 0.75)]
    np.testing.assert_allclose(y.mean(), 1, atol=4 * np.sqrt(1 / 3 / y.size))


def test_training_moves_the_statistics(train, variables):
    _, changed = train(image(32, 32), keys(0, 1))
    before = jax.tree.leaves(variables["batch_stats"])
    after = jax.tree.leaves(changed["batch_stats"])
    moved = [not np.array_equal(a, b) for a, b in zip(before, after, strict=True)]
    assert all(moved)


def test_bfloat16_is_near_float32(variables):
    x = image(32, 32)
    half = jax.jit(toy(dtype=jnp.bfloat16).apply)(variables, x)
    full = jax.jit(toy().apply)(variables, x)
    assert half.dtype == full.dtype == jnp.float32
    error = jnp.sqrt(jnp.square(half - full).mean()) / jnp.std(full)
    assert 0 < error < 0.05


@pytest.mark.parametrize(
    "fields, words",
    [
        ({"fusion": "asym"}, "unknown fusion 'asym'; choose from"),
        ({"stem": "half"}, "unknown stem 'half'; choose from"),
        ({"decoder": "up"}, "unknown decoder 'up'; choose from"),
        ({"in_channels": 3}, "in_channels=3, but image.shape=.2, 16, 16, 1."),
        ({"channels": (8, 16, 32)}, "four widths of 4 or more"),
        ({"decoder": "fpn", "project": False}, "differ in width"),
    ],
)
def test_what_cannot_work_is_refused(fields, words):
    with pytest.raises(ValueError, match=words):
        jax.eval_shape(toy(**fields).init, jax.random.key(0), image(16, 16))


def test_dropout_wants_keys():
    with pytest.raises(ValueError, match="needs keys, one an example"):
        jax.eval_shape(lambda: toy().init(jax.random.key(0), image(16, 16), True))
