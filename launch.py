"""irstd_jax: train, evaluate, predict, augment, compare, export, benchmark and more.

  python launch.py                                        the quick start
  python launch.py --config=configs/nuaa_sirst.py:small   train a recipe's variant
  python launch.py --config=FILE --config.seed=1 --workdir=runs/one
  python launch.py --mode=evaluate  --workdir=runs/one
  python launch.py --mode=predict   --workdir=runs/one --input=FOLDER --output=OUT
                   (--samples=N: with the probability of each target, from N samples)
                   (--weights=NAME_OR_FILE: by weights in the place of a run)
  python launch.py --mode=augment   --config=configs/diff_mosaic/augment.py:small
  python launch.py --mode=compare   --config=configs/compare.py
  python launch.py --mode=convert   --input=theirs.pt --output=ours.safetensors
  python launch.py --mode=export    --workdir=runs/one --output=FILE.stablehlo  (.onnx)
  python launch.py --mode=benchmark --config=configs/irstd1k.py
  python launch.py --mode=check     --config=configs/nudt_sirst.py

Any field of a config can be set on the command line: --config.data.batch_size=8. What a
run was trained with lies in its workdir: evaluate and predict need no --config.
"""

import contextlib
import importlib
import os
import pathlib
import re
import sys

from absl import app, flags, logging

from irstd_jax import platform

MODES = {  # mode: the flags that it takes beside config and workdir
    "train": (),
    "evaluate": (),
    "predict": ("input", "output", "overwrite", "samples"),
    "augment": ("output", "overwrite"),
    "compare": (),
    "convert": ("input", "output", "overwrite", "key"),
    "export": ("output", "overwrite"),
    "benchmark": (),
    "check": (),
}
# Flag: the modes that take it, and no others.
TAKERS = {
    name: [mode for mode, names in MODES.items() if name in names]
    for name in ("input", "key", "output", "overwrite", "samples")
} | {"weights": ["evaluate", "export", "predict"]}
OPTIONAL = {("augment", "output")}
QUICKSTART = pathlib.Path(__file__).parent / "configs" / "quickstart.py"
USER_ERRORS = (ValueError, OSError, FloatingPointError)

platform.prepare()

from ml_collections import config_flags  # noqa: E402


@contextlib.contextmanager
def mistakes_in_words():
    """What --config and its fields raise ends the program with a sentence."""
    try:
        yield
    except (flags.Error, AttributeError, KeyError, OSError, TypeError) as error:
        if os.environ.get("IRSTD_TRACEBACK"):
            raise
        sys.exit(f"error: {mistake(error)}")


def mistake(error):
    """What is wrong with a flag, in a line."""
    if isinstance(error, flags.Error):
        lines = str(error).strip().splitlines()
        # A recipe's own error comes with its traceback, in the text.
        return f"{lines[0]} {lines[-1].strip()}" if lines[1:] else lines[0]
    while error.args and isinstance(error.args[0], Exception):
        error = error.args[0]
    words = " ".join(str(x) for x in error.args).split()
    if isinstance(error, KeyError):  # a guess may follow
        words = [lack(words[0]), *words[1:]]
    return f"--config: {' '.join(words)} (IRSTD_TRACEBACK=1 shows where)"


def lack(field):
    """That the recipe has no such field, and what to do where no recipe was named."""
    named = re.search(r"^--?config[=\n](.+)", "\n".join(sys.argv[1:]), re.MULTILINE)
    if named:
        return f"no field {field} in the recipe {named[1]}."
    return (
        f"no field {field} in the recipe {QUICKSTART}; name the run's own recipe by "
        "--config=FILE."
    )


with mistakes_in_words():  # it reads the fields on the command line at once
    CONFIG = config_flags.DEFINE_config_file(
        "config", str(QUICKSTART), "Recipe FILE.py or FILE.py:VARIANT."
    )
flags.DEFINE_enum("mode", "train", sorted(MODES), "What to do.")
flags.DEFINE_string("workdir", None, "Folder of the run [runs/NAME].")
flags.DEFINE_string("input", None, "predict: image, folder; convert: file, folder.")
flags.DEFINE_string("output", None, "predict, augment: folder; convert, export: file.")
flags.DEFINE_bool("overwrite", False, "Replace what --output holds.")
flags.DEFINE_integer(
    "samples", 0, "predict: samples of the posterior an image; 0: as the config says."
)
flags.DEFINE_string("key", "", "convert: which state dict of a file with several.")
flags.DEFINE_string(
    "weights", None, "File, or name of what comes with the library [of --workdir]."
)
flags.DEFINE_bool("distributed", False, "Join the processes of a cluster.")
FLAGS = flags.FLAGS


def main(argv):
    """Calls the verb with what it needs; errors of a user's making are a sentence."""
    if argv[1:]:
        raise app.UsageError(f"not understood: {argv[1:]}; flags are --NAME=VALUE")
    for name in MODES[FLAGS.mode]:
        if FLAGS[name].value is None and (FLAGS.mode, name) not in OPTIONAL:
            raise app.UsageError(f"--mode={FLAGS.mode} needs --{name}=...")
    refuse_strange(FLAGS.mode)
    if FLAGS.distributed:
        import jax

        jax.distributed.initialize()
    verb = importlib.import_module(f"irstd_jax.{FLAGS.mode}")
    # Libraries raise absl's verbosity when they are imported.
    logging.set_verbosity(
        logging.WARNING if FLAGS["verbosity"].present == 0 else FLAGS.verbosity
    )
    try:
        config = recorded(CONFIG.value)
        workdir = FLAGS.workdir or os.path.join("runs", config.name)
        arguments = [FLAGS[name].value for name in MODES[FLAGS.mode]]
        return verb.run(config, workdir, *arguments)
    except USER_ERRORS as error:
        if os.environ.get("IRSTD_TRACEBACK"):
            raise
        print(f"error: {error}", file=sys.stderr)
        return 1


def refuse_strange(mode):
    """Refuses flags that are given and of other modes alone: they would be ignored."""
    for name, takers in TAKERS.items():
        if FLAGS[name].value and mode not in takers:
            instead = "; training begins from --config.start=FILE"
            raise app.UsageError(
                f"--{name} is for --mode={' or '.join(takers)}, not {mode}"
                + instead * (name == "weights")
            )


def parsed(argv):
    """The arguments that are no flags."""
    with mistakes_in_words():
        left = FLAGS(argv)
        # A recipe that could not be read says so when it is looked at.
        _ = CONFIG.value.is_locked
        return left


def recorded(config):
    """The config of what is used: of --config, --weights, or the run in --workdir.

    Told none of these, predict takes the weights for all cameras that come with the
    library, if there are any.
    """
    if FLAGS.mode == "train":
        return config
    from irstd_jax import inference
    from irstd_jax.training import checkpoint
    from irstd_jax.weights import box

    weights, known = FLAGS.weights or "", config
    if not (weights or FLAGS.workdir or FLAGS["config"].present):
        weights = box.default() if FLAGS.mode == "predict" else ""
    if not FLAGS["config"].present:
        if weights:
            known = inference.known(box.locate(weights), config)
        elif FLAGS.workdir:
            known = checkpoint.run_config(FLAGS.workdir, config) or config
    if weights:
        known.weights = weights
    # Fields set on the command line (--config.a.b) still win.
    changed = {
        name.removeprefix("config."): FLAGS[name].value
        for name in FLAGS
        if name.startswith("config.") and FLAGS[name].present
    }
    known.update_from_flattened_dict(changed)
    return known


if __name__ == "__main__":
    app.run(main, flags_parser=parsed)
