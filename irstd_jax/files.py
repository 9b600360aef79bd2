"""Writing files whole or not at all: write beside, then rename."""

import io
import json
import os
import pathlib
import tempfile

import numpy as np
from PIL import Image


def write_bytes(path, data):
    """Replaces `path` by `data` in one step; a killed process leaves the old file."""
    write_by(path, lambda aside: aside.write_bytes(data))


def write_by(path, write):
    """Replaces `path` in one step by the file that `write(aside)` has written."""
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, aside = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    os.close(handle)
    aside = pathlib.Path(aside)
    try:
        write(aside)
        with aside.open("rb") as file:
            os.fsync(file.fileno())
        os.chmod(aside, 0o644)
        os.replace(aside, path)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise


def write_text(path, text):
    """Writes UTF-8 text, whole or not at all."""
    write_bytes(path, text.encode("utf-8"))


def write_json(path, value):
    """Writes indented JSON; NaN and infinities, which JSON has not, become null."""
    write_text(path, json.dumps(finite(value), indent=2) + "\n")


def as_json(value):
    """A value as it comes back from a JSON file."""
    return json.loads(json.dumps(finite(value)))


def read_json(path):
    """The value of a JSON file; ValueError names one that is damaged."""
    try:
        return json.loads(pathlib.Path(path).read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is damaged ({error}): remove it") from None


def finite(value):
    """The same nested value with numpy numbers as Python's and non-finite as None."""
    if isinstance(value, dict):
        return {str(key): finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    if isinstance(value, np.ndarray):
        return finite(value.tolist())
    if isinstance(value, np.generic):
        return finite(value.item())
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value


def write_image(path, array):
    """Writes a PNG of a uint8 or uint16 array (h, w), or uint8 (h, w, 3)."""
    buffer = io.BytesIO()
    picture = Image.fromarray(np.ascontiguousarray(array))
    # Level 6, the usual one, takes 2.4 times as long and spares a quarter of the bytes.
    picture.save(buffer, format="png", compress_level=1)
    write_bytes(path, buffer.getvalue())
