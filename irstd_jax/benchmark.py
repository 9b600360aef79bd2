"""What a recipe costs on this machine: time, arithmetic, memory.

Parts are compiled and timed, each as a program of its own:

  denoiser    one evaluation of the U-Net, what every sampling step pays
  encoder     the conditional encoder with LIW, what an image pays once; of others what
              they have in its place
  predict     a batch from images to results, with all that sampling does; of a task
              that detects, to the map of predict.mode alone, as the verb does
  train_step  one step of training on all devices, at the recipe's batch

denoiser and encoder of networks that diffuse masks alone. At last, of tasks that
detect, the way of predict from PNG files to lists of detections. No data and no trained
weights are needed: images are generated scenes, and weights are as `init` draws them,
since the cost of a network does not depend on their values. A classical method that
iterates takes as long as its image wants; what learns by no steps has no train_step.
With benchmark.repeats=0 parts are compiled alone: arithmetic and planned memory of what
would take hours to run. How to read the figures is in benchmarks/README.md. Writes
W/benchmark.json.
"""

import contextlib
import functools
import pathlib
import resource
import statistics
import sys
import tempfile
import time
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental.compilation_cache import compilation_cache
from ml_collections import ConfigDict

from irstd_jax import evaluate, files, inference, pieces, predict, tasks, train
from irstd_jax.data import pipeline, synthetic
from irstd_jax.tasks import mask_diffusion
from irstd_jax.training import parallel, state

NOTES = {
    "seconds": "median of the calls after a warm-up, each waited for to its end",
    "flops": "XLA's count of the compiled program, on one device; the body of a loop "
    "counts once, so predict holds one step of sampling",
    "gmac": "flops / 2e9; with all arithmetic, so a little above the products alone",
    "peak_memory_bytes": "XLA's plan for one device: arguments + results + temporaries",
    "process_memory_bytes": "the largest resident set of the process so far",
}
KIB = 1 if sys.platform == "darwin" else 1024  # ru_maxrss counts bytes on macOS


class Program(NamedTuple):
    """A function with the arguments that it is timed on, and its parameters' number."""

    function: Any
    arguments: tuple
    parameters: int = 0


def run(config, workdir):
    """Measures, prints a table, writes W/benchmark.json; returns the exit code 0.

    Raises:
      ValueError: settings that do not fit.
    """
    check(config.benchmark)
    with program_cache(config.benchmark.cache):
        report = measured(config)
    path = pathlib.Path(workdir) / "benchmark.json"
    files.write_json(path, report)
    print(table(report))
    print(path)
    return 0


def check(settings):
    """Refuses counts that measure nothing."""
    least = {"size": synthetic.SMALLEST, "batch_size": 1, "repeats": 0}
    for name, bound in least.items():
        if settings[name] < bound:
            raise ValueError(
                f"benchmark.{name} must be {bound} or more, not {settings[name]}"
            )


@contextlib.contextmanager
def program_cache(wanted):
    """A context without JAX's cache of programs, unless it is wanted.

    With it, a second benchmark would time how fast programs are read from disk.
    """
    name = "jax_enable_compilation_cache"
    before = getattr(jax.config, name)
    jax.config.update(name, before and wanted)
    compilation_cache.reset_cache()  # JAX asks once a process whether there is one
    try:
        yield
    finally:
        jax.config.update(name, before)
        compilation_cache.reset_cache()


def measured(config, training=True):
    """The JSON-able report of a config; without `training`, of inference alone."""
    settings, task = config.benchmark, tasks.build(config)
    training = training and hasattr(task, "loss")
    key = jax.random.key(config.seed)
    variables = jax.device_put(inference.initial(config, task, key))
    size = train_size(config)
    batch_size = settings.train_batch_size or config.data.batch_size
    programs = inference_programs(config, task, variables)
    if training:
        programs["train_step"] = train_program(config, variables, size, batch_size)
    rows, compiled = {}, {}
    for name, program in programs.items():
        compiled[name], rows[name] = cost(program, settings.repeats)
        rows[name]["parameters"] = program.parameters
    flow = None
    if settings.repeats and not hasattr(task, "score"):
        flow = end_to_end(config, compiled["predict"], variables)
    return {
        "name": config.name,
        "device": jax.devices()[0].device_kind,
        "platform": jax.default_backend(),
        "device_count": jax.device_count(),
        "jax": jax.__version__,
        "image_size": settings.size,
        "batch_size": settings.batch_size,
        "train_image_size": size,
        "train_batch_size": batch_size,
        "parallel": config.parallel,
        "dtype": config.model.dtype,
        "sampling": tasks.protocol(tasks.detector(config)),
        "parameters": parameters(variables["params"]),
        "images_per_second": settings.batch_size / rows["predict"]["seconds"],
        "seconds_per_image": rows["predict"]["seconds"] / settings.batch_size,
        "train_step_seconds": rows["train_step"]["seconds"] if training else None,
        "peak_memory_bytes": {k: row["peak_memory_bytes"] for k, row in rows.items()},
        "parts": rows,
        "end_to_end": flow,
        "repeats": settings.repeats,
        "compiled_from_cache": bool(settings.cache),
        "notes": NOTES,
    }


def train_size(config):
    """The side of training images: asked for, or the recipe's where it fixes one."""
    data, settings = config.data, config.benchmark
    return settings.train_size or data.crop or data.resize or settings.size


def inference_programs(config, task, variables):
    """{part: Program} of what predicting needs, on images (b, size, size, channels)."""
    settings = config.benchmark
    mode = config.predict.mode if "predict" in config else None
    b = settings.batch_size
    noise_key, prepare = jax.random.key(0), pipeline.preparation(config.data).image
    made = synthetic.scenes(b, (settings.size, settings.size))
    image = np.stack([prepare(scene["image"]) for scene in made])
    keys = inference.image_keys([str(number) for number in range(b)], 0)

    judge = tasks.detector(config)

    def predict(variables, image, keys):
        output = judge.predict(variables, {"image": image}, keys)
        return {mode: inference.chosen(output, mode)} if mode else output

    total = parameters(variables["params"])
    programs = {"predict": Program(predict, (variables, image, keys), total)}
    if not isinstance(task, mask_diffusion.MaskDiffusion):
        return programs
    network = task.network
    x_t = jax.random.normal(noise_key, (*image.shape[:3], 1))
    t = jnp.full((b,), task.schedule.steps // 2, jnp.int32)

    def condition(variables, image):
        return network.apply(variables, image, method=network.condition)

    def denoise(variables, x_t, t, image, feature):
        return network.apply(variables, x_t, t, image, feature, method=network.denoise)

    def part(function, method, *inputs):
        start = functools.partial(network.init, method=method)
        own = jax.eval_shape(start, noise_key, *inputs).get("params", {})
        return Program(function, (variables, *inputs), parameters(own))

    feature, logits = jax.eval_shape(condition, variables, image)
    if feature is not None:
        feature = jnp.ones(feature.shape, feature.dtype)
    programs["denoiser"] = part(denoise, network.denoise, x_t, t, image, feature)
    if feature is not None or logits is not None:
        programs["encoder"] = part(condition, network.condition, image)
    return programs


def train_program(config, variables, size, batch_size):
    """The step of training, on an image batch with a square target in each mask."""
    _, optimiser, step = train.stepper(config, batch_size)
    shape = (batch_size, size, size, config.data.channels)
    image = np.random.default_rng(0).standard_normal(shape, np.float32)
    mask = np.zeros((*shape[:3], 1), np.float32)
    mask[:, : size // 8 + 1, : size // 8 + 1] = 1
    placed = parallel.place((state.create(variables, optimiser), jax.random.key(1)))
    batch, total = {"image": image, "mask": mask}, parameters(variables["params"])
    return Program(step, (placed[0], batch, placed[1]), total)


def cost(program, repeats):
    """(the compiled program, what it costs as a dict), compiled once.

    Of no repeats the seconds are NaN.
    """
    function, arguments = program.function, program.arguments
    begun = time.perf_counter()
    compiled = jax.jit(function).lower(*arguments).compile()
    compile_seconds = time.perf_counter() - begun
    calls = range(1 + repeats if repeats else 0)  # the first warms up
    seconds = [timed(compiled, arguments) for _ in calls][1:]
    # Backends may know neither; then the figures are NaN, and null in the file.
    flops = (compiled.cost_analysis() or {}).get("flops", np.nan)
    return compiled, {
        "seconds": statistics.median(seconds) if seconds else np.nan,
        "compile_seconds": compile_seconds,
        "flops": flops,
        "gmac": flops / 2e9,
        "peak_memory_bytes": planned_bytes(compiled.memory_analysis()),
        "process_memory_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        * KIB,
    }


def timed(function, arguments):
    """Seconds of one call, its results waited for."""
    begun = time.perf_counter()
    jax.block_until_ready(function(*arguments))
    return time.perf_counter() - begun


def planned_bytes(plan):
    """The memory of a compiled program; what results share with arguments counts once.

    NaN where the backend gives no plan.
    """
    if plan is None:
        return np.nan
    return (
        plan.argument_size_in_bytes
        + plan.output_size_in_bytes
        + plan.temp_size_in_bytes
        - plan.alias_size_in_bytes
    )


def parameters(params):
    """The number of parameters of a tree."""
    return sum(x.size for x in jax.tree.leaves(params))


def end_to_end(config, sample, variables):
    """The way from PNG files to detections, at the batch size of the benchmark.

    Args:
      config: whose benchmark.images are drawn, rounded up to whole batches.
      sample: the compiled program `predict`.

    Returns:
      {"images", "seconds", "images_per_second"}, or None for 0 images. Random weights
      find what they find; their detections are listed all the same.
    """
    settings = config.benchmark
    if not settings.images:
        return None
    batches = -(-settings.images // settings.batch_size)
    config = ConfigDict(config.to_dict())
    config.predict.update({"size": 0, "tile": 0})
    config.evaluation.batch_size = settings.batch_size
    config.evaluation.canvas_multiple = settings.size  # so the program's shape fits

    def maps(images, names, seed):
        output = sample(variables, images, inference.image_keys(names, seed))
        return jax.tree.map(np.asarray, output)

    with tempfile.TemporaryDirectory() as folder:
        names = scenes(folder, batches * settings.batch_size, settings.size)
        begun = time.perf_counter()
        jobs = pieces.read(list(names), names, config, {})
        for _, probability in pieces.detect(config, maps, jobs):
            level = evaluate.threshold(config.evaluation, config.predict.mode)
            predict.listed(probability > level, probability)
        seconds = time.perf_counter() - begun
    return {
        "images": len(names),
        "seconds": seconds,
        "images_per_second": len(names) / seconds,
    }


def scenes(folder, count, size):
    """Writes generated scenes as 8-bit PNG files; {path: name}."""
    names = {}
    for number, scene in enumerate(synthetic.scenes(count, (size, size))):
        path = pathlib.Path(folder) / f"{number}.png"
        files.write_image(path, np.uint8(np.rint(scene["image"][..., 0] * 255)))
        names[path] = path.stem
    return names


COLUMNS = {
    "parameters": lambda row: f"{row['parameters']:,}",
    "GMAC": lambda row: f"{row['gmac']:.3f}",
    "seconds": lambda row: f"{row['seconds']:.4f}",
    "compile s": lambda row: f"{row['compile_seconds']:.1f}",
    "peak MiB": lambda row: f"{row['peak_memory_bytes'] / 2**20:.1f}",
    "process MiB": lambda row: f"{row['process_memory_bytes'] / 2**20:.0f}",
}


def table(report):
    """The report as text for a terminal."""
    size, batch = report["image_size"], report["batch_size"]
    side, train_batch = report["train_image_size"], report["train_batch_size"]
    lines = [
        f"{report['name']} on {report['device_count']} x {report['device']}, "
        f"jax {report['jax']}, {report['dtype']}",
        f"images {size}x{size} in batches of {batch}; training {side}x{side} in "
        f"batches of {train_batch} ({report['parallel']}); median of "
        f"{report['repeats']} calls",
        "",
        f"{'':12}" + "".join(f"{name:>13}" for name in COLUMNS),
    ]
    for name, row in report["parts"].items():
        cells = "".join(f"{cell(row):>13}" for cell in COLUMNS.values())
        lines.append(f"{name:12}{cells}")
    return "\n".join([*lines, "", *remarks(report)])


def remarks(report):
    """What follows from the table, and what its figures leave out."""
    parts, sampling = report["parts"], report["sampling"]
    how = ", ".join(f"{name} {value}" for name, value in sampling.items())
    lines = [
        f"an image{' (' * bool(how)}{how}{')' * bool(how)}: "
        f"{report['seconds_per_image']:.4f} s, "
        f"{report['images_per_second']:.3f} images a second"
        if report["repeats"]
        else "nothing was run (benchmark.repeats=0)"
    ]
    if report["end_to_end"]:
        flow = report["end_to_end"]
        lines.append(
            f"from {flow['images']} PNG files to detections: "
            f"{flow['images_per_second']:.3f} images a second"
        )
    if "encoder" in parts:
        share = parts["encoder"]["flops"] / (
            parts["encoder"]["flops"] + parts["denoiser"]["flops"]
        )
        lines.append(
            f"run once an image, the encoder spares {share:.1%} of every further step"
        )
    return lines + [f"{name}: {note}" for name, note in report["notes"].items()]
