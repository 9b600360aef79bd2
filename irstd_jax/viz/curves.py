"""Curves: ROC, detection against false alarms, and the course of training.

Figures are drawn by matplotlib's Figure objects alone: no pyplot, no global state.
"""

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

# Okabe and Ito's colours; the dashes tell lines apart in print. Six lines differ in
# both, and each further six take the dashes in another turn.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#000000", "#e69f00")
DASHES = ("-", "--", "-.", ":", (0, (7, 1, 1, 1, 1, 1)), (0, (2, 1)))
STYLES = [
    (colour, DASHES[(number + turn) % len(DASHES)])
    for turn in range(len(DASHES))
    for number, colour in enumerate(COLOURS)
]
LEGEND = {"fontsize": 8, "frameon": False, "handlelength": 4.0}  # all of a dash
WITHIN = 8  # lines whose names have room within the axes
COLUMN = 22  # names of a column beside them
SCORES = ("IoU", "nIoU", "Pd", "F1")


def render(figure):
    """The picture of a figure, uint8 (h, w, 3)."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def draw(axes, lines, labels=None, **options):
    """Draws {name: (x, y)}, every line in a style of its own."""
    for number, (name, (x, y)) in enumerate(lines.items()):
        colour, dashes = STYLES[number % len(STYLES)]
        label = (labels or {}).get(name, name)
        style = {"color": colour, "linestyle": dashes, "linewidth": 1.8, **options}
        axes.plot(x, y, label=label, **style)
    axes.grid(alpha=0.3)
    if lines:
        axes.legend(**LEGEND)


def roc(curves, areas=None):
    """Pixel ROC curves of `metrics.curves`: {mode: {"roc": {"FPR": x, "TPR": y}}}.

    `areas`, {mode: AUC}, are written in the legend. The x axis is logarithmic: with
    targets of 0.06 % of all pixels what matters happens at tiny rates.
    """
    lines = {m: (c["roc"]["FPR"], c["roc"]["TPR"]) for m, c in curves.items()}
    labels = {mode: f"{mode} (AUC {area:.4f})" for mode, area in (areas or {}).items()}
    figure, axes = rates(lines, labels)
    axes.set(title="ROC over pixels", xlabel="false positive rate")
    axes.set(ylabel="true positive rate", xlim=(None, 1))
    return render(figure)


def pd_fa(curves):
    """Detection against false alarms: {mode: {"pd_fa": {"Fa": x, "Pd": y}}}.

    Fa is a plain fraction of pixels, on a logarithmic axis; a point a threshold.
    """
    lines = {m: (c["pd_fa"]["Fa"], c["pd_fa"]["Pd"]) for m, c in curves.items()}
    figure, axes = rates(lines, None, marker=".")
    axes.set(title="Pd over Fa", xlabel="Fa (fraction of pixels)", ylabel="Pd")
    return render(figure)


def reliability(curves, errors=None):
    """What is real over what is claimed, and below how often it is claimed.

    Args:
      curves: {name: {"probability", "share", "count"}} by bin, as of
        `metrics.calibration.curve`; bins without count are left out.
      errors: {name: ECE}, written in the legend.
    """
    figure = Figure(figsize=(5.2, 5.6), dpi=120, layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    above.plot([0, 1], [0, 1], color="0.6", linewidth=1)
    points = {n: finite(c["probability"], c["share"]) for n, c in curves.items()}
    labels = {
        name: f"{name} (ECE {value:.3f})" for name, value in (errors or {}).items()
    }
    draw(above, points, labels, marker="o", markersize=3)
    counted = {n: shares(c["probability"], c["count"]) for n, c in curves.items()}
    draw(below, counted, marker="o", markersize=3)
    if below.get_legend():
        below.get_legend().remove()
    above.set(title="Reliability", ylabel="share that is target")
    above.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    below.set(xlabel="mean probability of the bin", ylabel="share of all")
    if any(len(x) for x, _ in counted.values()):
        least = min(y.min() for _, y in counted.values() if len(y))
        below.set_yscale("log")
        # From a whole power of ten on, and no labels between: there is little room.
        below.set_ylim(10 ** np.floor(np.log10(least) - 0.01), 1.5)
        below.yaxis.set_minor_formatter(NullFormatter())
    return render(figure)


def shares(probability, count):
    """The bins that hold anything: their probability, and their share of all."""
    held = np.asarray(count) > 0
    count = np.asarray(count, np.float64)[held]
    return np.asarray(probability)[held], count / count.sum()


def rates(lines, labels, **options):
    """A figure of rates over logarithmic rates, {mode: (x, y)}, and its axes.

    Many names stand beside the axes, where they hide nothing and are all seen.
    """
    points = {mode: finite(x, y) for mode, (x, y) in lines.items()}
    least = min((x[x > 0].min(initial=1) for x, _ in points.values()), default=1)
    # A logarithmic axis has no 0: a rate of 0 is drawn at the left edge.
    drawn = {mode: (np.maximum(x, least / 2), y) for mode, (x, y) in points.items()}
    columns = -(-len(lines) // COLUMN) if len(lines) > WITHIN else 0
    size = (5.2 + 1.8 * columns, 4.2)
    figure = Figure(figsize=size, dpi=120, layout="constrained")
    axes = figure.add_subplot()
    draw(axes, drawn, labels, **options)
    if columns:
        beside = {"loc": "center left", "bbox_to_anchor": (1, 0.5), "ncols": columns}
        axes.legend(**LEGEND, **beside)
    axes.set(xscale="log", ylim=(-0.02, 1.02))
    axes.set_xlim(left=least / 2)
    return figure, axes


def finite(x, y):
    """The points of a curve that are numbers."""
    x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
    good = np.isfinite(x) & np.isfinite(y)
    return x[good], y[good]


def over_evaluations(lines):
    """Scores over the number of network evaluations: {score: {sampler: (x, y)}}."""
    figure = Figure(figsize=(4.2 * len(lines), 3.6), dpi=120, layout="constrained")
    for axes, (score, drawn) in zip(
        figure.subplots(1, len(lines), squeeze=False)[0], lines.items(), strict=True
    ):
        draw(axes, drawn, marker="o", markersize=3)
        axes.set(title=score, xlabel="network evaluations", xscale="log")
    return render(figure)


def tradeoff(points, cost, score):
    """A score over what it costs, {title: {name: (cost, score)}}, an axis a title.

    `cost` and `score` name the axes; cost is logarithmic, over a factor of two at
    least: what lies nearer together costs the same but for the noise of a clock.
    """
    figure = Figure(figsize=(4.6 * len(points), 3.8), dpi=120, layout="constrained")
    for axes, (title, named) in zip(
        figure.subplots(1, len(points), squeeze=False)[0], points.items(), strict=True
    ):
        costs = [x for x, _ in named.values()]
        low, high = min(costs), max(costs)
        for number, (name, (x, y)) in enumerate(named.items()):
            colour, _ = STYLES[number % len(STYLES)]
            axes.plot([x], [y], "o", color=colour)
            # A name stands on the side where there is room.
            side, shift = ("right", -7) if x * x > low * high else ("left", 7)
            axes.annotate(
                name,
                (x, y),
                xytext=(shift, 0),
                textcoords="offset points",
                fontsize=8,
                ha=side,
                va="center",
            )
        axes.set(title=title, xlabel=cost, ylabel=score, xscale="log")
        axes.set_xlim(low / 1.5, high * 1.5)
        axes.margins(y=0.15)
        # From one end to the other may be less than a power of ten.
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.grid(alpha=0.3)
    return render(figure)


def training_curve(rows, scores=SCORES):
    """Losses, and scores where there are any, over the steps.

    Args:
      rows: dicts of `metrics.jsonl`; each has `step` and some of the values.
      scores: names, without their folder, of what goes on the right, in [0, 1].
    """
    if not rows:
        raise ValueError("no rows to draw: metrics.jsonl is empty")
    keys = list(dict.fromkeys(key for row in rows for key in row))
    losses = {key: series(rows, key) for key in keys if "loss" in key.lower()}
    judged = {key: series(rows, key) for key in keys if key.split("/")[-1] in scores}
    count = 2 if judged else 1
    figure = Figure(figsize=(5.2 * count, 3.6), dpi=120, layout="constrained")
    axes = figure.subplots(1, count, squeeze=False)[0]
    draw(axes[0], losses)
    if all((y > 0).all() for _, y in losses.values()):
        axes[0].set_yscale("log")
    axes[0].set(title="loss", xlabel="step")
    if judged:
        draw(axes[1], judged, marker="o", markersize=3)
        axes[1].set(title="validation", xlabel="step", ylim=(-0.02, 1.02))
    return render(figure)


def series(rows, key):
    """Steps and values of the rows that have this one; null and NaN are left out."""
    found = [(row["step"], row[key]) for row in rows if row.get(key) is not None]
    return finite(*np.array(found, np.float64).reshape(-1, 2).T)
