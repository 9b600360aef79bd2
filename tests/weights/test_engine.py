import numpy as np
import pytest
from flax import traverse_util

from irstd_jax import weights
from irstd_jax.weights import engine

TREE = {
    "params": {
        "conv": {"kernel": np.zeros((3, 2, 4, 5)), "bias": np.zeros(5)},
        "head": {"kernel": np.zeros((4, 7))},
    },
    "batch_stats": {"norm": {"mean": np.zeros(5)}},
}


def torch_name(path, leaf):
    kinds = {4: "conv", 2: "linear", 1: "same"}
    return ".".join(path), kinds[leaf.ndim]


@pytest.fixture
def entries():
    return engine.table(TREE, torch_name)


@pytest.fixture
def state_dict(entries):
    rng = np.random.default_rng(0)
    return {e.name: rng.normal(size=e.shape).astype(np.float32) for e in entries}


def test_axes_go_where_they_belong(entries, state_dict):
    variables = engine.convert(entries, state_dict)
    conv = state_dict["conv.kernel"]
    assert conv.shape == (5, 4, 3, 2)
    kernel = variables["params"]["conv"]["kernel"]
    assert kernel.shape == (3, 2, 4, 5)
    assert kernel[2, 1, 3, 4] == conv[4, 3, 2, 1]
    head = variables["params"]["head"]["kernel"]
    np.testing.assert_array_equal(head, state_dict["head.kernel"].T)
    mean = variables["batch_stats"]["norm"]["mean"]
    np.testing.assert_array_equal(mean, state_dict["norm.mean"])


@pytest.mark.parametrize(
    "kind, torch, flax",
    [
        ("same", (3,), (3,)),
        ("conv", (5, 4, 3, 2), (3, 2, 4, 5)),
        ("linear", (5, 4), (4, 5)),
        ("pointwise", (5, 4, 1), (4, 5)),
        ("channel_conv", (1, 1, 5), (5,)),
        ("channels_first", (5, 1, 1), (5,)),
    ],
)
def test_every_kind_has_its_inverse(kind, torch, flax):
    x = np.arange(np.prod(torch)).reshape(torch)
    there = engine.KINDS[kind].to_flax(x)
    assert there.shape == flax
    np.testing.assert_array_equal(engine.KINDS[kind].to_torch(there), x)


def test_prefix_and_ignored_buffers(entries, state_dict):
    wrapped = {f"module.{name}": array for name, array in state_dict.items()}
    wrapped["module.norm.num_batches_tracked"] = np.int64(3)
    wrapped["attention.relative_position_index"] = np.zeros((4, 4), int)
    a, b = engine.convert(entries, wrapped), engine.convert(entries, state_dict)
    a, b = traverse_util.flatten_dict(a), traverse_util.flatten_dict(b)
    assert a.keys() == b.keys()
    assert all(np.array_equal(a[path], b[path]) for path in a)


def test_all_that_is_wrong_is_said_at_once(entries, state_dict):
    del state_dict["conv.bias"], state_dict["norm.mean"]
    state_dict["stray"] = state_dict["other"] = np.zeros(1)
    state_dict["head.kernel"] = np.zeros((4, 7), np.float32)
    state_dict["module.stray"] = np.zeros(1)
    with pytest.raises(ValueError) as error:
        engine.convert(entries, state_dict)
    message = str(error.value)
    assert "2 missing: conv.bias, norm.mean" in message
    assert "2 unexpected: other, stray" in message
    assert "1 misshapen: head.kernel (4, 7) instead of (7, 4)" in message
    assert "1 given twice: stray" in message


def test_half_precision_becomes_float32(entries, state_dict):
    halves = {name: array.astype(np.float16) for name, array in state_dict.items()}
    variables = engine.convert(entries, halves)
    leaves = traverse_util.flatten_dict(variables).values()
    assert {leaf.dtype for leaf in leaves} == {np.dtype(np.float32)}


def test_two_arrays_of_one_name_are_refused():
    with pytest.raises(ValueError, match="both named 'weight'"):
        engine.table(TREE, lambda path, leaf: ("weight", "same"))


# --- the names of IRSTD-Diff -------------------------------------------------


@pytest.fixture(scope="module")
def names():
    return weights.table("irstd_diff")


def test_every_published_array_has_one_place(golden_root, names):
    with np.load(golden_root / "irstd_diff.npz") as fixture:
        keys, shapes = fixture["keys"], fixture["shapes"]
    published = {
        str(key): tuple(int(n) for n in str(shape).split(",") if n)
        for key, shape in zip(keys, shapes, strict=True)
    }
    mine = {entry.name: entry.shape for entry in names}
    assert mine == published
    parameters = [entry for entry in names if entry.path[0] == "params"]
    assert len(parameters) == 998 and len(names) == 998 + 322
    assert len({entry.path for entry in names}) == len(names)


def test_there_and_back_is_the_identity(names):
    # Distinct numbers: an array in a wrong place or order would show.
    state_dict, start = {}, 0
    for entry in names:
        size = int(np.prod(entry.shape))
        numbers = np.arange(start, start + size, dtype=np.float64) % 16_777_213
        state_dict[entry.name] = numbers.astype(np.float32).reshape(entry.shape)
        start += size
    back = engine.invert(names, engine.convert(names, state_dict))
    assert back.keys() == state_dict.keys()
    assert all(np.array_equal(back[name], state_dict[name]) for name in back)


def test_an_unknown_network_is_refused():
    with pytest.raises(ValueError, match="no published names for 'u2net'; choose"):
        weights.convert("u2net", {})
