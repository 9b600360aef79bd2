"""The released names of SwinIR, there and back, and what is refused."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import test_readers as written
from flax import traverse_util

from irstd_jax import models, weights
from irstd_jax.weights import readers

FIELDS = dict(
    in_channels=1,
    embed_dim=4,
    depths=(2, 1),
    heads=(2, 1),
    window=2,
    unshuffle=2,
    features=3,
)


@functools.cache
def entries():
    return weights.table("swinir", **FIELDS)


@pytest.fixture
def state_dict():
    rng = np.random.default_rng(0)
    return {e.name: np.float32(rng.normal(size=e.shape)) for e in entries()}


@pytest.fixture
def convert():
    return functools.partial(weights.convert, "swinir", **FIELDS)


def equal(a, b):
    a, b = (traverse_util.flatten_dict(tree) for tree in (a, b))
    return a.keys() == b.keys() and all(np.array_equal(a[k], b[k]) for k in a)


def published(golden_root, name):
    with np.load(golden_root / f"{name}.npz") as fixture:
        shapes = zip(fixture["keys"], fixture["shapes"], strict=True)
        return {
            str(k): tuple(int(n) for n in str(s).split(",") if n) for k, s in shapes
        }


@pytest.mark.parametrize(
    "name, fields",
    [
        ("swinir", {}),
        ("swinir_small", {"embed_dim": 24, "depths": (2, 2), "heads": (3, 3)}),
    ],
)
def test_every_published_array_has_one_place(golden_root, name, fields):
    mine = {e.name: e.shape for e in weights.table("swinir", **fields)}
    assert mine == published(golden_root, name)


def test_there_and_back_is_the_identity(state_dict, convert):
    variables = convert(state_dict)
    network = models.build("swinir", **FIELDS)
    image = jnp.zeros((1, 4, 4, 1))
    wanted = jax.eval_shape(network.init, jax.random.key(0), image)
    assert jax.tree.map(np.shape, variables) == jax.tree.map(np.shape, wanted)
    back = weights.invert("swinir", variables, **FIELDS)
    assert equal(back, state_dict)


def test_a_layer_goes_where_its_name_says(state_dict, convert):
    params = convert(state_dict)["params"]
    block = params["group_0"]["block_1"]
    name = "layers.0.residual_group.blocks.1"
    qkv = state_dict[f"{name}.attn.qkv.weight"]
    np.testing.assert_array_equal(block["attention"]["qkv"]["kernel"], qkv.T)
    fc1 = state_dict[f"{name}.mlp.fc1.bias"]
    np.testing.assert_array_equal(block["mlp_in"]["bias"], fc1)
    first = state_dict["conv_first.1.weight"]
    assert first.shape == (4, 4, 3, 3)
    np.testing.assert_array_equal(
        params["conv_first"]["kernel"], first.transpose(2, 3, 1, 0)
    )


def buffers():
    """What torch keeps beside the weights of a layer that shifts."""
    attention = "layers.0.residual_group.blocks.1.attn"
    return {
        f"{attention}.relative_position_index": np.zeros((4, 4), np.int64),
        "layers.0.residual_group.blocks.1.attn_mask": np.zeros((9, 4, 4), np.float32),
    }


@pytest.mark.parametrize("prefix", ["", "module.", "preprocess_model."])
def test_prefixes_and_buffers_are_taken_off(state_dict, convert, prefix):
    everything = {prefix + name: a for name, a in (state_dict | buffers()).items()}
    if prefix == "preprocess_model.":
        everything["first_stage_model.conv_in.weight"] = np.zeros(1, np.float32)
    assert equal(convert(everything), convert(state_dict))


@pytest.mark.parametrize("prefix", ["", "preprocess_model."])
def test_all_that_is_wrong_is_said_at_once(state_dict, convert, prefix):
    del state_dict["norm.bias"]
    state_dict["lpips.weight"] = np.zeros(1)
    state_dict["conv_hr.bias"] = np.zeros(5)
    with pytest.raises(ValueError) as error:
        convert({prefix + name: array for name, array in state_dict.items()})
    message = str(error.value)
    assert "1 missing: norm.bias" in message
    assert "1 unexpected: lpips.weight" in message
    assert "1 misshapen: conv_hr.bias (5,) instead of (3,)" in message


@pytest.mark.parametrize("unshuffle", [1, 4])
def test_another_network_s_weights_are_refused(state_dict, unshuffle):
    with pytest.raises(ValueError, match="do not fit the network"):
        weights.convert("swinir", state_dict, **FIELDS | {"unshuffle": unshuffle})


def test_a_lightning_checkpoint_is_read(tmp_path, state_dict, convert):
    """As Lightning wraps it: epoch, state dict, optimiser, all in one pickle."""
    arrays = {str(i): array for i, array in enumerate(state_dict.values())}
    tensors = {}
    for key, (name, array) in zip(arrays, state_dict.items(), strict=True):
        strides = tuple(stride // 4 for stride in array.strides)
        where = written.storage(key, array.size)
        tensors[name] = written.tensor(where, array.shape, strides)
    tree = {"epoch": 3, "state_dict": tensors, "optimizer_states": []}
    path = written.write_zip(tmp_path / "last.ckpt", written.dumps(tree), arrays)
    assert equal(convert(readers.read(path)), convert(state_dict))
