"""The names of detectors' weights: all published ones, each in its place."""

import numpy as np
import pytest
from flax import traverse_util

from irstd_jax import weights
from irstd_jax.weights import engine

# Arrays in the published files, without the counters of batches.
PUBLISHED = {"acm_fpn": 228, "acm_unet": 312, "dnanet": 502, "uiunet": 942 - 132}
TOYS = {
    "acm_fpn": {"channels": (4, 8, 8, 8), "blocks": 1, "fusion": "bi_local"},
    "acm_unet": {"channels": (4, 8, 8, 8), "blocks": 1, "fusion": "bi_global"},
    "dnanet": {"channels": (16, 16, 16, 32, 32), "blocks": (1, 2, 1, 1)},
    "uiunet": {"channels": 4, "heights": (7, 3, 0)},
}


@pytest.mark.parametrize("name", sorted(PUBLISHED))
def test_every_published_array_has_one_place(golden_root, name):
    with np.load(golden_root / f"{name}.npz") as fixture:
        keys, shapes = fixture["keys"], fixture["shapes"]
    published = {
        str(key): tuple(int(n) for n in str(shape).split(",") if n)
        for key, shape in zip(keys, shapes, strict=True)
    }
    entries = weights.table(name)
    assert {entry.name: entry.shape for entry in entries} == published
    assert len({entry.path for entry in entries}) == len(entries) == PUBLISHED[name]


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
    wrapped = {f"module.net.{key}": array for key, array in state_dict.items()}
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


def test_the_full_stem_has_no_published_names():
    with pytest.raises(ValueError, match="no published weights have stem='full'"):
        weights.table("acm_unet", stem="full")
