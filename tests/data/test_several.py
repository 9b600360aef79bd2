"""Several sets as one: parts, names, splits, what is held out, and errors."""

import pytest
import toy_sets
from ml_collections import ConfigDict

from irstd_jax import check, data

TWO = ("nuaa_sirst", "nudt_sirst")
BOTH = ",".join(TWO)


@pytest.fixture
def root(tmp_path):
    for name in TWO:
        toy_sets.benchmark(tmp_path, name)
    return tmp_path


def block(root, name=BOTH, split=None, **more):
    split = split or ",".join(toy_sets.SPLITS[one] for one in TWO)
    return toy_sets.settings(root, name, split, validation_share=0.2, **more)


def test_each_part_is_the_parts_of_the_sets(root):
    settings = block(root)
    for part in data.PARTS:
        both = data.load(settings, part)
        alone = [data.load(one, part) for one in data.singles(settings)]
        assert len(both) == sum(map(len, alone)) > 0
        names = [
            f"{one}:{name}"
            for one, source in zip(TWO, alone, strict=True)
            for name in source.names
        ]
        # The toys of both sets have the same names, and stay apart.
        assert list(both.names) == names and len(set(names)) == len(names)
        assert both[len(both) - 1]["name"] == names[-1]
        assert both.describe()["count"] == len(both)


def test_a_split_for_all_or_one_each(root):
    splits = {toy_sets.SPLITS[one] for one in TWO}
    assert len(splits) == 1, "both toys have the split 50_50"
    one = data.load(block(root, split=splits.pop()), "test")
    assert one.names == data.load(block(root), "test").names
    with pytest.raises(ValueError, match="names 2 sets and data.split 3 splits"):
        data.load(block(root, split="a,b,c"), "test")


def test_what_is_held_out_is_of_all_sets(root):
    held = data.held_out(block(root))
    for part in ("test", "validation"):
        names = data.load(block(root), part).names
        bare = {name.partition(":")[2] for name in names}
        assert set(held[part]) == set(names) | bare


def test_a_set_made_of_several_does_not_leak_into_one(root, tmp_path):
    """Its manifest names parents as several sets do."""
    one, _ = data.singles(block(root))
    for part, refused in (("train", False), ("test", True), ("validation", True)):
        parent = data.load(block(root), part).names[0]
        made = toy_sets.augmented(tmp_path / part, (parent,))
        settings = ConfigDict({**one, "extra": str(made)})
        if refused:
            with pytest.raises(ValueError, match=f"in the {part} part: {parent}"):
                data.load(settings, "train")
        else:
            assert len(data.load(settings, "train")) == len(data.load(one, "train")) + 2


def test_generated_scenes_may_join_training_alone(root):
    settings = block(root, "nuaa_sirst,synthetic", "50_50", count={"train": 3}, size=32)
    alone = data.load(data.singles(settings)[0], "train")
    both = data.load(settings, "train")
    assert both.names[len(alone) :] == tuple(
        f"synthetic:train_00000{k}" for k in range(3)
    )
    assert all(n.startswith("nuaa_sirst:") for n in data.load(settings, "test").names)
    assert (
        data.held_out(settings)["test"]
        == data.held_out(data.singles(settings)[0])["test"]
    )


def test_errors_are_sentences(root):
    with pytest.raises(ValueError, match="unknown data set 'nothing'; choose from"):
        data.load(block(root, "nuaa_sirst,nothing"), "train")
    with pytest.raises(ValueError, match="names a set twice"):
        data.load(block(root, "nuaa_sirst,nuaa_sirst"), "train")


def test_check_looks_at_each_set(root, capsys):
    config = ConfigDict({"data": block(root)})
    assert check.run(config) == 0
    told = capsys.readouterr().out
    assert told.count("problems: 0") == 2
    for title in ("NUAA-SIRST", "NUDT-SIRST"):
        assert title in told
    # Generated scenes for training alone, as data.load takes them.
    config.data = block(root, f"{BOTH},synthetic", "50_50", count={"train": 3}, size=32)
    assert check.run(config) == 0
    told = capsys.readouterr().out
    assert "set: synthetic" in told and told.count("problems: 0") == 3
    # What is wrong with one does not hide the other.
    config.data = block(root, split="nothing,50_50")
    assert check.run(config) == 1
    told = capsys.readouterr().out
    assert "PROBLEM: " in told and "'nothing'" in told and "problems: 0" in told
