"""irstd_jax: train, evaluate, predict, convert, benchmark and check.

  python launch.py                                        the quick start
  python launch.py --config=configs/nuaa_sirst.py:small   train a recipe's variant
  python launch.py --config=.. --config.seed=1 --workdir=runs/one
  python launch.py --mode=evaluate  --workdir=runs/one
  python launch.py --mode=predict   --workdir=runs/one --input=FOLDER --output=OUT
  python launch.py --mode=convert   --input=theirs.pt --output=ours.safetensors
  python launch.py --mode=benchmark --config=configs/irstd1k.py
  python launch.py --mode=check     --config=configs/nudt_sirst.py

Any field of a config can be set on the command line: --config.data.batch_size=8.
"""

import importlib
import os
import pathlib
import sys

from absl import app, flags, logging

from irstd_jax import platform

MODES = ("train", "evaluate", "predict", "convert", "benchmark", "check")
QUICKSTART = pathlib.Path(__file__).parent / "configs" / "quickstart.py"

platform.prepare()

from ml_collections import config_flags  # noqa: E402

CONFIG = config_flags.DEFINE_config_file(
    "config", str(QUICKSTART), "Recipe FILE.py or FILE.py:VARIANT."
)
MODE = flags.DEFINE_enum("mode", "train", MODES, "What to do.")
WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the run [runs/NAME].")
INPUT = flags.DEFINE_string("input", None, "predict: image or folder; convert: file.")
OUTPUT = flags.DEFINE_string("output", None, "predict: folder; convert: file.")
OVERWRITE = flags.DEFINE_bool("overwrite", False, "Replace what --output holds.")
DISTRIBUTED = flags.DEFINE_bool(
    "distributed", False, "Join the processes of a cluster (jax.distributed)."
)


def main(argv):
    """Calls the verb with what it needs; errors of a user's making are one line."""
    if flags.FLAGS["verbosity"].using_default_value:
        logging.set_verbosity(logging.WARNING)
    if argv[1:]:
        raise app.UsageError(f"not understood: {' '.join(argv[1:])}; flags are --NAME=VALUE")
    if DISTRIBUTED.value:
        import jax

        jax.distributed.initialize()
    config = CONFIG.value
    workdir = WORKDIR.value or os.path.join("runs", config.name)
    verb = importlib.import_module(f"irstd_jax.{MODE.value}")
    needs = {
        "predict": {
            "source": INPUT.value,
            "output": OUTPUT.value,
            "overwrite": OVERWRITE.value,
        },
        "convert": {
            "source": INPUT.value,
            "output": OUTPUT.value,
            "overwrite": OVERWRITE.value,
        },
    }
    for name, value in needs.get(MODE.value, {}).items():
        if value is None:
            flag = {"source": "input"}.get(name, name)
            raise app.UsageError(f"--mode={MODE.value} needs --{flag}=...")
    try:
        return verb.run(config, workdir, **needs.get(MODE.value, {}))
    except (ValueError, FileNotFoundError, FileExistsError, FloatingPointError) as error:
        if os.environ.get("IRSTD_TRACEBACK"):
            raise
        print(f"error: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    app.run(main)
