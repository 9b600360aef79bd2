"""Are samples calibrated, and do they spare false alarms at equal Pd? Several runs.

  python benchmarks/posterior.py --runs=runs/seed0,runs/seed1,runs/seed2 \
      --workdir=runs/posterior

evaluates the best weights of each run of the task mask_diffusion by so many samples an
image, each into a folder of W that is named by its weights and the flags (reports with
their reliability and Pd-Fa figures, as `--mode=evaluate --config.sampling.samples=N`
leaves them), and writes W/posterior.md: mean and standard deviation over the runs,
which should differ by their seed alone. What is there is not done again.

At each share of votes tau, the targets that so many of the samples hold have a Pd and
an Fa; beside them is the least Fa by which a threshold on a mode's map finds as many. A
difference below 0 says that the samples spare false alarms.
"""

import pathlib
import statistics
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))

from irstd_jax import platform  # noqa: E402

platform.prepare()

from absl import app, flags  # noqa: E402

from configs import common  # noqa: E402
from irstd_jax import evaluate, files, tables  # noqa: E402
from irstd_jax.training import checkpoint  # noqa: E402
from irstd_jax.weights import store  # noqa: E402

FLAGS = flags.FLAGS
flags.DEFINE_list("runs", None, "Workdirs of trained runs, one a seed.", required=True)
flags.DEFINE_string("workdir", "runs/posterior", "Folder of the results.")
flags.DEFINE_integer("samples", 16, "Of an image.")
flags.DEFINE_integer("steps", 10, "Of the sampler.")
flags.DEFINE_string("part", "test", "Of the data set.")

SHARES = (0.25, 0.5, 0.75, 1.0)  # tau


def main(argv):
    """Evaluates what lacks and writes the tables."""
    folder = pathlib.Path(FLAGS.workdir)
    reports = [judged(pathlib.Path(run), folder) for run in FLAGS.runs]
    text = calibration(reports) + "\n" + equal_detection(reports)
    files.write_text(folder / "posterior.md", text)
    print(text)
    return 0


def judged(run, folder):
    """The report of a run's weights by the samples of the flags."""
    weights = run / checkpoint.BEST
    asked = f"{FLAGS.part}.{FLAGS.samples}x{FLAGS.steps}"
    folder = folder / f"{run.name}.{store.digest(weights)[:8]}.{asked}"
    path = folder / evaluate.REPORT
    if not path.exists():
        defaults = common.irstd_diff("posterior", "synthetic", "generated")
        config = checkpoint.run_config(run, defaults)
        config.weights = str(weights)
        config.sampling.update({"samples": FLAGS.samples, "steps": FLAGS.steps})
        config.evaluation.part = FLAGS.part
        evaluate.run(config, folder)
    return files.read_json(path)


def calibration(reports):
    """ECE of pixels by map, and of the targets by their votes."""
    columns = {
        mode: [report["modes"][mode]["calibration"]["ECE"] for report in reports]
        for mode in reports[0]["modes"]
    }
    about = [report["posterior"] for report in reports]
    columns["votes"] = [each["votes"]["calibration"]["ECE"] for each in about]
    columns["targets by votes"] = [each["target_ECE"] for each in about]
    rows = [[name, spread(values, 1, 5)] for name, values in columns.items()]
    return tables.markdown(
        ["ECE", "mean ± deviation over runs"], [("calibration", rows)]
    )


def equal_detection(reports):
    """Pd and Fa at each tau, and what other maps' Fa is there."""
    curves = [report["posterior"]["pd_fa"] for report in reports]
    modes = list(reports[0]["modes"])
    rows = []
    for share in SHARES:
        places = [curve["tau"].index(nearest(curve["tau"], share)) for curve in curves]
        pairs = list(zip(curves, places, strict=True))
        own = [curve["Fa"][i] for curve, i in pairs]
        row = [f"{share:g}", spread([curve["Pd"][i] for curve, i in pairs], 1, 3)]
        row.append(spread(own, 1e6, 1))
        for mode in modes:
            theirs = [curve[f"Fa_{mode}"][i] for curve, i in pairs]
            both = [(a, b) for a, b in zip(own, theirs, strict=True) if b is not None]
            less = [a - b for a, b in both]
            told = spread(less, 1e6, 1) if less else "none finds as many"
            row.append(told + (f" ({len(less)} runs)" if len(less) < len(own) else ""))
        rows.append(row)
    heads = [f"Fa - Fa of {mode}" for mode in modes]
    return tables.markdown(
        ["tau", "Pd", "Fa 1e-6", *heads], [("equal detection", rows)]
    )


def nearest(values, wanted):
    return min(values, key=lambda value: abs(value - wanted))


def spread(values, unit, digits):
    """Mean ± standard deviation in a unit; the value of a single run."""
    values = [value * unit for value in values]
    if len(values) == 1:
        return f"{values[0]:.{digits}f}"
    deviation = statistics.stdev(values)
    return f"{statistics.mean(values):.{digits}f} ± {deviation:.{digits}f}"


if __name__ == "__main__":
    app.run(main)
