"""The joint counts: merging, edge cases, and agreement with pyirstdmetrics."""

import jax
import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from irstd_jax import metrics
from irstd_jax.metrics import roc

KEYS = "IoU nIoU precision recall F1 Pd Fa Fa_reference false_alarms_per_image AUC"
POINTS = 8


def scene(seed, shape=(48, 64)):
    """Blobs as truth; as probability the same blobs moved, lost, blurred and joined."""
    rng = np.random.default_rng(seed)
    truth, seen = np.zeros((2, *shape))
    for _ in range(rng.integers(1, 7)):
        y, x = rng.integers(2, shape[0] - 5), rng.integers(2, shape[1] - 5)
        h, w = rng.integers(1, 5, 2)
        truth[y : y + h, x : x + w] = 1
        dy, dx = rng.choice([-1, 0, 0, 0, 1, 3], 2)
        if rng.random() < 0.8:
            seen[y + dy : y + dy + h, x + dx : x + dx + w] = rng.uniform(0.3, 1)
    for _ in range(rng.integers(0, 5)):
        y, x = rng.integers(0, shape[0] - 4), rng.integers(0, shape[1] - 4)
        seen[y : y + 3, x : x + 2] = rng.uniform(0.3, 1)
    blurred = ndimage.gaussian_filter(seen, rng.uniform(0.01, 0.8))
    probability = blurred + rng.uniform(0, 0.15, shape)
    return np.clip(probability, 0, 1).astype(np.float32), truth > 0


@pytest.fixture(scope="module")
def scenes():
    return [scene(seed) for seed in range(24)]


@pytest.fixture(scope="module")
def oracle():
    why = "pyirstdmetrics is not installed: pip install --no-deps pyirstdmetrics"
    return pytest.importorskip("py_irstd_metrics", reason=why)


def counted(scenes, **fields):
    settings = metrics.Settings(points=POINTS, **fields)
    return [metrics.count(p, t, settings) for p, t in scenes]


@pytest.mark.parametrize("average", [False, True])
def test_iou_and_niou_are_pyirstdmetrics(scenes, oracle, average):
    nothing = np.zeros((8, 8), np.float32)
    scenes = [*scenes, (nothing, nothing > 0)]
    theirs = oracle.CMMetrics(num_bins=10, threshold=0.5)
    handler = oracle.IoUHandler(
        with_dynamic=False, with_binary=True, sample_based=average
    )
    theirs.add_handler("iou", handler)
    for probability, truth in scenes:
        theirs.update(probability, truth)
    ours = metrics.compute(metrics.merge(counted(scenes, empty_rule="zero")))
    expected = float(theirs.get()["iou"]["binary"])
    assert 0.1 < expected < 0.9
    assert ours["nIoU" if average else "IoU"] == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    ("rule", "name"),
    [
        ("centroid", "ProbabilityDetectionAndFalseAlarmRate"),
        ("shooting", "ShootingRuleBasedProbabilityDetectionAndFalseAlarmRate"),
    ],
)
def test_pd_and_fa_are_pyirstdmetrics(scenes, oracle, rule, name):
    one, many = getattr(oracle, name)(), getattr(oracle, name)(num_bins=POINTS)
    many.thresholds = roc.grid(POINTS)  # theirs are even in the probability
    for probability, truth in scenes:
        one.update(probability, truth)
        many.update(probability, truth)
    total = metrics.merge(counted(scenes, matching=rule))
    values, expected = metrics.compute(total), one.get()
    assert 0.1 < expected["probability_detection"][0] < 0.95
    assert expected["false_alarm"][0] > 0
    for suffix in ("", f"_{rule}"):
        assert values["Pd" + suffix] == expected["probability_detection"][0]
        assert values["Fa" + suffix] == expected["false_alarm"][0]
    curve, expected = metrics.curves(total)["pd_fa"], many.get()
    np.testing.assert_array_equal(curve["threshold"], many.thresholds)
    np.testing.assert_array_equal(curve["Pd"], expected["probability_detection"])
    np.testing.assert_array_equal(curve["Fa"], expected["false_alarm"])


def test_two_halves_make_the_whole(scenes):
    states = counted(scenes)
    whole = metrics.merge(states)
    halves = metrics.merge([metrics.merge(states[:9]), metrics.merge(states[9:])])
    for a, b in zip(jax.tree.leaves(whole), jax.tree.leaves(halves), strict=True):
        if a.dtype == np.int64:
            np.testing.assert_array_equal(a, b)
        else:
            np.testing.assert_allclose(a, b, rtol=1e-14)


def test_counts_are_whole_numbers_but_the_scores(scenes):
    state = counted(scenes[:1])[0]
    fields = {str(p): x.dtype for p, x in jax.tree_util.tree_leaves_with_path(state)}
    assert [d for d in fields.values() if d != np.int64] == [np.float64]


def test_the_values_are_floats_under_the_agreed_names(scenes):
    values = metrics.compute(metrics.merge(counted(scenes)))
    assert set(KEYS.split()) <= set(values)
    assert all(type(value) is float for value in values.values())
    assert values["IoU"] < values["F1"] and 0.5 < values["AUC"] <= 1


def test_the_chosen_rule_is_among_the_three(scenes):
    for rule in metrics.MATCHING:
        values = metrics.compute(metrics.merge(counted(scenes[:6], matching=rule)))
        assert values["Pd"] == values[f"Pd_{rule}"]
        assert values["Fa"] == values[f"Fa_{rule}"]


def test_the_published_count_does_not_depend_on_the_rule(scenes):
    totals = [metrics.merge(counted(scenes, matching=r)) for r in metrics.MATCHING]
    values = [metrics.compute(total)["Fa_reference"] for total in totals]
    assert values[0] == values[1] == values[2] <= metrics.compute(totals[0])["Fa"]


def test_detection_is_strictly_above_the_threshold():
    truth = np.eye(4, dtype=np.uint8)[..., None]
    at, below = metrics.Settings(threshold=0.5), metrics.Settings(threshold=0.25)
    half = truth * np.float32(0.5)
    assert metrics.compute(metrics.count(half, truth, at))["IoU"] == 0
    assert metrics.compute(metrics.count(half, truth, below))["IoU"] == 1


def test_a_set_without_targets_has_no_pd_and_no_auc():
    nothing = np.zeros((8, 8))
    values = metrics.compute(metrics.count(nothing, nothing))
    for name in ("Pd", "IoU", "AUC", "AP", "AUC_Pd_Fa"):
        assert np.isnan(values[name])
    assert values["nIoU"] == 1 and values["Fa"] == 0


def test_images_of_several_sizes_add_up():
    small, large = np.zeros((8, 8)), np.zeros((16, 32))
    small[0, 0] = 1
    pairs = [(small, np.zeros((8, 8))), (large, large)]
    values = metrics.compute(metrics.merge(counted(pairs)))
    assert values["Fa"] == 1 / (64 + 512)
    assert values["false_alarms_per_image"] == 0.5


def test_intervals_cover_the_figures_and_halve_with_four_times_the_images(scenes):
    states = counted(scenes)
    wide = metrics.intervals(metrics.stack(states))
    narrow = metrics.intervals(metrics.stack(states * 4))
    values = metrics.compute(metrics.merge(states))
    for name in ("IoU", "nIoU", "F1", "Pd", "Fa", "AUC"):
        for low, high in (wide[name], narrow[name]):
            assert low < values[name] < high
        assert np.ptp(wide[name]) / np.ptp(narrow[name]) == pytest.approx(2, rel=0.15)


@pytest.mark.parametrize(
    ("probability", "truth", "message"),
    [
        (np.full((4, 4), 1.5), np.zeros((4, 4)), "sigmoid"),
        (np.full((4, 4), -0.1), np.zeros((4, 4)), "sigmoid"),
        (np.full((4, 4), np.nan), np.zeros((4, 4)), "nan"),
        (np.zeros((4, 4)), np.zeros((4, 5)), "differ in size"),
        (np.zeros((4, 4)), np.full((4, 4), 255), "mask rule"),
        (np.zeros((2, 4, 4)), np.zeros((2, 4, 4)), "one image"),
    ],
)
def test_bad_maps_are_refused(probability, truth, message):
    with pytest.raises(ValueError, match=message):
        metrics.count(probability, truth)


@pytest.mark.parametrize(
    "wrong",
    [
        {"threshold": 1.0},
        {"matching": "nearest"},
        {"empty_rule": "half"},
        {"bins": 0},
        {"points": 0},
    ],
)
def test_bad_settings_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong)).replace("_", " ")):
        metrics.Settings(**wrong)


def test_nothing_to_merge_is_said():
    for function in (metrics.merge, metrics.stack):
        with pytest.raises(ValueError, match="no images"):
            function([])


def test_real_truth_against_itself_is_perfect(data_root):
    folder = data_root / "NUAA-SIRST" / "masks"
    if not folder.is_dir():
        pytest.skip(f"no NUAA-SIRST masks at {folder}")
    states = []
    for path in sorted(folder.iterdir())[:20]:
        mask = np.asarray(Image.open(path).convert("L")) > 127
        states.append(metrics.count(mask.astype(np.float32), mask))
    values = metrics.compute(metrics.merge(states))
    for name in ("IoU", "nIoU", "F1", "Pd", "Pd_overlap", "Pd_shooting", "AUC", "AP"):
        assert values[name] == 1
    assert values["Fa"] == values["Fa_reference"] == values["Fa_shooting"] == 0
