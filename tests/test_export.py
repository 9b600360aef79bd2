"""The verb export: what its files compute is what the program computes."""

import functools
import json
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict
from PIL import Image

from configs import detector, quickstart
from irstd_jax import evaluate, export, inference, onnx, runner, tasks
from irstd_jax.data import images, stretch, synthetic
from irstd_jax.models.conditional_encoder import DODA
from irstd_jax.weights import store

SIZE = (16, 24)
LOOP = jax.ShapeDtypeStruct((1, 2), jnp.float32)


def acm():
    config = detector.get_config("acm_fpn,synthetic,tiny")
    config.model.channels = (4, 4, 4, 4)
    return config


def irstd_diff():
    """The sampled mask alone, in one step from noise; it compiles sooner so."""
    config = quickstart.get_config("tiny")
    config.model.conditional_encoder = False
    config.sampling.steps = 1
    config.predict.mode = "diffusion"
    # eps is divided by a small alpha, and rounding with it.
    config.task.parameterisation = "x0"
    return config


CONFIGS = {"acm": acm, "irstd_diff": irstd_diff}
GAINS = {"acm": 1.0, "irstd_diff": 0.3}  # by which maps have contrast, but stay near 1


@functools.cache
def drawn(name):
    """(config, task, variables) with weights at random."""
    config = CONFIGS[name]()
    config.export.size = SIZE
    task = tasks.build(config)
    shapes = jax.eval_shape(task.init, jax.random.key(0))
    rng = np.random.default_rng(0)

    def draw(path, leaf):
        noise = rng.normal(size=leaf.shape) / np.sqrt(np.prod(leaf.shape[:-1]) + 1)
        noise *= GAINS[name]
        positive = path[-1].key in ("scale", "var")
        return (1 + abs(noise) if positive else noise).astype(np.float32)

    return config, task, jax.tree_util.tree_map_with_path(draw, shapes)


@functools.cache
def truth(name):
    """Five scenes, and the program's own maps with the noise that exports have."""
    images = [
        synthetic.scene(np.random.default_rng(i), SIZE)["image"] for i in range(5, 10)
    ]
    config, task, variables = drawn(name)
    images = np.stack(images)
    return images, export.own(config, task, variables, images)


@pytest.fixture
def workdir(request, tmp_path):
    """A run of the named network, with its threshold in the middle of its maps."""
    config, _, variables = drawn(request.param)
    config.evaluation.threshold = float(np.median(truth(request.param)[1]))
    about = {"config": config.to_dict(), "step": 3}
    store.save(tmp_path / inference.BEST, variables, about)
    return request.param, config, tmp_path


def agree(file, name, config, tolerance):
    """The file's maps and masks are the program's, at several batch sizes."""
    images, expected = truth(name)
    predict = runner.load(file.read_bytes(), file.suffix)
    level = evaluate.threshold(config.evaluation, config.predict.mode)
    assert 0 < (expected > level).mean() < 1
    for count in (1, 2, 5):
        found = np.asarray(predict(images[:count]))
        wanted = expected[:count]
        np.testing.assert_allclose(found, wanted, rtol=0, atol=tolerance)
        clear = abs(wanted - level) > tolerance
        np.testing.assert_array_equal((found > level) & clear, (wanted > level) & clear)


@pytest.mark.parametrize("workdir", CONFIGS, indirect=True)
def test_stablehlo_is_the_program(workdir, capsys):
    name, config, folder = workdir
    file = folder / "new" / "detector.stablehlo"
    assert export.run(config, folder, file) == 0
    agree(file, name, config, 1e-6)
    header = json.loads((folder / "new" / "detector.stablehlo.json").read_text())
    assert header["size"] == list(SIZE) and header["platforms"] == [
        "cpu",
        "cuda",
        "tpu",
    ]
    assert header["mode"] == config.predict.mode and not header["resized"]
    assert header["largest_difference"] <= 1e-6
    assert "largest difference" in capsys.readouterr().out
    if name == "acm":
        its_runner_needs_no_irstd_jax(folder, file, header)


def its_runner_needs_no_irstd_jax(folder, file, header):
    """In a process of its own that cannot import it: tiles, and names of masks."""
    (folder / "in").mkdir()
    images, _ = truth("acm")
    wide = np.concatenate([images[0], images[1]], axis=1)[:, :40, 0]
    Image.fromarray(np.uint8(np.rint(wide * 255))).save(folder / "in" / "wide.png")
    code = (
        "import runpy, sys; sys.modules['irstd_jax'] = None; sys.argv = sys.argv[1:]; "
        "runpy.run_path(sys.argv[0], run_name='__main__')"
    )
    script = folder / "new" / export.RUNNER
    done = subprocess.run(
        [sys.executable, "-I", "-c", code, script, file, folder / "in", folder / "out"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    predict = runner.load(file.read_bytes(), file.suffix)
    padded = np.pad(wide, ((0, 0), (0, 8)), "reflect")
    tiles = np.stack([padded[:, :24], padded[:, 24:]])[..., None]
    found = np.concatenate([*np.asarray(predict(tiles))[..., 0]], axis=1)[:, :40]
    with Image.open(folder / "out" / "wide.png") as mask:
        expected = np.uint8(255) * (found > header["threshold"])
        np.testing.assert_array_equal(np.asarray(mask), expected)


@pytest.mark.parametrize("workdir", CONFIGS, indirect=True)
@pytest.mark.filterwarnings("ignore")  # of the converter, while it is imported
def test_onnx_is_the_program(workdir):
    for package in ("onnxruntime", "jax2onnx"):
        pytest.importorskip(package, reason=f"no {package}: {onnx.REMEDY}")
    name, config, folder = workdir
    file = folder / "detector.onnx"
    assert export.run(config, folder, file) == 0
    agree(file, name, config, 1e-5)


@pytest.mark.parametrize("workdir", ["acm"], indirect=True)
def test_outputs_are_guarded(workdir, monkeypatch):
    _, config, folder = workdir
    with pytest.raises(ValueError, match=r"must end in one of \.onnx, \.stablehlo"):
        export.run(config, folder, folder / "detector.pb")
    file = folder / "detector.stablehlo"
    file.write_text("old")
    with pytest.raises(FileExistsError, match="detector.stablehlo exists.*--overwrite"):
        export.run(config, folder, file)
    # A converter that gets it wrong leaves what was there.
    traced = export.detector

    def wrong(*arguments):
        return lambda image: 1 - traced(*arguments)(image)

    monkeypatch.setattr(export, "detector", wrong)
    with pytest.raises(ValueError, match="exported masks differ from the program's"):
        export.run(config, folder, file, overwrite=True)
    assert file.read_text() == "old"
    assert {path.name for path in folder.iterdir()} == {file.name, inference.BEST}
    config = config.copy_and_resolve_references()
    config.export.dtype = "int8"
    with pytest.raises(ValueError, match="unknown export.dtype 'int8'"):
        export.run(config, folder, file, overwrite=True)


def test_a_missing_converter_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "jax2onnx", None)
    with pytest.raises(ValueError, match="pip install onnx"):
        onnx.convert(None, SIZE)


@pytest.mark.parametrize("percentile", [0, 5.0])
def test_levels_are_drawn_out_by_the_whole_image(percentile, tmp_path, monkeypatch):
    """Not tile by tile, of which one here has levels that the other has not."""
    image = np.random.default_rng(0).integers(0, 60, (8, 16), np.uint8)
    image[:, 8:] += 60
    Image.fromarray(image).save(tmp_path / "a.png")
    about = {"size": [8, 8], "resized": False, "threshold": 0.25, "stretch": percentile}
    (tmp_path / "net.onnx.json").write_text(json.dumps(about))
    (tmp_path / "net.onnx").touch()
    monkeypatch.setattr(runner, "load", lambda *_: lambda images: images)
    runner.main(tmp_path / "net.onnx", tmp_path, tmp_path / "out")
    drawn = stretch.stretched(images.read_image(tmp_path / "a.png"), percentile)
    with Image.open(tmp_path / "out" / "a.png") as mask:
        np.testing.assert_array_equal(np.asarray(mask) > 0, drawn[..., 0] > 0.25)


def test_the_runner_draws_out_levels_as_the_program_does():
    spot = np.pad(np.ones((1, 1), np.float32), 4)
    for image in (truth("acm")[0][0, ..., 0], spot, np.ones_like(spot)):
        found = runner.stretched(image, 5.0)
        np.testing.assert_array_equal(found, stretch.stretched(image, 5.0))


def test_the_header_says_how_far_levels_are_drawn_out():
    config, task, _ = drawn("acm")
    config = ConfigDict(config.to_dict())
    config.data.stretch = 0.01
    header = export.describe(config, task, {"config": {"name": "a"}, "step": 1}, None)
    assert header["stretch"] == 0.01


def test_what_does_not_depend_on_the_image_is_computed_before():
    def function(x):
        def step(carry, key):
            return carry + jax.random.normal(key, x.shape), carry.sum()

        keys = jax.random.split(jax.random.key(0), 3)
        return jax.lax.scan(step, jax.nn.relu(x), keys)[0]

    x = np.array([[-1.0, 2.0]], np.float32)
    rest = onnx.folded(function, LOOP)
    np.testing.assert_allclose(rest(x), function(x), rtol=1e-6)
    left = {equation.primitive.name for equation in jax.make_jaxpr(rest)(x).eqns}
    assert not left & {"scan", "random_bits", "random_unwrap", "threefry2x32"}


LEVELS = np.arange(12).reshape(3, 4)
PICTURES = {
    "deep.png": Image.fromarray((LEVELS * 5000).astype(np.uint16)),
    "float.tif": Image.fromarray((LEVELS / 11).astype(np.float32)),
    "wide.tif": Image.fromarray((LEVELS * 5000).astype(np.int32)),
    "bits.png": Image.fromarray(LEVELS > 5),
    "palette.png": Image.fromarray((LEVELS * 20).astype(np.uint8)).convert("P"),
    "colour.png": Image.fromarray(
        np.random.default_rng(0).integers(0, 255, (3, 4, 4), np.uint8)
    ),
}


@pytest.mark.parametrize("name", PICTURES)
def test_the_runner_reads_images_as_the_program_does(name, tmp_path):
    PICTURES[name].save(tmp_path / name)
    expected = images.read_image(tmp_path / name)[..., 0]
    np.testing.assert_array_equal(runner.read(tmp_path / name), expected)
    assert expected.max() > 0


@pytest.mark.parametrize("array", [LEVELS * 9000, LEVELS.astype("f4"), LEVELS / np.nan])
def test_the_runner_refuses_what_has_no_meaning_in_0_to_1(array, tmp_path):
    kind = np.float32 if array.dtype.kind == "f" else np.int32
    Image.fromarray(array.astype(kind)).save(tmp_path / "a.tif")
    with pytest.raises(ValueError, match="a.tif holds numbers beyond 16 bits"):
        runner.read(tmp_path / "a.tif")


def test_resized_images_come_back_at_their_size():
    def predict(images):
        assert images.shape == (1, 8, 8, 1) and images.dtype == np.float32
        return images

    image = np.full((5, 11), 0.25, np.float32)
    found = runner.detect(predict, image, (8, 8), True)
    np.testing.assert_allclose(found, image, rtol=1e-6)


@pytest.mark.filterwarnings("ignore")  # of the converter, while it is imported
def test_the_encoders_attention_becomes_onnx():
    """Its padding of an open batch was more than the converter knows."""
    runtime = pytest.importorskip("onnxruntime", reason=onnx.REMEDY)
    pytest.importorskip("jax2onnx", reason=onnx.REMEDY)
    block = DODA()
    variables = block.init(jax.random.key(0), jnp.zeros((1, 32)))

    def function(x):  # (b, h, w, 1), as `convert` wants it
        c = block.apply(variables, x.reshape(len(x), -1))
        return c.reshape(x.shape)

    session = runtime.InferenceSession(onnx.convert(function, (8, 4)))
    x = np.random.default_rng(0).normal(size=(3, 8, 4, 1)).astype(np.float32)
    (found,) = session.run(None, {session.get_inputs()[0].name: x})
    np.testing.assert_allclose(found, function(x), atol=1e-6)
