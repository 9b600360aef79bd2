"""Components and matching rules: by eye, by loops over pixels, and by known defects."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from irstd_jax.metrics import targets

TRUTH = """
.........
.##......
.##......
......#..
.........
.........
..##.....
..##.....
.........
"""
PREDICTION = """
.........
.##......
.#.......
.........
........#
.........
......#..
.........
........#
"""


def drawn(picture):
    return np.array([[c == "#" for c in line] for line in picture.split()])


@st.composite
def pairs(draw):
    shape = draw(st.tuples(st.integers(1, 14), st.integers(1, 14)))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    densities = draw(st.tuples(*[st.sampled_from([0, 0.03, 0.1, 0.4, 1])] * 2))
    return [rng.random(shape) < density for density in densities]


def flood(mask):
    """The components as lists of (y, x), in raster order of their first pixel."""
    left = {
        (y, x) for y, row in enumerate(mask.tolist()) for x, v in enumerate(row) if v
    }
    found = []
    while left:
        todo = [min(left)]
        left.remove(todo[0])
        pixels = []
        while todo:
            y, x = todo.pop()
            pixels.append((y, x))
            near = {(y + dy, x + dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)} & left
            todo.extend(near)
            left -= near
        found.append(pixels)
    return found


def reach(pixels, others):
    """Smallest Chebyshev distance between two lists of pixels."""
    return min(
        (max(abs(y - v), abs(x - u)) for y, x in pixels for v, u in others),
        default=math.inf,
    )


def centre(pixels):
    return [sum(axis) / len(pixels) for axis in zip(*pixels, strict=True)]


def brute(prediction, truth, rule):
    """Targets found, false detections and false pixels, by the words of the rules."""
    found, true = flood(prediction), flood(truth)
    every = [pixel for pixels in true for pixel in pixels]
    if rule == "shooting":
        hits = sum(any(reach(f, t) <= 1 for f in found) for t in true)
        far = [[p for p in f if reach([p], every) > 4] for f in found]
        alarms = sum(len(b) == len(f) for b, f in zip(far, found, strict=True))
        return hits, alarms, sum(map(len, far))
    if rule == "overlap":
        hits = sum(any(reach(f, t) == 0 for f in found) for t in true)
        false = [f for f in found if reach(f, every) > 0]
        return hits, len(false), sum(map(len, false))
    false = list(found)
    for t in true:
        for f in false:
            if math.dist(centre(f), centre(t)) < 3:
                false.remove(f)
                break
    return len(found) - len(false), len(false), sum(map(len, false))


@pytest.mark.parametrize(
    ("rule", "detected", "false_alarms", "false_pixels"),
    [("centroid", 2, 2, 2), ("overlap", 1, 3, 3), ("shooting", 1, 1, 1)],
)
def test_nine_by_nine_by_eye(rule, detected, false_alarms, false_pixels):
    found, true = (targets.components(drawn(p)) for p in (PREDICTION, TRUTH))
    values = targets.compute(targets.count(found, true, rule))
    assert values["Pd"] == detected / 3
    assert values["Fa"] == false_pixels / 81
    assert values["false_alarms_per_image"] == false_alarms
    # both false detections have one pixel, as the one that the centroid rule takes
    assert values["Fa_reference"] == 0


def test_components_by_eye():
    parts = targets.components(drawn(TRUTH))
    np.testing.assert_array_equal(parts.area, [4, 1, 4])
    np.testing.assert_array_equal(parts.centroid, [[1.5, 1.5], [3, 6], [6.5, 2.5]])
    np.testing.assert_array_equal(parts.box, [[1, 1, 3, 3], [3, 6, 4, 7], [6, 2, 8, 4]])
    assert parts.labels[1, 1] == 1 and parts.labels[3, 6] == 2


@settings(max_examples=100, deadline=None, derandomize=True)
@given(pairs())
def test_components_are_those_of_a_flood_fill(masks):
    for mask in masks:
        parts, expected = targets.components(mask), flood(mask)
        assert len(parts.area) == len(expected) == parts.labels.max()
        for i, pixels in enumerate(expected):
            own = list(map(tuple, np.argwhere(parts.labels == i + 1).tolist()))
            assert own == sorted(pixels)
            ys, xs = zip(*pixels, strict=True)
            assert parts.box[i].tolist() == [min(ys), min(xs), max(ys) + 1, max(xs) + 1]
            assert parts.centroid[i].tolist() == pytest.approx(centre(pixels))
            assert parts.area[i] == len(pixels)


@pytest.mark.parametrize("rule", sorted(targets.MATCHING))
@settings(max_examples=120, deadline=None, derandomize=True)
@given(masks=pairs())
def test_matching_is_what_its_words_say(rule, masks):
    found = targets.match(*masks, rule)
    hits, alarms, pixels = brute(*masks, rule)
    assert np.count_nonzero(found.assigned >= 0) == hits
    assert np.count_nonzero(~found.matched) == alarms
    assert found.false_pixels == pixels
    # whoever found a target is no false alarm
    assert found.matched[found.assigned[found.assigned >= 0]].all()


@pytest.mark.parametrize("rule", sorted(targets.MATCHING))
def test_a_mask_against_itself_is_perfect(rule):
    mask = drawn(TRUTH)
    assert targets.match(mask, mask, rule).assigned.tolist() == [0, 1, 2]
    parts = targets.components(mask)
    values = targets.compute(targets.count(parts, parts, rule))
    assert values["Pd"] == 1 and values["Fa"] == values["Fa_reference"] == 0


def test_the_area_value_defect_of_the_published_codes():
    """Two false 9-px detections beside a taken one of 9 px were forgiven."""
    truth, prediction = np.zeros((2, 32, 32), bool)
    truth[2:5, 2:5] = True
    for corner in (2, 12, 22):
        prediction[corner : corner + 3, corner : corner + 3] = True
    found, true = targets.components(prediction), targets.components(truth)
    values = targets.compute(targets.count(found, true))
    assert values["Fa_reference"] == 0
    assert values["Fa"] == 18 / 1024
    prediction[22, 22] = False
    values = targets.compute(targets.count(targets.components(prediction), true))
    assert values["Fa_reference"] == 8 / 1024


def test_the_first_detection_is_taken_not_the_nearest():
    truth, prediction = np.zeros((2, 9, 9), bool)
    truth[4, 4] = prediction[4, 4] = prediction[2, 4] = True
    assert targets.match(prediction, truth, "centroid").assigned.tolist() == [0]


@pytest.mark.parametrize(("column", "hit"), [(6, True), (7, False)])
def test_three_pixels_are_too_far(column, hit):
    truth, prediction = np.zeros((2, 9, 9), bool)
    truth[4, 4] = prediction[4, column] = True
    assert (targets.match(prediction, truth).assigned[0] == 0) == hit


def test_one_detection_over_two_targets_finds_both_only_by_overlap():
    truth, prediction = np.zeros((2, 5, 5), bool)
    truth[2, [1, 3]] = True
    prediction[2, 1:4] = True
    assert targets.match(prediction, truth, "overlap").assigned.tolist() == [0, 0]
    assert targets.match(prediction, truth, "centroid").assigned.tolist() == [0, -1]


def test_the_largest_overlap_is_assigned():
    truth, prediction = np.zeros((2, 5, 7), bool)
    truth[2, 1:6] = True
    prediction[2, [1, 3, 4, 5]] = True
    assert targets.match(prediction, truth, "overlap").assigned.tolist() == [1]


@pytest.mark.parametrize("rule", sorted(targets.MATCHING))
def test_without_targets_pd_is_nan_and_everything_is_false(rule):
    nothing, something = targets.components(np.zeros((4, 4), bool)), np.eye(4)
    values = targets.compute(
        targets.count(targets.components(something), nothing, rule)
    )
    assert np.isnan(values["Pd"])
    assert values["Fa"] == values["Fa_reference"] == 4 / 16
    values = targets.compute(
        targets.count(nothing, targets.components(something), rule)
    )
    assert values["Pd"] == values["Fa"] == values["false_alarms_per_image"] == 0


def test_targets_are_counted_by_area():
    truth, prediction = np.zeros((2, 64, 64), bool)
    for corner, side in [(0, 3), (10, 4), (20, 9), (40, 10)]:
        truth[corner : corner + side, corner : corner + side] = True
    prediction[0:3, 0:3] = prediction[40:50, 40:50] = True
    parts = targets.components(truth)
    counts = targets.count(targets.components(prediction), parts)
    assert counts.band_targets.tolist() == [1, 1, 1, 1]
    assert counts.band_detected.tolist() == [1, 0, 0, 1]
    values = targets.compute(counts)
    assert [values[f"Pd_{name}"] for name in targets.BAND_NAMES] == [1, 0, 0, 1]


def test_an_unknown_rule_lists_the_known():
    with pytest.raises(ValueError, match=r"'nearest'.*'centroid', 'overlap'"):
        targets.match(np.zeros((2, 2)), np.zeros((2, 2)), "nearest")


def test_masks_of_two_sizes_are_refused():
    with pytest.raises(ValueError, match="differ in size"):
        targets.match(np.zeros((2, 2)), np.zeros((2, 3)))


def test_real_masks_against_themselves(data_root):
    folder = data_root / "NUAA-SIRST" / "masks"
    if not folder.is_dir():
        pytest.skip(f"no NUAA-SIRST masks at {folder}")
    found = 0
    for path in sorted(folder.iterdir())[:20]:
        mask = np.asarray(Image.open(path).convert("L")) > 127
        parts = targets.components(mask)
        for rule in targets.MATCHING:
            counts = targets.count(parts, parts, rule)
            assert counts.detected == counts.targets == len(flood(mask))
            assert counts.false_pixels == counts.reference == 0
        found += len(parts.area)
    assert found >= 20
