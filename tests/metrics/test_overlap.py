"""Pixel metrics against loops over pixels and against values known by hand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from irstd_jax.metrics import overlap

MASKS = hnp.arrays(bool, (2, 4, 5))
SETTINGS = settings(max_examples=50, deadline=None, derandomize=True)


def brute(prediction, truth):
    hit = false = missed = 0
    for p, t in zip(prediction.ravel().tolist(), truth.ravel().tolist(), strict=True):
        hit, false, missed = hit + (p and t), false + (p and not t), missed + (t > p)
    return hit, false, missed


def add(states):
    return overlap.OverlapCounts(*(sum(field) for field in zip(*states, strict=True)))


@SETTINGS
@given(MASKS)
def test_counts_are_those_of_a_loop_over_pixels(pair):
    counts = overlap.count(*pair)
    hit, false, missed = brute(*pair)
    assert counts[:3] == (hit, false, missed)
    score = hit / (hit + false + missed) if pair.any() else 1.0
    assert counts.scores == score


@SETTINGS
@given(st.lists(MASKS, min_size=1, max_size=4))
def test_f1_is_the_harmonic_mean_and_iou_its_transform(pairs):
    values = overlap.compute(add([overlap.count(*pair) for pair in pairs]))
    precision, recall, f1 = values["precision"], values["recall"], values["F1"]
    if precision > 0 and recall > 0:
        assert f1 == pytest.approx(2 / (1 / precision + 1 / recall))
        assert values["IoU"] == pytest.approx(f1 / (2 - f1))


def test_iou_weighs_pixels_and_niou_weighs_images():
    large, small = np.ones((4, 4), bool), np.zeros((4, 4), bool)
    small[0, 0] = True
    states = [overlap.count(large, large), overlap.count(~small, small)]
    values = overlap.compute(add(states))
    assert values["IoU"] == 16 / 32
    assert values["nIoU"] == (1 + 0) / 2


@pytest.mark.parametrize(("rule", "score"), [("one", 1.0), ("zero", 0.0)])
def test_an_image_without_anything_scores_by_the_empty_rule(rule, score):
    nothing = np.zeros((3, 3), bool)
    values = overlap.compute(overlap.count(nothing, nothing, rule))
    assert values["nIoU"] == score
    for name in ("IoU", "precision", "recall", "F1"):
        assert np.isnan(values[name])


def test_an_empty_prediction_scores_zero_and_has_no_precision():
    truth = np.eye(3, dtype=np.uint8)[..., None]
    values = overlap.compute(overlap.count(np.zeros_like(truth), truth))
    assert values["IoU"] == values["nIoU"] == values["recall"] == values["F1"] == 0
    assert np.isnan(values["precision"])


@pytest.mark.parametrize(
    ("prediction", "truth", "message"),
    [
        (np.zeros((3, 3)), np.full((3, 3), 255), "mask rule"),
        (np.full((3, 3), 0.5), np.zeros((3, 3)), "mask rule"),
        (np.full((3, 3), np.nan), np.zeros((3, 3)), "mask rule"),
        (np.zeros((3, 3)), np.zeros((3, 4)), "differ in size"),
        (np.zeros((3, 3, 2)), np.zeros((3, 3, 2)), "shape"),
        (np.zeros((0, 3)), np.zeros((0, 3)), "shape"),
    ],
)
def test_what_is_no_pair_of_masks_is_refused(prediction, truth, message):
    with pytest.raises(ValueError, match=message):
        overlap.count(prediction, truth)


def test_an_unknown_empty_rule_lists_the_known():
    with pytest.raises(ValueError, match=r"'half'.*'one', 'zero'"):
        overlap.count(np.zeros((2, 2)), np.zeros((2, 2)), "half")
