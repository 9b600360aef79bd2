"""Trained networks on images of any size: which weights, which batches, which seeds.

Images are padded to canvases whose sides are multiples of some dozens of pixels, and
those of one canvas share batches, so that a set of 400 different sizes compiles a dozen
programs and not 400. An image's random numbers depend on the seed and its name alone.
"""

import json
import pathlib
import zlib

import jax
import numpy as np
from absl import logging
from flax import traverse_util
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from ml_collections import ConfigDict

from irstd_jax import data, tasks
from irstd_jax.ahead import ahead
from irstd_jax.data import shared, transforms
from irstd_jax.training import checkpoint
from irstd_jax.weights import box, store

BEST = checkpoint.BEST
TRAINED = ("params", "batch_stats")
STAGES = ("autoencoder", "unet", "restorer")  # blocks of networks trained before
MIRRORING = ("flip", "mirror", "quarter_turns")  # fields of data.augment
# What the output of a denoiser means: of the parts that are one.
DENOISERS = ("teacher", "unet")
MEANING = ("parameterisation", "mask_range", "schedule", "steps")
# Tasks that draw, by a block that a recipe of another task has not, or not of theirs.
DRAWING = ("distillation", "latent_diffusion", "mask_diffusion")


def locate_weights(config, workdir):
    """The file or shipped name of `config.weights`, else the best of the run.

    None where the task has nothing to learn, and none are named.
    """
    if config.weights:
        return box.locate(config.weights)
    if not tasks.learns(config):
        return None
    path = pathlib.Path(workdir) / BEST
    if not path.is_file():
        raise FileNotFoundError(
            f"no weights at {path}: train first (launch.py --mode=train with this "
            "--workdir), or name a file by --config.weights=FILE.safetensors, or what "
            f"comes with the library: {', '.join(box.names()) or 'nothing yet'}"
        )
    return path


def known(path, defaults):
    """The config that a weights file was trained by, completed from `defaults`.

    Where data lie is not the file's to say.
    """
    fields = store.load(path)[1]["config"]
    block = {k: v for k, v in fields.get("data", {}).items() if k != "root"}
    fields = checkpoint.completed(fields | {"data": block}, defaults.to_dict())
    return ConfigDict(fields)


def initial(config, task, key):
    """The variables that training begins with: of the task, or of `config.start`.

    Raises ValueError where the file's arrays are not those of the task.
    """
    variables = task.init(key, **parts(config))
    if not config.get("start"):
        return variables
    given, about = store.load(config.start)
    warn_of_split(config, about, f"start={config.start}")
    wanted, found = (
        traverse_util.flatten_dict({k: v.get(k, {}) for k in TRAINED}, sep="/")
        for v in (variables, given)
    )
    wrong = [
        f"{name}: {np.shape(found.get(name))} instead of {np.shape(wanted.get(name))}"
        for name in sorted(wanted.keys() | found.keys())
        if np.shape(found.get(name, ())) != np.shape(wanted.get(name, ()))
    ]
    if wrong or wanted.keys() != found.keys():
        shown = wrong or sorted(wanted.keys() ^ found.keys())
        raise ValueError(
            f"start={config.start}: these weights are of another network: "
            + "; ".join(shown[:6])
        )
    return variables | {k: given[k] for k in TRAINED}


def parts(config):
    """{name: variables} of the networks trained before, by the block `config.parts`.

    Raises:
      FileNotFoundError: a part has no file yet.
      ValueError: a file is of another network than the config's block of that name, or
        a denoiser of another process.
    """
    found = {}
    for name, path in (config.get("parts") or {}).items():
        if not path or not pathlib.Path(path).is_file():
            raise FileNotFoundError(
                f"parts.{name}: no weights at {path!r}; train them first and give "
                f"their best.safetensors by --config.parts.{name}=FILE"
            )
        variables, about = store.load(path)
        warn_of_split(config, about, f"parts.{name}={path}")
        for block, ours, given in compared(config, name, about["config"]):
            fields = differing(ours, given)
            if fields:
                raise ValueError(
                    f"parts.{name}: the {block} in {path} differs from the config's "
                    f"in {', '.join(fields)}"
                )
        found[name] = variables
    return found


def compared(config, name, theirs):
    """[(block, our fields, theirs)] of what must agree with a part's own config."""
    blocks = {name: theirs["model"]}
    blocks |= {stage: theirs[stage] for stage in STAGES if stage in theirs}
    pairs = [
        (block, plain(config[block].to_dict()), plain(given))
        for block, given in blocks.items()
    ]
    if name in DENOISERS:
        ours, given = plain(config.task.to_dict()), plain(theirs.get("task", {}))
        shared = [field for field in MEANING if field in ours and field in given]
        pairs.append(("task", *({f: t[f] for f in shared} for t in (ours, given))))
    return pairs


def differing(one, other):
    """The names whose values differ between two dicts, sorted."""
    names = sorted(one.keys() | other.keys())
    return [name for name in names if one.get(name) != other.get(name)]


def plain(value):
    """A nested value as JSON has it, without what trained weights do not depend on."""
    value = json.loads(json.dumps(value))
    return {k: v for k, v in value.items() if k not in ("dtype", "prior", "remat")}


def trained(config, workdir):
    """(config, variables, about) of the weights that the config or the run names.

    The weights know their network: the blocks model and task (and of the parts that
    they stand on) and the preparation of images are taken from the file and replace the
    config's. Reference tokens hold for one size of image, so with them native sizes (0)
    become the size of the file. Where there is nothing to learn, the config is as it
    was.

    Raises:
      FileNotFoundError: no weights.
      ValueError: a damaged file, or weights that a recipe of another task cannot use.
    """
    path = locate_weights(config, workdir)
    config = ConfigDict(config.to_dict())
    if path is None:
        about = {"config": config.to_dict(), "learnt": "nothing"}
        return config, tasks.build(config).init(jax.random.key(0)), about
    variables, about = store.load(path)
    warn_of_views(config, about["config"], path)
    config.model = ConfigDict(about["config"]["model"])
    config.task = ConfigDict(task_of(about["config"], config, path))
    for name in STAGES:
        if name in about["config"]:
            config[name] = ConfigDict(about["config"][name])
    theirs = about["config"]["data"]
    for field in ("channels", "normalisation"):
        config.data[field] = theirs[field]
    # One's own camera may want what the one learnt from did not.
    config.data.stretch = config.data.get("stretch", 0) or theirs.get("stretch", 0)
    if config.model.get("token_layout") == "reference":
        for block in (config.evaluation, config.predict):
            block.size = block.size or about["config"]["evaluation"]["size"]
    return config, variables, about


def warn_of_views(config, theirs, path):
    """Warns where views show images as the weights' own config `theirs` never did."""
    count, learnt = config.get("views", 1), theirs["data"].get("augment", {})
    if count > 1 and learnt and not any(learnt.get(name) for name in MIRRORING):
        logging.warning(
            "%s learnt images as they lie, and views=%d shows them mirrored: that "
            "costs accuracy where masks lie beside their targets (see --mode=check)",
            *(path, count),
        )


def task_of(theirs, config, path):
    """The fields of the block task by which weights predict.

    Args:
      theirs: the config that they were trained by, as a dict.
      config: of the recipe that they are used by.
      path: of their file.

    Raises ValueError where the recipe is of another task and has not what theirs reads.
    """
    given, ours = theirs["task"], config.task.name
    if given.get("name", ours) == ours:
        # Files of earlier versions lack fields that only training reads.
        return config.task.to_dict() | given
    # What a classical recipe says of canvases and tiles no network can take.
    if given["name"] in DRAWING or ours == "classical":
        raise ValueError(
            f"the weights {path} are of the task {given['name']!r} and the recipe "
            f"{config.name} is of {ours!r}, which does not say how theirs predicts: "
            "leave --config away, because weights know their recipe, or name a recipe "
            "of their task"
        )
    return given


def learnt_from(about):
    """{field: value} that weights tell of their training images; {} if converted."""
    theirs = about["config"].get("data", {})
    fields = ("name", "split", "validation_share")
    return {name: theirs[name] for name in fields} if "split" in theirs else {}


def warn_of_split(config, about, weights):
    """Warns where weights learnt a set of the config's by another split.

    Args:
      config: whose held-out images judge.
      about: of the weights.
      weights: what to call them.
    """
    learnt = sets(about["config"]["data"]) if learnt_from(about) else {}
    for name, split in learnt.items():
        for here, own in sets(config.data).items():
            if shared.kin(name, here) and (name, split) != (here, own):
                logging.warning(
                    "%s learnt %s by the split %r, and here %s is split by %r: images "
                    "that are held out here may have been learnt",
                    *(weights, name, split, here, own),
                )


def sets(block):
    """{set: split} of a block data; folders of one's own have their own names."""
    own = f"folder {pathlib.Path(block.get('root') or '').name}"
    named = data.splits(block).items()
    return {own if name == "folder" else name: split for name, split in named}


def image_keys(names, seed):
    """(b,) keys of images: of the seed and each one's name, not of its place."""
    numbers = np.array([zlib.crc32(name.encode()) for name in names], np.uint32)
    return _folded(jax.random.key(seed), numbers)


_folded = jax.jit(jax.vmap(jax.random.fold_in, (None, 0)))


def predictor(task, keep=None, **fields):
    """`predict(variables, images (b, h, w, c), names, seed)` -> dict of numpy arrays.

    It is compiled once a shape, and runs over the devices of this host where their
    number divides the batch.

    Args:
      task: of `tasks.build`.
      keep: names of what is wanted of `task.predict`, or None for all. What is not
        wanted, such as sampling for the mode "discriminative", is not computed.
      fields: of `task.predict`.
    """
    devices = np.array(jax.local_devices())
    whole = NamedSharding(Mesh(devices, ("batch",)), PartitionSpec())
    rows = NamedSharding(Mesh(devices, ("batch",)), PartitionSpec("batch"))

    @jax.jit
    def run(variables, image, keys):
        output = task.predict(variables, {"image": image}, keys, **fields)
        return output if keep is None else {name: chosen(output, name) for name in keep}

    def predict(variables, images, names, seed):
        keys = image_keys(names, seed)
        if len(devices) > 1 and len(images) % len(devices) == 0:
            variables = jax.device_put(variables, whole)
            images, keys = jax.device_put((images, keys), rows)
        return jax.tree.map(np.asarray, run(variables, images, keys))

    return predict


def chosen(output, name):
    """One entry of a prediction, by its name."""
    if name not in output:
        names = sorted(set(output) & set(tasks.MODES))
        raise ValueError(f"these weights give no {name!r}; choose from {names}")
    return output[name]


def predictions(predict, samples, prepare, *, batch_size, multiple, seed):
    """Predicts a stream of samples, batched by canvas; the order is not kept.

    The network is at a batch while the next is read and the one before is used.

    Args:
      predict: (images, names, seed) -> dict of arrays: a `predictor` and its variables.
      samples: iterable of dicts with "name" and "image" (h, w, 1) in [0, 1].
      prepare: (h, w, 1) -> (h, w, c), the network's input.
      batch_size: of the compiled program; a rest is filled up with repeats.
      multiple: of the sides of a canvas, in pixels.
      seed: of the sampling.

    Yields:
      (sample, prediction), the prediction cropped to the sample's size, without batch.
    """

    def answer(batch):
        filled = (batch * batch_size)[:batch_size]
        images = [
            transforms.pad_to_multiple(prepare(sample["image"]), multiple)[0]
            for sample in filled
        ]
        names = [sample["name"] for sample in filled]
        return batch, predict(np.stack(images), names, seed)

    for batch, output in ahead(answer, batches(samples, batch_size, multiple)):
        for row, sample in enumerate(batch):
            height, width, _ = sample["image"].shape
            crop = {k: v[row, ..., :height, :width, :] for k, v in output.items()}
            yield sample, crop


def batches(samples, size, multiple):
    """Yields lists of up to `size` samples of one canvas, whole ones first."""
    waiting = {}
    for sample in samples:
        height, width, _ = sample["image"].shape
        canvas = transforms.canvas(height, width, multiple)
        waiting.setdefault(canvas, []).append(sample)
        if len(waiting[canvas]) == size:
            yield waiting.pop(canvas)
    yield from waiting.values()
