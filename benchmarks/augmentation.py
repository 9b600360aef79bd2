"""Does an augmented set help? One detector, one recipe, several sets and seeds.

  python benchmarks/augmentation.py --workdir=runs/augmentation \
      --sets=mosaic=runs/mosaic/set,diff_prior=runs/augment_small/set

trains the detector on the real images alone ("real") and on real and made images
together, all by the same recipe and number of steps, for each seed, and evaluates the
last step on the test part at native size: nothing is chosen. A run that is cut goes on
by the same command; several commands may share a workdir, for a run that one of them is
at is passed over by the others. WORKDIR/table.json holds the recipe and the scores, of
all runs of the workdir and of those that it held before: what is in it is not trained
again, so that earlier results can be put there to go on from. Prints a table of mean
and standard deviation over the seeds, and of the IoU's difference from "real" of the
same seed, and writes it to WORKDIR/table.md.
"""

import contextlib
import fcntl
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))

from irstd_jax import platform  # noqa: E402

platform.prepare()

import numpy as np  # noqa: E402
from absl import app, flags  # noqa: E402

from configs import detector  # noqa: E402
from irstd_jax import files, train  # noqa: E402

FLAGS = flags.FLAGS
flags.DEFINE_string("workdir", "runs/augmentation", "Folder of all runs.")
flags.DEFINE_string("recipe", "acm_unet,nuaa_sirst,small", "Of configs/detector.py.")
flags.DEFINE_list("sets", [], "NAME=FOLDER of augmented sets.")
flags.DEFINE_list("seeds", ["0", "1", "2"], "Seeds of the trainings.")
flags.DEFINE_integer("steps", 0, "Steps of each training; 0 = the recipe's.")
flags.DEFINE_float("share", 0.0, "Of the draws that are augmented; 0 = by list.")
flags.DEFINE_string("scale", "1.0", "Of the augmented images, or 'released'.")

SHOWN = ("IoU", "nIoU", "Pd", "Fa", "F1")


def main(argv):
    """Trains what lacks and prints the table."""
    folder = pathlib.Path(FLAGS.workdir)
    sets = {"real": ""} | dict(entry.split("=", 1) for entry in FLAGS.sets)
    rows = scores(folder)
    for seed in FLAGS.seeds:
        for name, extra in sets.items():
            run = folder / f"{name}_{seed}"
            with claimed(run) as ours:
                rows = scores(folder)  # other commands may have ended runs since
                if not ours or seed in rows.get(name, {}):
                    continue
                if trained(run, int(seed), extra):
                    return 143
            rows = scores(folder)
            files.write_json(folder / "table.json", made_by() | {"scores": rows})
            files.write_text(folder / "table.md", table(rows))
    print(table(rows))
    return 0


@contextlib.contextmanager
def claimed(run):
    """Whether this process may train a run; what a killed one claimed is free again."""
    run.parent.mkdir(parents=True, exist_ok=True)
    with open(run.with_suffix(".lock"), "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            free = True
        except BlockingIOError:
            free = False
        yield free


def made_by():
    """What the scores of one table have in common."""
    return {name: FLAGS[name].value for name in ("recipe", "steps", "share", "scale")}


def scores(folder):
    """{name: {seed: {score: value}}} of the table and of all runs that have ended.

    Raises UsageError where the table is of another recipe.
    """
    path, rows = folder / "table.json", {}
    if path.exists():
        known = files.read_json(path)
        rows = known.pop("scores", {})
        if known != made_by():
            raise app.UsageError(
                f"{path} holds scores of {known}, and these flags ask for {made_by()}: "
                "name another --workdir"
            )
    for report in sorted(folder.glob("*_*/report.json")):
        name, seed = report.parent.name.rsplit("_", 1)
        found = files.read_json(report)["modes"]["discriminative"]
        rows.setdefault(name, {})[seed] = {k: found[k] for k in SHOWN}
    return rows


def trained(workdir, seed, extra):
    """Trains and evaluates one run; returns its exit code."""
    config = detector.get_config(FLAGS.recipe)
    config.seed = seed
    config.data.update({"extra": extra, "extra_scale": FLAGS.scale})
    config.data.extra_share = FLAGS.share if extra else 0.0
    if FLAGS.steps:
        config.num_steps = FLAGS.steps
        config.evaluate_every = FLAGS.steps
    return train.run(config, workdir)


def table(rows):
    """A Markdown table of mean +- standard deviation over the seeds."""
    lines = ["| trained on | " + " | ".join(SHOWN) + " | IoU - real | seeds |"]
    lines.append("|---" * (len(SHOWN) + 3) + "|")
    for name, by_seed in rows.items():
        columns = [[run[k] for run in by_seed.values()] for k in SHOWN]
        cells = [
            spread(np.array(column) * 1e6, 1) if k == "Fa" else spread(column, 3)
            for k, column in zip(SHOWN, columns, strict=True)
        ]
        real = rows.get("real", {})
        paired = [by_seed[s]["IoU"] - real[s]["IoU"] for s in by_seed if s in real]
        cells.append(spread(paired, 3) if paired and name != "real" else "")
        seeds = " ".join(sorted(by_seed, key=int))
        lines.append(f"| {name} | " + " | ".join(cells) + f" | {seeds} |")
    return "\n".join(lines) + "\n"


def spread(values, digits):
    """Mean, and standard deviation where there are several."""
    deviation = f" ± {np.std(values, ddof=1):.{digits}f}" if len(values) > 1 else ""
    return f"{np.mean(values):.{digits}f}{deviation}"


if __name__ == "__main__":
    app.run(main)
