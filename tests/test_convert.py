"""The verb convert, on a small network's weights under their published names."""

import functools
import importlib.util
import pathlib

import jax
import numpy as np
import pytest
import safetensors.numpy
from ml_collections import ConfigDict
from PIL import Image

from configs import common, detector, nuaa_sirst, nudt_sirst, quickstart
from configs.diff_mosaic import pixel_prior
from irstd_jax import convert, inference, models, predict, published, tasks, weights
from irstd_jax.weights import irstd_diff, store

HERE = pathlib.Path(__file__).parent


@functools.cache
def sibling(name):
    """A test module of another folder, for the writers that it has."""
    path = HERE / "weights" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(f"sibling_{name}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def config():
    """The small network, said to be of reference tokens."""
    config = quickstart.get_config("tiny")
    config.model.token_layout = "reference"
    config.evaluation.size = 32
    return config


@pytest.fixture(autouse=True, scope="module")
def one_table():
    """The names are made from a traced network, which takes seconds: once is enough."""
    with pytest.MonkeyPatch.context() as patch:
        cached = weights.Names(functools.cache(irstd_diff.table))
        patch.setitem(weights.NETWORKS, "irstd_diff", cached)
        yield


@pytest.fixture(scope="module")
def fields(config, one_table):
    fields = {k: v for k, v in config.model.items() if k != "name"}
    return fields | {"token_layout": "spatial"}


def draw(rng, entry):
    """Random weights with which activations stay near 1."""
    noise = rng.normal(size=entry.shape)
    if len(entry.shape) > 1:
        noise /= np.sqrt(np.prod(entry.shape[1:]))
    elif entry.name.endswith(("weight", "var")):
        noise = 1 + 0.1 * np.abs(noise)
    return noise.astype(np.float32)


@pytest.fixture(scope="module")
def state_dict(fields):
    rng = np.random.default_rng(0)
    entries = weights.table("irstd_diff", **fields)
    return {entry.name: draw(rng, entry) for entry in entries}


@pytest.fixture(scope="module")
def variables(state_dict, fields):
    return weights.convert("irstd_diff", state_dict, **fields)


@pytest.fixture(scope="module")
def file(state_dict, tmp_path_factory):
    """The weights as their authors would hand them out."""
    path = tmp_path_factory.mktemp("theirs") / "theirs.npz"
    write_npz(path, state_dict)
    return path


def write_npz(path, state):
    with path.open("wb") as file:
        np.savez(file, **state)


def write_safetensors(path, state):
    safetensors.numpy.save_file(state, path)


def write_pytorch(path, state, others=None, **more):
    """A zip as PyTorch's, wrapped as trainers do, with a class that nobody knows."""
    torch = sibling("test_readers")
    described = {}
    for number, (name, array) in enumerate(state.items()):
        kind = "LongStorage" if array.dtype == np.int64 else "FloatStorage"
        where = torch.storage(str(number), array.size, kind)
        strides = tuple(s // array.itemsize for s in array.strides)
        described[f"module.{name}"] = torch.tensor(where, array.shape, strides)
    trainer = torch.Call(torch.Global("their.trainer", "Settings"), ())
    numbers = {str(i): array for i, array in enumerate(state.values())} | more
    tree = {"state_dict": described, "settings": trainer} | (others or {})
    torch.write_zip(path, torch.dumps(tree), numbers)


WRITERS = {
    "theirs.npz": write_npz,
    "theirs.safetensors": write_safetensors,
    "theirs.pt": write_pytorch,
}


@pytest.mark.parametrize("name", WRITERS)
def test_there_and_back(name, config, state_dict, variables, tmp_path, capsys):
    source, output = tmp_path / name, tmp_path / "new" / "ours.safetensors"
    counter = {"CE.bn.num_batches_tracked": np.array([7], np.int64)}
    WRITERS[name](source, state_dict | counter)
    assert convert.run(config, tmp_path, source, output) == 0
    found, about = store.load(output)
    assert jax.tree.structure(found) == jax.tree.structure(variables)
    jax.tree.map(np.testing.assert_array_equal, found, variables)
    assert about["source"] == name
    assert about["ignored"] == {"num_batches_tracked": 1}
    lines = capsys.readouterr().out
    count = sum(leaf.size for leaf in jax.tree.leaves(variables["params"]))
    assert f"{count:,} parameters" in lines and "1 num_batches_tracked" in lines
    assert f"--config.weights={output}" in lines and "32 px" in lines


def test_predict_takes_what_convert_writes(config, file, variables, tmp_path):
    output = tmp_path / "ours.safetensors"
    convert.run(config, tmp_path, file, output)
    image = np.random.default_rng(0).integers(0, 255, (24, 40)).astype(np.uint8)
    Image.fromarray(image).save(tmp_path / "scene.png")
    using = quickstart.get_config("tiny")
    using.model.channels = 77  # the file knows better
    using.weights = str(output)
    using.predict.update({"mode": "discriminative", "probabilities": True})
    out = tmp_path / "out"
    assert predict.run(using, tmp_path, tmp_path / "scene.png", out) == 0

    taken, loaded, _ = inference.trained(using, tmp_path)
    assert taken.model.token_layout == "reference"
    assert (taken.predict.size, taken.evaluation.size) == (32, 32)
    network = models.build("irstd_diff", **fields_of(taken.model))
    assert network == models.build("irstd_diff", **fields_of(config.model))
    jax.tree.map(np.testing.assert_array_equal, loaded, variables)
    with Image.open(out / "probabilities" / "scene.png") as picture:
        assert picture.size == (40, 24) and np.ptp(np.asarray(picture)) > 0


def fields_of(model):
    fields = {k: v for k, v in model.items() if k != "name"}
    return {k: tuple(v) if isinstance(v, list) else v for k, v in fields.items()}


def test_one_of_several_state_dicts(config, state_dict, variables, tmp_path):
    torch = sibling("test_readers")
    (_, small), *_ = state_dict.items()
    where = torch.storage("few", small.size)
    few = {"w": torch.tensor(where, small.shape, (1,) * small.ndim)}
    source, output = tmp_path / "theirs.pt", tmp_path / "ours.safetensors"
    write_pytorch(source, state_dict, others={"optimizer": few}, few=small)
    with pytest.raises(ValueError, match=r"\['optimizer', 'state_dict'\]"):
        convert.run(config, tmp_path, source, output)
    convert.run(config, tmp_path, source, output, key="state_dict")
    found, _ = store.load(output)
    jax.tree.map(np.testing.assert_array_equal, found, variables)


def test_all_wrong_names_are_told(config, state_dict, tmp_path):
    state = dict(state_dict)
    del state["CE.out_conv.bias"]
    state["stray.weight"] = np.zeros(2, np.float32)
    state["out.2.bias"] = np.zeros(3, np.float32)
    write_npz(tmp_path / "theirs.npz", state)
    output = tmp_path / "ours.safetensors"
    with pytest.raises(ValueError) as error:
        convert.run(config, tmp_path, tmp_path / "theirs.npz", output)
    message = str(error.value)
    assert "theirs.npz: these weights do not fit" in message
    assert "1 missing: CE.out_conv.bias" in message
    assert "1 unexpected: stray.weight" in message
    assert "1 misshapen: out.2.bias (3,) instead of (1,)" in message
    assert not output.exists()


def test_outputs_are_guarded(config, state_dict, tmp_path):
    source = tmp_path / "theirs.safetensors"
    write_safetensors(source, state_dict)
    run = functools.partial(convert.run, config, tmp_path)
    with pytest.raises(FileNotFoundError, match="no file .*none.pt"):
        run(tmp_path / "none.pt", tmp_path / "ours.safetensors")
    with pytest.raises(ValueError, match=r"ours.npz must end in \.safetensors"):
        run(source, tmp_path / "ours.npz")
    with pytest.raises(ValueError, match="is the input itself"):
        run(source, source, overwrite=True)
    with pytest.raises(ValueError, match="is a folder: name the file in it"):
        run(tmp_path, tmp_path / "ours.safetensors")
    output = tmp_path / "ours.safetensors"
    output.write_text("old")
    with pytest.raises(FileExistsError, match="ours.safetensors exists.*--overwrite"):
        run(source, output)
    assert output.read_text() == "old"
    run(source, output, overwrite=True)
    store.load(output)


def test_the_published_settings_are_the_paper_s_recipe():
    # One recipe for training and one for converting must not drift apart.
    recipe = common.irstd_diff("paper", "irstd1k", "80_20")
    settings = ConfigDict(published.weights_config(recipe))
    model = recipe.model.to_dict() | {"token_layout": "reference"}
    assert settings.model.to_dict() == model
    task = recipe.task.to_dict()
    assert settings.task.to_dict() == {key: task[key] for key in published.TASK}
    assert settings.data.channels == recipe.data.channels == 3
    assert settings.predict.size == settings.evaluation.size == 256


def test_the_config_tells_the_normalisation():
    def normalisation(config):
        return published.weights_config(config)["data"]["normalisation"]

    assert normalisation(nuaa_sirst.get_config()) == "irstd_diff_sirst"
    assert normalisation(nudt_sirst.get_config()) == "irstd_diff_nudt"
    assert normalisation(quickstart.get_config()) == "irstd_diff_sirst"


def test_the_released_default_depth_is_explained():
    names = [f"input_blocks.{i}.0.weight" for i in range(12)]
    state = {f"module.{name}": np.zeros(1) for name in names}
    with pytest.raises(ValueError, match="1 residual block a level"):
        published.converted(published.published_model(), state)


# --- single networks of other tasks ---------------------------------------------------

SINGLES = ("acm_fpn", "acm_unet", "alcnet_basicirstd", "dnanet", "swinir", "uiunet")


def single(name):
    """The tiny recipe of a network that has published names."""
    if name == "swinir":
        return pixel_prior.get_config("tiny")
    config = detector.get_config(f"{name},synthetic,tiny")
    if config.data.channels == 3:
        config.data.normalisation = "imagenet"
    return config


def drawn(model, seed=0):
    rng = np.random.default_rng(seed)
    fields = fields_of(model)
    return {e.name: draw(rng, e) for e in weights.table(model.name, **fields)}


@pytest.mark.parametrize("name", SINGLES)
def test_a_network_by_its_recipe(name, tmp_path, capsys):
    config, output = single(name), tmp_path / "ours.safetensors"
    state = drawn(config.model)
    prefix = weights.names_of(name).prefix
    given = {prefix + key: array for key, array in state.items()}
    given["criterion.weight"] = np.ones(2, np.float32)
    idle = weights.names_of(name).unused
    for layer in idle:
        given[f"{prefix}{layer}weight"] = np.ones(3, np.float32)
    write_pytorch(tmp_path / "theirs.pth.tar", given)
    assert convert.run(config, tmp_path, tmp_path / "theirs.pth.tar", output) == 0
    told = capsys.readouterr().out
    assert "parts: 1 criterion" in told and f"={output}" in told
    for layer in idle:
        assert f"1 of {layer.split('.')[0]}, which never runs" in told

    using = single(name)
    using.data.normalisation, using.weights = "none", str(output)
    using, loaded, about = inference.trained(using, tmp_path)
    assert using.data.normalisation == config.data.normalisation
    assert about["config"]["evaluation"]["size"] == config.evaluation.size
    wanted = weights.convert(name, state, **fields_of(config.model))
    wanted = {"batch_stats": {}} | wanted
    jax.tree.map(np.testing.assert_array_equal, loaded, wanted)
    task = tasks.build(using)
    shapes = jax.eval_shape(task.init, jax.random.key(0))
    assert jax.tree.map(np.shape, loaded) == jax.tree.map(np.shape, shapes)


@pytest.mark.parametrize("name", ["acm_unet", "swinir"])
def test_what_converted_weights_predict(name, tmp_path):
    """The outputs of the network with the arrays that the file was made from."""
    config, output = single(name), tmp_path / "ours.safetensors"
    # Small last layers, so that no output is cut off.
    state = {
        key: array * np.float32(0.01 if key.startswith("conv_last") else 1)
        for key, array in drawn(config.model).items()
    }
    write_safetensors(tmp_path / "theirs.safetensors", state)
    convert.run(config, tmp_path, tmp_path / "theirs.safetensors", output)
    config.weights = str(output)
    using, loaded, _ = inference.trained(config, tmp_path)
    shape = (1, 20, 28, config.data.channels)
    image = np.random.default_rng(1).random(shape).astype(np.float32)
    run = jax.jit(tasks.build(using).predict)
    keys = jax.random.split(jax.random.key(0), 1)
    (found,) = run(loaded, {"image": image}, keys).values()
    wanted = weights.convert(name, state, **fields_of(config.model))
    (same,) = run({"batch_stats": {}} | wanted, {"image": image}, keys).values()
    np.testing.assert_array_equal(found, same)
    assert np.ptp(found) > 0


def test_weights_of_another_detector(tmp_path):
    write_npz(tmp_path / "fpn.npz", drawn(single("acm_fpn").model))
    output = tmp_path / "ours.safetensors"
    with pytest.raises(ValueError) as error:
        convert.run(single("acm_unet"), tmp_path, tmp_path / "fpn.npz", output)
    assert "fpn.npz: these weights do not fit the network" in str(error.value)
    assert " missing: " in str(error.value) and not output.exists()
