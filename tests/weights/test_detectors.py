"""The names of detectors' weights: all published ones, each in its place."""

import numpy as np
import pytest
from flax import traverse_util

from irstd_jax import weights
from irstd_jax.weights import engine

# Arrays in the published files, without the counters of batches, and how many of them
# never run.
PUBLISHED = {
    "acm_fpn": (228, 0),
    "acm_unet": (312, 0),
    "acm_unet_basicirstd": (250, 0),
    "agpcnet": (324, 0),
    "alcnet_basicirstd": (302, 80),
    "dnanet": (502, 0),
    "isnet": (471, 99),
    "isnet_dcnv2": (471, 99),
    "uiunet": (942 - 132, 0),
}
# Whose reference outputs are named otherwise.
FIXTURES = {"alcnet_basicirstd": "alcnet"}
ACM = {"channels": (4, 8, 8, 8), "blocks": 1}
TOYS = {
    "acm_fpn": ACM | {"fusion": "bi_local"},
    "acm_unet": ACM | {"fusion": "bi_global"},
    "acm_unet_basicirstd": ACM,
    "agpcnet": {"channels": (4, 4, 4, 4, 64), "scales": (2,)},
    "alcnet": {"channels": (4, 8, 8), "blocks": 1},
    "alcnet_basicirstd": ACM,
    "dnanet": {"channels": (16, 16, 16, 32, 32), "blocks": (1, 2, 1, 1)},
    "isnet": {"channels": (4, 4, 4, 8), "blocks": 1, "edge_channels": 3},
    "uiunet": {"channels": 4, "heights": (7, 3, 0)},
}


@pytest.mark.parametrize("name", sorted(PUBLISHED))
def test_every_published_array_has_one_place(golden_root, name):
    with np.load(golden_root / f"{FIXTURES.get(name, name)}.npz") as fixture:
        keys, shapes = fixture["keys"], fixture["shapes"]
    published = {
        str(key): tuple(int(n) for n in str(shape).split(",") if n)
        for key, shape in zip(keys, shapes, strict=True)
    }
    unused = weights.names_of(name).unused
    running = {k: v for k, v in published.items() if not k.startswith(unused)}
    entries = weights.table(name)
    assert {entry.name: entry.shape for entry in entries} == running
    counts = len(published), len(published) - len(running)
    assert len({entry.path for entry in entries}) == len(entries)
    assert counts == PUBLISHED[name]


@pytest.fixture(scope="module", params=sorted(TOYS))
def toy(request):
    """(name, fields, state dict) of distinct numbers: a wrong place would show."""
    name, fields = request.param, TOYS[request.param]
    state_dict, start = {}, 0
    for entry in weights.table(name, **fields):
        size = int(np.prod(entry.shape))
        numbers = np.arange(start, start + size, dtype=np.float32)
        state_dict[entry.name] = numbers.reshape(entry.shape)
        start += size
    assert start < 2**24  # float32 tells them apart
    return name, fields, state_dict


def test_there_and_back_is_the_identity(toy):
    name, fields, state_dict = toy
    variables = weights.convert(name, state_dict, **fields)
    back = weights.invert(name, variables, **fields)
    assert back.keys() == state_dict.keys()
    assert all(np.array_equal(back[key], state_dict[key]) for key in back)


def test_wrappers_are_taken_off_and_counters_dropped(toy):
    name, fields, state_dict = toy
    row = weights.names_of(name)
    prefix = row.prefix
    wrapped = {f"module.{prefix}{key}": array for key, array in state_dict.items()}
    # So are layers that never run, of whatever shape.
    for layer in row.unused:
        wrapped[f"module.{prefix}{layer}0.weight"] = np.zeros(2)
    counter = next(key for key in wrapped if key.endswith("running_mean"))
    wrapped[counter.replace("running_mean", "num_batches_tracked")] = np.int64(3)
    plain = weights.convert(name, state_dict, **fields)
    again = weights.convert(name, wrapped, **fields)
    plain, again = map(traverse_util.flatten_dict, (plain, again))
    assert plain.keys() == again.keys()
    assert all(np.array_equal(plain[path], again[path]) for path in plain)


def test_nothing_is_left_out_in_silence(toy):
    name, fields, state_dict = toy
    lost = sorted(state_dict)[0]
    changed = {key: array for key, array in state_dict.items() if key != lost}
    changed["stray.weight"] = np.zeros(3)
    with pytest.raises(ValueError) as error:
        weights.convert(name, changed, **fields)
    assert f"1 missing: {lost}" in str(error.value)
    assert "1 unexpected: stray.weight" in str(error.value)


def test_a_transposed_convolution_turns_as_a_convolution():
    """torch keeps it as (in, out, h, w), and ours is (h, w, out, in)."""
    entries = {entry.name: entry for entry in weights.table("acm_unet")}
    entry = entries["deconv2.weight"]
    assert entry.shape == (64, 32, 4, 4)
    array = np.arange(np.prod(entry.shape)).reshape(entry.shape)
    assert engine.KINDS[entry.kind].to_flax(array)[3, 1, 7, 5] == array[5, 7, 3, 1]


def test_the_first_acm_s_names_are_mxnet_s():
    fields = ACM | {"stem": "full", "project": False}
    entries = weights.table("acm_unet", **fields)
    rng = np.random.default_rng(0)
    state_dict = {e.name: rng.normal(size=e.shape).astype("f4") for e in entries}
    norms = [name.rpartition(".")[0] for name in state_dict if name.endswith("_mean")]

    def word(name):
        norm, _, leaf = name.rpartition(".")
        words = {"weight": "gamma", "bias": "beta"} if norm in norms else {}
        return f"{norm}.{words.get(leaf, leaf)}"

    theirs = {word(name): array for name, array in state_dict.items()}
    assert "stem.0.gamma" in theirs and "layer1.0.body.4.beta" in theirs
    found = weights.convert("acm_unet", theirs, **fields)
    back = weights.invert("acm_unet", found, **fields)
    assert back.keys() == state_dict.keys()
    assert all(np.array_equal(back[name], state_dict[name]) for name in back)
    doubled = theirs | {"stem.0.weight": theirs["stem.0.gamma"]}
    with pytest.raises(ValueError, match="both mean 'stem.0.weight'"):
        weights.convert("acm_unet", doubled, **fields)


def test_the_first_acm_s_file_has_290_arrays():
    assert len(weights.table("acm_unet", stem="full", project=False)) == 290
