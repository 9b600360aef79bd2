"""What tests of networks share: weights of no special value, reference outputs."""

import functools
import importlib.util
import math
import zlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import traverse_util

from irstd_jax import weights


@pytest.fixture(scope="session")
def seeded(golden_root):
    """The module beside the reference outputs that draws their weights."""
    spec = importlib.util.spec_from_file_location("seeded", golden_root / "seeded.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def one_table():
    """Names are made from a traced network, which takes seconds: once a file."""
    with pytest.MonkeyPatch.context() as patch:
        for name, row in weights.NETWORKS.items():
            cached = row._replace(table=functools.cache(row.table))
            patch.setitem(weights.NETWORKS, name, cached)
        yield


def randomised(network, *inputs, **arguments):
    """Variables of a network, none at zero, drawn without running it.

    A network at its start is no test: its last layers are zero.
    """
    key = jax.random.key(0)
    shapes = jax.eval_shape(lambda: network.init(key, *inputs, **arguments))
    flat = traverse_util.flatten_dict(shapes, sep="/")
    drawn = {path: draw(path, leaf.shape) for path, leaf in flat.items()}
    return traverse_util.unflatten_dict(drawn, sep="/")


def draw(path, shape):
    rng = np.random.default_rng(zlib.crc32(path.encode()))
    noise = rng.normal(size=shape)
    if path.endswith("kernel"):
        noise = noise / np.sqrt(max(1, np.prod(shape[:-1])))
    elif path.endswith(("scale", "var")):
        noise = 1 + 0.1 * np.abs(noise)
    else:
        noise = 0.1 * noise
    return jnp.asarray(noise, jnp.float32)


@pytest.fixture(scope="session", name="randomised")
def randomised_fixture():
    return randomised


def recorded(network):
    """A compiled `(variables, x (b, c, h, w)) -> (output, {"layer/sublayer": output})`.

    The outputs of all modules inside, the latest where one is called again.
    """

    @jax.jit
    def run(variables, x):
        x = x.transpose(0, 2, 3, 1)
        output, state = network.apply(variables, x, capture_intermediates=True)
        flat = traverse_util.flatten_dict(state["intermediates"])
        return output, {"/".join(path[:-1]): found[-1] for path, found in flat.items()}

    return run


@pytest.fixture(scope="session", name="recorded")
def recorded_fixture():
    return recorded


def agrees(mine, expected):
    """NHWC agrees with NCHW, of which a fixture may hold the first channels alone."""
    atol = 1e-4 * np.abs(expected).max()
    mine = np.moveaxis(np.asarray(mine)[..., : expected.shape[1]], -1, 1)
    np.testing.assert_allclose(mine, expected, rtol=0, atol=atol)


@pytest.fixture(scope="session", name="agrees")
def agrees_fixture():
    return agrees


def parameters(entries):
    """The number of parameters of a table of names, statistics not counted."""
    return sum(math.prod(e.shape) for e in entries if e.path[0] == "params")


@pytest.fixture(scope="session", name="parameters")
def parameters_fixture():
    return parameters


def count(tree):
    """Numbers in a tree of arrays or shapes."""
    return sum(leaf.size for leaf in jax.tree.leaves(tree))


@pytest.fixture(scope="session", name="count")
def count_fixture():
    return count


def macs(function, *inputs):
    """Multiply-adds of all convolutions (padding counted) and matrix products."""
    return sum(map(cost, equations(jax.make_jaxpr(function)(*inputs).jaxpr)))


def equations(jaxpr):
    for equation in jaxpr.eqns:
        inner = [getattr(p, "jaxpr", p) for p in equation.params.values()]
        inner = [p for p in inner if hasattr(p, "eqns")]
        for body in inner:
            yield from equations(body)
        if not inner:
            yield equation


def cost(equation):
    name, out = equation.primitive.name, equation.outvars[0].aval.size
    shapes = [variable.aval.shape for variable in equation.invars]
    if name == "conv_general_dilated":
        return out * math.prod(shapes[1][:-1])  # kernels are HWIO
    if name == "dot_general":
        (axes, _), _ = equation.params["dimension_numbers"]
        return out * math.prod(shapes[0][axis] for axis in axes)
    return 0


@pytest.fixture(scope="session", name="macs")
def macs_fixture():
    return macs
