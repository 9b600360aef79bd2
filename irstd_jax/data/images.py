"""From an image file to an array: every rule of decoding is here, once.

* 8-bit grey is value / 255, 16-bit grey value / 65535.
* Colour becomes grey by Pillow's "L" rule, .299 R + .587 G + .114 B, rounded to 8 bits;
  a palette is looked up first, and transparency is dropped.
* 1-bit is {0, 1}. 32-bit integers must fit into 16 bits, floating point into [0, 1].
* A mask pixel is target where its grey is greater than the threshold (127 of 255).
"""

import io
import os

import numpy as np
from PIL import Image

SUFFIXES = (".png", ".bmp", ".tif", ".tiff", ".jpg", ".jpeg")
COLOUR = ("RGB", "RGBA", "P", "PA", "LA", "La", "RGBa", "RGBX", "CMYK", "YCbCr")


def read_image(file, name=None):
    """The grey image: float32 (h, w, 1) in [0, 1].

    Args:
      file: a path, or the bytes of the file.
      name: what errors call the file; by default its path.
    Raises:
      ValueError: the file is no image that we can read; it is named with the remedy.
    """
    grey, _ = read_grey(file, name)
    return grey[..., None]


def read_mask(file, threshold=127, name=None):
    """The target mask: uint8 (h, w, 1) in {0, 1}, 1 where grey > `threshold` of 255."""
    grey, mode = read_grey(file, name)
    return mask_of(grey, mode, threshold, name or label(file))


def mask_of(grey, mode, threshold, name):
    """The mask of a grey image (h, w) in [0, 1], stored in a mode.

    Masks coded as 0 and 1 are refused, and in 16 bits those with the values of 8.
    """
    white, low = (65535, 255) if mode.startswith("I") else (255, 1)
    stored = np.rint(grey.astype(np.float64) * white)
    if threshold >= 1 and 0 < stored.max() <= low:
        raise ValueError(
            f"the mask {name} holds no value above {stored.max():.0f} of {white}, so "
            f"grey > {threshold} of 255 finds no target in it: save it with {white} "
            "for targets, or set --config.data.mask_threshold=0"
        )
    return (stored > threshold * (white // 255)).astype(np.uint8)[..., None]


def read_grey(file, name=None):
    """(grey, mode): float32 (h, w) in [0, 1], and how the file stores its pixels."""
    name = name or label(file)
    image = opened(file, name)
    try:
        with image:
            return scaled(image, name), image.mode
    except Refused:
        raise
    # Pillow's decoders raise nearly anything at damaged bytes.
    except Exception as error:
        raise ValueError(damaged(name, error)) from error


def read_head(file, name=None):
    """(height, width, mode) from the head of the file; its pixels are not decoded."""
    with opened(file, name or label(file)) as image:
        return image.height, image.width, image.mode


class Refused(ValueError):
    """An image that can be decoded, but has no agreed meaning in [0, 1]."""


def scaled(image, name):
    """The pixels of an open image as grey float32 (h, w) in [0, 1]."""
    mode = image.mode
    if mode == "1":
        return np.asarray(image, np.float32)
    if mode in COLOUR:
        return np.asarray(grey_of(image), np.float32) / 255
    values = np.asarray(image)
    if mode == "L":
        return values.astype(np.float32) / 255
    if mode.startswith("I"):
        if values.min() < 0 or values.max() > 65535:
            raise Refused(
                f"{name} holds integers from {values.min()} to {values.max()}: save it "
                "as 16-bit grey, 0 to 65535"
            )
        return values.astype(np.float32) / 65535
    if mode == "F":
        if not (np.isfinite(values).all() and values.min() >= 0 and values.max() <= 1):
            raise Refused(
                f"{name} holds floating point from {values.min()} to {values.max()}: "
                "scale it to [0, 1], or save it as 8-bit or 16-bit grey"
            )
        return values.astype(np.float32)
    raise Refused(f"{name} has the pixel mode {mode}: save it as grey or RGB")


def grey_of(image):
    """8-bit grey of a colour image; its transparency is dropped."""
    if image.mode in ("P", "PA"):
        image = image.convert("RGBA")
    elif image.mode not in ("RGB", "RGBA", "LA"):
        image = image.convert("RGB")
    return image.convert("L")


def opened(file, name):
    """The image of a path or of bytes, its head read; every failure names the file."""
    try:
        image = Image.open(io.BytesIO(file) if isinstance(file, bytes) else file)
    except FileNotFoundError as error:
        raise ValueError(f"there is no file {name}") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ValueError(too_large(name)) from error
    except Exception as error:
        raise ValueError(damaged(name, error, empty(file))) from error
    fault = None
    if min(image.size) < 1:
        fault = damaged(name, f"its size is {image.width}x{image.height}")
    elif image.width * image.height > Image.MAX_IMAGE_PIXELS:
        fault = too_large(name)
    elif image.format == "TIFF" and image.n_frames > 1:
        fault = (
            f"{name} holds {image.n_frames} pictures: save each as a file of its own"
        )
    if fault:
        image.close()
        raise ValueError(fault)
    return image


def label(file):
    """What an error calls a file that was given no name."""
    return "an image in memory" if isinstance(file, bytes) else str(file)


def empty(file):
    """True where the file, or the bytes, hold nothing."""
    if isinstance(file, bytes):
        return not file
    return os.path.isfile(file) and os.path.getsize(file) == 0


def damaged(name, reason, is_empty=False):
    reason = "the file is empty" if is_empty else str(reason).rstrip(".")
    return (
        f"cannot read the image {name}: {reason}; copy or download it again, as "
        "PNG, TIFF, BMP or JPEG"
    )


def too_large(name):
    return (
        f"{name} has more than {Image.MAX_IMAGE_PIXELS} pixels: cut it into smaller "
        "images"
    )
