"""The published sets: toy copies in every layout, and the real ones where they are."""

import numpy as np
import pytest
import toy_sets
from PIL import Image
from scipy import ndimage

from irstd_jax import data
from irstd_jax.data import benchmarks


def opened(root, name, part="train", split=None, **more):
    split = split or toy_sets.SPLITS[name]
    return data.load(toy_sets.settings(root, name, split, **more), part)


@pytest.mark.parametrize("name", toy_sets.LAYOUTS)
def test_published_layout(tmp_path, name):
    own = toy_sets.benchmark(tmp_path, name)
    # The root is the parent of the sets, or the set's own folder.
    for root in (tmp_path, own):
        assert opened(root, name, validation_share=0.0).names == toy_sets.NAMES[:6]
        source = opened(root, name, "test")
        assert source.names == toy_sets.NAMES[6:]
        assert source[0]["mask"].sum() == 9
        assert source.describe()["set"] == benchmarks.LAYOUTS[name].title


def test_folder_names_ignore_case_and_hyphens(tmp_path):
    toy_sets.benchmark(tmp_path, "irstd1k").rename(tmp_path / "irstd_1K")
    assert len(opened(tmp_path, "irstd1k", "test")) == 4


def test_irstd1k_as_images_and_masks(tmp_path):
    root = tmp_path / "IRSTD-1k"
    toy_sets.folder(root)
    (root / "train.txt").rename(root / "trainval.txt")
    assert len(opened(tmp_path, "irstd1k", "test")) == 4


def test_lists_in_img_idx(tmp_path):
    root = toy_sets.folder(tmp_path / "NUDT-SIRST")
    for part in ("train", "test"):
        target = root / "img_idx" / f"{part}_NUDT-SIRST.txt"
        target.parent.mkdir(exist_ok=True)
        (root / f"{part}.txt").rename(target)
    assert len(opened(tmp_path, "nudt_sirst", "test")) == 4


def test_sirst_v2_may_have_empty_masks(tmp_path):
    root = toy_sets.benchmark(tmp_path, "sirst_v2")
    empty = root / "annotations" / "masks" / "scene_7_pixels0.png"
    toy_sets.write(empty, np.zeros((24, 32), np.uint8))
    assert opened(tmp_path, "sirst_v2", "test")[1]["mask"].sum() == 0


@pytest.mark.parametrize("name", toy_sets.LAYOUTS)
def test_absent_data_say_what_to_put_where(tmp_path, name):
    with pytest.raises(ValueError) as error:
        opened(tmp_path, name)
    message, layout = str(error.value), benchmarks.LAYOUTS[name]
    split = layout.splits[toy_sets.SPLITS[name]]
    places = (layout.images[0], layout.masks[0], split.train[0], split.test[0])
    for place in places:
        assert str(tmp_path / layout.title / place) in message
    assert message.count("MISSING") == 4
    for pointer in ("IRSTD_DATA", "--config.data.root", layout.origin):
        assert pointer in message


def test_absent_lists_are_told_from_what_is_there(tmp_path):
    root = toy_sets.benchmark(tmp_path, "nudt_sirst")
    (root / "50_50" / "test.txt").unlink()
    with pytest.raises(ValueError) as error:
        opened(tmp_path, "nudt_sirst")
    lines = str(error.value).splitlines()
    assert [line for line in lines if "MISSING" in line][0].split()[0] == str(
        root / "50_50" / "test.txt"
    )
    assert sum("[found]" in line for line in lines) == 3


def test_unknown_split_lists_the_choices(tmp_path):
    with pytest.raises(ValueError, match="unknown split '70_30'.*50_50.*idx_427"):
        opened(tmp_path, "nuaa_sirst", split="70_30")


def large_mask(root, name, shape):
    mask = np.zeros(shape, np.uint8)
    mask[shape[0] // 2 :, :] = 255
    toy_sets.write(root / "masks" / f"{name}_pixels0.png", mask)


@pytest.mark.parametrize(
    ("name", "shape", "repaired"),
    [
        ("Misc_111", (48, 64), True),
        ("Misc_111", (47, 63), True),  # the aspect agrees within 1 %
        ("Misc_111", (48, 48), False),
        ("Misc_111", (12, 16), False),
        ("Misc_112", (48, 64), False),
    ],
)
def test_the_repair_is_narrow(tmp_path, caplog, name, shape, repaired):
    names = ("Misc_1", name)
    root = toy_sets.benchmark(tmp_path, "nuaa_sirst", names, train=1)
    large_mask(root, name, shape)
    source = opened(tmp_path, "nuaa_sirst", "test")
    assert source.describe()["repairs"] == ([name] if repaired else [])
    assert (name in caplog.text) == repaired
    if not repaired:
        with pytest.raises(ValueError, match="give the mask the size of its image"):
            source[0]
        return
    expected = np.zeros((24, 32, 1), np.uint8)
    # The large mask is white below its middle row.
    expected[12:] = 1
    np.testing.assert_array_equal(source[0]["mask"], expected)


@pytest.mark.parametrize(
    ("name", "split", "counts"),
    [
        ("nuaa_sirst", "idx_427", (341, 86)),
        ("nuaa_sirst", "50_50", (213, 214)),
        ("nudt_sirst", "50_50", (663, 664)),
        ("nudt_sirst", "random_80_20", (1062, 265)),
    ],
)
def test_real_counts(data_root, name, split, counts):
    more = {"split": split, "validation_share": 0.0}
    sizes = [len(opened(data_root, name, p, **more)) for p in ("train", "test")]
    assert tuple(sizes) == counts == benchmarks.LAYOUTS[name].splits[split].counts


def test_real_targets_of_nuaa(data_root):
    targets = 0
    for part in data.PARTS:
        source = opened(data_root, "nuaa_sirst", part)
        for sample in (source[i] for i in range(len(source))):
            assert sample["image"].shape == sample["mask"].shape
            targets += ndimage.label(sample["mask"][..., 0], np.ones((3, 3)))[1]
    assert targets == 533


def test_real_misc_111_is_scaled_down_by_nearest(data_root, caplog):
    source = opened(data_root, "nuaa_sirst", "test")
    assert source.describe()["repairs"] == ["Misc_111"]
    assert "Misc_111 is 592x400 for an image of 325x220" in caplog.text
    sample = source[source.names.index("Misc_111")]
    assert sample["image"].shape == sample["mask"].shape == (220, 325, 1)
    with Image.open(
        data_root / "NUAA-SIRST" / "masks" / "Misc_111_pixels0.png"
    ) as mask:
        large = np.asarray(mask.convert("L")) > 127
    # Each pixel is that of the large mask at the middle of its area.
    rows = ((np.arange(220) + 0.5) * 400 / 220).astype(int)
    columns = ((np.arange(325) + 0.5) * 592 / 325).astype(int)
    np.testing.assert_array_equal(sample["mask"][..., 0], large[rows][:, columns])


def test_real_half_complete_download(data_root):
    with pytest.raises(
        ValueError, match="1000 of 1001 images are missing.*XDU1, XDU10"
    ):
        opened(data_root, "irstd1k")


def test_real_grey_mask(data_root, tmp_path):
    root = tmp_path / "IRSTD-1k"
    for folder in ("IRSTD1k_Img", "IRSTD1k_Label"):
        (root / folder).mkdir(parents=True)
        real = data_root / "IRSTD-1k" / folder / "XDU0.png"
        (root / folder / "XDU0.png").write_bytes(real.read_bytes())
    toy_sets.pair(root, "XDU1", 1, "IRSTD1k_Img", "IRSTD1k_Label")
    toy_sets.text(root / "trainval.txt", ["XDU0"])
    toy_sets.text(root / "test.txt", ["XDU1"])
    with Image.open(root / "IRSTD1k_Label" / "XDU0.png") as mask:
        levels = np.asarray(mask.convert("L"))
    assert set(np.unique(levels)) == {0, 64, 255}
    sample = opened(tmp_path, "irstd1k")[0]
    np.testing.assert_array_equal(sample["mask"][..., 0], levels == 255)
    sample = opened(tmp_path, "irstd1k", mask_threshold=0)[0]
    np.testing.assert_array_equal(sample["mask"][..., 0], levels > 0)
