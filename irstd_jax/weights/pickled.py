"""Reading the pickles inside PyTorch files without PyTorch and without running them.

A pickle is a program: it names functions and calls them. Here the names come from a
closed table (`GLOBALS`), each standing for an inert function of ours that only writes
down what a tensor looks like; any other name ends the reading. Numbers are read later,
by `view`, once every bound has been checked.
"""

import io
import math
import pickle
import pickletools
from typing import NamedTuple

import ml_dtypes
import numpy as np

STORAGES = {
    "DoubleStorage": np.dtype("<f8"),
    "FloatStorage": np.dtype("<f4"),
    "HalfStorage": np.dtype("<f2"),
    "BFloat16Storage": np.dtype(ml_dtypes.bfloat16),
    "LongStorage": np.dtype("<i8"),
    "IntStorage": np.dtype("<i4"),
    "ShortStorage": np.dtype("<i2"),
    "CharStorage": np.dtype("i1"),
    "ByteStorage": np.dtype("u1"),
    "BoolStorage": np.dtype("?"),
    "ComplexFloatStorage": np.dtype("<c8"),
    "ComplexDoubleStorage": np.dtype("<c16"),
}


class Storage(NamedTuple):
    """Where a tensor's numbers lie: the name of the storage, their kind, how many."""

    key: str
    dtype: np.dtype
    count: int


class Tensor(NamedTuple):
    """A tensor as the pickle describes it; offset and stride count elements."""

    storage: Storage
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]


class Allowed:
    """A function that a pickle may call and do nothing else to."""

    __slots__ = ("function",)

    def __init__(self, function):
        self.function = function

    def __call__(self, *args):
        return self.function(*args)

    def __setstate__(self, state):
        # Without this the BUILD opcode could rebind `function`.
        raise ValueError("the pickle tries to alter a function")


class Mapping(dict):
    """Stands for OrderedDict; attributes such as `_metadata` are dropped."""

    __slots__ = ()

    def __setstate__(self, state):
        pass


class Ignored:
    """Stands for an object that is not needed: takes anything, keeps nothing."""

    __slots__ = ()

    def __init__(self, *args, **kwargs):
        pass

    def __call__(self, *args, **kwargs):
        return self

    def __setstate__(self, state):
        pass

    def __setitem__(self, key, value):
        pass

    def append(self, item):
        pass

    def extend(self, items):
        pass


class Module(Ignored):
    """Stands for an object of an unknown class, which may be a network saved whole.

    Of what it is told it keeps where torch's modules have their tensors: `PARTS`.
    """

    __slots__ = ("parts",)
    PARTS = ("_parameters", "_buffers", "_modules")

    def __new__(cls, *args, **kwargs):
        self = super().__new__(cls)
        self.parts = dict.fromkeys(cls.PARTS, {})
        return self

    def __setstate__(self, state):
        if isinstance(state, dict):
            found = {name: state.get(name) for name in self.PARTS}
            self.parts = {k: v if isinstance(v, dict) else {} for k, v in found.items()}


def rebuild_tensor(storage, offset, size, stride, grad=False, hooks=None, bits=None):
    """torch._utils._rebuild_tensor_v2: notes the description, checks only its kind."""
    if not isinstance(storage, Storage):
        raise ValueError(f"a tensor's storage is {type(storage).__name__}")
    if bits:
        raise ValueError(f"tensors with lazy conjugation or negation: {bits}")
    if len(size) != len(stride):
        raise ValueError(f"a tensor of size {size} has strides {stride}")
    if not all(type(n) is int and n >= 0 for n in (offset, *size, *stride)):
        raise ValueError(f"bad tensor layout: {offset=}, {size=}, {stride=}")
    return Tensor(storage, offset, tuple(size), tuple(stride))


def rebuild_parameter(data, *rest):
    """torch._utils._rebuild_parameter: a parameter is read as its tensor."""
    return data


GLOBALS = {
    ("collections", "OrderedDict"): Allowed(Mapping),
    ("torch", "Size"): Allowed(tuple),
    ("torch._utils", "_rebuild_tensor"): Allowed(rebuild_tensor),
    ("torch._utils", "_rebuild_tensor_v2"): Allowed(rebuild_tensor),
    ("torch._utils", "_rebuild_parameter"): Allowed(rebuild_parameter),
    ("torch._utils", "_rebuild_parameter_with_state"): Allowed(rebuild_parameter),
    # NumPy scalars: the scores that training scripts save beside the weights.
    ("numpy", "dtype"): Ignored,
    ("numpy.core.multiarray", "scalar"): Ignored,
    ("numpy._core.multiarray", "scalar"): Ignored,
    ("_codecs", "encode"): Ignored,
} | {("torch", name): name for name in STORAGES}


class Unpickler(pickle.Unpickler):
    """Unpickles containers, numbers, texts and descriptions of tensors, no more."""

    def __init__(self, data, ignore_unknown):
        super().__init__(io.BytesIO(data), encoding="utf-8")
        self.ignore_unknown = ignore_unknown
        self.storages = {}

    def find_class(self, module, name):
        if (module, name) in GLOBALS:
            return GLOBALS[module, name]
        if self.ignore_unknown:
            return Module
        raise ValueError(
            f"it wants {module}.{name}, which is not part of a state dict and is not "
            "loaded, because a pickle that may load it may run any program. Save the "
            "state dict alone, with PyTorch where the file was made, or read with "
            "ignore_unknown=True to leave out whatever is not a tensor"
        )

    def persistent_load(self, pid):
        if isinstance(pid, tuple) and pid[:2] == ("module", Module):
            return Module  # before 1.6, a class came with its source text
        if not isinstance(pid, tuple) or len(pid) < 5 or pid[0] != "storage":
            raise ValueError(f"unknown reference {pid!r}")
        _, kind, key, _, count, *view = pid
        if kind not in STORAGES:
            raise ValueError(f"unknown kind of storage {kind!r}")
        if view and view[0] is not None:
            raise ValueError("views of storages (PyTorch before 0.4) are not read")
        if type(key) is not str or type(count) is not int or count < 0:
            raise ValueError(f"bad storage {key!r} of {count!r} elements")
        storage = Storage(key, STORAGES[kind], count)
        if self.storages.setdefault(key, storage) != storage:
            raise ValueError(f"two descriptions of storage {key!r}")
        return storage


def scan(file):
    """Goes over one pickle without running it; returns where it ends in the file."""
    start = file.tell()
    try:
        for opcode, argument, position in pickletools.genops(file):
            # The unpickler allocates as many slots as the number says.
            if opcode.name in ("PUT", "LONG_BINPUT") and argument > position - start:
                raise ValueError(f"memo slot {argument}")
    except ValueError as error:
        raise ValueError(f"damaged pickle: {error}") from error
    return file.tell()


def load(file, ignore_unknown=False):
    """Reads one pickle from a binary file and leaves the file behind its end.

    Returns what it holds, tensors described only, and {key: Storage} of all storages
    that it names.
    """
    start, end = file.tell(), scan(file)
    file.seek(start)
    try:
        unpickler = Unpickler(file.read(end - start), ignore_unknown)
        return unpickler.load(), unpickler.storages
    except ValueError:
        raise
    except Exception as error:  # a damaged pickle may fail in any way
        raise ValueError(f"damaged pickle: {error!r}") from error


def view(tensor, numbers):
    """The array that a tensor describes, in its storage's numbers; read-only.

    A copy of each would let a small file, of many tensors in one storage, fill memory.
    """
    storage, offset, size, stride = tensor
    count = math.prod(size)
    last = offset + sum((n - 1) * s for n, s in zip(size, stride, strict=True))
    if count and (count > len(numbers) or last >= len(numbers)):
        raise ValueError(
            f"a tensor of size {size}, strides {stride} and offset {offset} does not "
            f"fit in storage {storage.key!r} of {len(numbers)} elements"
        )
    if not count:
        return np.zeros(size, storage.dtype)
    step = storage.dtype.itemsize
    strides = tuple(
        s * step if n > 1 else step for n, s in zip(size, stride, strict=True)
    )
    return np.lib.stride_tricks.as_strided(
        numbers[offset:], size, strides, writeable=False
    )
