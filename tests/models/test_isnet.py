"""ISNet: reference outputs, deformable convolution by hand, any size, refusals."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from irstd_jax import models, weights
from irstd_jax.models.detectors import isnet
from irstd_jax.models.layers import Conv
from irstd_jax.ops import edges, resize

TOY = {"channels": (4, 4, 4, 8), "blocks": 1, "edge_channels": 3}
# Where the authors' modules end in ours, for the fixture's `mid/*`.
PARTS = {
    "TTOA_high": "fuse1",
    "TTOA_high.dcn_colum": "fuse1/column",
    "TTOA_high.dcn_row": "fuse1/row",
    "TTOA_low": "fuse2",
    "dsup": "gradient",
    "head": "head_out",
}
PARTS |= {f"myb{i}": f"edge_{i}" for i in (1, 2, 3)}
LEVELS = ("layer1", "layer2", "layer3", "uplayer1", "uplayer2")
PARTS |= {level: f"{level}_3" for level in LEVELS}


def toy(**fields):
    return models.build("isnet", **(TOY | fields))


def image(h, w, b=2, c=1, seed=0):
    x = np.random.default_rng(seed).normal(size=(b, h, w, c))
    return jnp.asarray(x, jnp.float32)


# All parameters less those that never run.
@pytest.mark.parametrize(
    "name, size", [("isnet", 1_089_519), ("isnet_dcnv2", 1_090_671)]
)
def test_published_size(count, name, size):
    network = models.build(name)
    x = image(16, 16, c=network.in_channels)
    shapes = jax.eval_shape(network.init, jax.random.key(0), x)
    assert count(shapes["params"]) == size - 103_709


@pytest.mark.parametrize("name", ["isnet", "isnet_dcnv2"])
def test_reference_outputs(name, golden_root, seeded, recorded, agrees):
    fixture = seeded.load(name, golden_root)
    variables = weights.convert(name, seeded.state_dict(fixture))
    run = recorded(models.build(name))
    for x, prefix in (("x", ""), ("dim", "dim_")):
        logits, parts = run(variables, fixture[f"in/{x}"])
        prediction, edge = logits[..., :1], logits[..., 1:]
        agrees(prediction, fixture[f"out/{prefix}logits"])
        agrees(edge, fixture[f"out/{prefix}edge_logits"])
        agrees(jax.nn.sigmoid(edge), fixture[f"out/{prefix}edge_probability"])
        if prefix:
            continue
        if "out/probability" in fixture:
            agrees(jax.nn.sigmoid(prediction), fixture["out/probability"])
        parts["stem"] = resize.max_pool_3x3(parts["stem_2"])
        parts["grad"] = edges.gradient(fixture["in/x"].transpose(0, 2, 3, 1))
        for key in (key for key in fixture if key.startswith("mid/")):
            inner = key.removeprefix("mid/")
            agrees(parts[PARTS.get(inner, inner)], fixture[key])


# --- parts -----------------------------------------------------------------------


def read(x, y, z):
    """An image (h, w, c) between its pixels, 0 outside, in float64."""
    top, left, found = int(np.floor(y)), int(np.floor(z)), np.zeros(x.shape[2])
    for i in (top, top + 1):
        for j in (left, left + 1):
            if 0 <= i < x.shape[0] and 0 <= j < x.shape[1]:
                found += x[i, j] * (1 - abs(y - i)) * (1 - abs(z - j))
    return found


@pytest.mark.parametrize("modulated", [False, True])
@pytest.mark.parametrize("kernel", [(3, 1), (1, 3)])
def test_deformable_convolution_tap_by_tap(randomised, kernel, modulated):
    x = image(5, 6, b=1, c=2)
    layer = isnet.DeformableConv(3, kernel, modulated)
    variables = randomised(layer, x)
    # Far enough to leave the image.
    variables["params"]["offset"] = jax.tree.map(
        lambda a: 3 * a, variables["params"]["offset"]
    )
    params = variables["params"]
    offset = Conv(9 if modulated else 6, kernel)
    shifts = np.float64(offset.apply({"params": params["offset"]}, x))[0]
    taps = np.float64(params["kernel"]).reshape(3, 2, 3)
    expected = np.zeros((5, 6, 3)) + np.float64(params["bias"])
    for i, j, k in np.ndindex(5, 6, 3):
        down, right = (k - 1, 0) if kernel == (3, 1) else (0, k - 1)
        dy, dx = shifts[i, j, 2 * k : 2 * k + 2]
        seen = read(np.float64(x[0]), i + down + dy, j + right + dx)
        if modulated:
            seen = seen / (1 + np.exp(-shifts[i, j, 6 + k]))
        expected[i, j] += seen @ taps[k]
    assert np.abs(shifts).max() > 2
    y = jax.jit(layer.apply)(variables, x)
    np.testing.assert_allclose(y[0], expected, atol=1e-5)


def test_untrained_it_is_an_ordinary_convolution():
    x = image(5, 6, c=2)
    for modulated, share in ((False, 1), (True, 0.5)):
        layer = isnet.DeformableConv(4, (1, 3), modulated)
        y, variables = jax.jit(layer.init_with_output)(jax.random.key(0), x)
        own = {name: variables["params"][name] for name in ("kernel", "bias")}
        expected = Conv(4, (1, 3)).apply({"params": own}, x)
        np.testing.assert_allclose(y, share * expected, atol=1e-6)


def test_gradient_by_hand():
    x = np.zeros((1, 4, 4, 1), np.float32)
    x[0, 1, 1] = 1
    steep = np.zeros((4, 4))
    steep[[0, 2, 1, 1], [1, 1, 0, 2]] = 1
    found = edges.gradient(x)[0, ..., 0]
    np.testing.assert_allclose(found, np.sqrt(steep + 1e-6), rtol=1e-6)
    border = edges.gradient(np.ones((1, 3, 3, 1), np.float32))[0, ..., 0]
    np.testing.assert_allclose(border[0, 0], np.sqrt(2), rtol=1e-4)
    np.testing.assert_allclose(border[1, 1], 1e-3, rtol=1e-4)


# --- the whole ---------------------------------------------------------------------


@pytest.mark.parametrize("name", ["isnet", "isnet_dcnv2"])
def test_every_size_is_kept(name):
    network = models.build(name, **TOY)
    x = image(21, 37, c=network.in_channels)
    logits, _ = jax.eval_shape(network.init_with_output, jax.random.key(0), x)
    assert logits.shape == (2, 21, 37, 2) and logits.dtype == jnp.float32


@pytest.mark.parametrize(
    "fields, words",
    [
        ({"channels": (4, 4, 8)}, "four widths of 4 or more"),
        ({"in_channels": 3}, "in_channels=3, but image.shape=.2, 16, 16, 1."),
    ],
)
def test_what_cannot_work_is_refused(fields, words):
    with pytest.raises(ValueError, match=words):
        jax.eval_shape(toy(**fields).init, jax.random.key(0), image(16, 16))
