"""The verb check: all problems at once, a table, and the exit code."""

import numpy as np
import pytest
import toy_sets
from ml_collections import ConfigDict

from irstd_jax import check


def checked(capsys, root, name="folder", split="lists", **more):
    """(exit code, lines of the output)."""
    settings = toy_sets.settings(root, name, split, **more)
    code = check.run(ConfigDict({"data": settings}))
    return code, capsys.readouterr().out.splitlines()


def of_kind(lines, kind):
    return [line for line in lines if line.startswith(f"{kind}:")]


def cells(lines, key):
    """The cells of a row of the table: train, validation, test."""
    return next(line for line in lines if line.startswith(key))[len(key) :].split()


@pytest.fixture
def root(tmp_path):
    return toy_sets.folder(tmp_path / "mine")


def test_a_good_set_passes(capsys, root):
    code, lines = checked(capsys, root)
    assert code == 0
    assert of_kind(lines, "PROBLEM") == of_kind(lines, "warning") == []
    assert cells(lines, "images read") == ["5", "1", "4"]
    assert cells(lines, "targets") == ["5", "1", "4"]
    assert cells(lines, "median target pixels") == ["9", "9", "9"]
    assert cells(lines, "sizes (w x h)") == ["32x24"] * 3
    assert cells(lines, "pixel modes") == ["L:5", "L:1", "L:4"]
    assert lines[-1] == "problems: 0, warnings: 0"


def test_training_statistics(capsys, root):
    _, lines = checked(capsys, root, validation_share=0.0)
    pixels = np.stack([toy_sets.scene(seed)[0] for seed in range(6)]) / 255
    line = next(line for line in lines if line.startswith("training pixels"))
    assert f"mean {pixels.mean():.5f} std {pixels.std():.5f} of 1" in line


def test_all_problems_at_once(capsys, root):
    names = toy_sets.NAMES
    toy_sets.text(root / "train.txt", (*names[:7], "ghost", "a/b", names[0]))
    (root / "images" / "scene_1.png").write_bytes(b"no image")
    (root / "masks" / "scene_2.png").unlink()
    toy_sets.write(root / "masks" / "scene_8.png", np.zeros((4, 4), np.uint8))
    code, lines = checked(capsys, root)
    problems = "\n".join(of_kind(lines, "PROBLEM"))
    assert code == 1
    for words in (
        "line 9: 'a/b' is no bare image name",
        "line 10: 'scene_0' stands there twice",
        "1 of 11 images are missing",
        "2 of 11 masks are missing",
        "ghost, scene_2",
        "1 names stand in",
        "scene_1.png: cannot identify",
        "scene_8.png is 4x4",
    ):
        assert words in problems
    assert lines[-1].startswith("problems: 7,")


def test_no_target_in_training(capsys, root):
    for path in (root / "masks").iterdir():
        toy_sets.write(path, np.zeros((24, 32), np.uint8))
    code, lines = checked(capsys, root)
    assert code == 1
    assert of_kind(lines, "PROBLEM") == [
        "PROBLEM: none of the 5 training masks has a target: check the masks, or set "
        "--config.data.mask_threshold"
    ]
    assert cells(lines, "images without target") == ["5", "1", "4"]
    told = [w for w in of_kind(lines, "warning") if "masks has a target" in w]
    assert [w.split()[5] for w in told] == ["validation", "test"]


def test_grey_masks_are_a_warning(capsys, root):
    mask = toy_sets.scene(6)[1]
    mask[0, 0] = 64
    toy_sets.write(root / "masks" / "scene_6.png", mask)
    code, lines = checked(capsys, root)
    assert code == 0
    assert cells(lines, "grey masks") == ["0", "0", "1"]
    assert "1 test masks hold grey values" in of_kind(lines, "warning")[0]


def test_near_copies_are_a_warning(capsys, root):
    rng = np.random.default_rng(0)
    image = toy_sets.scene(0)[0] * 0.8 + 20 + rng.normal(0, 1, (24, 32))
    toy_sets.write(root / "images" / "scene_7.png", image.astype(np.uint8))
    code, lines = checked(capsys, root, validation_share=0.0)
    assert code == 0
    (warning,) = of_kind(lines, "warning")
    assert "1 of 4 textured test images are near-copies" in warning
    assert "scene_7 of scene_0 (" in warning


def test_flat_images_are_no_near_copies(capsys, root):
    for name in ("scene_0", "scene_7"):
        sky = np.tile(np.linspace(60, 70, 32).astype(np.uint8), (24, 1))
        toy_sets.write(root / "images" / f"{name}.png", sky)
    _, lines = checked(capsys, root, validation_share=0.0)
    assert of_kind(lines, "warning") == []


def test_absent_data(capsys, tmp_path):
    code, lines = checked(capsys, tmp_path, "irstd1k", "80_20")
    assert code == 1
    assert lines[0].startswith("PROBLEM: IRSTD-1k is not complete")
    assert lines[-1] == "problems: 1"


def test_a_damaged_repairable_pair(capsys, tmp_path):
    root = toy_sets.benchmark(tmp_path, "nuaa_sirst", ("Misc_1", "Misc_111"), train=1)
    (root / "masks" / "Misc_111_pixels0.png").write_bytes(b"")
    code, lines = checked(capsys, tmp_path, "nuaa_sirst", "50_50")
    assert code == 1
    assert "Misc_111_pixels0.png: the file is empty" in of_kind(lines, "PROBLEM")[0]


def test_real_nuaa(capsys, data_root):
    code, lines = checked(capsys, data_root, "nuaa_sirst", "50_50")
    assert code == 0
    assert sum(map(int, cells(lines, "targets"))) == 533
    (warning,) = of_kind(lines, "warning")
    assert "Misc_111" in warning


def test_real_half_complete_download(capsys, data_root):
    code, lines = checked(capsys, data_root, "irstd1k", "80_20")
    assert code == 1
    problems = of_kind(lines, "PROBLEM")
    assert ["1000 of 1001" in problem for problem in problems] == [True, True]
    assert any("grey values" in warning for warning in of_kind(lines, "warning"))


def test_real_near_copies_of_nudt(capsys, data_root):
    code, lines = checked(capsys, data_root, "nudt_sirst", "50_50")
    assert code == 0
    assert sum(map(int, cells(lines, "targets"))) == 1863
    assert any("53 of 646 textured test images" in w for w in of_kind(lines, "warning"))


def test_masks_beside_their_targets_are_told(capsys, tmp_path):
    grid = np.stack(np.mgrid[:48, :48], -1)
    for moved, warnings in (((0.0, 0.0), 0), ((-0.25, -0.2), 1)):
        root = tmp_path / str(warnings)
        names = [f"scene_{number}" for number in range(40)]
        for number, name in enumerate(names):
            rng = np.random.default_rng(number)
            centre = rng.uniform(16, 32, 2)
            light = 128 * np.exp(-np.square(grid - centre).sum(-1) / 4.5)
            image = 80 + light + rng.normal(0, 1, (48, 48))
            mask = 255 * (np.square(grid - centre - moved).sum(-1) < 2.5**2)
            toy_sets.write(root / "images" / f"{name}.png", np.uint8(image))
            toy_sets.write(root / "masks" / f"{name}.png", np.uint8(mask))
        toy_sets.text(root / "train.txt", names[:36])
        toy_sets.text(root / "test.txt", names[36:])
        code, lines = checked(capsys, root)
        assert code == 0
        told = [line for line in of_kind(lines, "warning") if "masks lie" in line]
        assert len(told) == warnings
        assert all("px above" in line and "px left of" in line for line in told)
        assert all("of 36 clear ones of training" in line for line in told)
