"""Shipped weights: found by name, packed in half precision, never too large."""

import numpy as np
import pytest

from irstd_jax.weights import box, store

ABOUT = {"config": {"name": "toy"}}


@pytest.fixture
def source(tmp_path):
    params = {"layer": {"kernel": np.linspace(-2, 2, 50, dtype=np.float32)}}
    stats = {"norm": {"var": np.full(3, 1e5, np.float32)}}
    path = tmp_path / "best.safetensors"
    variables = {"params": params, "batch_stats": stats, "teacher": params}
    store.save(path, variables, ABOUT)
    return path


def test_packed_weights_come_back_as_single_precision(source, tmp_path):
    small = tmp_path / "toy.safetensors"
    box.pack(source, small)
    (full, _), (half, about) = store.load(source), store.load(small)
    kernel = half["params"]["layer"]["kernel"]
    assert kernel.dtype == np.float32 and about == ABOUT
    assert set(half) == {"params", "batch_stats"}
    np.testing.assert_allclose(kernel, full["params"]["layer"]["kernel"], rtol=1e-3)
    # 1e5 is beyond half precision: statistics are kept whole.
    np.testing.assert_array_equal(
        half["batch_stats"]["norm"]["var"], full["batch_stats"]["norm"]["var"]
    )
    assert small.stat().st_size < source.stat().st_size


def test_fixed_networks_come_along_and_paths_stay_behind(tmp_path):
    """The Diff-Prior's file holds its U-Net and autoencoder, too."""
    params = {"kernel": np.ones(3, np.float32)}
    stats = {"mean": np.full(2, 1e6, np.float32)}
    variables = {
        "params": params,
        "frozen": {"unet": {"params": params, "batch_stats": stats}},
        "teacher": {"params": params},
    }
    data = {"root": "/home/somebody/data", "name": "nuaa_sirst"}
    config = {
        "name": "toy",
        "data": data,
        "sides": [1, 2],
        "sets": "/home/somebody/a,/b/c",
    }
    source, small = tmp_path / "best.safetensors", tmp_path / "toy.safetensors"
    store.save(source, variables, {"config": config, "step": 3})
    box.pack(source, small)
    half, about = store.load(small)
    assert set(half) == {"params", "batch_stats", "frozen"}
    kept = half["frozen"]["unet"]["batch_stats"]["mean"]
    np.testing.assert_array_equal(kept, stats["mean"])
    assert about["config"] == config | {
        "data": data | {"root": "data"},
        "sets": "a,c",
    }
    assert b"somebody" not in small.read_bytes()


def test_what_does_not_fit_is_refused(source, tmp_path):
    target = tmp_path / "toy.safetensors"
    params = {"layer": {"kernel": np.full(2, 7e4, np.float32)}}
    store.save(source, {"params": params, "batch_stats": {}}, ABOUT)
    with pytest.raises(ValueError, match="too large for half precision"):
        box.pack(source, target)
    assert not target.exists()


def test_large_weights_are_cut_and_read_as_one(tmp_path, monkeypatch):
    params = {f"layer{k}": np.full(20, k, np.float32) for k in range(5)}
    source, target = tmp_path / "best.safetensors", tmp_path / "toy.safetensors"
    store.save(source, {"params": params}, ABOUT)
    monkeypatch.setattr(box, "LARGEST", 100)
    monkeypatch.setattr(box, "BOX", tmp_path)
    box.pack(source, target)
    parts = [target, store.volume(target, 2), store.volume(target, 3)]
    assert all(part.is_file() for part in parts)
    assert box.names() == ["best", "toy"]
    found, about = store.load(target)
    assert about == ABOUT and set(found["params"]) == set(params)
    np.testing.assert_array_equal(found["params"]["layer4"], params["layer4"])
    # A volume of other weights is no better than none.
    for spoil in (lambda: parts[2].replace(parts[1]), parts[1].unlink):
        spoil()
        with pytest.raises(ValueError, match=r"goes on in .*toy\.2\.safetensors"):
            store.load(target)


def test_weights_are_found_by_name_or_by_file(source, tmp_path, monkeypatch):
    folder = tmp_path / "box"
    folder.mkdir()
    monkeypatch.setattr(box, "BOX", folder)
    assert box.names() == []
    box.pack(source, folder / "toy.safetensors")
    assert box.names() == ["toy"]
    assert box.locate("toy") == folder / "toy.safetensors"
    assert box.locate(str(source)) == source
    with pytest.raises(FileNotFoundError, match="no weights 'big'.* toy"):
        box.locate("big")
    for name in ("../best", "toy.safetensors"):
        with pytest.raises(FileNotFoundError):
            box.locate(name)


def test_every_shipped_file_is_small_and_has_its_card():
    for name in box.names():
        path = box.locate(name)
        for part in path.parent.glob(f"{name}.*safetensors"):
            assert part.stat().st_size <= box.LARGEST
        variables, about = store.load(path)
        assert variables["params"] and about["config"]["model"]["name"]
        assert about["config"] == box.without_paths(about["config"])
        assert path.with_suffix(".md").is_file()


def test_the_default_is_there_or_none(tmp_path, monkeypatch):
    monkeypatch.setattr(box, "BOX", tmp_path)
    assert box.default() == ""
    (tmp_path / f"{box.DEFAULT}.safetensors").touch()
    assert box.default() == box.DEFAULT
