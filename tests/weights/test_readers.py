"""Weight files are read whole and exactly, and nothing in them is executed."""

import io
import json
import math
import os
import struct
import zipfile
from typing import NamedTuple

import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given, settings
from hypothesis import strategies as st

from irstd_jax.weights import pickled, readers

# A tiny writer of PyTorch files: values become pickle opcodes by hand, so that tests
# need no PyTorch and can write what PyTorch never would.


class Global(NamedTuple):
    module: str
    name: str


class Call(NamedTuple):
    function: object
    args: tuple
    opcode: bytes = b"R"


class Reference(NamedTuple):
    pid: tuple


class Build(NamedTuple):
    target: object
    state: object


def encode(value):
    """The opcodes that push a value."""
    match value:
        case bool() | None:
            return {True: b"\x88", False: b"\x89", None: b"N"}[value]
        case int():
            data = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
            return b"\x8a" + bytes([len(data)]) + data
        case str():
            data = value.encode()
            return b"X" + struct.pack("<I", len(data)) + data
        case float():
            return b"G" + struct.pack(">d", value)
        case Global(module, name):
            return f"c{module}\n{name}\n".encode()
        case Call(function, args, opcode):
            return encode(function) + encode(args) + opcode
        case Reference(pid):
            return encode(pid) + b"Q"
        case Build(target, state):
            return encode(target) + encode(state) + b"b"
        case tuple():
            return b"(" + b"".join(map(encode, value)) + b"t"
        case list():
            return b"](" + b"".join(map(encode, value)) + b"e"
        case dict():
            pairs = b"".join(encode(k) + encode(v) for k, v in value.items())
            return b"}(" + pairs + b"u"
    raise TypeError(value)


def dumps(value):
    return b"\x80\x02" + encode(value) + b"."


def storage(key, count, kind="FloatStorage"):
    return Reference(("storage", Global("torch", kind), key, "cpu", count))


def tensor(where, size, stride, offset=0):
    rebuild = Global("torch._utils", "_rebuild_tensor_v2")
    ordered = Call(Global("collections", "OrderedDict"), ())
    return Call(rebuild, (where, offset, size, stride, False, ordered))


def write_zip(path, objects, numbers, **members):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("net/data.pkl", objects)
        archive.writestr("net/version", b"3\n")
        for key, array in numbers.items():
            archive.writestr(f"net/data/{key}", array.tobytes())
        for name, data in members.items():
            archive.writestr(f"net/{name}", data)
    return path


def write_legacy(path, objects, numbers, little=True):
    system = {"protocol_version": 1001, "little_endian": little}
    head = dumps(readers.MAGIC) + dumps(readers.PROTOCOL) + dumps(system)
    body = b"".join(struct.pack("<q", a.size) + a.tobytes() for a in numbers.values())
    path.write_bytes(head + objects + dumps(list(numbers)) + body)
    return path


WRITERS = {"zip": write_zip, "legacy": write_legacy}
NUMBERS = {"0": np.arange(12, dtype="<f4"), "1": np.array([7, -7], "<i8")}
WHOLE = tensor(storage("0", 12), (3, 4), (4, 1))
STATE = {
    "whole": WHOLE,
    "turned": tensor(storage("0", 12), (4, 3), (1, 4)),
    "column": tensor(storage("0", 12), (3,), (4,), offset=1),
    "single": tensor(storage("0", 12), (), (), offset=11),
    "steps": tensor(storage("1", 2, "LongStorage"), (2,), (1,)),
    "none": tensor(storage("0", 12), (0, 4), (4, 1)),
}


def same(found, expected):
    assert list(found) == list(expected)
    for name, array in expected.items():
        assert found[name].dtype == array.dtype
        np.testing.assert_array_equal(found[name], array)


@pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)
def test_pytorch_tensors_are_read_by_offset_and_stride(write, tmp_path):
    grid = np.arange(12, dtype="f4").reshape(3, 4)
    expected = {"whole": grid, "turned": grid.T, "column": grid[:, 1]}
    expected |= {"single": grid[2, 3], "steps": np.array([7, -7])}
    expected |= {"none": np.zeros((0, 4), "f4")}
    found = readers.read(write(tmp_path / "a.pt", dumps(STATE), NUMBERS))
    same(found, expected)
    # They share memory, so that many tensors of one storage fill no more than it.
    assert np.shares_memory(found["whole"], found["turned"])
    with pytest.raises(ValueError, match="read-only"):
        found["whole"][:] = 0


@pytest.mark.parametrize("kind", pickled.STORAGES)
def test_every_kind_of_number(kind, tmp_path):
    dtype = pickled.STORAGES[kind]
    numbers = np.array([0, 1, 3], dtype)
    state = {"x": tensor(storage("k", 3, kind), (3,), (1,))}
    same(
        readers.read(write_zip(tmp_path / "a", dumps(state), {"k": numbers})),
        {"x": numbers},
    )


def test_bfloat16_has_its_values(tmp_path):
    halves = np.array([0x3F80, 0xC049], "<u2")  # 1 and -3.140625
    state = {"x": tensor(storage("k", 2, "BFloat16Storage"), (2,), (1,))}
    found = readers.read(write_zip(tmp_path / "a", dumps(state), {"k": halves}))["x"]
    assert found.dtype == ml_dtypes.bfloat16
    np.testing.assert_array_equal(found.astype("f4"), np.float32([1, -3.140625]))


def test_ordered_dict_with_metadata_and_parameters(tmp_path):
    parameter = Global("torch._utils", "_rebuild_parameter")
    empty = Call(Global("collections", "OrderedDict"), ())
    ordered = Call(
        Global("collections", "OrderedDict"),
        ([["w", Call(parameter, (WHOLE, True, empty))]],),
    )
    state = Build(ordered, {"_metadata": {"": {"version": 1}}, "items": 3})
    path = write_zip(tmp_path / "a.pt", dumps(state), NUMBERS)
    same(readers.read(path), {"w": np.arange(12, dtype="f4").reshape(3, 4)})


@pytest.mark.parametrize("wrapper", ["state_dict", "model", "params", "net", "odd"])
def test_the_one_state_dict_is_found(wrapper, tmp_path):
    dtype = Call(Global("numpy", "dtype"), ("f8", False, True))
    raw = Call(Global("_codecs", "encode"), ("abcdefgh", "latin1"))
    score = Call(
        Global("numpy.core.multiarray", "scalar"),
        (Build(dtype, (3, "<", None, None, None, -1, -1, 0)), raw),
    )
    tree = {"epoch": 3, "best": [0.5, score], wrapper: {"w": WHOLE, "note": "text"}}
    tree["optimizer"] = {"state": {0: {"mean": WHOLE}}, "param_groups": []}
    path = write_zip(tmp_path / "a.ckpt", dumps(tree), NUMBERS)
    assert list(readers.read(path)) == ["w"]


def test_several_state_dicts_need_a_key(tmp_path):
    tree = {"raw": {"w": WHOLE}, "ema": {"w": STATE["turned"]}, "scale": WHOLE}
    path = write_legacy(tmp_path / "a.pt", dumps(tree), {"0": NUMBERS["0"]})
    with pytest.raises(ValueError, match=r"\['', 'ema', 'raw'\]"):
        readers.read(path)
    assert readers.read(path, key="ema")["w"].shape == (4, 3)
    assert list(readers.read(path, key="")) == ["scale"]
    with pytest.raises(ValueError, match="no state dict 'mean'"):
        readers.read(path, key="mean")


@pytest.mark.parametrize("tree", [{"epoch": 3}, [1, 2], WHOLE, {}])
def test_no_state_dict(tree, tmp_path):
    path = write_zip(tmp_path / "a.pt", dumps(tree), NUMBERS)
    with pytest.raises(ValueError, match=r"a\.pt: it holds no state dict"):
        readers.read(path)


FORBIDDEN = {
    "os.system": b"R",
    "posix.system": b"R",
    "builtins.eval": b"R",
    "__builtin__.exec": b"R",
    "subprocess.Popen": b"\x81",  # NEWOBJ
    "builtins.getattr": b"R",
    "torch.load": b"R",
    "torch.jit._pickle.build_intlist": b"R",
    "collections.OrderedDict.fromkeys": b"R",
}


@pytest.mark.parametrize("ignore", [False, True], ids=["refuse", "ignore"])
@pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)
@pytest.mark.parametrize("name", FORBIDDEN)
def test_nothing_is_executed(name, write, ignore, tmp_path):
    mark = tmp_path / "executed"
    module, _, function = name.rpartition(".")
    evil = Call(Global(module, function), (f"touch {mark}",), FORBIDDEN[name])
    tree = {"state_dict": {"w": WHOLE}, "hyper_parameters": evil}
    path = write(tmp_path / "a.pt", dumps(tree), {"0": NUMBERS["0"]})
    if ignore:
        assert list(readers.read(path, ignore_unknown=True)) == ["w"]
    else:
        with pytest.raises(ValueError, match=rf"a\.pt: it wants {name},.*state dict"):
            readers.read(path)
    assert not mark.exists()


def test_the_attack_is_a_real_one(tmp_path):
    # The same opcodes do run in Python's own unpickler: the test above can fail.
    import pickle

    mark = tmp_path / "executed"
    pickle.loads(dumps(Call(Global("os", "mkdir"), (os.fspath(mark),))))
    assert mark.is_dir()


@pytest.mark.parametrize("ignore", [False, True])
def test_the_table_cannot_be_altered(ignore, tmp_path):
    rebuild = Global("torch._utils", "_rebuild_tensor_v2")
    for target in (rebuild, Global("numpy", "dtype"), Global("torch", "Size")):
        for state in ({"function": 1}, (None, {"function": 1, "append": 2})):
            tree = {"w": WHOLE, "evil": Build(target, state)}
            path = write_zip(tmp_path / "a.pt", dumps(tree), NUMBERS)
            with pytest.raises(ValueError, match=r"alter a function|damaged pickle"):
                readers.read(path, ignore_unknown=ignore)
    path = write_zip(tmp_path / "a.pt", dumps(STATE), NUMBERS)
    assert list(readers.read(path)) == list(STATE)


LAYOUTS = {
    "too large": ((4, 4), (4, 1), 0),
    "absurd": ((10**9, 10**9), (0, 0), 0),
    "expanded": ((13,), (0,), 0),
    "behind the end": ((3, 4), (4, 1), 1),
    "long stride": ((2,), (12,), 0),
    "negative size": ((-3, -4), (4, 1), 0),
    "negative offset": ((3,), (1,), -1),
    "negative stride": ((3,), (-1,), 11),
    "other lengths": ((3, 4), (1,), 0),
    "no integers": ((3.0,), (1,), 0),
    "many axes": ((1,) * 100, (1,) * 100, 0),
    "huge but empty": ((10**30, 0), (0, 1), 0),
}


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_tensors_stay_within_their_storage(layout, tmp_path):
    size, stride, offset = layout
    state = {"w": tensor(storage("0", 12), size, stride, offset)}
    path = write_zip(tmp_path / "a.pt", dumps(state), NUMBERS)
    with pytest.raises(ValueError, match=r"a\.pt: "):
        readers.read(path)


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 4), st.integers(0, 6)), max_size=3),
    st.integers(0, 13),
)
def test_view_reads_what_strides_say_or_refuses(axes, offset):
    size, stride = (tuple(n for n, _ in axes), tuple(s for _, s in axes))
    numbers = np.arange(12, dtype="f4")
    where = pickled.Storage("k", numbers.dtype, 12)
    index = np.indices(size).reshape(len(size), math.prod(size))
    places = offset + np.array(stride, int) @ index
    described = pickled.Tensor(where, offset, size, stride)
    if places.size > 12 or (places >= 12).any():
        with pytest.raises(ValueError, match="does not fit"):
            pickled.view(described, numbers)
    else:
        expected = numbers[places].reshape(size)
        np.testing.assert_array_equal(pickled.view(described, numbers), expected)


def zipped(objects=None, numbers=None, **members):
    return lambda path: write_zip(
        path, objects or dumps(STATE), numbers or NUMBERS, **members
    )


def cut(write, keep):
    def broken(path):
        data = write(path, dumps(STATE), NUMBERS).read_bytes()
        path.write_bytes(data[: int(keep * len(data))])

    return broken


def compressed(path):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("net/data.pkl", dumps(STATE))


def doubled(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a/data.pkl", dumps(STATE))
        archive.writestr("b/data.pkl", dumps(STATE))


def big_endian(path):
    write_legacy(path, dumps(STATE), NUMBERS, little=False)


def leaving(path):
    secret = path.parent / "secret"
    secret.write_bytes(bytes(48))
    state = {"w": tensor(storage(f"../../{secret}", 12), (12,), (1,))}
    write_zip(path, dumps(state), NUMBERS)


def save_objects(path):
    with path.open("wb") as file:
        np.savez(file, w=np.array([{}], dtype=object))


def header(value, data=b"", length=None):
    text = json.dumps(value).encode()
    length = struct.pack("<Q", len(text) if length is None else length)
    return lambda path: path.write_bytes(length + text + data)


def entry(dtype="F32", shape=(2,), data_offsets=(0, 8)):
    return {"w": {"dtype": dtype, "shape": shape, "data_offsets": data_offsets}}


SHORT = {**NUMBERS, "0": np.arange(11, dtype="f4")}
PUT = b"\x80\x02}r\xff\xff\xff\x7f."
BROKEN = {
    "zip cut": (cut(write_zip, 0.7), "zip"),
    "legacy cut in numbers": (cut(write_legacy, 0.98), "truncated"),
    "legacy cut in objects": (cut(write_legacy, 0.3), "pickle"),
    "big-endian zip": (zipped(byteorder=b"big"), "big-endian"),
    "big-endian legacy": (big_endian, "big-endian"),
    "storage missing": (zipped(numbers={"0": NUMBERS["0"]}), "net/data/1.*missing"),
    "storage short": (zipped(numbers=SHORT), "44 bytes, not 12 elements"),
    "storage elsewhere": (leaving, "secret.*missing"),
    "compressed": (compressed, "compressed"),
    "two objects": (doubled, "2 members"),
    "huge memo": (zipped(objects=PUT), "memo slot 2147483647"),
    "wrong storage": (
        zipped(dumps({"w": tensor(storage("0", 12, "QStorage"), (1,), (1,))})),
        "torch.QStorage",
    ),
    "no storage": (zipped(dumps({"w": tensor("0", (1,), (1,))})), "storage is str"),
    "other reference": (zipped(dumps({"w": Reference(("x",))})), "reference"),
    "two kinds": (
        zipped(dumps({"w": WHOLE, "v": tensor(storage("0", 6), (1,), (1,))})),
        "two descriptions",
    ),
    "another pickle": (
        lambda p: p.write_bytes(dumps({"w": 1})),
        "not one that PyTorch",
    ),
    "text": (
        lambda p: p.write_text("<html>not found</html>"),
        "no safetensors, .npz, PyTorch or MXNet",
    ),
    "empty": (lambda p: p.write_bytes(b""), "no safetensors, .npz, PyTorch or MXNet"),
    "tar": (lambda p: p.write_bytes(bytes(257) + b"ustar" + bytes(250)), "tar archive"),
    "npz of objects": (save_objects, "allow_pickle"),
    "safetensors cut": (header(entry(), bytes(7)), "does not fit"),
    "safetensors length": (header(entry(), length=2**60), "truncated"),
    "safetensors json": (lambda p: p.write_bytes(struct.pack("<Q", 4) + b"{abc"), ""),
    "safetensors list": (header({"w": [1]}), "bad header"),
    "safetensors shape": (header(entry(shape=(3,)), bytes(8)), "does not fit"),
    "safetensors sign": (header(entry(data_offsets=(-8, 0))), "bad header"),
    "safetensors kind": (header(entry("F8_E4M3"), bytes(8)), "choose from"),
    "safetensors kinds": (header(entry([]), bytes(8)), "bad header"),
    "safetensors overlap": (
        header(entry() | {"v": entry(data_offsets=(4, 12))["w"]}, bytes(12)),
        "'v' begins inside of another array, at byte 4",
    ),
    "safetensors doubled": (
        header({name: entry()["w"] for name in "abc"}, bytes(8)),
        "begins inside of another array",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_files_are_named_with_the_reason(name, tmp_path):
    write, reason = BROKEN[name]
    path = tmp_path / "broken.pth"
    write(path)
    with pytest.raises(ValueError, match=rf"broken\.pth: .*{reason}"):
        readers.read(path)
    assert {p.name for p in tmp_path.iterdir()} <= {"broken.pth", "secret"}


@pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)
def test_a_file_cut_anywhere_is_an_error(write, tmp_path):
    data = write(tmp_path / "a.pt", dumps(STATE), NUMBERS).read_bytes()
    for keep in range(0, len(data), 29):
        (tmp_path / "b.pt").write_bytes(data[:keep])
        with pytest.raises(ValueError, match=r"b\.pt: "):
            readers.read(tmp_path / "b.pt")


def module(parameters, modules, buffers=(), name="Net"):
    """A network of an unknown class, as pickling saves it whole."""
    made = Call(Global("their.model", name), (), b"\x81")  # NEWOBJ
    parts = {"_parameters": parameters, "_modules": modules, "_buffers": dict(buffers)}
    return Build(made, {"training": False, "depth": 3} | parts)


@pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)
def test_a_network_saved_whole_gives_its_tensors(write, tmp_path):
    steps = {"steps": STATE["steps"], "none": None}
    inner = module({"weight": WHOLE, "bias": None}, {}, steps, "Conv")
    block = module({}, {"0": inner, "1": Call(Global("torch.nn", "ReLU"), (), b"\x81")})
    whole = module({"gamma": STATE["single"]}, {"body": block})
    grid = np.arange(12, dtype="f4").reshape(3, 4)
    expected = {"gamma": grid[2, 3], "body.0.weight": grid}
    expected |= {"body.0.steps": np.array([7, -7])}
    for tree in (whole, {"net": whole, "epoch": 3}):
        path = write(tmp_path / "a.pkl", dumps(tree), NUMBERS)
        same(readers.read(path, ignore_unknown=True), expected)
        with pytest.raises(ValueError, match="it wants their.model.Net"):
            readers.read(path)


def test_a_class_with_its_source_is_a_class(tmp_path):
    """As PyTorch wrote networks before 1.6."""
    source = ("module", Global("their.model", "Net"), "model.py", "import os")
    whole = Build(Call(Reference(source), (), b"\x81"), {"_parameters": {"w": WHOLE}})
    path = write_legacy(tmp_path / "a.pkl", dumps(whole), {"0": NUMBERS["0"]})
    assert list(readers.read(path, ignore_unknown=True)) == ["w"]


def test_a_network_inside_itself_ends(tmp_path):
    """Memo slot 1 is the network, slot 2 its modules, to which it is added."""
    net = encode(Call(Global("their.model", "Net"), (), b"\x81")) + b"q\x01"
    modules = b"}q\x02X\x04\x00\x00\x00self" + b"h\x01s"
    state = b"}" + encode("_modules") + modules + b"s"
    state += encode("_parameters") + encode({"w": WHOLE}) + b"s"
    path = write_zip(tmp_path / "a", b"\x80\x02" + net + state + b"b.", NUMBERS)
    assert list(readers.read(path, ignore_unknown=True)) == ["w"]


ARRAYS = {
    "a.b": np.arange(6, dtype="f4").reshape(2, 3),
    "half": np.array([1.5, -2], "f2"),
    "int": np.array(3, "i8"),
    "yes": np.array([True, False]),
    "none": np.zeros((0, 2), "f8"),
}


def test_npz_and_safetensors_round_trip(tmp_path):
    np.savez_compressed(tmp_path / "a.npz", **ARRAYS)
    same(readers.read(tmp_path / "a.npz"), ARRAYS)
    brain = {"brain": np.array([1, 2.5], ml_dtypes.bfloat16)}
    safetensors.numpy.save_file(ARRAYS | brain, tmp_path / "a.st", {"format": "pt"})
    found = readers.read(str(tmp_path / "a.st"))
    same({name: found[name] for name in ARRAYS | brain}, ARRAYS | brain)


def test_an_npz_that_unpacks_to_far_more_than_it_is_large(tmp_path, monkeypatch):
    np.savez_compressed(tmp_path / "a.npz", a=np.zeros(2**18, np.float32))
    assert readers.read(tmp_path / "a.npz")["a"].size == 2**18
    monkeypatch.setattr(readers, "ROOM", 2**10)
    with pytest.raises(ValueError, match="a.npz: it would unpack to 1048704 bytes"):
        readers.read(tmp_path / "a.npz")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere.pt"):
        readers.read(tmp_path / "nowhere.pt")


@pytest.mark.parametrize("zipfile_format", [True, False], ids=WRITERS)
def test_what_pytorch_writes(zipfile_format, tmp_path):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    grid = torch.arange(24.0).reshape(4, 6)
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4))
    state = network.state_dict()
    state |= {"turned": grid.T, "part": grid[1:3, 1:6:2], "half": grid[2].half()}
    state |= {"brain": grid.bfloat16() / 4, "scale": torch.nn.Parameter(grid[0])}
    optimizer = torch.optim.Adam(network.parameters())
    network(torch.ones(1, 3, 5, 5)).sum().backward()
    optimizer.step()
    whole = {"state_dict": state, "epoch": 3, "optimizer": optimizer.state_dict()}
    buffer = io.BytesIO()
    torch.save(whole, buffer, _use_new_zipfile_serialization=zipfile_format)
    (tmp_path / "a.pth.tar").write_bytes(buffer.getvalue())
    found = readers.read(tmp_path / "a.pth.tar")
    assert list(found) == list(state)
    for name, value in state.items():
        np.testing.assert_array_equal(
            found[name].astype("f8"), value.detach().double().numpy()
        )
