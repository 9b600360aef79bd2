"""Joined sets that share images: refused where one learns what the other holds out."""

import pytest
import toy_sets
from ml_collections import ConfigDict

from irstd_jax import check, data
from irstd_jax.data import shared

NAMES = toy_sets.NAMES


def joined(root, *sets, **more):
    names = [name for name, *_ in sets]
    for name, members, train in sets:
        toy_sets.benchmark(root, name, members, train)
    splits = ",".join(toy_sets.SPLITS[name] for name in names)
    share = {"validation_share": 0.2}
    return toy_sets.settings(root, ",".join(names), splits, **share | more)


def test_the_same_file_under_another_name_is_found(tmp_path):
    other = tuple(f"other_{k}" for k in range(10))
    block = joined(tmp_path, ("nuaa_sirst", NAMES, 6), ("nudt_sirst", other, 6))
    for seed, name in enumerate(other, 50):
        toy_sets.pair(tmp_path / "NUDT-SIRST", name, seed)
    assert len(data.load(block, "train")) == 10
    # The test image 8 of the one becomes the training image 2 of the other.
    source = tmp_path / "NUAA-SIRST" / "images" / "scene_8.png"
    copy = tmp_path / "NUDT-SIRST" / "images" / "other_2.png"
    copy.write_bytes(source.read_bytes())
    message = "1 test images of NUAA-SIRST .50_50. are .* scene_8 as other_2; leave"
    with pytest.raises(ValueError, match=message):
        data.load(block, "train")
    # What is only judged learns nothing.
    assert len(data.load(block, "test")) == 8


def test_files_in_memory_are_compared_as_those_on_disk(tmp_path):
    (tmp_path / "c.png").write_bytes(b"123")
    held = {"a": b"123", "b": b"12", "c": tmp_path / "c.png"}
    assert shared.same_bytes({"x": b"123"}, held) == {"a": "x", "c": "x"}


def test_names_tell_the_images_of_one_family(tmp_path):
    """SIRST-v2 has NUAA-SIRST's images, maybe saved anew, and splits of its own."""
    turned = NAMES[::-1]
    block = joined(tmp_path, ("nuaa_sirst", NAMES, 6), ("sirst_v2", turned, 6))
    with pytest.raises(ValueError, match="test images of SIRST-v2 .* scene_0 as"):
        data.load(block, "train")
    block = joined(tmp_path, ("nudt_sirst", NAMES, 6), ("irstd1k", turned, 6))
    for name in NAMES:  # the same names of images that differ
        toy_sets.pair(tmp_path / "IRSTD-1k", name, 90, "IRSTD1k_Img", "IRSTD1k_Label")
    assert len(data.load(block, "train")) == 10


def test_validation_is_held_out_too(tmp_path):
    block = joined(tmp_path, ("nuaa_sirst", NAMES, 9), ("nudt_sirst", NAMES, 9))
    (one, other) = data.singles(block)
    held = data.load(one, "validation").names[0]
    learnt = data.load(other, "train").names[0]
    images = [tmp_path / root / "images" for root in ("NUAA-SIRST", "NUDT-SIRST")]
    (images[1] / f"{learnt}.png").write_bytes((images[0] / f"{held}.png").read_bytes())
    with pytest.raises(ValueError, match=f"validation images .* {held} as {learnt}"):
        data.load(block, "train")


def test_check_reports_it(tmp_path, capsys):
    turned = NAMES[::-1]
    block = joined(tmp_path, ("nuaa_sirst", NAMES, 6), ("sirst_v2", turned, 6))
    assert check.run(ConfigDict({"data": block})) == 1
    told = capsys.readouterr().out
    assert told.count("PROBLEM: ") == 1
    assert "images of SIRST-v2 (official) are training images of NUAA-SIRST" in told
