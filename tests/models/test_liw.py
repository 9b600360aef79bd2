import jax
import jax.numpy as jnp
import numpy as np
import pytest

from irstd_jax.models import liw
from irstd_jax.ops import haar
from irstd_jax.weights import engine, irstd_diff


def normal(*shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


def test_published_size(count):
    shapes = jax.eval_shape(
        lambda: liw.LIW().init(jax.random.key(0), jnp.zeros((1, 128, 128, 64)))
    )
    assert count(shapes["params"]) == 145_800


def test_reference_output(golden_root, seeded):
    fixture = seeded.load("liw", golden_root)
    x = jnp.asarray(fixture["in/x"].transpose(0, 2, 3, 1))
    network = liw.LIW(layout="reference")
    shapes = jax.eval_shape(lambda: network.init(jax.random.key(0), x))
    placed = {name: {"encoder": {"liw": tree}} for name, tree in shapes.items()}
    entries = engine.table(placed, irstd_diff.torch_name)
    weights = engine.convert(entries, seeded.state_dict(fixture))
    variables = {name: tree["encoder"]["liw"] for name, tree in weights.items()}
    y = np.asarray(jax.jit(network.apply)(variables, x)).transpose(0, 3, 1, 2)[:, ::8]
    expected = fixture["out/y"]
    np.testing.assert_allclose(y, expected, rtol=0, atol=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize("levels", [1, 2, 3, 4])
def test_residual_is_of_full_size_at_any_depth(randomised, levels):
    x = normal(1, 48, 16, 8)
    network = liw.LIW(levels=levels)
    variables = randomised(network, x)
    names = set(variables["params"])
    assert {f"swin_{i}" for i in range(levels)} <= names
    assert {f"up_{i}" for i in range(max(1, levels - 1))} <= names
    assert ("conv_in" in names) == (levels > 1)
    assert f"swin_{levels}" not in names and f"up_{max(1, levels - 1)}" not in names
    y = jax.jit(network.apply)(variables, x)
    assert y.shape == x.shape and jnp.isfinite(y).all() and jnp.abs(y - x).max() > 1e-3


def test_one_level_as_written(randomised):
    """K = 1: x + RO(Conv(HIDWT(S(LL), H)))."""
    x = normal(1, 8, 8, 8)
    network = liw.LIW(levels=1)
    variables = randomised(network, x)

    def part(module, name, *inputs):
        mine = {kind: tree[name] for kind, tree in variables.items() if name in tree}
        return module.apply(mine, *inputs)

    @jax.jit
    def written(x):
        low, high = haar.dwt(x)
        low = part(liw.SwinBlock(), "swin_0", low)
        conv = liw.ConvNorm(8, activation=jax.nn.silu)
        y = part(conv, "up_0", haar.idwt(low, high))
        return x + part(conv.clone(kernel=1), "conv_out", y)

    y = jax.jit(network.apply)(variables, x)
    np.testing.assert_allclose(y, written(x), atol=1e-5)


def test_reference_tokens_are_runs_of_one_channel(monkeypatch):
    """Sheet of the release: token n = row n mod h of channel n // h, where w = c."""
    seen = []
    monkeypatch.setattr(liw.SwinBlock, "__call__", lambda self, x: seen.append(x) or x)
    x = normal(1, 8, 8, 4)
    network = liw.LIW(levels=1, layout="reference")

    def tokens_of(x):
        network.init(jax.random.key(0), x)
        return seen.pop().reshape(16, 4)

    tokens = np.asarray(jax.jit(tokens_of)(x))
    low = np.asarray(haar.dwt(x)[0])
    for n in range(16):
        np.testing.assert_array_equal(tokens[n], low[0, n % 4, :, n // 4])


@pytest.mark.parametrize(
    "fields, size, words",
    [
        ({"layout": "odd"}, 32, "unknown token layout 'odd'"),
        ({"levels": 5}, 32, "1 to 4 levels, not 5"),
        ({"levels": 0}, 32, "1 to 4 levels, not 0"),
        ({"levels": 3}, 12, "divide by 8, not 12x12"),
        ({"layout": "reference"}, 24, "divide by 16, not 24x24"),
    ],
)
def test_what_cannot_work_is_refused(fields, size, words):
    with pytest.raises(ValueError, match=words):
        liw.LIW(**fields).init(jax.random.key(0), jnp.zeros((1, size, size, 8)))
