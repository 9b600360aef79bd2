"""MXNet's `.params` files: arrays and their names, read strictly and run by nothing.

All little-endian: u64 MAGIC, u64 0, u64 number of arrays; of each

    u32 ARRAY, i32 kind of storage (0: dense), u32 number of axes, i64 sides,
    i32 device type, i32 device, i32 dtype, the numbers in row order

then u64 number of names; of each u64 its length and its bytes. The file ends there.
"""

import math
import struct

import numpy as np

MAGIC = 0x112
ARRAY = 0xF993FAC9
DTYPES = {
    0: "<f4",
    1: "<f8",
    2: "<f2",
    3: "u1",
    4: "<i4",
    5: "i1",
    6: "<i8",
}
MOST_AXES = 32  # as NumPy has had


class Cursor:
    """Bytes of a file in their order; ValueError where they end too early."""

    def __init__(self, file):
        self.file = file
        self.size = file.seek(0, 2)
        file.seek(0)

    def take(self, count):
        left = self.size - self.file.tell()
        if not 0 <= count <= left:  # before anything of that size is allocated
            raise ValueError(f"{count} bytes are wanted where {left} are left; cut?")
        return self.file.read(count)

    def numbers(self, kinds):
        """A tuple of numbers, by the letters of struct."""
        return struct.unpack(f"<{kinds}", self.take(struct.calcsize(f"<{kinds}")))


def read(file):
    """{name: array} of an open binary file, in its order.

    Raises ValueError where anything is not as the module says.
    """
    cursor = Cursor(file)
    magic, zero, count = cursor.numbers("QQQ")
    if (magic, zero) != (MAGIC, 0):
        raise ValueError(f"it begins by {magic:#x}, {zero}, not by {MAGIC:#x}, 0")
    arrays = []
    while len(arrays) < count:  # a loop, not a list of `count`: it may lie
        arrays.append(array(cursor))
    (named,) = cursor.numbers("Q")
    if named != count:
        raise ValueError(f"{count} arrays, but {named} names")
    found = {}
    for each in arrays:
        name = text(cursor)
        if name in found:
            raise ValueError(f"two arrays are named {name!r}")
        found[name] = each
    if cursor.file.tell() != cursor.size:
        raise ValueError(f"{cursor.size - cursor.file.tell()} bytes behind its end")
    return found


def array(cursor):
    """The next array."""
    magic, storage, axes = cursor.numbers("IiI")
    if magic != ARRAY:
        raise ValueError(f"an array begins by {magic:#x}, not by {ARRAY:#x}")
    if storage != 0:
        raise ValueError(f"an array is sparse (storage {storage}); save it dense")
    if not 1 <= axes <= MOST_AXES:
        raise ValueError(f"an array of {axes} axes")
    shape = cursor.numbers(f"{axes}q")
    _, _, dtype = cursor.numbers("iii")
    if min(shape) < 0 or dtype not in DTYPES:
        raise ValueError(f"an array of shape {shape} and dtype {dtype}")
    dtype = np.dtype(DTYPES[dtype])
    data = cursor.take(math.prod(shape) * dtype.itemsize)
    return np.frombuffer(data, dtype).reshape(shape).copy()


def text(cursor):
    """The next name."""
    (length,) = cursor.numbers("Q")
    try:
        return cursor.take(length).decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"a name is no text: {error}") from error
