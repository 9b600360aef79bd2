"""Predictions drawn on their image, with a zoom of every target beside it.

With the truth, each target is a hit (green box, its true outline purple), a false alarm
(red diamond) or a miss (yellow circle): form and colour both tell. A predicted
component is a hit if it shares a pixel with a true one. The metrics match by other
rules, so the counts here are for the eye.
"""

from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw
from scipy import ndimage

from irstd_jax.viz import canvas

ZOOM = 124
EIGHT = np.ones((3, 3), bool)


class Mark(NamedTuple):
    """A target to point at: half-open box in pixels, its colour and what to write."""

    box: tuple[int, int, int, int]
    colour: tuple[int, int, int]
    text: str


def overlay(image, prediction, truth=None, boxes=None, texts=None):
    """Draws a prediction on its image, enlarged if small, zooms at the right.

    Args:
      image: (h, w) or (h, w, 1), any range; contrast is stretched.
      prediction: mask (h, w) or (h, w, 1), true above 0.
      truth: mask of the same size or None.
      boxes: (y0, x0, y1, x1) of the detections, half-open; by default those of the
        prediction's 8-connected components.
      texts: a text for each of `boxes`, such as its score.
    """
    image, prediction = canvas.plane(image), canvas.plane(prediction) > 0
    truth = None if truth is None else canvas.plane(truth) > 0
    for mask in (prediction,) if truth is None else (prediction, truth):
        if mask.shape != image.shape:
            raise ValueError(f"mask of {mask.shape} for an image of {image.shape}")
    marks = find_marks(prediction, truth, boxes, texts)
    scale = magnification(image.shape)
    base = canvas.grey(image)
    main = outlined(canvas.enlarge(base, scale), prediction, truth, scale)
    main = point_at(main, marks, scale)
    column = zooms(base, prediction, truth, marks, max(main.shape[0], ZOOM))
    picture = canvas.grid([[main, column]]) if marks else main
    return legend(picture, marks, truth is not None)


def verdict(image, prediction, truth):
    """The image with hits, false alarms and misses pointed at: `overlay` in one cell.

    Args and colours as of `overlay`; no zooms, no numbers.
    """
    image = canvas.plane(image)
    prediction, truth = canvas.plane(prediction) > 0, canvas.plane(truth) > 0
    marks = find_marks(prediction, truth)
    scale = magnification(image.shape)
    base = canvas.enlarge(canvas.grey(image), scale)
    drawn = outlined(base, prediction, truth, scale)
    return point_at(drawn, marks, scale, [""] * len(marks))


def magnification(shape):
    """How often pixels are repeated: 2 at 256 pixels, 4 at 135, 1 from 480 on."""
    return int(np.clip(-(-480 // max(shape)), 1, 4))


def components(mask):
    """Boxes (y0, x0, y1, x1) and masks of the 8-connected components."""
    labels, _ = ndimage.label(mask, EIGHT)
    found = []
    for number, (rows, columns) in enumerate(ndimage.find_objects(labels), start=1):
        box = rows.start, columns.start, rows.stop, columns.stop
        found.append((box, labels == number))
    return found


def find_marks(prediction, truth, boxes=None, texts=None):
    """What to point at: detections first, then the targets that were missed."""
    if boxes is None:
        boxes = [box for box, _ in components(prediction)]
    texts = [""] * len(boxes) if texts is None else texts
    marks = []
    for (y0, x0, y1, x1), text in zip(boxes, texts, strict=True):
        colour = canvas.PREDICTION
        if truth is not None:
            inside = prediction[y0:y1, x0:x1] & truth[y0:y1, x0:x1]
            colour = canvas.HIT if inside.any() else canvas.WRONG
        marks.append(Mark((y0, x0, y1, x1), colour, str(text)))
    if truth is not None:
        for box, mask in components(truth):
            if not (mask & prediction).any():
                marks.append(Mark(box, canvas.MISS, ""))
    return marks


def outlined(picture, prediction, truth, scale):
    """The picture with masks' outlines just outside of them, 1 screen pixel wide."""
    picture = picture.copy()
    if truth is None:
        picture[outline(prediction, scale)] = canvas.PREDICTION
        return picture
    hits, found = touching(prediction, truth), touching(truth, prediction)
    layers = {
        canvas.TRUTH: found,
        canvas.MISS: truth & ~found,
        canvas.WRONG: prediction & ~hits,
        # Last, so that where outlines fall together the prediction's shows.
        canvas.HIT: hits,
    }
    for colour, mask in layers.items():
        picture[outline(mask, scale)] = colour
    return picture


def touching(mask, other):
    """The components of a mask that share a pixel with another one."""
    labels, _ = ndimage.label(mask, EIGHT)
    return np.isin(labels, np.setdiff1d(labels[other], [0]))


def outline(mask, scale):
    """The ring around an enlarged mask."""
    mask = canvas.enlarge(mask, scale)
    ring = np.zeros_like(mask)
    ring[1:] |= mask[:-1]
    ring[:-1] |= mask[1:]
    ring[:, 1:] |= mask[:, :-1]
    ring[:, :-1] |= mask[:, 1:]
    return ring & ~mask


def point_at(picture, marks, scale, labels=None):
    """Draws a box, diamond or circle around each target, with its number or label."""
    labels = range(1, len(marks) + 1) if labels is None else labels
    image = Image.fromarray(picture)
    draw = ImageDraw.Draw(image)
    height, width = picture.shape[:2]
    for label, mark in zip(map(str, labels), marks, strict=True):
        y0, x0, y1, x1 = (edge * scale for edge in mark.box)
        y, x, r = (y0 + y1) / 2, (x0 + x1) / 2, max(y1 - y0, x1 - x0) / 2 + 8
        frame = (x - r, y - r, x + r, y + r)
        if mark.colour == canvas.WRONG:
            r += 4
            tips = [(x, y - r), (x + r, y), (x, y + r), (x - r, y)]
            draw.polygon(tips, outline=mark.colour, width=2)
        elif mark.colour == canvas.MISS:
            draw.ellipse(frame, outline=mark.colour, width=2)
        else:
            draw.rectangle(frame, outline=mark.colour, width=2)
        length = canvas.LARGE.getlength(label)
        left = x + r + 3 if x + r + 3 + length < width else x - r - 3 - length
        top = min(max(y - r - 5, 0), height - 20)
        draw.text(
            (left, top),
            label,
            fill=mark.colour,
            font=canvas.LARGE,
            stroke_width=1,
            stroke_fill=(0, 0, 0),
        )
    return np.asarray(image)


def zooms(base, prediction, truth, marks, height):
    """Magnified targets below one another, in columns of `height` pixels."""
    cell = ZOOM + canvas.BAND + canvas.GAP
    fits = max(1, (height + canvas.GAP) // cell)
    shown = marks[: 3 * fits]
    cells = []
    for number, mark in enumerate(shown, start=1):
        text = f"{number}  {mark.text}"
        if number == len(shown) < len(marks):
            text = f"{number}  (+{len(marks) - number} more)"
        cells.append(canvas.caption(zoom(base, prediction, truth, mark), text))
    columns = [cells[i : i + fits] for i in range(0, len(cells), fits)]
    if not columns:
        return np.zeros((0, 0, 3), np.uint8)
    return canvas.grid([[canvas.grid([[c] for c in column]) for column in columns]])


def zoom(base, prediction, truth, mark):
    """The surroundings of one target, enlarged, in a frame of its colour."""
    y0, x0, y1, x1 = mark.box
    side = max(16, round(1.8 * max(y1 - y0, x1 - x0)))
    scale = max(1, (ZOOM - 4) // side)
    rows, columns = around(y0, y1, side), around(x0, x1, side)

    def cut(array):
        # Beyond the image's edge everything is black.
        place = np.ix_(
            np.clip(rows, 0, array.shape[0] - 1),
            np.clip(columns, 0, array.shape[1] - 1),
        )
        inside = np.outer(
            (rows >= 0) & (rows < array.shape[0]),
            (columns >= 0) & (columns < array.shape[1]),
        )
        return array[place] * (inside[..., None] if array.ndim == 3 else inside)

    part = outlined(
        canvas.enlarge(cut(base), scale),
        cut(prediction),
        None if truth is None else cut(truth),
        scale,
    )
    framed = np.full((ZOOM, ZOOM, 3), mark.colour, np.uint8)
    framed[2:-2, 2:-2] = canvas.fit(part, ZOOM - 4)
    return framed


def around(start, stop, side):
    """`side` indices centred on start..stop."""
    first = (start + stop - side) // 2
    return np.arange(first, first + side)


def legend(picture, marks, judged):
    """A line below the picture that counts hits, false alarms and misses."""
    names = {canvas.PREDICTION: "detected"}
    if judged:
        names = {canvas.HIT: "hit", canvas.WRONG: "false", canvas.MISS: "missed"}
    texts = {
        colour: f"{sum(mark.colour == colour for mark in marks)} {name}"
        for colour, name in names.items()
    }
    if judged:
        texts[canvas.TRUTH] = "truth of hits"
    height, width = picture.shape[:2]
    picture = canvas.pad(picture, height + canvas.BAND, max(width, 280))
    left = 6
    for colour, text in texts.items():
        picture = canvas.write(picture, text, (height + 2, left), colour)
        left += int(canvas.FONT.getlength(text)) + 16
    return picture
