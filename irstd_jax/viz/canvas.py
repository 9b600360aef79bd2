"""What all pictures are made of: grey levels, heat maps, captions and grids."""

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

# Colours of Okabe and Ito, told apart with any kind of colour vision.
HIT = (0, 158, 115)
WRONG = (213, 94, 0)
MISS = (240, 228, 66)
PREDICTION = (86, 180, 233)
TRUTH = (204, 121, 167)
PAPER = 24  # of 255, in all channels
INK = (235, 235, 235)

FONT = ImageFont.load_default(size=13)
LARGE = ImageFont.load_default(size=17)
BAND = 20
GAP = 4


def plane(array):
    """(h, w) of (h, w) or (h, w, 1)."""
    array = np.asarray(array)
    if array.ndim == 3 and array.shape[-1] == 1:
        array = array[..., 0]
    if array.ndim != 2:
        raise ValueError(f"an image must be (h, w) or (h, w, 1), not {array.shape}")
    return array


def grey(array, low=None, high=None):
    """Grey picture of an image; `low` becomes black and `high` white.

    By default the range is stretched to the 0.1 and 99.9 percentiles, which makes a
    dark 16-bit image visible.
    """
    array = plane(array).astype(np.float64)
    low = np.percentile(array, 0.1) if low is None else low
    high = np.percentile(array, 99.9) if high is None else high
    level = np.clip((array - low) / max(high - low, 1e-12), 0, 1)
    return np.repeat(np.round(level * 255).astype(np.uint8)[..., None], 3, axis=2)


def heat(array, low, high, colours="inferno"):
    """Picture of a map in a matplotlib colour map, from `low` to `high`."""
    level = np.clip((plane(array) - low) / max(high - low, 1e-12), 0, 1)
    return (
        (matplotlib.colormaps[colours](level)[..., :3] * 255).round().astype(np.uint8)
    )


def signed(array, limit):
    """Picture of a map around zero: blue below, white at zero, red above."""
    return heat(array, -limit, limit, "RdBu_r")


def picture(array):
    """uint8 (h, w, 3) of what a cell may hold: RGB, a mask, or an image in [0, 1]."""
    array = np.asarray(array)
    if array.ndim == 3 and array.shape[-1] == 3 and array.dtype == np.uint8:
        return array
    if array.dtype == np.uint8:
        return grey(array, 0, 255 if array.max(initial=0) > 1 else 1)
    return grey(array, 0, 1)


def enlarge(array, factor):
    """Repeats every pixel `factor` times along both axes."""
    return array.repeat(factor, axis=0).repeat(factor, axis=1)


def fit(array, side):
    """Scales a picture so that its longer side is `side` pixels."""
    height, width = array.shape[:2]
    scale = side / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    how = Image.Resampling.NEAREST if scale >= 1 else Image.Resampling.BOX
    return np.asarray(Image.fromarray(array).resize(size, how))


def pad(array, height, width):
    """Puts a picture in the upper left corner of a dark one."""
    canvas = np.full((height, width, 3), PAPER, np.uint8)
    canvas[: array.shape[0], : array.shape[1]] = array
    return canvas


def write(array, text, position, colour=INK):
    """The picture with a text whose upper left corner is at (y, x)."""
    image = Image.fromarray(array)
    ImageDraw.Draw(image).text(position[::-1], text, fill=colour, font=FONT)
    return np.asarray(image)


def shorten(text, width):
    """The text, or as much of it as `width` pixels hold."""
    if FONT.getlength(text) <= width:
        return text
    while text and FONT.getlength(text + "…") > width:
        text = text[:-1]
    return text + "…"


def caption(array, text):
    """The picture under a band with its title."""
    height, width = array.shape[:2]
    band = np.full((BAND, width, 3), PAPER, np.uint8)
    return np.concatenate([write(band, shorten(text, width - 6), (2, 3)), array])


def grid(rows):
    """Rows of pictures on one; columns are as wide as their widest picture."""
    columns = max(len(row) for row in rows)
    widths = [
        max(row[i].shape[1] for row in rows if i < len(row)) for i in range(columns)
    ]
    lines = []
    for row in rows:
        height = max(cell.shape[0] for cell in row)
        blank = np.full((0, 0, 3), 0, np.uint8)
        cells = list(row) + [blank] * (columns - len(row))
        line = [
            pad(cell, height + GAP, width + GAP)
            for cell, width in zip(cells, widths, strict=True)
        ]
        lines.append(np.concatenate(line, axis=1))
    return np.concatenate(lines)[:-GAP, :-GAP]


def contact_sheet(rows, titles=None, side=256):
    """Many pictures on one sheet, a row each image, a column each kind of picture.

    Args:
      rows: for each row a dict {title: array} or a sequence of arrays: RGB uint8,
        masks, or images and probabilities in [0, 1], of any sizes. An entry "name"
        that is a text is written above its row.
      titles: the columns' titles; by default the keys of the first row.
      side: pixels of a cell's longer side.
    """
    if not len(rows):
        raise ValueError("a contact sheet needs at least one row")
    names, cells, keys = zip(*(parts(row) for row in rows), strict=True)
    titles = keys[0] if titles is None else titles
    lines = []
    for number, row in enumerate(cells):
        if len(row) != len(titles):
            raise ValueError(f"row {number} has {len(row)} cells, not {len(titles)}")
        row = [fit(picture(cell), side) for cell in row]
        row = [pad(cell, cell.shape[0], side) for cell in row]
        if any(names):
            texts = [names[number]] + [""] * (len(row) - 1)
            row = [caption(*pair) for pair in zip(row, texts, strict=True)]
        if number == 0 and any(titles):
            row = [caption(*pair) for pair in zip(row, titles, strict=True)]
        lines.append(row)
    return grid(lines)


def parts(row):
    """A row's name, its cells and their titles."""
    if not isinstance(row, dict):
        return "", list(row), [""] * len(row)
    cells = {title: cell for title, cell in row.items() if not isinstance(cell, str)}
    return row.get("name", ""), list(cells.values()), list(cells)
