"""Images of any size through the network: read, cut into tiles if large, put together.

Pieces of different images share batches. One image's pieces wait for each other and
nobody else, so what is held in memory is a batch for each size of canvas, not a folder.
"""

import pathlib
from typing import NamedTuple

import jax
import numpy as np
from PIL import Image

from irstd_jax import inference
from irstd_jax.data import images, pipeline, stretch, transforms
from irstd_jax.ops import tiles


class Job(NamedTuple):
    """An image on its way through the network.

    Attributes:
      path: of its file.
      name: of its results.
      native: (h, w, 1) in [0, 1], as in the file.
      image: (h', w', 1), as the network sees it: native, stretched or resized.
      corners: (y, x) of its pieces in `image`; one piece where it is small.
      parts: {corner: prediction} of the pieces that are done: maps (t, t, 1) by mode,
        and "samples" (s, t, t, 1) where they are wanted.
    """

    path: pathlib.Path
    name: str
    native: np.ndarray
    image: np.ndarray
    corners: list
    parts: dict


def read(paths, names, config, failed):
    """Yields a `Job` for every file that can be read; `failed` collects the others."""
    settings, percentile = config.predict, config.data.get("stretch", 0)
    for path in paths:
        try:
            native = images.read_image(path)
        except ValueError as error:
            failed[path.name] = str(error)
            continue
        image = stretch.stretched(native, percentile)
        image = scaled(image, (settings.size,) * 2) if settings.size else image
        height, width, _ = image.shape
        corners = [(0, 0)]
        if settings.tile and max(height, width) > settings.tile:
            corners = tiles.plan(height, width, settings.tile, settings.overlap)
        yield Job(path, names[path], native, image, corners, {})


def detect(config, predict, jobs):
    """Yields (job, probability (h, w) at the network's scale) as they are done.

    Args:
      config: with the blocks data, evaluation and predict.
      predict: (images, names, seed) -> maps by mode.
      jobs: iterable of `Job`.

    Raises ValueError where the device's memory is too small for a batch.
    """
    settings = config.evaluation
    done = inference.predictions(
        predict,
        (piece for job in jobs for piece in cut(job, config.predict.tile)),
        pipeline.preparation(config.data).image,
        batch_size=settings.batch_size,
        multiple=settings.canvas_multiple,
        seed=settings.seed,
    )
    try:
        for piece, prediction in done:
            job = piece["job"]
            job.parts[piece["corner"]] = prediction
            if len(job.parts) == len(job.corners):
                yield job, joined(job, config.predict.mode)
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        raise ValueError(
            f"not enough memory for {settings.batch_size} images or tiles of up to "
            f"{config.predict.tile} px at once: lower --config.evaluation.batch_size "
            "or --config.predict.tile"
        ) from error


def cut(job, tile):
    """The samples that `inference.predictions` takes: the image, or its tiles."""
    if len(job.corners) == 1:
        yield {"name": job.name, "image": job.image, "corner": (0, 0), "job": job}
        return
    for y, x in job.corners:
        part = transforms.padded(job.image[y : y + tile, x : x + tile], (tile, tile))
        yield {
            "name": f"{job.name}@{y},{x}",
            "image": part,
            "corner": (y, x),
            "job": job,
        }


def joined(job, name):
    """A map (h, w) of an image from those of its pieces, or its samples (s, h, w).

    Tiles draw independently: sample j of an image is the blend of sample j of each, so
    that away from the overlaps, where it is a mean of two, it is one draw.
    """
    parts = [job.parts[corner][name][..., 0] for corner in job.corners]
    if len(parts) == 1:
        return parts[0]
    *several, tile, _ = parts[0].shape
    channels = [np.moveaxis(x.reshape(-1, tile, tile), 0, -1) for x in parts]
    size = job.image.shape[:2]
    merged = tiles.merge(np.stack(channels), job.corners, size)
    return np.moveaxis(merged, -1, 0).reshape(*several, *size)


def samples(job):
    """The samples (s, h', w') of a job at its native size, or None without."""
    if "samples" not in job.parts[job.corners[0]]:
        return None
    size = job.native.shape[:2]
    drawn = joined(job, "samples")
    return np.stack([scaled(sample[..., None], size)[..., 0] for sample in drawn])


def scaled(array, size):
    """(h, w, 1) in [0, 1] at another size, bilinear; unchanged at its own."""
    if array.shape[:2] == size:
        return array
    resized = transforms.resampled(array, size, Image.Resampling.BILINEAR)
    return np.clip(resized, 0, 1)
