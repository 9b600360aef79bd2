"""Augmented sets in training: by list, by ratio, at one scale, and never a leak."""

import json

import numpy as np
import pytest
import toy_sets

from irstd_jax import data
from irstd_jax.data import extras, pipeline, transforms


@pytest.fixture
def root(tmp_path):
    return toy_sets.folder(tmp_path / "real")


def training(root):
    return data.load(toy_sets.settings(root), "train").names


def mixed(root, *folders, part="train", **more):
    more = {"extra": [str(folder) for folder in folders], **more}
    return data.load(toy_sets.settings(root, **more), part)


def test_samples_are_appended_to_what_is_left_of_training(root, tmp_path):
    names = training(root)
    source = mixed(root, toy_sets.augmented(tmp_path / "set", names))
    assert source.names == (*names, "extra1:m0", "extra1:m1")
    sample = source[len(names) + 1]
    image, mask = toy_sets.scene(51)
    assert sample["name"] == "extra1:m1"
    np.testing.assert_array_equal(sample["mask"][..., 0], mask > 127)
    np.testing.assert_allclose(sample["image"][..., 0], image / 255, atol=1e-6)


@pytest.mark.parametrize("part", ["validation", "test"])
def test_the_other_parts_stay_as_they_are(root, tmp_path, part):
    folder = toy_sets.augmented(tmp_path / "set", training(root))
    plain = data.load(toy_sets.settings(root), part)
    assert mixed(root, folder, part=part).describe() == plain.describe()


@pytest.mark.parametrize("nothing", [{}, {"extra": ""}, {"extra": ()}, {"extra": None}])
def test_without_extras_nothing_changes(root, nothing):
    plain = data.load(toy_sets.settings(root), "train")
    other = data.load(toy_sets.settings(root, **nothing), "train")
    assert other.describe() == plain.describe() and other.names == plain.names


def test_several_folders_by_commas_and_by_ratio(root, tmp_path):
    names = training(root)
    a, b = (toy_sets.augmented(tmp_path / name / "set", names) for name in "ab")
    source = mixed(root, extra=f"{a}, {b}", extra_share=0.8)
    assert len(source) == 5 * len(names)
    assert len(set(source.names)) == len(source)
    facts = source.describe()
    assert [part["draws"] for part in facts["parts"]] == [5, 10, 10]
    assert facts["parts"][1]["parents"] == len(names)
    json.dumps(facts)


def test_released_scale_halves_and_loses_no_target(root, tmp_path):
    folder = toy_sets.augmented(tmp_path / "set", training(root))
    native = mixed(root, folder)
    for scale in ("released", 0.5, "0.5"):
        half = mixed(root, folder, extra_scale=scale)
        for before, after in zip(list(native)[-2:], list(half)[-2:], strict=True):
            assert after["image"].shape == after["mask"].shape == (12, 16, 1)
            assert after["name"] == before["name"]
            targets = [transforms.components(s["mask"])[1] for s in (before, after)]
            assert targets[0] == targets[1] == 1
        np.testing.assert_array_equal(half[0]["image"], native[0]["image"])
        assert half.describe()["parts"][1]["scale"] == 0.5


@pytest.mark.parametrize("scale", [0, -1, "half", "inf"])
def test_senseless_scales_are_refused(root, tmp_path, scale):
    with pytest.raises(ValueError, match="data.extra_scale is .*'released'"):
        mixed(root, toy_sets.augmented(tmp_path / "set", ()), extra_scale=scale)


def test_parents_of_the_test_part_are_refused(root, tmp_path):
    folder = toy_sets.augmented(tmp_path / "set", (training(root)[0], "scene_8"))
    with pytest.raises(ValueError, match="1 of the 2 parents are in the test.*scene_8"):
        mixed(root, folder)
    data.load(toy_sets.settings(root, extra=[str(folder)]), "test")


def test_parents_of_the_validation_part_are_refused(root, tmp_path):
    (held_out,) = data.load(toy_sets.settings(root), "validation").names
    folder = toy_sets.augmented(tmp_path / "set", (held_out,))
    with pytest.raises(
        ValueError, match="are in the validation part.*validation_share"
    ):
        mixed(root, folder)
    assert len(mixed(root, folder, validation_share=0.0)) == 8


def test_generated_scenes_are_held_out_by_name_as_well(tmp_path):
    counts = {"train": 3, "validation": 0, "test": 2}
    settings = {"name": "synthetic", "split": "", "count": counts, "size": 48}
    good = toy_sets.augmented(tmp_path / "good", ("train_000000",))
    assert len(mixed(tmp_path, good, **settings)) == 5
    bad = toy_sets.augmented(tmp_path / "bad", ("test_000001",))
    with pytest.raises(ValueError, match="in the test part: test_000001"):
        mixed(tmp_path, bad, **settings)


def test_a_set_without_a_manifest_is_taken_with_a_warning(root, tmp_path, caplog):
    source = mixed(root, toy_sets.augmented(tmp_path / "set", (), manifest=False))
    assert source.describe()["parts"][1]["parents"] is None
    assert "cannot be told" in caplog.text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "cannot read .*manifest.json.*make the set again"),
        ("[]", "cannot read"),
        ('{"samples": [{"name": "m0"}]}', "cannot read"),
        ('{"samples": [{"name": "m0", "parents": "x"}]}', "'m0' are not a list"),
        ('{"samples": [{"name": "m0", "parents": []}]}', "nothing of 1 samples.*m1"),
    ],
)
def test_damaged_manifests_are_refused(root, tmp_path, text, message):
    folder = toy_sets.augmented(tmp_path / "set", ())
    (folder / "manifest.json").write_text(text)
    with pytest.raises(ValueError, match=message):
        mixed(root, folder)


def test_a_folder_that_is_not_there_is_named(root, tmp_path):
    with pytest.raises(ValueError, match="there is no .*images: make the set"):
        mixed(root, tmp_path / "nowhere")
    folder = toy_sets.augmented(tmp_path / "set", ())
    (folder / "masks" / "m1.png").unlink()
    with pytest.raises(ValueError, match="1 of 2 masks are missing"):
        mixed(root, folder)


def test_the_pipeline_draws_from_both(root, tmp_path):
    source = mixed(root, toy_sets.augmented(tmp_path / "set", training(root)))

    def prepare(sample, rng):
        return {"name": np.array(sample["name"].startswith(extras.PREFIX))}

    batch = next(pipeline.training_batches(source, prepare, len(source), 0, threads=1))
    assert batch["name"].sum() == 2
