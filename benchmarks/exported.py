"""Exported detectors beside each other: processor time, and whose masks differ.

  python benchmarks/exported.py detector.stablehlo half.stablehlo detector.onnx

The first file is what the others are held against. For each .onnx file a copy with
convolutions in int8 is made and timed, too (post-training, static, a scale a channel,
ranges of generated scenes, by onnxruntime.quantization). Batch 1, of the files' size.
Processor time: pin it to one core (`taskset -c 0`), on an idle machine. Beside other
work it varied by a factor of two.
"""

import json
import pathlib
import statistics
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))

from irstd_jax import platform  # noqa: E402

platform.prepare()

import numpy as np  # noqa: E402

from irstd_jax import export, runner  # noqa: E402

REPEATS = 25


def main(paths):
    """Prints a line a file; returns the exit code."""
    if not paths:
        print(__doc__)
        return 1
    with tempfile.TemporaryDirectory() as folder:
        files = dict(listed(paths, pathlib.Path(folder)))
        about = json.loads(pathlib.Path(paths[0] + ".json").read_text())
        images = export.scenes(about["size"])
        nets = {n: runner.load(p.read_bytes(), p.suffix) for n, p in files.items()}
        masks = {n: masked(net, images, about["threshold"]) for n, net in nets.items()}
        seconds = timed(nets, images[:1])
    first = next(iter(nets))
    print("file: time of it / of the first (ms), pixels of its masks that differ")
    for name in nets:
        ratio, differ = seconds[name] / seconds[first], masks[name] != masks[first]
        print(f"{name}: {ratio:.2f} ({1e3 * seconds[name]:.1f}), {differ.mean():.1e}")
    return 0


def listed(paths, folder):
    """(name, path) of every file, and of the copy in int8 of every .onnx."""
    for path in map(pathlib.Path, paths):
        yield path.name, path
        if path.suffix == ".onnx":
            yield f"{path.name} in int8", in_int8(path, folder / path.name)


def in_int8(path, output):
    """A copy whose convolutions take and give 8-bit numbers."""
    from onnxruntime import InferenceSession, quantization
    from onnxruntime.quantization.shape_inference import quant_pre_process

    size = json.loads(path.with_name(path.name + ".json").read_text())["size"]
    name = InferenceSession(path).get_inputs()[0].name

    class Scenes(quantization.CalibrationDataReader):
        left = [{name: image[None]} for image in export.scenes(size)]

        def get_next(self):
            return self.left.pop() if self.left else None

    prepared = output.with_suffix(".prepared.onnx")
    quant_pre_process(str(path), str(prepared), skip_symbolic_shape=True)
    quantization.quantize_static(
        str(prepared),
        str(output),
        Scenes(),
        op_types_to_quantize=["Conv"],
        activation_type=quantization.QuantType.QUInt8,
        per_channel=True,
    )
    return output


def masked(net, images, threshold):
    return np.asarray(net(images)) > threshold


def timed(nets, image):
    """{name: median seconds of the processor}, taken in turn after a warm-up."""
    seconds = {name: [] for name in nets}
    for _ in range(REPEATS + 1):
        for name, net in nets.items():
            begun = time.process_time()
            np.asarray(net(image))
            seconds[name].append(time.process_time() - begun)
    return {name: statistics.median(found[1:]) for name, found in seconds.items()}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
