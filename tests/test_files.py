"""Files are written whole or not at all."""

import json

import numpy as np
import pytest
from PIL import Image

from irstd_jax import files


def test_a_failure_keeps_the_old_file_and_leaves_nothing(tmp_path, monkeypatch):
    path = tmp_path / "a.txt"
    files.write_text(path, "old")

    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr(files.os, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        files.write_text(path, "new")
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_folders_are_made_and_files_replaced(tmp_path):
    path = tmp_path / "deep" / "folder" / "a.txt"
    files.write_text(path, "one")
    files.write_text(path, "two")
    assert path.read_text() == "two"


def test_json_has_no_nan_and_no_numpy(tmp_path):
    value = {"a": np.float32(0.5), "b": float("nan"), 3: [np.int64(2), np.inf]}
    files.write_json(tmp_path / "a.json", value | {"c": np.arange(2)})
    expected = {"a": 0.5, "b": None, "3": [2, None], "c": [0, 1]}
    assert json.loads((tmp_path / "a.json").read_text()) == expected


@pytest.mark.parametrize(
    "array",
    [
        np.arange(12, dtype=np.uint8).reshape(3, 4),
        np.arange(12, dtype=np.uint16).reshape(3, 4) * 5000,
        np.arange(36, dtype=np.uint8).reshape(3, 4, 3),
    ],
)
def test_images_keep_their_values(array, tmp_path):
    files.write_image(tmp_path / "a.png", array)
    np.testing.assert_array_equal(np.array(Image.open(tmp_path / "a.png")), array)
