"""Curves are drawn where their numbers say, without matplotlib's global state."""

import numpy as np
import pytest

from irstd_jax import viz
from irstd_jax.viz import curves


def colour(number):
    text = curves.STYLES[number][0].lstrip("#")
    return np.array([int(text[i : i + 2], 16) for i in (0, 2, 4)])


def trace(picture, number):
    """Columns and mean rows of a line's pixels, without its sample in the legend."""
    near = np.abs(picture.astype(int) - colour(number)).sum(axis=-1) < 12
    rows, columns = np.nonzero(near)
    line = {c: rows[columns == c].max() for c in np.unique(columns)}
    return np.array(list(line)), np.array(list(line.values()))


def modes(**lines):
    return {
        mode: {
            "roc": {"FPR": np.array(x), "TPR": np.array(y)},
            "pd_fa": {"Fa": np.array(x), "Pd": np.array(y)},
        }
        for mode, (x, y) in lines.items()
    }


RATES = np.array([1.0, 1e-1, 1e-2, 1e-3, 1e-4, 0])


@pytest.mark.parametrize("draw", [viz.roc, viz.pd_fa])
def test_a_better_mode_lies_higher_and_rates_rise(draw):
    picture = draw(modes(good=(RATES, RATES**0.05), poor=(RATES, RATES**0.4)))
    assert picture.dtype == np.uint8 and picture.shape[2] == 3
    (x, good), (x_poor, poor) = trace(picture, 0), trace(picture, 1)
    assert len(x) > 200 and (np.diff(good) <= 1).all()
    shared, a, b = np.intersect1d(x, x_poor, return_indices=True)
    middle = slice(len(shared) // 4, 3 * len(shared) // 4)
    assert (good[a][middle] < poor[b][middle] - 20).all()


def test_as_many_lines_as_a_comparison_has_systems_are_told_apart():
    """By colour and dashes together; no two of the first six share either."""
    assert len(set(curves.STYLES)) == len(curves.STYLES) == 36
    assert all(len(set(kind)) == 6 for kind in zip(*curves.STYLES[:6], strict=True))


@pytest.mark.parametrize("count", [2, 8, 9, 36])
def test_all_names_are_within_the_picture(count):
    names = {f"a_system_of_number_{n}": (RATES, RATES) for n in range(count)}
    figure, axes = curves.rates(names, None)
    curves.render(figure)
    box, whole = axes.get_legend().get_window_extent(), figure.bbox
    assert whole.x0 <= box.x0 and box.x1 <= whole.x1
    assert whole.y0 <= box.y0 and box.y1 <= whole.y1
    assert axes.bbox.width > 400


def test_the_axis_of_false_alarms_is_logarithmic():
    figure, axes = curves.rates({"a": (RATES, RATES)}, None)
    assert axes.get_xscale() == "log"
    assert axes.get_xlim()[0] == pytest.approx(5e-5)
    drawn = axes.lines[0].get_xdata()
    # A rate of 0 stays in the picture, at its left edge.
    assert drawn.min() == pytest.approx(5e-5) and len(drawn) == 6


def test_undefined_rates_are_left_out():
    lines = {"a": ([np.nan] * 3, [0, 0.5, 1]), "b": ([0, 0, 0], [0, np.nan, 1])}
    _, axes = curves.rates(lines, None)
    assert [line.get_ydata().tolist() for line in axes.lines] == [[], [0, 1]]
    assert viz.roc(modes(**lines)).shape == viz.roc({}).shape


def test_what_is_overconfident_lies_below_the_diagonal():
    p = np.linspace(0.05, 0.95, 15)
    count = np.r_[np.full(14, 100), 0]  # the last bin is empty: there is no share
    lines = {
        name: {"probability": p, "share": share, "count": count}
        for name, share in {"honest": np.r_[p[:-1], np.nan], "bold": p**3}.items()
    }
    lines["honest"]["probability"] = np.r_[p[:-1], np.nan]
    shown = viz.reliability(lines, {"honest": 0.0, "bold": 0.2})
    (x, honest), (x_bold, bold) = (trace(shown[:450], number) for number in (0, 1))
    shared, a, b = np.intersect1d(x, x_bold, return_indices=True)
    middle = slice(len(shared) // 3, 2 * len(shared) // 3)
    assert (honest[a][middle] < bold[b][middle] - 20).all()
    assert (shown != viz.reliability(lines)).any()  # the errors are written
    assert viz.reliability({}).shape == shown.shape


def test_shares_add_up_to_one():
    p, share = curves.shares(np.array([0.1, np.nan, 0.9]), np.array([3, 0, 1]))
    assert p.tolist() == [0.1, 0.9] and share.tolist() == [0.75, 0.25]


def test_areas_are_written():
    lines = modes(a=(RATES, RATES))
    assert (viz.roc(lines) != viz.roc(lines, {"a": 0.9312})).any()


def test_scores_over_evaluations_have_a_panel_each():
    """Two samplers of different scores draw differently; three scores are wider."""

    def drawn(value, scores):
        lines = {"ddim": ([1, 10], [0.5, 0.6]), "ddpm": ([1, 10], [0.4, value])}
        return viz.over_evaluations({score: lines for score in scores})

    one, other = drawn(0.1, ("IoU", "Pd")), drawn(0.9, ("IoU", "Pd"))
    assert one.shape == other.shape and (one != other).any()
    assert drawn(0.1, ("IoU", "Pd", "Fa")).shape[1] > one.shape[1]


def test_training_curve_draws_losses_and_scores():
    rows = [{"step": s, "loss": 1 / (1 + s), "learning_rate": 9.0} for s in range(50)]
    alone = viz.training_curve(rows)
    x, y = trace(alone, 0)
    assert (np.diff(y) >= -1).all() and y[-1] > y[0] + 100  # the loss falls
    assert not len(trace(alone, 1)[0])
    rows[10]["validation/IoU"] = 0.2
    rows[40]["validation/IoU"] = 0.8
    both = viz.training_curve(rows)
    assert both.shape[1] == 2 * alone.shape[1]
    half = both[:, alone.shape[1] :]
    x, y = trace(half, 0)
    assert y[0] > y[-1] + 100


def test_series_leaves_out_what_is_not_a_number():
    rows = [
        {"step": 1, "loss": 2.0},
        {"step": 2, "loss": None},
        {"step": 3},
        {"step": 4, "loss": float("nan")},
        {"step": 5, "loss": 1.0},
    ]
    steps, values = curves.series(rows, "loss")
    assert steps.tolist() == [1, 5] and values.tolist() == [2, 1]
    assert viz.training_curve(rows).ndim == 3


def test_no_rows_are_an_error():
    with pytest.raises(ValueError, match="empty"):
        viz.training_curve([])


def test_no_global_state():
    from matplotlib import pyplot

    before = pyplot.get_fignums()
    viz.roc(modes(a=(RATES, RATES)))
    viz.training_curve([{"step": 0, "loss": 1.0}])
    assert pyplot.get_fignums() == before


@pytest.mark.parametrize("costs", [(36.8, 37.2), (5.0, 5.0), (1.0, 4_000.0), (19.8,)])
def test_the_names_of_systems_stay_within_their_axes(costs, monkeypatch):
    monkeypatch.setattr(curves, "render", lambda figure: figure)
    named = {f"accurate-nudt-{i}": (x, 0.5 + i / 9) for i, x in enumerate(costs)}
    figure = viz.tradeoff({"a set": named, "another": named}, "ms an image", "IoU")
    figure.canvas.draw()
    for axes in figure.axes:
        assert np.divide(*reversed(axes.get_xlim())) >= 2
        for text in axes.texts:
            box = text.get_window_extent()
            assert axes.bbox.x0 <= box.x0 and box.x1 <= axes.bbox.x1
