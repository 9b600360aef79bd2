"""The IRSTD-Diff paper's figures: chains, posterior samples, wavelets, activations."""

import numpy as np
from PIL import Image

from irstd_jax.viz import canvas

SIDE = 192


def sampling_strip(trajectory, times, centre=None, width=24):
    """The chain from noise to mask, with a magnified row below (Fig. 10).

    Args:
      trajectory: (s, h, w), first the noise, last the mask. Each picture spans its own
        least to largest value.
      times: a time for each, written above it.
      centre: (y, x) of the magnified part; by default the final mask's largest value.
      width: side of the magnified part in pixels.
    """
    trajectory = np.asarray(trajectory, np.float64)
    if len(times) != len(trajectory):
        raise ValueError(f"{len(times)} times for {len(trajectory)} pictures")
    place = part(trajectory[-1], centre, width)
    cells = [
        detailed(canvas.grey(frame, frame.min(), frame.max()), f"t = {time}", place)
        for frame, time in zip(trajectory, times, strict=True)
    ]
    return canvas.grid([cells])


def part(frame, centre, width):
    """Top, left and side of a square in the frame, around its largest value."""
    if centre is None:
        centre = np.unravel_index(frame.argmax(), frame.shape)
    width = min(width, *frame.shape)
    top, left = (
        int(np.clip(c - width // 2, 0, n - width))
        for c, n in zip(centre, frame.shape, strict=True)
    )
    return top, left, width


def detailed(shades, title, place):
    """A titled picture with the square that is magnified below it."""
    top, left, width = place
    scale = max(1, SIDE // max(shades.shape))
    large = canvas.enlarge(shades, scale)
    whole = canvas.fit(framed(large, top * scale, left * scale, width * scale), SIDE)
    detail = canvas.fit(shades[top : top + width, left : left + width], SIDE)
    return canvas.grid(
        [[canvas.caption(canvas.pad(whole, len(whole), SIDE), title)], [detail]]
    )


def framed(picture, top, left, side):
    """Draws the square that is magnified elsewhere."""
    picture = picture.copy()
    bottom, right = top + side - 1, left + side - 1
    picture[[top, bottom], left : right + 1] = canvas.PREDICTION
    picture[top : bottom + 1, [left, right]] = canvas.PREDICTION
    return picture


def posterior_samples(
    samples, image=None, truth=None, columns=5, centre=None, width=24
):
    """Samples of one posterior, their mean and their deviation (Fig. 11).

    Args:
      samples: (n, h, w) in [0, 1].
      image, truth: shown first where given.
      columns: pictures in a row.
      centre, width: what is magnified, as in `sampling_strip`; by default around the
        largest mean.
    """
    samples = np.asarray(samples, np.float64)
    cells = {}
    if image is not None:
        cells["image"] = canvas.grey(image)
    if truth is not None:
        cells["truth"] = canvas.picture(np.asarray(truth) > 0)
    for number, sample in enumerate(samples, start=1):
        cells[f"sample {number}"] = canvas.grey(sample, 0, 1)
    cells["mean"] = canvas.grey(samples.mean(axis=0), 0, 1)
    deviation = samples.std(axis=0)
    # 0.5 is the largest deviation that values in [0, 1] can have.
    cells[f"deviation, at most {deviation.max():.2f}"] = canvas.heat(deviation, 0, 0.5)
    place = part(samples.mean(axis=0), centre, width)
    titled = [detailed(cell, title, place) for title, cell in cells.items()]
    return canvas.grid(
        [titled[i : i + columns] for i in range(0, len(titled), columns)]
    )


def wavelet(ll, hl, lh, hh):
    """The four components of a Haar transform, (h, w) each (Fig. 4).

    LL is in grey; the details share one signed scale, white at zero.
    """
    details = {"HL": hl, "LH": lh, "HH": hh}
    limit = spread([canvas.plane(detail) for detail in details.values()])
    cells = [canvas.caption(canvas.fit(canvas.grey(ll), 2 * SIDE), "LL")]
    for name, detail in details.items():
        shown = canvas.fit(canvas.signed(detail, limit), 2 * SIDE)
        cells.append(canvas.caption(shown, f"{name}, blue to red: ±{limit:.2g}"))
    return canvas.grid([cells[:2], cells[2:]])


def residual(before, after):
    """What a module changed: before, after and their signed difference (Fig. 5)."""
    before, after = canvas.plane(before), canvas.plane(after)
    low, high = np.percentile(np.stack([before, after]), [0.1, 99.9])
    difference = after.astype(np.float64) - before
    limit = spread([difference])
    cells = {
        "before": canvas.grey(before, low, high),
        "after": canvas.grey(after, low, high),
        f"after - before, blue to red: ±{limit:.2g}": canvas.signed(difference, limit),
    }
    return canvas.grid(
        [[canvas.caption(canvas.fit(c, 2 * SIDE), title) for title, c in cells.items()]]
    )


def spread(arrays):
    """The 99.8 percentile of magnitudes: a signed scale's end, above 0."""
    values = np.concatenate([np.abs(array).ravel() for array in arrays])
    return float(np.percentile(values, 99.8)) or float(values.max()) or 1.0


def activation(image, feature):
    """A feature map's strength as heat over the image (Fig. 6).

    Args:
      image: (h, w) or (h, w, 1).
      feature: (h', w') or (h', w', c) at any resolution; the mean magnitude over
        channels is shown from its least value (image alone) to its largest (bright).
    """
    feature = np.abs(np.asarray(feature, np.float32))
    strength = feature.mean(axis=-1) if feature.ndim == 3 else feature
    shades = canvas.grey(image).astype(np.float64)
    height, width, _ = shades.shape
    resized = Image.fromarray(strength).resize(
        (width, height), Image.Resampling.BILINEAR
    )
    level = np.asarray(resized, np.float64) - strength.min()
    level = np.clip(level / max(np.ptp(strength), 1e-12), 0, 1)
    share = 0.85 * level[..., None] ** 0.5
    mixed = (1 - share) * shades + share * canvas.heat(level, 0, 1)
    return canvas.fit(mixed.round().astype(np.uint8), 2 * SIDE)
