import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import traverse_util
from scipy import special

from irstd_jax.models import conditional_encoder as ce


def normal(*shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


def abstract(network, *shapes):
    inputs = [jnp.zeros(shape) for shape in shapes]
    return jax.eval_shape(lambda: network.init(jax.random.key(0), *inputs))


@pytest.fixture(scope="module")
def published():
    return abstract(ce.ConditionalEncoder(), (1, 32, 32, 3))["params"]


def test_published_sizes(count, published):
    assert count(published) == 9_829_716
    assert count(published["liw"]) == 145_800
    fusion = [count(published[f"ipof_{i}"]) for i in range(5, 0, -1)]
    assert fusion == [1_376_487, 1_376_487, 345_205, 86_845, 86_845]
    sides = sum(count(published[f"side_{i}"]) for i in range(1, 7))
    assert sides == 7_494 and count(published["fuse"]) == 7


def test_without_liw_only_liw_is_gone(count, published):
    params = abstract(ce.ConditionalEncoder(liw=False), (1, 32, 32, 3))["params"]
    assert count(params) == 9_683_916
    assert set(published) - set(params) == {"liw"}


def test_all_widths_follow_the_base(published):
    params = abstract(ce.ConditionalEncoder(16), (1, 32, 32, 3))["params"]
    full = traverse_util.flatten_dict(published)
    quarter = traverse_util.flatten_dict(params)
    assert full.keys() == quarter.keys()
    for path in full.keys():
        if "doda" in path:
            continue  # its length follows the logarithm of the width
        for wide, narrow in zip(full[path].shape, quarter[path].shape, strict=True):
            # What is no width: kernel sides, image, map, six maps, heads, offsets.
            assert narrow == wide // 4 or narrow == wide in (1, 3, 4, 6, 49)


def test_untrained_maps_expect_the_prior():
    """BCE took hundreds of steps to find that a thousandth of the pixels is target."""
    network = ce.ConditionalEncoder(8, (3, 0, 0), liw=False, prior=0.01)
    init = jax.jit(network.init)(jax.random.key(0), normal(1, 8, 8, 1))
    for name in ("fuse", "side_1", "side_2", "side_3"):
        bias = init["params"][name]["bias"]
        assert abs(bias - special.logit(0.01)) < 1 / np.sqrt(3)  # of three maps


@pytest.mark.parametrize(
    "c, size, uses", [(128, 5, 4), (64, 3, 3), (32, 3, 3), (4, 1, 1)]
)
def test_doda_reuses_one_kernel(randomised, c, size, uses):
    x = normal(2, c)
    layer = ce.DODA()
    variables = randomised(layer, x)
    kernel = np.float64(variables["params"]["kernel"])
    assert kernel.shape == (size,)
    y = np.float64(x)
    for _ in range(uses):
        y = np.stack([np.correlate(row, kernel, "same") for row in y])
    expected = x + special.expit(y)
    np.testing.assert_allclose(jax.jit(layer.apply)(variables, x), expected, atol=1e-5)


def test_ipof_as_written(randomised):
    b, h, w, c = 2, 3, 4, 16
    deep, skip = normal(b, h, w, c), normal(b, h, w, c, seed=1)
    layer = ce.IPOF()
    variables = randomised(layer, deep, skip)
    y = jax.jit(layer.apply)(variables, deep, skip)
    assert y.shape == (b, h, w, 2 * c)
    params, stats = variables["params"], variables["batch_stats"]

    def affine(x, path):
        """A 1x1 convolution by hand, and its normalisation in inference."""
        conv, norm, run = (
            params[path]["conv"],
            params[path]["norm"],
            stats[path]["norm"],
        )
        x = x @ np.float64(conv["kernel"][0, 0])
        x = (x - run["mean"]) / np.sqrt(run["var"] + 1e-5)
        return np.maximum(x * norm["scale"] + norm["bias"], 0)

    def conv(x, name):
        return affine(affine(np.float64(x), f"{name}_in"), f"{name}_out")

    def layer_norm(x, p):
        x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5)
        return x * p["scale"] + p["bias"]

    def widen(x, name):
        kernel, bias = params[name]["kernel"][0, 0], params[name]["bias"]
        return layer_norm(x @ np.float64(kernel) + bias, params[f"{name}_norm"])

    def doda(x):
        return np.float64(ce.DODA().apply({"params": params["doda"]}, jnp.asarray(x)))

    where = special.softmax(conv(deep, "conv_1"), axis=(1, 2))
    context = doda((conv(skip, "conv_2") * where).sum((1, 2)))
    gate = widen(np.maximum(widen(context, "widen_in"), 0), "widen_out")
    which = special.softmax(doda(conv(deep, "conv_3").mean((1, 2))), axis=-1)
    place = np.einsum("bhwc,bc->bhw", conv(skip, "conv_4"), which)
    place = place - place.mean((1, 2), keepdims=True)
    place = place / np.sqrt(place.var((1, 2), keepdims=True) + 1e-5)
    mixed = deep * special.expit(place)[..., None]
    mixed = mixed + skip * special.expit(gate)[:, None, None]
    last = {kind: variables[kind]["out"] for kind in variables}
    out = ce.ConvNorm(2 * c, bias=True)
    expected = jax.jit(out.apply)(last, jnp.asarray(mixed, jnp.float32))
    np.testing.assert_allclose(y, expected, atol=1e-4)


def test_the_base_width_must_divide_by_8():
    with pytest.raises(ValueError, match="encoder_channels must divide by 8, not 12"):
        abstract(ce.ConditionalEncoder(12), (1, 32, 32, 3))
