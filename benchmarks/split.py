"""Where the time of a whole command goes: reading, network, counting, pictures.

  python benchmarks/split.py --mode=predict --weights=FILE --input=FOLDER --output=OUT
  python benchmarks/split.py --mode=evaluate --workdir=RUN
  python benchmarks/split.py --config=configs/nuaa_sirst.py:realtime --workdir=NEW \
      --config.num_steps=300 --config.evaluation.at_end=False

takes the flags of launch.py, runs it under Python's profiler, and prints the seconds in
each part, the parts within it included: "main" those that the main thread spends in it,
"beside" those of all other threads together, which overlap (a network a batch ahead,
images read ahead, files written behind). The profiler makes Python slower by about a
third. Run a command twice, the first time to fill JAX's cache of compiled programs.
"""

import cProfile
import pathlib
import pstats
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))

from absl import app  # noqa: E402

import launch  # noqa: E402

# Part: (end of the file's path, function).
PARTS = {
    "importing": ("importlib/__init__.py", "import_module"),
    "tracing and compiling, or reading the cache": ("pjit.py", "_infer_params"),
    "compiling": ("compiler.py", "compile_or_get_cached"),
    "waiting for a training batch": ("prefetch.py", "__next__"),
    "waiting for a training step": ("irstd_jax/train.py", "check"),
    "waiting for other threads": ("futures/_base.py", "result"),
    "making a training batch": ("irstd_jax/data/pipeline.py", "load"),
    "reading images": ("irstd_jax/data/images.py", "read_grey"),
    "the network": ("irstd_jax/inference.py", "predict"),
    "counting pixels and targets": ("irstd_jax/metrics/__init__.py", "count"),
    "calibration": ("irstd_jax/credence.py", "count"),
    "bootstrap": ("irstd_jax/metrics/bootstrap.py", "intervals"),
    "listing detections": ("irstd_jax/predict.py", "listed"),
    "drawing overlays": ("irstd_jax/viz/overlays.py", "overlay"),
    "encoding and writing pictures": ("irstd_jax/files.py", "write_image"),
    "saving checkpoints": ("irstd_jax/training/checkpoint.py", "save"),
    "validating": ("irstd_jax/validation.py", "__call__"),
    "judging": ("irstd_jax/evaluate.py", "judge"),
}


def main(argv):
    """Runs the command and prints the table."""
    beside, profile = [], cProfile.Profile()
    profile_threads(beside)
    begun = time.perf_counter()
    code = profile.runcall(launch.main, argv)
    total = time.perf_counter() - begun
    print(table(seconds([profile]), seconds(beside), total))
    return code


def profile_threads(profiles):
    """From here on every thread that ends leaves its profile in a list."""
    run = threading.Thread.run

    def profiled(thread):
        profile = cProfile.Profile()
        profile.runcall(run, thread)
        profiles.append(profile)

    threading.Thread.run = profiled


def seconds(profiles):
    """{part: seconds} of PARTS."""
    found = dict.fromkeys(PARTS, 0.0)
    for profile in profiles:
        for (path, _, name), (*_, cumulative, _) in pstats.Stats(profile).stats.items():
            for part, (file, function) in PARTS.items():
                if name == function and path.endswith(file):
                    found[part] += cumulative
    return found


def table(main, beside, total):
    """Seconds of each part that ran, the largest first."""
    rows = sorted(PARTS, key=lambda part: -max(main[part], beside[part]))
    lines = [
        "| part | main, s | beside, s |",
        "|---|---|---|",
        f"| all | {total:.2f} | |",
    ]
    lines += [
        f"| {part} | {main[part]:.2f} | {beside[part]:.2f} |"
        for part in rows
        if max(main[part], beside[part]) >= 0.005
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    app.run(main, flags_parser=launch.parsed)
