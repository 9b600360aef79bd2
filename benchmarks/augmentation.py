"""Does an augmented set help? One detector, one recipe, several sets and seeds.

  python benchmarks/augmentation.py --workdir=runs/augmentation \
      --sets=mosaic=runs/mosaic/set,diff_prior=runs/augment_small/set

trains the detector on the real images alone ("real") and on real and made images
together, all by the same recipe and number of steps, for each seed, and evaluates the
last step on the test part at native size: nothing is chosen. A run that is cut goes on
by the same command. Prints a table of mean and standard deviation over the seeds, and
writes it to WORKDIR/table.md and table.json.
"""

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
    rows = {}
    for seed in FLAGS.seeds:
        for name, extra in sets.items():
            report = folder / f"{name}_{seed}" / "report.json"
            if not report.exists() and trained(report.parent, int(seed), extra):
                return 143
            scores = files.read_json(report)["modes"]["discriminative"]
            rows.setdefault(name, []).append([scores[k] for k in SHOWN])
            # What is there so far, for whoever waits.
            text = table(rows)
            files.write_text(folder / "table.md", text)
            files.write_json(folder / "table.json", rows)
    print(text)
    return 0


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
    lines = ["| trained on | " + " | ".join(SHOWN) + " | seeds |"]
    lines.append("|---" * (len(SHOWN) + 2) + "|")
    for name, values in rows.items():
        values = np.array(values) * [1e6 if k == "Fa" else 1 for k in SHOWN]
        deviation = values.std(0, ddof=1) if len(values) > 1 else values.std(0)
        cells = [
            f"{m:.1f} ± {d:.1f}" if k == "Fa" else f"{m:.3f} ± {d:.3f}"
            for k, m, d in zip(SHOWN, values.mean(0), deviation, strict=True)
        ]
        lines.append(f"| {name} | " + " | ".join(cells) + f" | {len(values)} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    app.run(main)
