"""Answers outlive a killed judgement, and are of exactly what was asked."""

import contextlib
import functools

import numpy as np
import pytest

from configs import classical
from irstd_jax import answers, evaluate, inference

IMAGES = np.random.default_rng(0).random((2, 4, 5, 1), np.float32)
RECIPE, VARIABLES = {"task": {"steps": 3}}, {"params": {"w": np.ones(3)}}


class Counting:
    """Twice the images and their mean, and how often it was asked."""

    def __init__(self):
        self.asked = 0

    def __call__(self, images, names, seed):
        self.asked += 1
        return {"diffusion": 2 * images, "mean": images.mean((1, 2, 3)) + seed}


class Cut(Exception):
    """As a kill would end a judgement."""


def ask(predict, workdir, *, recipe=RECIPE, variables=VARIABLES, least=0, **what):
    """The answer, in a judgement that is cut behind it."""
    what = {"images": IMAGES, "names": ["a", "b"], "seed": 0} | what
    judging = answers.kept(predict, workdir, recipe, variables, least)
    with contextlib.suppress(Cut), judging as answer:
        found = answer(**what)
        raise Cut
    return found


def kept(workdir):
    return sorted((workdir / answers.FOLDER).glob("*"))


def test_an_answer_is_read_to_the_bit(tmp_path):
    predict = Counting()
    first, second = ask(predict, tmp_path), ask(predict, tmp_path)
    assert predict.asked == 1 and first.keys() == second.keys()
    for name, array in first.items():
        assert second[name].dtype == array.dtype
        np.testing.assert_array_equal(second[name], array)


@pytest.mark.parametrize(
    "change",
    [
        {"images": IMAGES + 1},
        {"images": IMAGES.astype(np.float64)},
        {"images": IMAGES.reshape(2, 5, 4, 1)},
        {"names": ["a", "c"]},
        {"seed": 1},
        {"recipe": {"task": {"steps": 4}}},
        {"variables": {"params": {"w": np.zeros(3)}}},
        {"variables": {"params": {"v": np.ones(3)}}},
    ],
    ids=str,
)
def test_whatever_changes_is_asked_anew(change, tmp_path):
    predict = Counting()
    ask(predict, tmp_path)
    found = ask(predict, tmp_path, **change)
    assert predict.asked == 2
    images = change.get("images", IMAGES)
    np.testing.assert_array_equal(found["diffusion"], 2 * images)


def test_answers_to_another_recipe_are_removed(tmp_path):
    ask(Counting(), tmp_path)
    (before,) = kept(tmp_path)
    ask(Counting(), tmp_path, recipe={})
    (after,) = kept(tmp_path)
    assert after != before


def test_a_judgement_that_ends_well_leaves_what_is_not_its_own(tmp_path):
    ask(Counting(), tmp_path)
    (tmp_path / "answers").mkdir()
    (tmp_path / "answers" / "mine.txt").write_text("mine")
    assert kept(tmp_path)
    with answers.kept(Counting(), tmp_path, RECIPE, VARIABLES, 0) as answer:
        answer(IMAGES, ["a", "b"], 0)
    assert [path.name for path in tmp_path.iterdir()] == ["answers"]
    assert (tmp_path / "answers" / "mine.txt").read_text() == "mine"


def test_what_is_quick_is_not_kept(tmp_path):
    predict = Counting()
    for _ in range(2):
        ask(predict, tmp_path, least=60)
    assert predict.asked == 2 and not kept(tmp_path)


def test_an_evaluation_cut_in_the_middle_asks_the_rest_alone(tmp_path, monkeypatch):
    config = classical.get_config("tophat,synthetic,tiny")
    config.evaluation.update({"batch_size": 1, "bootstrap": 20})
    monkeypatch.setattr(answers, "kept", functools.partial(answers.kept, least=0))
    evaluate.run(config, tmp_path / "whole")
    asked, predictor = [], inference.predictor

    def dying(task, **fields):
        predict = predictor(task, **fields)

        def answer(variables, images, names, seed):
            if len(asked) == 1:
                asked.append("killed")
                raise KeyboardInterrupt
            asked.extend(names)
            return predict(variables, images, names, seed)

        return answer

    monkeypatch.setattr(inference, "predictor", dying)
    with pytest.raises(KeyboardInterrupt):
        evaluate.run(config, tmp_path / "cut")
    assert list((tmp_path / "cut" / answers.FOLDER).rglob("*.npz"))
    evaluate.run(config, tmp_path / "cut")
    names = [name for name in asked if name != "killed"]
    assert "killed" in asked and len(names) == len(set(names))
    one, other = (
        (tmp_path / name / evaluate.REPORT).read_bytes() for name in ("whole", "cut")
    )
    assert one == other
    assert not (tmp_path / "cut" / answers.FOLDER).exists()
