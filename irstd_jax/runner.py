"""Masks by an exported detector, without irstd_jax.

  python run_exported.py detector.stablehlo FOLDER OUT
  python run_exported.py detector.onnx      FOLDER OUT

needs numpy, Pillow, and jax or, for .onnx, onnxruntime. The header lies beside the
detector. Images larger than it goes through in tiles, side by side.
"""

import json
import pathlib
import sys

import numpy as np
from PIL import Image

SUFFIXES = (".png", ".bmp", ".tif", ".tiff", ".jpg", ".jpeg")


def load(data, suffix):
    """The function images (b, h, w, 1) in [0, 1] -> probabilities of a file's bytes."""
    if suffix == ".onnx":
        import onnxruntime

        session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
        name = session.get_inputs()[0].name
        return lambda images: session.run(None, {name: images})[0]
    import jax
    from jax import export

    return jax.jit(export.deserialize(bytearray(data)).call)


def read(path):
    """The grey image, float32 (h, w) in [0, 1], as irstd_jax reads it.

    Raises ValueError for numbers beyond 16 bits, or floating point outside [0, 1].
    """
    with Image.open(path) as image:
        if image.mode[0] not in "IF":
            # By way of RGB palettes are looked up, and transparency is dropped.
            return np.asarray(image.convert("RGB").convert("L"), np.float32) / 255
        grey = np.asarray(image).astype(np.float32)
        if image.mode != "F":
            grey = grey / 65535
    if not (grey.min() >= 0 and grey.max() <= 1):
        raise ValueError(
            f"{path} holds numbers beyond 16 bits, or floating point outside [0, 1]: "
            "save it as 8-bit or 16-bit grey"
        )
    return grey


def stretched(image, percentile):
    """An image (h, w) with its levels drawn out as irstd_jax's data.stretch does it."""
    ends = np.array([percentile, 100 - percentile], np.float32)
    low, high = np.percentile(image, ends)
    if not high > low:
        low, high = image.min(), image.max()
    if not high > low:
        return image
    return np.clip((image - low) / (high - low), 0, 1).astype(np.float32)


def detect(predict, image, size, resized):
    """The probability (H, W) of an image (H, W) by a network of images of `size`."""
    (height, width), (h, w) = image.shape, size
    if resized:
        there = Image.fromarray(image).resize((w, h), Image.Resampling.BILINEAR)
        found = np.asarray(predict(np.asarray(there)[None, ..., None]))[0, ..., 0]
        back = Image.fromarray(found).resize((width, height), Image.Resampling.BILINEAR)
        return np.asarray(back)
    image = np.pad(image, ((0, -height % h), (0, -width % w)), "reflect")
    rows, columns = image.shape[0] // h, image.shape[1] // w
    tiles = image.reshape(rows, h, columns, w).swapaxes(1, 2).reshape(-1, h, w, 1)
    found = np.asarray(predict(tiles)).reshape(rows, columns, h, w)
    return found.swapaxes(1, 2).reshape(image.shape)[:height, :width]


def main(file, source, output):
    """Writes OUT/NAME.png, 0 and 255, for every image of a folder."""
    file, output = pathlib.Path(file), pathlib.Path(output)
    about = json.loads(file.with_name(file.name + ".json").read_text())
    predict = load(file.read_bytes(), file.suffix)
    output.mkdir(parents=True, exist_ok=True)
    for path in sorted(pathlib.Path(source).iterdir()):
        if path.suffix.lower() in SUFFIXES:
            image = read(path)
            # Files of earlier versions did it by themselves, to each tile.
            if about.get("stretch"):
                image = stretched(image, about["stretch"])
            found = detect(predict, image, about["size"], about["resized"])
            mask = np.uint8(255) * (found > about["threshold"])
            Image.fromarray(mask).save(output / f"{path.stem}.png")


if __name__ == "__main__":
    main(*sys.argv[1:])
