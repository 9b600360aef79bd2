"""MXNet's files are read whole and exactly, or refused with the reason."""

import struct

import numpy as np
import pytest

from irstd_jax.weights import mxnet, readers

ARRAYS = {
    "layer1.0.body.0.weight": np.arange(24, dtype="<f4").reshape(2, 3, 2, 2),
    "stem.0.gamma": np.array([1.5], "<f2"),
    "steps": np.array([-7, 2**40], "<i8"),
    "none": np.zeros((0, 3), "<f8"),
}
NUMBERS = {np.dtype(name): number for number, name in mxnet.DTYPES.items()}


def dumps(arrays, **changes):
    """The bytes of a file, by struct alone; `changes` are of what it says."""
    says = {
        "magic": mxnet.MAGIC,
        "count": len(arrays),
        "array": mxnet.ARRAY,
        "storage": 0,
        "names": len(arrays),
        "named": list(arrays),
        "axes": None,
        "dtype": None,
    } | changes
    data = struct.pack("<QQQ", says["magic"], 0, says["count"])
    for each in arrays.values():
        axes = each.ndim if says["axes"] is None else says["axes"]
        data += struct.pack("<IiI", says["array"], says["storage"], axes)
        data += struct.pack(f"<{each.ndim}q", *each.shape)
        dtype = NUMBERS[each.dtype] if says["dtype"] is None else says["dtype"]
        data += struct.pack("<iii", 1, 0, dtype) + each.tobytes()
    data += struct.pack("<Q", says["names"])
    for name in says["named"]:
        text = name if isinstance(name, bytes) else name.encode()
        data += struct.pack("<Q", len(text)) + text
    return data


def test_every_array_by_its_name(tmp_path):
    path = tmp_path / "best.params"
    path.write_bytes(dumps(ARRAYS))
    found = readers.read(path)
    assert list(found) == list(ARRAYS)
    for name, array in ARRAYS.items():
        assert found[name].dtype == array.dtype
        np.testing.assert_array_equal(found[name], array)
    found["steps"][0] = 0  # a copy, not the file's bytes


ONE = {"w": np.arange(6, dtype="<f4")}
BROKEN = {
    "another second word": (b"\x12\x01" + bytes(6) + b"\x01" + bytes(15), "begins by"),
    "another array": (dumps(ONE, array=0xF993FAC8), "an array begins by 0xf993fac8"),
    "sparse": (dumps(ONE, storage=1), "sparse"),
    "no axes": (dumps(ONE, axes=0), "0 axes"),
    "many axes": (dumps(ONE, axes=2**31), "2147483648 axes"),
    "unknown numbers": (dumps(ONE, dtype=9), "dtype 9"),
    "negative side": (
        dumps(ONE).replace(struct.pack("<q", 6), struct.pack("<q", -6), 1),
        r"shape \(-6,\)",
    ),
    "huge": (
        dumps(ONE).replace(struct.pack("<q", 6), struct.pack("<q", 2**60), 1),
        "bytes are wanted where",
    ),
    "more arrays than are there": (dumps(ONE, count=2**60), "an array begins by"),
    "fewer names": (dumps(ONE, names=0, named=[]), "1 arrays, but 0 names"),
    "one name twice": (dumps(ONE | {"v": ONE["w"]}, named=["w", "w"]), "named 'w'"),
    "no text": (dumps(ONE, named=[b"\xff\xfe"]), "no text"),
    "more behind": (dumps(ONE) + b"\0", "1 bytes behind its end"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_files_are_named_with_the_reason(name, tmp_path):
    data, reason = BROKEN[name]
    (tmp_path / "broken.params").write_bytes(data)
    with pytest.raises(ValueError, match=rf"broken\.params: .*{reason}"):
        readers.read(tmp_path / "broken.params")


def test_a_file_cut_anywhere_is_an_error(tmp_path):
    data = dumps(ONE)
    for keep in range(len(data)):
        (tmp_path / "cut.params").write_bytes(data[:keep])
        with pytest.raises(ValueError, match=r"cut\.params: "):
            readers.read(tmp_path / "cut.params")
