from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special

from irstd_jax.models import swin


def normal(*shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


def test_attend_is_a_weighted_mean_of_values():
    q, k, v = (normal(2, 5, 3, 4, seed=i) for i in range(3))
    bias = normal(3, 5, 5, seed=3)
    y = jax.jit(swin.attend)(q, k, v, 0.7, bias)
    q, k, v, bias = map(np.asarray, (q, k, v, bias))
    for b in range(2):
        for head in range(3):
            scores = 0.7 * q[b, :, head] @ k[b, :, head].T + bias[head]
            expected = special.softmax(scores, axis=-1) @ v[b, :, head]
            np.testing.assert_allclose(y[b, :, head], expected, atol=1e-5)


@pytest.fixture
def block(randomised):
    layer = swin.SwinBlock(heads=2, window=4)
    variables = randomised(layer, jnp.zeros((1, 8, 8, 8)))
    return jax.jit(lambda x: layer.apply(variables, x))


def test_windows_do_not_see_each_other(block):
    x = normal(1, 8, 8, 8)
    change = np.abs(block(x) - block(x.at[0, 1, 6, 0].add(1.0))).max(-1)[0]
    assert (change[:4, 4:] > 0).all()
    change[:4, 4:] = 0
    assert not change.any()


def test_nobody_attends_to_the_padding(block):
    """Of a 5 x 6 map, the window at the bottom right holds 1 x 2 tokens."""
    x = normal(1, 5, 6, 8)
    y = block(x)
    assert y.shape == x.shape
    # With this corner alone, the layer must find the same: padding has no weight.
    corner = block(x[:, 4:, 4:])
    np.testing.assert_allclose(y[:, 4:, 4:], corner, atol=1e-5)


def test_a_map_that_fits_is_not_masked(block):
    """A window in the interior of a larger map equals the same window alone."""
    x = normal(2, 8, 8, 8)
    np.testing.assert_allclose(block(x)[:, :4, 4:], block(x[:, :4, 4:]), atol=1e-5)


def test_heads_must_divide_the_channels():
    with pytest.raises(ValueError, match="6 channels do not divide into heads=4"):
        swin.SwinBlock(heads=4).init(jax.random.key(0), jnp.zeros((1, 4, 4, 6)))


# --- shifted windows and drop path ---------------------------------------------


def blocks(randomised):
    """A block that shifts and one that does not, of the same weights."""
    fields = {"heads": 2, "window": 4, "mlp_ratio": 2, "scale_by": "head"}
    layers = [swin.SwinBlock(**fields, shift=shift) for shift in (2, 0)]
    variables = randomised(layers[0], jnp.zeros((1, 8, 8, 8)))
    assert variables["params"]["mlp_in"]["kernel"].shape == (8, 16)
    return [jax.jit(partial(layer.apply, variables)) for layer in layers]


def test_shifted_windows_are_those_of_the_parts_between_their_borders(randomised):
    """Rows 0-1, 2-5, 6-7 and columns 0-1, 2-4 see nothing of each other."""
    shifted, plain = blocks(randomised)
    x = normal(2, 8, 5, 8)
    y = shifted(x)
    assert y.shape == x.shape
    for rows in (slice(0, 2), slice(2, 6), slice(6, 8)):
        for columns in (slice(0, 2), slice(2, 5)):
            part = plain(x[:, rows, columns])
            np.testing.assert_allclose(y[:, rows, columns], part, atol=1e-5)


def test_a_dropped_branch_leaves_its_image_alone(randomised):
    shifted, _ = blocks(randomised)
    x = normal(2, 8, 5, 8)
    y = shifted(x, jnp.asarray([[0.0, 1.0], [0.0, 1.0]]))
    np.testing.assert_array_equal(y[0], x[0])
    np.testing.assert_allclose(y[1], shifted(x)[1], atol=1e-6)


def test_scores_are_scaled_by_the_head_as_in_swin(randomised):
    """A token is 4 times as wide as its heads, so the scales differ by 2."""
    layers = [swin.WindowAttention(4, 2, scale_by=by) for by in ("head", "token")]
    x = normal(1, 1, 4, 8)
    variables = randomised(layers[0], x)
    qkv = variables["params"]["qkv"]
    doubled = {name: leaf.at[..., :8].multiply(2.0) for name, leaf in qkv.items()}
    stronger = {"params": variables["params"] | {"qkv": doubled}}
    a, b = layers[0].apply(variables, x), layers[1].apply(stronger, x)
    np.testing.assert_allclose(a, b, atol=1e-6)
