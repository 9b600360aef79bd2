"""Saving a run so that it can be cut anywhere, and refusing to mix two runs.

A checkpoint holds the training state, the place in the data stream and the best score
so far, all of the same step; Orbax commits it by a rename, so that a kill while saving
leaves the one before. The newest two are kept.
"""

import difflib
import json
import pathlib

import jax
import orbax.checkpoint as ocp
from ml_collections import ConfigDict

from irstd_jax import files

KEPT = 2
BEST = "best.safetensors"  # the weights that a run keeps
# Fields that change what a run shows or where things lie, and not its numbers.
FREE_FIELDS = (
    "log_every",
    "checkpoint_every",
    "weights",
    "predict",
    "benchmark",
    "export",
    "views",
)
# Those of the block evaluation. The others decide how the validation part is judged,
# too, and so which weights are kept.
FREE_IN_EVALUATION = ("at_end", "part", "images", "batch_size", "bootstrap")


def open_manager(workdir):
    """The checkpoint manager of a run; close it, or the last save may be lost."""
    options = ocp.CheckpointManagerOptions(max_to_keep=KEPT, create=True)
    folder = pathlib.Path(workdir).absolute() / "checkpoints"
    return ocp.CheckpointManager(folder, options=options)


def save(manager, step, state, progress):
    """Starts to save `state` and `progress` (JSON: data iterator, best score, digests).

    What is fixed is not of this run, and is not saved but for the digests of its files.
    """
    if step in manager.all_steps():
        return
    state = state._replace(fixed={})
    if jax.process_count() == 1:
        # Of arrays that each device holds Orbax would have each save a part, cut by a
        # program of its own for every shape and device.
        state = jax.tree.map(lambda x: x.addressable_data(0), state)
    manager.save(
        step,
        args=ocp.args.Composite(
            state=ocp.args.StandardSave(state),
            progress=ocp.args.JsonSave(progress),
        ),
    )


def restore(manager, state):
    """(state, progress) of the newest checkpoint, or None where there is none.

    Args:
      manager: of `open_manager`.
      state: one of the same structure, of which only `fixed` is kept.
    """
    step = manager.latest_step()
    if step is None:
        return None
    like = state._replace(fixed={})
    abstract = jax.tree.map(ocp.utils.to_shape_dtype_struct, like)
    restored = manager.restore(
        step,
        args=ocp.args.Composite(
            state=ocp.args.StandardRestore(abstract),
            progress=ocp.args.JsonRestore(),
        ),
    )
    return restored["state"]._replace(fixed=state.fixed), restored["progress"]


def begun(workdir):
    """Whether a checkpoint or weights lie in a workdir."""
    folder = pathlib.Path(workdir)
    saved = any(path.name.isdigit() for path in folder.glob("checkpoints/*"))
    return saved or (folder / BEST).is_file()


def ended(workdir, step):
    """Whether the run in a workdir has reached this step, its last."""
    return (pathlib.Path(workdir) / "checkpoints" / str(step)).is_dir()


def guard_config(workdir, config):
    """Writes config.json into a new run, or checks that it is the run's own.

    A run without a checkpoint or weights, cut before its first or stopped by an error
    such as missing data, has nothing to lose, and begins anew.

    Args:
      workdir: of the run.
      config: a ConfigDict.

    Raises:
      ValueError: the run was begun with another config; the lines that differ are in
        the message. What is not `decisive` may differ.
    """
    path = pathlib.Path(workdir) / "config.json"
    if not path.exists() or not begun(workdir):
        files.write_text(path, _text(config.to_dict()))
        return
    old, new = (
        _text(decisive(fields)).splitlines()
        for fields in (json.loads(path.read_text()), config.to_dict())
    )
    if old == new:
        return
    diff = difflib.unified_diff(old, new, "this workdir", "now", lineterm="", n=1)
    raise ValueError(
        f"{workdir} holds a run with another config; choose another --workdir, or go "
        "back to its config. The difference:\n" + "\n".join(diff)
    )


def decisive(fields):
    """Of the nested fields of a config those that decide what is learnt and kept."""
    kept = {k: v for k, v in fields.items() if k not in FREE_FIELDS}
    free = set(FREE_IN_EVALUATION)
    if fields["validation"].get("mode") != "fused":
        free.add("fused_threshold")  # it cuts that map alone
    judged = fields["evaluation"].items()
    kept["evaluation"] = {k: v for k, v in judged if k not in free}
    return kept


def run_config(workdir, defaults):
    """The config of the run in `workdir`, or None where there is none.

    Args:
      workdir: of the run.
      defaults: a ConfigDict, which gives the fields that a run of an earlier version
        had not; but for the blocks of its network and task, which are its own.
    """
    path = pathlib.Path(workdir) / "config.json"
    if not path.exists():
        return None
    return ConfigDict(completed(files.read_json(path), defaults.to_dict()))


def completed(fields, defaults):
    """Nested `fields`, with those of `defaults` that lack."""
    result = dict(fields)
    for name, value in defaults.items():
        if name not in fields:
            result[name] = value
        elif isinstance(value, dict) and name not in ("model", "task"):
            result[name] = completed(fields[name], value)
    return result


def _text(fields):
    return json.dumps(fields, indent=1, sort_keys=True) + "\n"
