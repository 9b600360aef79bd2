"""Bringing published weights: from the authors' files to ours, without PyTorch.

  python launch.py --mode=convert --input=model.pt --output=irstd_diff.safetensors
  python launch.py --mode=convert --input=theirs.pth.tar --output=dnanet.safetensors \
      --config=configs/detector.py:dnanet,nudt_sirst,published
  python launch.py --mode=convert --input=emasavedmodel.pt --output=med.safetensors \
      --config=configs/generative.py:medsegdiff,nuaa_sirst
  python launch.py --mode=convert --config=configs/diff_mosaic/latent_prior.py \
      --input=FOLDER --output=stable_diffusion.safetensors

reads a PyTorch state dict (also .safetensors, .npz) and executes nothing that it holds.
Every array must find its place, and every place its array. The recipe says of which
network and task the weights are, and how images are normalised for them; the result
serves wherever the weights do that a run of the recipe leaves. Systems of several
networks, also as folders of diffusers: systems.py. Of IRSTD-Diff, whose recipe is
believed in part: published.py.
"""

import collections
import pathlib

import jax

from irstd_jax import published, systems, weights
from irstd_jax.weights import control_ldm, engine, names, store

SUFFIX = ".safetensors"


def run(config, workdir, source, output, overwrite=False, key=""):
    """Converts the weights `source` into the file `output`; returns the exit code 0.

    Args:
      config: see the module.
      workdir: not used.
      source: a PyTorch file, safetensors or .npz; of FOLDERS also diffusers' folder.
      output: a path that ends in .safetensors.
      overwrite: may `output` be replaced.
      key: which state dict, where the file holds several; "" = the only one.

    Raises:
      FileExistsError, FileNotFoundError: `output` is there, `source` is not.
      ValueError: the file cannot be read, lacks a part, or its weights are of another
        network; all missing, unexpected and misshapen names are listed.
    """
    source, output, task = pathlib.Path(source), pathlib.Path(output), config.task.name
    if task not in CONVERTERS:
        raise ValueError(
            f"unknown task.name {task!r}; choose from {sorted(CONVERTERS)}"
        )
    guard(source, output, overwrite, task in FOLDERS)
    settings = SETTINGS.get(task, published.carried)(config)
    state_dict = systems.read(settings, source, key)
    about = {
        "config": settings,
        "source": source.absolute().name,
        "ignored": ignored(state_dict, prefixes(settings), unused(settings)),
    }
    try:
        variables = CONVERTERS[task](settings, state_dict)
    except ValueError as error:
        raise ValueError(f"{source}: {error}") from None
    store.save(output, variables, about)
    print(summary(source, output, variables, about))
    return 0


def guard(source, output, overwrite, folders=False):
    """Refuses what cannot be done before anything is."""
    if source.is_dir() and not folders:
        raise ValueError(f"{source} is a folder: name the file in it")
    if not source.exists():
        raise FileNotFoundError(f"there is no file {source}")
    if output.suffix != SUFFIX:
        raise ValueError(f"--output={output} must end in {SUFFIX}")
    if output.exists() and output.samefile(source):
        raise ValueError(f"{output} is the input itself: name another --output")
    if output.exists() and not overwrite:
        raise FileExistsError(
            f"{output} exists: name another --output, or replace it by --overwrite"
        )


# --- what is told ---------------------------------------------------------------------


def prefixes(settings):
    """How the names of what is converted begin, in a larger system's checkpoint."""
    if settings["task"]["name"] in FOLDERS:
        return systems.prefixes(settings)
    prefix = weights.names_of(settings["model"]["name"]).prefix
    return (prefix,) if prefix else ()


def unused(settings):
    """How the names of layers begin that the release has and never runs."""
    return weights.names_of(settings["model"]["name"]).unused


def ignored(state_dict, starts=(), idle=()):
    """{what: number} of the arrays left out: no weights, of other parts, never run."""
    given = names.bare(state_dict, engine.PREFIX)
    inside = any(name.startswith(starts) for name in given)

    def what(name):
        first, last = name.split(".")[0], name.rsplit(".", 1)[-1]
        if last in engine.IGNORED:
            return last
        if name in control_ldm.BUFFERS:
            return "of the schedule"
        inner = next((name[len(s) :] for s in starts if name.startswith(s)), name)
        if inner.startswith(idle):
            return f"of {inner.split('.')[0]}, which never runs"
        outside = inside and not name.startswith(starts)
        return first if outside or name.startswith(systems.TRAINING) else None

    return dict(collections.Counter(filter(None, map(what, given))))


def summary(source, output, variables, about):
    """What was converted, and how to use it."""
    settings, task = about["config"], about["config"]["task"]
    dropped = ", ".join(f"{count} {name}" for name, count in about["ignored"].items())
    words = f"images normalised by {settings['data']['normalisation']}"
    if settings["model"].get("token_layout") == "reference":
        size = settings["evaluation"]["size"]
        words += f"; evaluate and predict resize them to {size} px"
    return "\n".join(
        [
            f"{source}:",
            *(f"  {name}: {count(tree)}" for name, tree in sections(variables).items()),
            f"  ignored, being no weights or of other parts: {dropped or 'nothing'}",
            f"{output}: {settings['name']}, {words}",
            USES[task.get("part", task["name"])].format(output),
        ]
    )


def sections(variables):
    """{name: variables or params} of the networks, and the context of a prior."""
    if "frozen" not in variables:
        return {"network": variables}
    return {**variables["params"], **variables["frozen"]}


def count(tree):
    """In words, how much there is of a network; of an array its shape."""
    if not isinstance(tree, dict):
        return f"an array of shape {tree.shape}"
    parameters = jax.tree.leaves(tree.get("params", tree))
    statistics = jax.tree.leaves(tree.get("batch_stats", {}))
    total = sum(x.size for x in parameters)
    words = f"{len(parameters)} arrays of {total:,} parameters"
    return f"{words}, {len(statistics)} of statistics" if statistics else words


# --- the tasks ------------------------------------------------------------------------

# (settings, {torch name: array}) -> variables of the task.
CONVERTERS = {
    "autoencoding": systems.autoencoding,
    "latent_diffusion": systems.latent_diffusion,
    "mask_diffusion": published.mask_diffusion,
    "restoration": published.network,
    "segmentation": published.network,
}
FOLDERS = ("autoencoding", "latent_diffusion")  # what also comes as diffusers' folder
# What of the recipe the weights carry; of the others published.carried.
SETTINGS = {"mask_diffusion": published.weights_config}
DETECTING = (
    "use it by --mode=predict (or evaluate) --config.weights={}, with the recipe of "
    "its data set as --config"
)
USES = {
    "autoencoding": "use it in configs/diff_mosaic/latent_prior.py, by "
    "--config.parts.autoencoder={}",
    "control": "use it in configs/diff_mosaic/augment.py, by "
    "--config.augment.weights.diff_prior={}",
    "mask_diffusion": DETECTING,
    "restoration": "use it in configs/diff_mosaic/augment.py, by "
    "--config.augment.weights.pixel_prior={0}; in control.py, by "
    "--config.parts.restorer={0}; or train on, by --config.start={0}",
    "segmentation": DETECTING,
    "unet": "use it in configs/diff_mosaic/control.py, by --config.parts.unet={}",
}
