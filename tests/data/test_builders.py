"""TFDS: what the records give is what the files give, and TensorFlow stays out."""

import pickle
import subprocess
import sys

import numpy as np
import pytest
import toy_sets

from irstd_jax import data
from irstd_jax.data import builders


def both(tmp_path, name, part, split=None):
    """The same part by the file reader and by TFDS."""
    more = {"tfds_dir": str(tmp_path / "tfds")}
    split = split or toy_sets.SPLITS[name]
    return [
        data.load(toy_sets.settings(tmp_path, name, split, reader=reader, **more), part)
        for reader in ("files", "tfds")
    ]


@pytest.mark.parametrize("name", builders.BUILDERS)
def test_records_equal_files(tmp_path, name):
    toy_sets.benchmark(tmp_path, name)
    for part in data.PARTS:
        files, records = both(tmp_path, name, part)
        assert records.names == files.names
        assert records.describe() == files.describe()
        for ours, theirs in zip(files, records, strict=True):
            assert ours["name"] == theirs["name"]
            for key in ("image", "mask"):
                assert ours[key].dtype == theirs[key].dtype
                np.testing.assert_array_equal(ours[key], theirs[key])


def test_prepared_sets_need_no_files(tmp_path):
    root = toy_sets.benchmark(tmp_path, "nudt_sirst")
    before = both(tmp_path, "nudt_sirst", "test")[1][0]
    root.rename(tmp_path / "moved")
    settings = toy_sets.settings(
        *(tmp_path, "nudt_sirst", "50_50"), reader="tfds", tfds_dir=tmp_path / "tfds"
    )
    after = data.load(settings, "test")
    np.testing.assert_array_equal(after[0]["image"], before["image"])
    copy = pickle.loads(pickle.dumps(after))
    np.testing.assert_array_equal(copy[0]["image"], before["image"])


def test_split_by_rule_and_odd_files(tmp_path):
    root = toy_sets.benchmark(tmp_path, "nuaa_sirst", (*toy_sets.NAMES, "Misc_111"))
    image, mask = toy_sets.scene(0)
    toy_sets.write(root / "images" / "scene_0.png", np.stack([image] * 3, -1))
    toy_sets.write(root / "images" / "scene_1.png", image.astype(np.uint16) * 257)
    toy_sets.write(
        root / "masks" / "Misc_111_pixels0.png", mask.repeat(2, 0).repeat(2, 1)
    )
    for part in ("train", "test"):
        files, records = both(tmp_path, "nuaa_sirst", part, "random_80_20")
        assert files.describe() == records.describe()
        for ours, theirs in zip(files, records, strict=True):
            np.testing.assert_array_equal(ours["image"], theirs["image"])
            np.testing.assert_array_equal(ours["mask"], theirs["mask"])


def test_problems_are_told_as_by_the_file_reader(tmp_path):
    settings = toy_sets.settings(
        *(tmp_path, "nudt_sirst", "50_50"), reader="tfds", tfds_dir=tmp_path / "tfds"
    )
    with pytest.raises(ValueError, match="Put these there"):
        data.load(settings, "train")
    root = toy_sets.benchmark(tmp_path, "nudt_sirst")
    (root / "images" / "scene_2.png").unlink()
    with pytest.raises(ValueError, match="1 of 10 images are missing.*scene_2"):
        data.load(settings, "train")
    toy_sets.pair(root, "scene_2", 2)
    assert len(data.load(settings, "train")) == 5


def test_sets_without_builder(tmp_path):
    settings = toy_sets.settings(tmp_path, "sirst_v2", "official", reader="tfds")
    with pytest.raises(ValueError, match="no TFDS builder of 'sirst_v2'; choose.*nuaa"):
        data.load(settings, "train")


def test_tensorflow_is_never_imported(tmp_path):
    toy_sets.benchmark(tmp_path, "irstd1k")
    program = (
        "import sys; from ml_collections import ConfigDict; from irstd_jax import data;"
        "settings = ConfigDict(dict(name='irstd1k', root=sys.argv[1], split='80_20',"
        " reader='tfds', tfds_dir=sys.argv[1] + '/tfds'));"
        "data.load(settings, 'train')[0]; print('tensorflow' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[-1] == "False"
