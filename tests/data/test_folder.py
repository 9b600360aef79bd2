"""Folders of one's own: parts, validation, and an error for each thing wrong."""

import json
import pickle

import numpy as np
import pytest
import toy_sets

from irstd_jax import data
from irstd_jax.data import folder, images


@pytest.fixture
def root(tmp_path):
    return toy_sets.folder(tmp_path / "mine")


def opened(root, part="train", **more):
    return data.load(toy_sets.settings(root, **more), part)


def test_samples_are_the_files(root):
    source = opened(root, "test")
    assert source.names == toy_sets.NAMES[6:] and len(source) == 4
    for index, name in enumerate(source.names):
        image, mask = toy_sets.scene(6 + index)
        sample = source[index]
        assert sample["name"] == name
        assert sample["image"].dtype == np.float32 and sample["mask"].dtype == np.uint8
        np.testing.assert_array_equal(
            sample["image"][..., 0], image.astype(np.float32) / 255
        )
        np.testing.assert_array_equal(sample["mask"][..., 0], mask > 127)
    with pytest.raises(IndexError):
        source[4]


def test_parts_are_disjoint_and_whole(root):
    parts = {part: set(opened(root, part).names) for part in data.PARTS}
    assert [len(parts[p]) for p in data.PARTS] == [5, 1, 4]
    assert set.union(*parts.values()) == set(toy_sets.NAMES)
    assert parts["train"] | parts["validation"] == set(toy_sets.NAMES[:6])


def test_no_validation_share(root):
    assert opened(root, validation_share=0.0).names == toy_sets.NAMES[:6]
    with pytest.raises(ValueError, match="validation part.*validation_share above 0"):
        opened(root, "validation", validation_share=0.0)


def test_a_validation_list_is_the_validation_part(root):
    (root / "train.txt").rename(root / "trainval.txt")
    toy_sets.text(root / "val.txt", toy_sets.NAMES[:2])
    assert opened(root, "validation").names == toy_sets.NAMES[:2]
    assert opened(root).names == toy_sets.NAMES[2:6]
    assert opened(root).describe()["validation_rule"] == "the list val.txt"


def test_train_and_val_lists_must_not_overlap(root):
    toy_sets.text(root / "val.txt", toy_sets.NAMES[:2])
    with pytest.raises(ValueError, match=r"2 names stand in .*train\.txt.*val\.txt"):
        opened(root)


def test_describe_is_json_and_tells_the_images(root):
    facts = opened(root, "test").describe()
    assert json.loads(json.dumps(facts)) == facts
    assert facts["set"] == "folder mine" and facts["split"] == "lists"
    assert facts["part"] == "test" and facts["count"] == 4
    assert facts["mask_rule"] == "grey > 127 of 255" and facts["repairs"] == []
    assert facts["hash"] != opened(root).describe()["hash"]


def test_sources_travel_to_worker_processes(root):
    source = opened(root)
    copy = pickle.loads(pickle.dumps(source))
    np.testing.assert_array_equal(copy[0]["image"], source[0]["image"])


def test_without_lists(root):
    for path in root.glob("*.txt"):
        path.unlink()
    train, validation, test = (
        set(opened(root, part, split="random_80_20").names) for part in data.PARTS
    )
    assert (len(train), len(validation), len(test)) == (7, 1, 2)
    assert train | validation | test == set(toy_sets.NAMES)
    assert opened(root, "test", split="none").names == toy_sets.NAMES
    with pytest.raises(ValueError, match="train part .* is empty"):
        opened(root, split=None)
    with pytest.raises(ValueError, match="none of the lists.*random_80_20"):
        opened(root)


def test_mask_names_and_suffixes(root):
    (root / "masks" / "scene_0.png").rename(root / "masks" / "scene_0_pixels0.png")
    mask = root / "masks" / "scene_1.png"
    toy_sets.write(root / "masks" / "scene_1.BMP", toy_sets.scene(1)[1])
    mask.unlink()
    (root / "masks" / ".hidden.png").write_bytes(b"")
    (root / "masks" / "notes.txt").write_bytes(b"")
    source = opened(root, validation_share=0.0)
    for seed in (0, 1):
        np.testing.assert_array_equal(
            source[seed]["mask"][..., 0], toy_sets.scene(seed)[1] > 127
        )


def test_opening_decodes_one_mask_at_most(root, monkeypatch):
    decoded = []
    read = images.read_grey
    monkeypatch.setattr(
        images, "read_grey", lambda *args: decoded.append(args) or read(*args)
    )
    opened(root)
    assert len(decoded) == 1


def missing_mask(root):
    (root / "masks" / "scene_3.png").unlink()
    return r"1 of 10 masks are missing in .*masks: scene_3; put them there"


def missing_image(root):
    (root / "images" / "scene_3.png").unlink()
    return r"1 of 10 images are missing in .*images: scene_3; put them there"


def name_without_file(root):
    toy_sets.text(root / "train.txt", (*toy_sets.NAMES[:6], "ghost"))
    return r"1 of 11 images are missing.*ghost.*take the names out of the lists"


def name_with_separator(root):
    toy_sets.text(root / "train.txt", ("../images/scene_0", "scene_1"))
    return r"train\.txt line 1: '\.\./images/scene_0' is no bare image name"


def name_twice(root):
    toy_sets.text(root / "train.txt", ("scene_1", "scene_0", "scene_1"))
    return r"train\.txt line 3: 'scene_1' stands there twice"


def empty_list(root):
    (root / "train.txt").write_text("\n")
    return r"the list .*train\.txt is empty: write one name a line"


def overlap(root):
    toy_sets.text(root / "test.txt", toy_sets.NAMES[5:])
    return r"1 names stand in .*train\.txt and in .*test\.txt: scene_5; remove them"


def two_of_a_name(root):
    toy_sets.write(root / "images" / "scene_1.bmp", toy_sets.scene(1)[0])
    return r"scene_1\.png and scene_1\.bmp have the same name: keep one"


def no_targets(root):
    for path in (root / "masks").iterdir():
        toy_sets.write(path, np.zeros((24, 32), np.uint8))
    return r"none of the 5 training masks.*grey > 127: check the masks"


def no_test_list(root):
    (root / "test.txt").unlink()
    return None


@pytest.mark.parametrize(
    "harm",
    [
        *(missing_mask, missing_image, name_without_file, name_with_separator),
        *(name_twice, empty_list, overlap, two_of_a_name, no_targets),
    ],
)
def test_opening_a_bad_set_names_what_is_wrong(root, harm):
    message = harm(root)
    with pytest.raises(ValueError, match=message):
        opened(root)


def test_a_judged_part_without_a_target_is_told(root, caplog):
    for name in toy_sets.NAMES[6:]:
        toy_sets.write(root / "masks" / f"{name}.png", np.zeros((24, 32), np.uint8))
    assert len(opened(root, "test")) == 4
    assert "none of the 4 test masks of folder" in caplog.text
    caplog.clear()
    opened(root, "validation")
    assert not caplog.text


def test_more_problems_are_counted(root):
    missing_image(root)
    missing_mask(root)
    with pytest.raises(ValueError, match="and 1 more problems: --mode=check"):
        opened(root)


def test_a_part_without_list(root):
    no_test_list(root)
    assert len(opened(root)) == 5
    with pytest.raises(
        ValueError, match="test part .* is empty: list names in test.txt"
    ):
        opened(root, "test")


def test_a_mask_of_another_size(root):
    toy_sets.write(root / "masks" / "scene_6.png", np.zeros((24, 30), np.uint8))
    with pytest.raises(
        ValueError, match=r"scene_6\.png is 30x24 and .* is 32x24: give"
    ):
        opened(root, "test")[0]


def test_a_damaged_image(root):
    path = root / "images" / "scene_6.png"
    path.write_bytes(path.read_bytes()[:-60])
    with pytest.raises(ValueError, match=r"cannot read the image .*scene_6\.png"):
        opened(root, "test")[0]


def test_no_folder_says_what_to_put_where(tmp_path):
    with pytest.raises(ValueError, match="Put these there") as error:
        opened(tmp_path)
    for name in ("images", "masks"):
        assert str(tmp_path / name / "NAME.png") in str(error.value)
    assert "--config.data.root" in str(error.value)


def test_unknown_names_list_the_choices(root):
    with pytest.raises(ValueError, match="unknown part 'val'; choose from.*validation"):
        opened(root, "val")
    with pytest.raises(ValueError, match="unknown data set 'x'; choose.*nuaa_sirst"):
        opened(root, name="x")
    with pytest.raises(ValueError, match="unknown split 'x' .*random_80_20"):
        opened(root, split="x")
    with pytest.raises(ValueError, match="unknown reader 'x'; choose.*tfds"):
        opened(root, reader="x")


def test_index_takes_images_alone(root):
    found, problems = folder.index(root / "images")
    assert tuple(sorted(found)) == toy_sets.NAMES and problems == []
