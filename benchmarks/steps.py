"""What fewer network evaluations cost: IoU, Pd and Fa of every sampler.

  python benchmarks/steps.py --run=runs/nuaa_sirst_small --workdir=runs/steps

takes the best weights of a run of the task mask_diffusion, draws one sample an image of
its evaluation part with each sampler and number of steps, seed and threshold as in the
run's recipe, and writes W/steps.json, steps.md and steps.png. The encoder alone stands
beside them, being what zero evaluations give. A run that is cut goes on by the same
command. No row chooses anything.
"""

import dataclasses
import functools
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))

from irstd_jax import platform  # noqa: E402

platform.prepare()

import jax  # noqa: E402
from absl import app, flags  # noqa: E402

from configs import common  # noqa: E402
from irstd_jax import data, evaluate, files, inference, tasks, viz  # noqa: E402
from irstd_jax.diffusion import samplers  # noqa: E402
from irstd_jax.training import checkpoint  # noqa: E402

FLAGS = flags.FLAGS
flags.DEFINE_string("run", None, "Workdir of the trained run.", required=True)
flags.DEFINE_string("workdir", "runs/steps", "Folder of the results.")
flags.DEFINE_list("samplers", sorted(samplers.SAMPLERS), "To be compared.")
flags.DEFINE_list("steps", ["1", "2", "4", "10", "100"], "Of each sampler.")
flags.DEFINE_string("part", "test", "Of the data set.")

SHOWN = ("IoU", "nIoU", "Pd", "Fa", "F1")


def main(argv):
    """Evaluates what lacks, and writes the table and the figure."""
    folder = pathlib.Path(FLAGS.workdir)
    known = checkpoint.run_config(
        FLAGS.run, common.irstd_diff("steps", "synthetic", "generated")
    )
    config, variables, _ = inference.trained(known, FLAGS.run)
    source = data.load(config.data, FLAGS.part)
    task, variables = tasks.build(config), jax.device_put(variables)
    path = folder / "steps.json"
    rows = files.read_json(path) if path.exists() else {}
    for sampler in FLAGS.samplers:
        for steps in map(int, FLAGS.steps):
            name = f"{sampler} {steps}"
            if name not in rows:
                print(name)
                rows[name] = measured(config, task, variables, source, sampler, steps)
                files.write_json(path, rows)
    files.write_text(folder / "steps.md", table(rows))
    files.write_image(folder / "steps.png", viz.over_evaluations(lines(rows)))
    print(table(rows))
    return 0


def measured(config, task, variables, source, sampler, steps):
    """The scores of all modes, and how often the denoiser is called for an image."""
    changes = {"sampler": sampler, "steps": steps, "samples": 1}
    sampling = dataclasses.replace(task.sampling, **changes)
    drawn = dataclasses.replace(task, sampling=sampling)
    predict = functools.partial(inference.predictor(drawn), variables)
    judged = evaluate.judge(config, predict, source, progress=True, calibrate=False)
    scores = evaluate.scores(judged)
    return {
        "sampler": sampler,
        "evaluations": samplers.evaluations(sampler, steps),
        "modes": {m: {k: s[k] for k in SHOWN} for m, s in scores.items()},
    }


def lines(rows):
    """{score: {sampler: (evaluations, values)}} of the mode "diffusion"."""
    found = {}
    for row in rows.values():
        for name in ("IoU", "Pd", "Fa"):
            xy = found.setdefault(name, {}).setdefault(row["sampler"], ([], []))
            xy[0].append(row["evaluations"])
            xy[1].append(row["modes"]["diffusion"][name])
    return found


def table(rows):
    """A Markdown table, the encoder alone at its end."""
    head = ["sampler", "evaluations", "IoU", "nIoU", "Pd", "Fa 1e-6", "F1"]
    text = [" | ".join(head), " | ".join("---" for _ in head)]
    last = {}
    for row in rows.values():
        cells = [row["sampler"], str(row["evaluations"])]
        text.append(" | ".join(cells + figures(row["modes"]["diffusion"])))
        last = row["modes"].get("discriminative", {})
    if last:
        text.append(" | ".join(["encoder alone", "0", *figures(last)]))
    return "".join(f"| {line} |\n" for line in text)


def figures(scores):
    return [
        f"{scores[k] * 1e6:.1f}" if k == "Fa" else f"{scores[k]:.3f}" for k in SHOWN
    ]


if __name__ == "__main__":
    app.run(main)
