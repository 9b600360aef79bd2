"""What a comparison tells: a row each system and set, tables, curves, hard images.

table.md .tex .csv   the scores beside what papers report, with what differs in their
                     protocol; table.json holds all of it, unrounded
roc.SET.png, pd_fa.SET.png   of all systems, first seed
hard.SET.png         the images on which the systems' mean IoU is least: hits (green
                     boxes), false alarms (red diamonds), misses (yellow circles)
tradeoff.png         IoU over the time that an image takes, where it was taken
paper.md .tex        where the config has a `form`: one row a system and all sets side
                     by side, as the table of a paper has them, its figures in brackets
"""

import numpy as np

from irstd_jax import evaluate, files, literature, metrics, tables, viz

SHOWN = ("IoU", "nIoU", "Pd", "Fa", "F1", "AUC")
COLUMNS = ("system", "seeds", *SHOWN, "parameters", "GMAC", "ms", "published")
ALONE = "discriminative"  # the only map of a plain detector, not worth a word
MASKS = "masks.npz"
UNITS = "IoU and Pd in percent, Fa in 1e-6 of the pixels."
BY_RULE = (
    "Classical methods: p > 0.5 where the saliency is above the threshold of the rule "
    "in brackets (irstd_jax/classical/rules.py)."
)


def write(config, workdir, planned, costs):
    """Writes tables and figures into `workdir`, and prints the table and their paths.

    Args:
      planned: all jobs of compare.py, judged.
      costs: {system: report of `benchmark.measured`}.
    """
    report = gathered(config, planned, costs)
    blocks = [
        (name, [line(r) for r in report["rows"] if r["set"] == name])
        for name in report["protocols"]
    ]
    text = tables.markdown(COLUMNS, blocks, notes(config, report))
    print(text)
    texts = {
        "table.md": text,
        "table.tex": tables.latex(COLUMNS, blocks, notes(config, report)),
        "table.csv": tables.csv(*flat(report)),
    }
    if config.form.source:
        texts |= paper(config, report)
    for name, content in texts.items():
        files.write_text(workdir / name, content)
    files.write_json(workdir / "table.json", report)
    for name in (*texts, "table.json"):
        print(workdir / name)
    for name, picture in figures(config, planned, report):
        files.write_image(workdir / name, picture)
        print(workdir / name)


def notes(config, report):
    """What a reader must know of the table's figures."""
    size, machine = config.benchmark.size, report["machine"]
    return [
        *(words(protocol) for protocol in report["protocols"].values()),
        "One seed: 95 % bootstrap interval over images in brackets; several: mean and "
        "standard deviation. Fa in 1e-6 of the pixels.",
        f"GMAC and ms: an image of {size} x {size}, alone, on {machine['device']} "
        f"({machine['platform']}), jax {machine['jax']}; the body of a loop counts "
        "once in GMAC.",
        *[BY_RULE] * any(row["rule"] for row in report["rows"]),
        "Published: IoU / Pd / Fa, and in brackets what differs in its protocol.",
    ]


def gathered(config, planned, costs):
    """The JSON-able comparison: its protocol by set, and a row each system and set."""
    protocols, rows = {}, []
    for name in config.sets:
        for system in config.order:
            own = [job for job in planned if (job.system, job.set) == (system, name)]
            reports = [files.read_json(job.folder / evaluate.REPORT) for job in own]
            protocols.setdefault(name, reports[0]["protocol"])
            rows.append(row(config, own, reports, costs[system]))
    shared = ("set", "split", "part", "count", "hash", "size_rule", "threshold")
    shared = (*shared, "matching", "mask_rule", "empty_rule")
    return {
        "protocols": {n: {k: p[k] for k in shared} for n, p in protocols.items()},
        "machine": {
            k: next(iter(costs.values()))[k] for k in ("device", "platform", "jax")
        },
        "minutes": config.minutes,
        "rows": rows,
    }


def row(config, own, reports, spent):
    """One system on one set: scores over its seeds, cost, what papers report."""
    job, chosen = own[0], [report["mode"] for report in reports]
    modes = [report["modes"][m] for report, m in zip(reports, chosen, strict=True)]
    scores = {}
    for name in SHOWN:
        values = np.array([values[name] for values in modes], float)
        scores[name] = {
            "mean": values.mean(),
            "deviation": values.std(ddof=1) if len(values) > 1 else None,
            "values": values,
            "interval": modes[0]["intervals"][name] if len(values) == 1 else None,
        }
    known = config.systems[job.system].published
    return {
        "system": job.system,
        "set": job.set,
        "mode": chosen[0],
        "rule": reports[0]["protocol"].get("rule"),
        "seeds": [other.seed for other in own],
        "steps": reports[0]["trained_steps"],
        "weights": reports[0]["protocol"]["weights"],
        "scores": scores,
        "parameters": spent["parameters"],
        "gmac": spent["parts"]["predict"]["gmac"],
        "seconds_per_image": spent["seconds_per_image"],
        "published": reported(known, job),
    }


def reported(system, job):
    """What papers report of a system on a job's set, and how their protocol differs."""
    split, settings = job.recipe.data.split, job.recipe.evaluation
    some = ["all images"] * bool(settings.get("images", 0))

    def differs(source):
        return some + literature.differences(source, job.set, split, settings.size)

    return [
        figure._asdict() | {"differs": differs(figure.source)}
        for figure in literature.figures(system, job.set)
    ]


def words(protocol):
    """A set's protocol in a sentence."""
    return (
        f"{protocol['set']}: {protocol['count']} {protocol['part']} images of the "
        f"split {protocol['split']} (hash {protocol['hash']}), "
        f"{protocol['size_rule']} size, p > {protocol['threshold']:g}, "
        f"matching by {protocol['matching']}, masks {protocol['mask_rule']}."
    )


def line(row):
    """The cells of a row, in the order of COLUMNS."""
    # A saliency is known by its rule.
    kind = row["rule"] or row["mode"]
    return [
        row["system"] if kind == ALONE else f"{row['system']} ({kind})",
        " ".join(map(str, row["seeds"])),
        *(spread(name, row["scores"][name]) for name in SHOWN),
        f"{row['parameters']:,}",
        told(row["gmac"], lambda gmac: f"{gmac:.3g}"),
        told(row["seconds_per_image"], lambda seconds: f"{seconds * 1e3:.3g}"),
        "; ".join(map(claim, row["published"])),
    ]


def spread(name, score):
    """A score as people read it, with its deviation or interval if there is one."""

    def cell(value):
        return evaluate.cell(name, {name: value})

    mean = told(score["mean"], cell)
    if score["deviation"] is not None:
        return f"{mean} ± {told(score['deviation'], cell)}"
    low, high = score["interval"]
    return mean if low is None else f"{mean} ({cell(low)}-{cell(high)})"


def told(value, words):
    """`words(value)`, or "-" for a figure that does not exist: None or NaN."""
    return "-" if value is None or np.isnan(value) else words(value)


def claim(figure):
    """A published figure in a cell."""
    percent = ["-" if figure[k] is None else f"{figure[k]:.3f}" for k in ("IoU", "Pd")]
    alarms = "-" if figure["Fa"] is None else f"{figure['Fa'] * 1e6:.4g}"
    differs = ", ".join(figure["differs"]) or "same protocol"
    title = literature.SOURCES[figure["source"]].title
    return f"{' / '.join(percent)} / {alarms} {title} ({differs})"


# --- the form of a paper's table ------------------------------------------------------


def paper(config, report):
    """{file name: text}: one row a system, all sets side by side.

    IoU and Pd in percent, Fa in 1e-6; in brackets what `form.source` reports, by the
    names of its table and in the order of `form.metrics`.
    """
    source, names = config.form.source, config.form.metrics
    found = {(row["system"], row["set"]): row for row in report["rows"]}
    head = ["method", "description"]
    head += [f"{data_set} {name}" for data_set in config.sets for name in names]
    rows = []
    for system in config.order:
        title, family = literature.TITLES.get(
            config.systems[system].published, (system, "")
        )
        own = [found[system, data_set] for data_set in config.sets]
        cells = [beside(row, source, name) for row in own for name in names]
        rows.append([title, family, *cells])
    title = f"In the form of {literature.SOURCES[source].title}"
    told = [f"In brackets: what it reports. {UNITS}", *notes(config, report)]
    blocks = [(title, rows)]
    return {
        "paper.md": tables.markdown(head, blocks, told),
        "paper.tex": tables.latex(head, blocks, told),
    }


def beside(row, source, name):
    """One figure of a row, and that of a source in brackets."""
    reported = [f[name] for f in row["published"] if f["source"] == source]
    figures = [row["scores"][name]["mean"], *reported]
    scale = 1e6 if name == "Fa" else 100
    ours, *theirs = [told(f, lambda f: f"{f * scale:.2f}") for f in figures]
    return f"{ours} ({theirs[0]})" if theirs else ours


def flat(report):
    """(header, rows) of a table for programs: plain numbers, one a cell."""
    head = ["system", "set", "mode", "seeds", *SHOWN]
    head += [f"{name} deviation" for name in SHOWN]
    head += ["parameters", "gmac", "seconds_per_image"]
    rows = []
    for r in report["rows"]:
        cells = [r["system"], r["set"], r["mode"], " ".join(map(str, r["seeds"]))]
        cells += [r["scores"][name]["mean"] for name in SHOWN]
        cells += [r["scores"][name]["deviation"] for name in SHOWN]
        rows.append([*cells, r["parameters"], r["gmac"], r["seconds_per_image"]])
    return head, rows


def figures(config, planned, report):
    """Yields (file name, picture), each as soon as it is drawn."""
    for name in config.sets:
        first = {}
        for job in planned:
            if job.set == name:
                first.setdefault(job.system, job)
        curves = {}
        for system, job in first.items():
            judged = files.read_json(job.folder / evaluate.REPORT)
            curves[system] = judged["curves"][judged["mode"]]
        yield f"roc.{name}.png", viz.roc(curves)
        yield f"pd_fa.{name}.png", viz.pd_fa(curves)
        yield f"hard.{name}.png", hard(list(first.values()), config.hard)
    points = {}
    for r in report["rows"]:
        seconds, score = r["seconds_per_image"], r["scores"]["IoU"]["mean"]
        if seconds is not None and not np.isnan(score):
            points.setdefault(r["set"], {})[r["system"]] = seconds * 1e3, score
    if points:
        yield "tradeoff.png", viz.tradeoff(points, "ms an image", "IoU")


def hard(own, count):
    """A sheet of the images that the systems find hardest on average, worst first.

    They are those that were judged, at the size at which they were judged. Ties, which
    images without any hit are, go to more targets, then to the name.
    """
    recipe = own[0].recipe
    source = evaluate.asked_for(recipe)

    def judged(i):
        return evaluate.sized(source[i], recipe.evaluation.size)

    masks = {job.system: read_masks(job.folder) for job in own}
    order = sorted(
        (difficulty(judged(i), masks), source.names[i], i) for i in range(len(source))
    )
    rows = []
    for _, name, i in order[:count]:
        sample = judged(i)
        image, truth = sample["image"][..., 0], sample["mask"][..., 0] > 0
        cells = {s: viz.verdict(image, own[name], truth) for s, own in masks.items()}
        rows.append({"name": name, "image": viz.grey(image), **cells})
    return viz.contact_sheet(rows)


def difficulty(sample, masks):
    """(mean IoU over the systems, minus the number of targets) of an image."""
    truth = sample["mask"][..., 0] > 0
    targets = metrics.components(truth)
    shares = [iou(own[sample["name"]], truth) for own in masks.values()]
    return float(np.mean(shares)), -len(targets.area)


def iou(mask, truth):
    """Of two masks; 1 where both are empty."""
    union = (mask | truth).sum()
    return (mask & truth).sum() / union if union else 1.0


def write_masks(folder, masks):
    """Keeps masks {name: (h, w) bool} in one compressed file of a folder."""
    names = sorted(masks)
    arrays = {f"mask_{number}": masks[name] for number, name in enumerate(names)}

    def write(path):
        with open(path, "wb") as file:
            np.savez_compressed(file, names=np.array(names), **arrays)

    files.write_by(folder / MASKS, write)


def read_masks(folder):
    """The masks {name: (h, w) bool} that `write_masks` has kept."""
    with np.load(folder / MASKS, allow_pickle=False) as arrays:
        names = arrays["names"].tolist()
        return {name: arrays[f"mask_{i}"] for i, name in enumerate(names)}
