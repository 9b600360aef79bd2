"""The paper's figures for an image: how a detection comes about.

  sampling    the chain of x0 predictions from noise to mask (Fig. 10)
  posterior   samples of one posterior, their mean and deviation (Fig. 11)
  wavelet     Haar components of the skip that LIW cleans, and LIW's residual (4, 5)
  activation  the encoder's features with and without LIW (Fig. 6)

"Without LIW" has two meanings, and both are shown from the same weights: the skip of
En2 before LIW, beside the same skip behind it; and De2 with LIW skipped, a network that
was not trained so. Neither is the paper's network trained without LIW.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from irstd_jax import inference, viz
from irstd_jax.data import pipeline, transforms
from irstd_jax.diffusion import samplers, spacing
from irstd_jax.ops import haar
from irstd_jax.tasks import views
from irstd_jax.viz import canvas, figures

KINDS = ("sampling", "posterior", "wavelet", "activation")
SAMPLES = 7  # with image, mean and deviation two rows of five
FRAMES = 8


def drawer(config, task, variables):
    """`draw(image (h, w, 1) in [0, 1], name) -> {kind: uint8 picture}`.

    Kinds that the network has no part for (no encoder, no LIW) are left out. It is
    compiled once a canvas.
    """
    if config.task.name != "mask_diffusion":
        raise ValueError(
            f"figures are of the task mask_diffusion, and these weights are of "
            f"{config.task.name!r}: set --config.predict.figures=0"
        )
    if isinstance(task, views.Views):
        task = task.task  # a chain and a map of features are of the image as it is
    sampling = dataclasses.replace(task.sampling, samples=SAMPLES)
    sample = inference.predictor(
        dataclasses.replace(task, sampling=sampling),
        keep=("samples", "trajectory"),
        trajectory=True,
    )
    network = task.network
    if hasattr(network, "remat"):
        network = network.clone(remat=False)
    look = jax.jit(lambda variables, image: features(network, variables, image))
    prepare = pipeline.preparation(config.data).image
    settings, times = config.evaluation, visited(task)

    def draw(image, name):
        height, width, _ = image.shape
        multiple = settings.canvas_multiple
        padded = transforms.pad_to_multiple(prepare(image), multiple)[0][None]
        drawn = sample(variables, padded, [name], settings.seed)
        drawn = {k: v[0, :, :height, :width, 0] for k, v in drawn.items()}
        pictures = {
            "sampling": strip(drawn["trajectory"], times),
            "posterior": viz.posterior_samples(drawn["samples"], image),
        }
        if getattr(network, "conditional_encoder", False):
            maps = cropped(look(variables, padded), padded.shape[1:3], (height, width))
            if network.liw:
                pictures["wavelet"] = wavelet(maps)
            pictures["activation"] = activations(image, maps)
        return pictures

    return draw


def window(image, probability, side):
    """The part of an image (h, w, 1) around its largest probability (h, w).

    Args:
      side: of the part in pixels; smaller images, and all for 0, stay whole.
    """
    centre = np.unravel_index(probability.argmax(), probability.shape)
    starts = [
        int(np.clip(c - side // 2, 0, max(n - side, 0))) if side else 0
        for c, n in zip(centre, probability.shape, strict=True)
    ]
    y, x = starts
    return image[y : y + side, x : x + side] if side else image


def visited(task):
    """The times t of all network calls of the task's sampler."""
    sampling = task.sampling
    even = "logsnr" if sampling.sampler in ("dpm_solver", "edm_heun") else "uniform"
    grid = spacing.noise_levels(task.schedule, sampling.steps, sampling.spacing, even)
    if sampling.strength < 1:
        grid = samplers.last_levels(grid, sampling.strength)
    return samplers.SAMPLERS[sampling.sampler](grid).t


def strip(trajectory, times):
    """At most FRAMES of the chain (n, h, w), evenly chosen, with first and last."""
    count = min(len(times), FRAMES)
    chosen = np.rint(np.linspace(0, len(times) - 1, count)).astype(int)
    return viz.sampling_strip(trajectory[chosen], [int(times[i]) for i in chosen])


def features(network, variables, image):
    """{name: map (b, h', w', c) float32} of what CE makes of an image (b, h, w, c).

    before, after: the skip of En2 in front of and behind LIW; de_2: the feature that
    the denoiser sees; skipped: de_2 with LIW left out; ll, hl, lh, hh: of `before`.
    """

    def wanted(module, method):
        return module.name in ("en_2", "liw", "de_2") and method == "__call__"

    _, state = network.apply(
        variables,
        image,
        method="condition",
        capture_intermediates=wanted,
        mutable=["intermediates"],
    )
    found = state["intermediates"]["encoder"]
    maps = {name: outputs["__call__"][0] for name, outputs in found.items()}
    maps["before"] = maps.pop("en_2")
    if network.liw:
        maps["after"] = maps.pop("liw")
        maps["skipped"], _ = network.clone(liw=False).apply(
            variables, image, method="condition"
        )
        maps["ll"], (maps["hl"], maps["lh"], maps["hh"]) = haar.dwt(maps["before"])
    return {name: x.astype(jnp.float32) for name, x in maps.items()}


def cropped(maps, padded, size):
    """The maps of the first image, without what belongs to its padding."""
    result = {}
    for name, x in maps.items():
        keep = [
            -(-n * side // whole)
            for n, side, whole in zip(size, x.shape[1:3], padded, strict=True)
        ]
        result[name] = np.asarray(x)[0, : keep[0], : keep[1]]
    return result


def wavelet(maps):
    """A lively channel that LIW changes: its Haar components, and LIW's residual."""
    before, change = maps["before"], maps["after"] - maps["before"]
    # Many channels are silent behind their ReLU, and show nothing.
    lively = np.std(before, axis=(0, 1)) * np.std(change, axis=(0, 1))
    channel = int(np.argmax(lively))
    one = {name: x[..., channel] for name, x in maps.items() if name != "de_2"}
    components = viz.wavelet(one["ll"], one["hl"], one["lh"], one["hh"])
    residual = viz.residual(one["before"], one["after"])
    above = f"Haar components of the skip of En2 before LIW, channel {channel}"
    below = "the same channel in front of and behind LIW; their difference is R"
    return canvas.grid(
        [[canvas.caption(components, above)], [canvas.caption(residual, below)]]
    )


def activations(image, maps):
    """The image under each map's strength, each from its least to its largest."""
    titles = {
        "before": "skip of En2, before LIW",
        "after": "skip of En2, after LIW",
        "skipped": "De2, LIW skipped in the same weights",
        "de_2": "De2, what the denoiser sees",
    }
    cells = {"image": canvas.fit(canvas.grey(image), 2 * figures.SIDE)}
    for name, title in titles.items():
        if name in maps:
            cells[title] = viz.activation(image, maps[name])
    return canvas.grid([[canvas.caption(cell, text) for text, cell in cells.items()]])
