"""Our weights file: what goes in comes out, and nothing else is taken for one."""

import zipfile

import numpy as np
import pytest
import safetensors.numpy

from irstd_jax.weights import store

VARIABLES = {
    "params": {"conv": {"kernel": np.arange(6, dtype=np.float32).reshape(2, 3)}},
    "batch_stats": {
        "norm": {"mean": np.ones(3, np.float32)},
        "latent": {"square": np.full((), 7, np.float32)},
    },
}


def test_round_trip(tmp_path):
    about = {"config": {"name": "toy"}, "step": 3, "score": np.float32(0.5)}
    store.save(tmp_path / "w.safetensors", VARIABLES, about)
    variables, told = store.load(tmp_path / "w.safetensors")
    assert told == {"config": {"name": "toy"}, "step": 3, "score": 0.5}
    np.testing.assert_array_equal(
        variables["params"]["conv"]["kernel"], VARIABLES["params"]["conv"]["kernel"]
    )
    np.testing.assert_array_equal(variables["batch_stats"]["norm"]["mean"], np.ones(3))
    scalar = variables["batch_stats"]["latent"]["square"]
    assert scalar.shape == () and scalar == 7
    assert [path.name for path in tmp_path.iterdir()] == ["w.safetensors"]


def test_a_damaged_file_is_named(tmp_path):
    path = tmp_path / "w.safetensors"
    store.save(path, VARIABLES, {})
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(ValueError, match="w.safetensors is damaged"):
        store.load(path)


def test_a_file_of_pytorch_is_sent_to_convert(tmp_path):
    with zipfile.ZipFile(tmp_path / "net.pt", "w") as archive:
        archive.writestr("net/data.pkl", b"\x80\x02}.")
    with pytest.raises(ValueError, match="if it is of PyTorch, .*--mode=convert"):
        store.load(tmp_path / "net.pt")


def test_another_kind_of_file_is_sent_to_convert(tmp_path):
    path = tmp_path / "theirs.safetensors"
    safetensors.numpy.save_file({"a": np.zeros(2)}, path)
    with pytest.raises(ValueError, match="--mode=convert"):
        store.load(path)


def test_no_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="no weights file"):
        store.load(tmp_path / "none.safetensors")
