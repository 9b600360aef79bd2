"""A trained detector as one file that runs without this program.

  python launch.py --mode=export --workdir=runs/one --output=detector.stablehlo
  python launch.py --mode=export --workdir=runs/one --output=detector.onnx \
      --config.predict.mode=discriminative --config.export.size=256,320

The file holds one function, weights baked in,

  image (b, h, w, 1) float32 in [0, 1]  ->  probability (b, h, w, 1) of predict.mode

for any b; normalising and repeating the grey channel are inside. Drawing out the levels
(`data.stretch`) is not: its percentiles are of the whole image, which the runner cuts
into tiles afterwards, so the header tells it. h and w are those of `export.size`, or of
`predict.size` where the program resizes images: the networks turn them into matrices
and tables, so they cannot stay open. Beside FILE are written

  FILE.json         what it is: config, mode, threshold, seed, hash of the weights
  run_exported.py   runner.py: masks of a folder, with jax or onnxruntime alone

A sampler's noise is one draw, of evaluation.seed and the name "exported", and the same
for every image: a map depends on its image alone, neither on the batch nor on the row.
In ONNX it is a constant, drawn while exporting.

Before the file takes its place it is read back and judged on generated scenes: its
masks must be those of the program. Fields of the block `export`: size (h, w);
platforms, of StableHLO; dtype, of the arithmetic, "float32" or "bfloat16" (StableHLO).
"""

import pathlib

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from irstd_jax import evaluate, files, inference, onnx, runner, tasks
from irstd_jax.data import pipeline, synthetic, transforms
from irstd_jax.weights import store

SUFFIXES = (".onnx", ".stablehlo")
RUNNER = "run_exported.py"
NAME = "exported"  # whose noise all images get
# Nearer to the threshold than this, rounding may decide.
TIES = {"float32": 1e-5, "bfloat16": 1e-2}
DEFAULTS = {
    "size": (256, 256),
    "platforms": ("cpu", "cuda", "tpu"),
    "dtype": "float32",
}


def run(config, workdir, output, overwrite=False):
    """Writes the file `output`, its header and its runner; returns the exit code 0.

    Raises:
      FileExistsError: `output` is there, and `overwrite` is false.
      FileNotFoundError: no weights.
      ValueError: settings that do not fit, a converter that is missing, or a file whose
        masks are not the program's; then no file is left or replaced.
    """
    output = pathlib.Path(output)
    guard(output, overwrite)
    weights = inference.locate_weights(config, workdir)
    config, variables, about = inference.trained(config, workdir)
    # Runs of earlier versions lack the block.
    given = config.get("export") or ConfigDict()
    config.export = ConfigDict(DEFAULTS | given.to_dict())
    check(config, output.suffix)
    config.model.dtype = config.export.dtype
    task = tasks.detector(config)
    if hasattr(task, "score"):
        raise ValueError(
            f"these weights are of the task {config.task.name!r}, which detects "
            "nothing: export wants a detector's"
        )
    size = image_size(config)
    images = scenes(size)
    expected = own(config, task, variables, images)
    data = converted(detector(config, task, variables), size, config, output.suffix)
    level = evaluate.threshold(config.evaluation, config.predict.mode)
    header = describe(config, task, about, weights) | {"size": size, "threshold": level}

    def write(aside):
        aside.write_bytes(data)
        predict = runner.load(aside.read_bytes(), output.suffix)
        found = compared(predict, images, expected, level, TIES[config.export.dtype])
        header["largest_difference"] = found

    files.write_by(output, write)
    files.write_json(beside(output), header)
    files.write_bytes(
        output.with_name(RUNNER), pathlib.Path(runner.__file__).read_bytes()
    )
    print(summary(output, header, len(data)))
    return 0


def beside(output):
    """Where the header of a file lies."""
    return output.with_name(output.name + ".json")


def guard(output, overwrite):
    """Refuses what cannot be done before anything is."""
    if output.suffix not in SUFFIXES:
        raise ValueError(f"--output={output} must end in one of {', '.join(SUFFIXES)}")
    existing = next((p for p in (output, beside(output)) if p.exists()), None)
    if existing and not overwrite:
        raise FileExistsError(
            f"{existing} exists: name another --output, or replace it by --overwrite"
        )


def check(config, suffix):
    """Refuses settings that do not fit."""
    settings, here = config.export, jax.default_backend().replace("gpu", "cuda")
    dtypes = ("float32",) if suffix == ".onnx" else ("float32", "bfloat16")
    if settings.dtype not in dtypes:
        raise ValueError(
            f"unknown export.dtype {settings.dtype!r} of {suffix}; choose from {dtypes}"
        )
    if len(settings.size) != 2 or min(settings.size) < synthetic.SMALLEST:
        raise ValueError(
            f"export.size must be (h, w), each {synthetic.SMALLEST} or more, not "
            f"{settings.size}"
        )
    if config.predict.mode not in tasks.MODES:
        raise ValueError(
            f"unknown predict.mode {config.predict.mode!r}; choose from {tasks.MODES}"
        )
    if suffix == ".stablehlo" and here not in settings.platforms:
        raise ValueError(
            f"export.platforms {tuple(settings.platforms)} lack {here!r}, where the "
            "file is to be checked"
        )


def image_size(config):
    """(h, w) of the images that the exported function takes."""
    return (config.predict.size,) * 2 if config.predict.size else config.export.size


def detector(config, task, variables):
    """The function image (b, h, w, 1) in [0, 1] -> probability (b, h, w, 1)."""
    mean, std = (
        np.asarray(numbers, np.float32)
        for numbers in transforms.PRESETS[config.data.normalisation]
    )

    def detect(image):
        grey = jnp.repeat(image, config.data.channels, axis=-1)
        key = inference.image_keys([NAME], config.evaluation.seed)[0]
        keys = jnp.broadcast_to(key, image.shape[:1])
        output = task.predict(variables, {"image": (grey - mean) / std}, keys)
        return inference.chosen(output, config.predict.mode).astype(jnp.float32)

    return detect


def converted(detect, size, config, suffix):
    """The bytes of the file."""
    if suffix == ".onnx":
        return onnx.convert(detect, tuple(size))
    shape = jax.export.symbolic_shape(f"b, {size[0]}, {size[1]}, 1")
    trace = jax.export.export(jax.jit(detect), platforms=tuple(config.export.platforms))
    return bytes(trace(jax.ShapeDtypeStruct(shape, jnp.float32)).serialize())


# --- the check ------------------------------------------------------------------------


def scenes(size):
    """Three generated images, (3, h, w, 1)."""
    return np.stack([s["image"] for s in synthetic.scenes(3, tuple(size))])


def own(config, task, variables, images):
    """The program's own probabilities (b, h, w, 1)."""
    mode = config.predict.mode
    predict = inference.predictor(task, keep=(mode,))
    prepare = pipeline.preparation(config.data).image
    prepared = np.stack([prepare(image) for image in images])
    names = [NAME] * len(images)
    return predict(variables, prepared, names, config.evaluation.seed)[mode]


def compared(predict, images, expected, level, tie):
    """The largest difference of probabilities, on all images and on the first alone.

    Raises ValueError where masks differ, but for pixels within `tie` of the threshold.
    """
    largest, wrong = 0.0, 0
    for count in (len(images), 1):
        found, wanted = np.asarray(predict(images[:count])), expected[:count]
        tied = np.abs(wanted - level) <= tie
        wrong += np.sum(((found > level) != (wanted > level)) & ~tied)
        largest = max(largest, float(np.abs(found - wanted).max()))
    if wrong:
        raise ValueError(
            f"the exported masks differ from the program's in {wrong} pixels of "
            f"generated scenes, the probabilities by up to {largest:.2g}: no file was "
            "written"
        )
    return largest


# --- what is told ---------------------------------------------------------------------


def describe(config, task, about, weights):
    """The header but for size and threshold."""
    digest = store.digest(weights) if weights else None
    return {
        "format": "irstd_jax export 1",
        "name": config.name,
        "weights": evaluate.weights_label(about),
        "weights_sha256": digest,
        "mode": config.predict.mode,
        "resized": bool(config.predict.size),
        "input": "(b, h, w, 1) float32 in [0, 1], any b",
        "stretch": config.data.get("stretch", 0),
        "noise": f"one draw of seed and the name {NAME!r}, the same for every image",
        "seed": config.evaluation.seed,
        "dtype": config.export.dtype,
        "platforms": list(config.export.platforms),
        "jax": jax.__version__,
    } | tasks.protocol(task)


def summary(output, header, size):
    """What was exported, and how to use it."""
    h, w = header["size"]
    return (
        f"{output}: {header['name']}, {header['mode']}, any number of {h}x{w} images, "
        f"{size / 2**20:.1f} MiB\n"
        "its masks of generated scenes are the program's; largest difference of a "
        f"probability {header['largest_difference']:.1e}\n"
        f"use it by: python {output.with_name(RUNNER)} {output} FOLDER OUT"
    )
