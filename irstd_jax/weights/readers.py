"""Weight files as {name: array}: safetensors, .npz, PyTorch's and MXNet's.

Neither PyTorch nor MXNet is needed. The format is told by the content, not by the
suffix: `.pkl`, `.pth.tar`, `.ckpt` and `.bin` are mostly PyTorch files. Nothing that a
file holds is executed or unpacked to disk, and what it holds takes no more memory than
the file is large, but for what .npz compresses. Arrays keep the dtype of the file
(bfloat16 is ml_dtypes'); those of PyTorch cannot be written to, for they may share.

PyTorch writes two formats. Since 1.6 a zip: `NAME/data.pkl` describes the tensors,
`NAME/data/KEY` holds one storage each. Before, five pickles in a row (magic number,
protocol, system, objects, storage keys), then each storage as its length (int64) and
its numbers.
"""

import io
import json
import math
import pathlib
import zipfile
import zlib

import numpy as np

from irstd_jax.weights import mxnet, pickled

MAGIC = 0x1950A86A20F9469CFC6C
PROTOCOL = 1001
# Numbers that were learnt hardly compress: what unpacks to more is no weights.
ROOM, MOST = 2**28, 20  # bytes, and times the file

SAFETENSORS = {
    "F64": "DoubleStorage",
    "F32": "FloatStorage",
    "F16": "HalfStorage",
    "BF16": "BFloat16Storage",
    "I64": "LongStorage",
    "I32": "IntStorage",
    "I16": "ShortStorage",
    "I8": "CharStorage",
    "U8": "ByteStorage",
    "BOOL": "BoolStorage",
}


def read(path, key=None, ignore_unknown=False):
    """Reads a weight file: {name: array}, in the order of the file.

    A PyTorch file may wrap its state dict ({"state_dict": ..., "epoch": 3}): the only
    entry that holds tensors is taken. `key` picks one of several; "" is the file's top
    level. Objects of unknown classes (a Lightning checkpoint's hyper-parameters) are
    refused, or with `ignore_unknown` left out, unbuilt; of a network that was saved
    whole, the tensors are then taken all the same. Raises ValueError that names the
    file and what is wrong in it.
    """
    path = pathlib.Path(path)
    try:
        with path.open("rb") as file:
            return reader(file)(file, key, ignore_unknown)
    except (
        ValueError,
        EOFError,
        MemoryError,
        NotImplementedError,  # a compression that zipfile does not know
        RuntimeError,  # an encrypted member
        zipfile.BadZipFile,
        zlib.error,
    ) as error:
        raise ValueError(f"cannot read weights from {path}: {error}") from error


def reader(file):
    """The function that reads this file, by its first bytes."""
    head = file.read(512)
    file.seek(0)
    if head[:4] == b"PK\x03\x04":
        names = zipfile.ZipFile(file).namelist()
        file.seek(0)
        return read_npz if all(n.endswith(".npy") for n in names) else read_zip
    if head[8:9] == b"{":
        return read_safetensors
    if head[:1] == b"\x80":
        return read_legacy
    if head[:8] == mxnet.MAGIC.to_bytes(8, "little"):
        return read_mxnet
    if head[257:262] == b"ustar":
        raise ValueError("it is a tar archive; unpack it and give a file from inside")
    raise ValueError("it is no safetensors, .npz, PyTorch or MXNet file, or is damaged")


def read_npz(file, key=None, ignore_unknown=False):
    """Reads NumPy's .npz; arrays of Python objects are refused, and zip bombs."""
    unpacked = sum(entry.file_size for entry in zipfile.ZipFile(file).infolist())
    size = file.seek(0, 2)
    file.seek(0)
    if unpacked > ROOM + MOST * size:
        raise ValueError(f"it would unpack to {unpacked} bytes from a file of {size}")
    with np.load(file, allow_pickle=False) as arrays:
        return {name: arrays[name] for name in arrays.files}


def read_mxnet(file, key=None, ignore_unknown=False):
    """Reads MXNet's .params."""
    return mxnet.read(file)


def read_safetensors(file, key=None, ignore_unknown=False):
    """Reads a safetensors file: header length (uint64), JSON header, numbers."""
    size = file.seek(0, 2)
    file.seek(0)
    length = int.from_bytes(file.read(8), "little")
    if length > size - 8:
        raise ValueError(f"a header of {length} bytes in a file of {size}; truncated?")
    header = json.loads(file.read(length))
    header.pop("__metadata__", None)
    start = 8 + length
    found = {name: located(name, size - start, item) for name, item in header.items()}
    last = 0
    for name, (_, _, begin, end) in sorted(found.items(), key=lambda row: row[1][2:]):
        if begin < last:
            raise ValueError(
                f"{name!r} begins inside of another array, at byte {begin}"
            )
        last = end
    return {name: stored(file, start, *item) for name, item in found.items()}


def located(name, size, entry):
    """(dtype, shape, begin, end) of one array of a safetensors file.

    The bytes begin..end are of the `size` that follow the header, which is checked.
    """
    try:
        kind, shape = entry["dtype"], tuple(entry["shape"])
        begin, end = entry["data_offsets"]
        known = kind in SAFETENSORS
    except (KeyError, TypeError) as error:
        raise ValueError(f"bad header for {name!r}: {entry!r}") from error
    if not known:
        raise ValueError(f"{name!r} is {kind}; choose from {sorted(SAFETENSORS)}")
    if not all(type(n) is int and n >= 0 for n in (*shape, begin, end)):
        raise ValueError(f"bad header for {name!r}: {entry!r}")
    dtype = pickled.STORAGES[SAFETENSORS[kind]]
    if end - begin != math.prod(shape) * dtype.itemsize or end > size:
        raise ValueError(f"{name!r} of shape {shape} does not fit bytes {begin}..{end}")
    return dtype, shape, begin, end


def stored(file, start, dtype, shape, begin, end):
    """One array of a safetensors file, by where it is `located` behind the header."""
    file.seek(start + begin)
    return np.frombuffer(file.read(end - begin), dtype).reshape(shape).copy()


def read_zip(file, key=None, ignore_unknown=False):
    """Reads PyTorch's zip format."""
    with zipfile.ZipFile(file) as archive:
        found = [n for n in archive.namelist() if n.endswith("/data.pkl")]
        if len(found) != 1:
            raise ValueError(f"a zip with {len(found)} members */data.pkl, not one")
        folder = found[0].removesuffix("data.pkl")
        order = folder + "byteorder"
        if order in archive.NameToInfo and member(archive, order) != b"little":
            raise ValueError("its numbers are big-endian; save it on a usual machine")
        objects = io.BytesIO(member(archive, found[0]))
        tree, _ = pickled.load(objects, ignore_unknown)

        def numbers(storage):
            return member(archive, f"{folder}data/{storage.key}", storage)

        return arrays(select(tree, key), numbers)


def member(archive, name, storage=None):
    """The bytes of a zip's member, or the numbers of a storage in it."""
    if name not in archive.NameToInfo:
        raise ValueError(f"{name!r} is missing in the zip")
    information = archive.getinfo(name)
    # Kept as it is, a member can be no larger than the file: no zip bombs.
    if information.compress_type != zipfile.ZIP_STORED:
        raise ValueError(f"{name!r} is compressed, which PyTorch never does")
    if storage and information.file_size != storage.count * storage.dtype.itemsize:
        raise ValueError(
            f"{name!r} has {information.file_size} bytes, not {storage.count} "
            f"elements of {storage.dtype}"
        )
    data = archive.read(name)
    return np.frombuffer(data, storage.dtype) if storage else data


def read_legacy(file, key=None, ignore_unknown=False):
    """Reads PyTorch's format from before 1.6."""
    magic, _ = pickled.load(file)
    if magic != MAGIC:
        raise ValueError("it is a pickle, but not one that PyTorch wrote")
    (version, _), (system, _) = pickled.load(file), pickled.load(file)
    if version != PROTOCOL:
        raise ValueError(f"protocol {version!r}, not {PROTOCOL}")
    if not isinstance(system, dict) or system.get("little_endian") is not True:
        raise ValueError("its numbers are big-endian; save it on a usual machine")
    tree, storages = pickled.load(file, ignore_unknown)
    keys, _ = pickled.load(file)
    starts = places(file, keys, storages)

    def numbers(storage):
        if storage.key not in starts:
            raise ValueError(f"storage {storage.key!r} is missing")
        file.seek(starts[storage.key])
        data = file.read(storage.count * storage.dtype.itemsize)
        return np.frombuffer(data, storage.dtype)

    return arrays(select(tree, key), numbers)


def places(file, keys, storages):
    """{key: where its numbers start}, for storages that follow one another."""
    position, size = file.tell(), file.seek(0, 2)
    starts = {}
    for key in keys if isinstance(keys, list) else ():
        if not isinstance(key, str) or key not in storages:
            raise ValueError(f"storage {key!r} belongs to no tensor")
        file.seek(position)
        count = int.from_bytes(file.read(8), "little")
        if count != storages[key].count:
            raise ValueError(f"storage {key!r} has {count} elements; truncated?")
        starts[key] = position + 8
        position += 8 + count * storages[key].dtype.itemsize
        if position > size:
            raise ValueError(f"storage {key!r} ends behind the file's end; truncated?")
    return starts


def arrays(described, numbers):
    """{name: array} for described tensors, views of their storages, each read once."""
    result, storages = {}, {}
    for name, tensor in described.items():
        if tensor.storage.key not in storages:
            storages[tensor.storage.key] = numbers(tensor.storage)
        try:
            result[name] = pickled.view(tensor, storages[tensor.storage.key])
        except ValueError as error:
            raise ValueError(f"{name!r}: {error}") from error
    return result


def select(tree, key=None):
    """The one state dict in what a file holds: its tensors by name."""
    found = candidates(tree)
    if not found:
        raise ValueError("it holds no state dict, no {name: tensor}")
    if key is None and len(found) > 1:
        raise ValueError(
            f"it holds several state dicts, {sorted(found)}; choose one by its key"
        )
    if key is not None and key not in found:
        raise ValueError(f"no state dict {key!r} in it; choose from {sorted(found)}")
    return found[next(iter(found)) if key is None else key]


def candidates(tree):
    """{key: {name: tensor}} of what has tensors; "" is the top level's key."""
    if isinstance(tree, pickled.Module):
        tree = {"": tree}
    if not isinstance(tree, dict):
        return {}
    inner = {key: tensors(item) for key, item in tree.items() if type(key) is str}
    return {key: found for key, found in {"": tensors(tree), **inner}.items() if found}


def tensors(item):
    """The tensors of a dict or a whole network by name, without what else is there."""
    if isinstance(item, pickled.Module):
        return dict(inside(item, "", set()))
    entries = item.items() if isinstance(item, dict) else ()
    return {
        name: value
        for name, value in entries
        if type(name) is str and isinstance(value, pickled.Tensor)
    }


def inside(module, prefix, seen):
    """(name, tensor) of a network and what it is made of, named as its state dict.

    `seen` keeps a module from being entered twice, and so a file from having no end.
    """
    if id(module) in seen:
        return
    seen.add(id(module))
    for part in ("_parameters", "_buffers"):
        for name, tensor in tensors(module.parts[part]).items():
            yield prefix + name, tensor
    for name, child in module.parts["_modules"].items():
        if type(name) is str and isinstance(child, pickled.Module):
            yield from inside(child, f"{prefix}{name}.", seen)
