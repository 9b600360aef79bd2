import hypothesis
import jax.numpy as jnp
import jaxwt
import numpy as np
import pytest
import pywt
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from irstd_jax.ops import haar

# Few shapes, as each is compiled; many values.
shapes = st.sampled_from([(1, 2, 2, 1), (2, 4, 6, 3)])
floats = st.floats(-10, 10, width=32)
images = shapes.flatmap(lambda shape: hnp.arrays(np.float32, shape, elements=floats))
few = hypothesis.settings(max_examples=10, deadline=None)


@few
@hypothesis.given(images)
def test_idwt_inverts_dwt(x):
    np.testing.assert_allclose(haar.idwt(*haar.dwt(jnp.asarray(x))), x, atol=1e-5)


@few
@hypothesis.given(images)
def test_energy_is_kept(x):
    low, high = haar.dwt(jnp.asarray(x))
    energy = sum(np.square(np.float64(y)).sum() for y in (low, *high))
    np.testing.assert_allclose(energy, np.square(np.float64(x)).sum(), rtol=1e-5)


def test_one_block_by_eye():
    block = jnp.asarray([[1.0, 2.0], [3.0, 8.0]]).reshape(1, 2, 2, 1)
    low, high = haar.dwt(block)
    assert [float(y[0, 0, 0, 0]) for y in (low, *high)] == [7.0, 3.0, 4.0, 2.0]


@pytest.fixture
def image():
    return np.random.default_rng(0).normal(size=(2, 6, 10, 3)).astype(np.float32)


def test_agrees_with_pywavelets(image):
    low, (hl, lh, hh) = haar.dwt(jnp.asarray(image))
    approximation, (horizontal, vertical, diagonal) = pywt.dwt2(
        image, "haar", axes=(1, 2)
    )
    np.testing.assert_allclose(low, approximation, atol=1e-6)
    np.testing.assert_allclose(hl, -vertical, atol=1e-6)
    np.testing.assert_allclose(lh, -horizontal, atol=1e-6)
    np.testing.assert_allclose(hh, diagonal, atol=1e-6)


def test_agrees_with_jaxwt(image):
    low, (hl, lh, hh) = haar.dwt(jnp.asarray(image))
    approximation, (horizontal, vertical, diagonal) = jaxwt.wavedec2(
        jnp.asarray(image), "haar", level=1, axes=(1, 2)
    )
    np.testing.assert_allclose(low, approximation, atol=1e-5)
    np.testing.assert_allclose(hl, -vertical, atol=1e-5)
    np.testing.assert_allclose(lh, -horizontal, atol=1e-5)
    np.testing.assert_allclose(hh, diagonal, atol=1e-5)


def test_an_odd_side_is_refused():
    with pytest.raises(ValueError, match="even sides, not 4x5"):
        haar.dwt(jnp.zeros((1, 4, 5, 1)))
