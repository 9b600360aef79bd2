"""ALCNet: contrast pixel by pixel, its fusion by hand, the file's size, any size."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from irstd_jax import models, weights
from irstd_jax.models.detectors import alcnet
from irstd_jax.models.layers import ConvNorm
from irstd_jax.ops import resize

TOY = {"channels": (4, 6, 8), "blocks": 1, "in_channels": 1, "shifts": (1, 2)}


def toy(**fields):
    return models.build("alcnet", **(TOY | fields))


def image(h, w, b=2, c=1, seed=0):
    x = np.random.default_rng(seed).normal(size=(b, h, w, c))
    return jnp.asarray(x, jnp.float32)


def test_the_published_file_s_size(count):
    network = models.build("alcnet")
    shapes = jax.eval_shape(network.init, jax.random.key(0), image(16, 16, c=3))
    assert count(shapes) == 374_929 and len(weights.table("alcnet")) == 196


@pytest.mark.parametrize("shifts", [(1,), (2, 5), (13, 17)])
def test_contrast_pixel_by_pixel(shifts):
    x = np.float64(image(7, 9, b=1, c=2))[0]
    h, w, c = x.shape
    expected = np.full((h, w, c), -np.inf)
    for y, z, k in np.ndindex(h, w, c):
        for d in shifts:
            products = []
            for dy, dx in ((0, d), (d, 0), (d, d), (d, -d)):
                one = x[(y + dy) % h, (z + dx) % w, k] - x[y, z, k]
                other = x[(y - dy) % h, (z - dx) % w, k] - x[y, z, k]
                products.append(one * other)
            expected[y, z, k] = max(expected[y, z, k], min(products))
    found = alcnet.contrast(jnp.float32(x)[None], shifts)[0]
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_contrast_sees_spots_and_no_edges():
    spot, edge = np.zeros((2, 1, 9, 9, 1), np.float32)
    spot[0, 4, 4] = 2
    edge[0, :, 4:] = 2
    found = alcnet.contrast(spot, (2,))
    assert found[0, 4, 4] == 4 and jnp.sum(found) == 4
    assert jnp.all(alcnet.contrast(edge, (2,)) <= 0)


def part(variables, name, layer, *inputs):
    """What the layer `name` makes of its input."""
    chosen = {kind: tree[name] for kind, tree in variables.items()}
    return layer.apply(chosen, *inputs)


def test_fusion_is_its_formula(randomised):
    high, low = image(3, 4, c=4), image(3, 4, c=4, seed=1)
    variables = randomised(alcnet.Fusion(), high, low)

    def norm(x, name):
        scale, bias = (variables["params"][name][leaf] for leaf in ("scale", "bias"))
        mean, var = (variables["batch_stats"][name][leaf] for leaf in ("mean", "var"))
        return (x - mean) / jnp.sqrt(var + 1e-5) * scale + bias

    layer = functools.partial(ConvNorm, 4, 1, bias=True)
    high, low_ = norm(high, "norm_high"), norm(low, "norm_low")
    up = part(variables, "up_in", layer(), low_)
    up = part(variables, "up_out", layer(activation=jax.nn.sigmoid), up)
    y = alcnet.Fusion().apply(variables, image(3, 4, c=4), low)
    np.testing.assert_allclose(y, up * high + low_, atol=1e-5)


# --- the whole -------------------------------------------------------------------


@pytest.fixture(scope="module")
def variables(randomised):
    return randomised(toy(), image(16, 16))


def test_the_order_of_its_parts(variables, recorded):
    """By the outputs of its own levels and of the layers that follow."""
    x = image(18, 13)
    x = jnp.pad(x, ((0, 0), (0, 2), (0, 3), (0, 0)), mode="reflect")
    logits, parts = recorded(toy())(variables, x.transpose(0, 3, 1, 2))
    c1, c2, c3 = (alcnet.contrast(parts[f"layer{i}_0"], (1, 2)) for i in (1, 2, 3))
    assert [c.shape[1:] for c in (c1, c2, c3)] == [(20, 16, 4), (10, 8, 6), (5, 4, 8)]
    narrow = ConvNorm(4, 1)
    c2, c3 = (part(variables, f"narrow_{i}", narrow, c) for i, c in ((2, c2), (3, c3)))
    x = resize.bilinear_corners(c3, (10, 8))
    x = resize.bilinear_corners(
        part(variables, "fuse_2", alcnet.Fusion(), x, c2), (20, 16)
    )
    x = part(variables, "fuse_1", alcnet.Fusion(), x, c1)
    np.testing.assert_allclose(parts["fuse_1"], x, atol=1e-5)
    np.testing.assert_array_equal(logits, parts["head_out"])
    whole = jax.jit(toy().apply)(variables, image(18, 13))
    np.testing.assert_allclose(whole, logits[:, :18, :13], atol=1e-5)


@pytest.mark.parametrize(
    "fields, words",
    [
        ({"channels": (4, 8)}, "three widths of 4 or more"),
        ({"shifts": ()}, "shifts must be 1 or more"),
        ({"shifts": (0, 3)}, "shifts must be 1 or more"),
        ({"in_channels": 3}, "in_channels=3, but image.shape=.2, 16, 16, 1."),
    ],
)
def test_what_cannot_work_is_refused(fields, words):
    with pytest.raises(ValueError, match=words):
        jax.eval_shape(toy(**fields).init, jax.random.key(0), image(16, 16))
