"""Where the time of a whole command goes: reading, network, counting, pictures.

  python benchmarks/split.py --mode=predict --weights=FILE --input=FOLDER --output=OUT
  python benchmarks/split.py --mode=evaluate --workdir=RUN
  python benchmarks/split.py --config=configs/nuaa_sirst.py:realtime --workdir=NEW \
      --config.num_steps=100

takes the flags of launch.py, runs it under Python's profiler, and prints the seconds
that the main thread spends in each part, the parts within it included. What runs in
threads (images read ahead in training; the network a batch ahead, files written behind)
shows as the time that the main thread waits for it. Run a command twice, the first time
to fill JAX's cache of compiled programs.
"""

import cProfile
import pathlib
import pstats
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))

from absl import app  # noqa: E402

import launch  # noqa: E402

# Part: (end of the file's path, function).
PARTS = {
    "tracing and compiling, or reading the cache": ("pjit.py", "_infer_params"),
    "compiling": ("compiler.py", "compile_or_get_cached"),
    "waiting for a batch": ("prefetch.py", "__next__"),
    "waiting for a training step": ("irstd_jax/train.py", "check"),
    "waiting for the network, or for files": ("futures/_base.py", "result"),
    "reading images": ("irstd_jax/data/images.py", "read_grey"),
    "counting pixels and targets": ("irstd_jax/metrics/__init__.py", "count"),
    "calibration": ("irstd_jax/credence.py", "count"),
    "bootstrap": ("irstd_jax/metrics/bootstrap.py", "intervals"),
    "listing detections": ("irstd_jax/predict.py", "listed"),
    "drawing overlays": ("irstd_jax/viz/overlays.py", "overlay"),
    "encoding and writing files": ("irstd_jax/files.py", "write_image"),
    "saving checkpoints": ("irstd_jax/training/checkpoint.py", "save"),
    "validating": ("irstd_jax/validation.py", "__call__"),
    "judging": ("irstd_jax/evaluate.py", "judge"),
}


def main(argv):
    """Runs the command and prints the table."""
    profile = cProfile.Profile()
    begun = time.perf_counter()
    code = profile.runcall(launch.main, argv)
    total = time.perf_counter() - begun
    print(table(pstats.Stats(profile).stats, total))
    return code


def table(stats, total):
    """Seconds and share of each part of PARTS that ran, the largest first."""
    seconds = {part: 0.0 for part in PARTS}
    for (path, _, name), (*_, cumulative, _) in stats.items():
        for part, (file, function) in PARTS.items():
            if name == function and path.endswith(file):
                seconds[part] += cumulative
    rows = sorted(seconds.items(), key=lambda row: -row[1])
    lines = ["| part | s | share |", "|---|---|---|", f"| all | {total:.2f} | |"]
    lines += [f"| {p} | {s:.2f} | {s / total:.0%} |" for p, s in rows if s]
    return "\n".join(lines)


if __name__ == "__main__":
    app.run(main)
