"""Published systems of several networks, at toy widths under their published names."""

import functools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy
from flax import traverse_util
from ml_collections import ConfigDict
from test_convert import draw, sibling, write_npz, write_pytorch

from configs.diff_mosaic import autoencoder, control, latent_prior, pixel_prior
from irstd_jax import convert, inference, models, systems, tasks, weights
from irstd_jax.models import text_encoder
from irstd_jax.tasks import autoencoding
from irstd_jax.weights import control_ldm, engine, store

RECIPES = {
    "autoencoder": autoencoder,
    "unet": latent_prior,
    "control": control,
    "restorer": pixel_prior,
}
STABLE_DIFFUSION = ("unet", "autoencoder", "text")
TEXT = {"width": 8, "layers": 2, "heads": 2}


def recipe(name):
    """The tiny recipe whose network is the part `name`, with a tiny text tower."""
    config = RECIPES[name].get_config("tiny")
    config.text = ConfigDict(TEXT)
    return config


def fields(part):
    block = TEXT if part == "text" else recipe(part).model.to_dict()
    return {k: v for k, v in block.items() if k != "name"}


@pytest.fixture(autouse=True, scope="module")
def tables():
    """The names are made from traced networks, which takes seconds: once is enough."""
    with pytest.MonkeyPatch.context() as patch:
        for name in control_ldm.NETWORKS.values():
            row = weights.NETWORKS[name]
            cached = row._replace(table=functools.cache(row.table))
            patch.setitem(weights.NETWORKS, name, cached)
        yield


@pytest.fixture(scope="module")
def parts(tables):
    """{part: state dict}: random weights of all five networks."""
    rng = np.random.default_rng(0)
    return {
        part: {e.name: draw(rng, e) for e in weights.table(name, **fields(part))}
        for part, name in control_ldm.NETWORKS.items()
    }


@pytest.fixture(scope="module")
def networks(parts):
    """{part: variables}: the same as Flax has them."""
    return {
        part: weights.convert(name, parts[part], **fields(part))
        for part, name in control_ldm.NETWORKS.items()
    }


@pytest.fixture(scope="module")
def context(networks):
    network = models.build("text_encoder", **TEXT)
    return np.asarray(network.apply(networks["text"], jnp.array([text_encoder.EMPTY])))


def checkpoint(parts, names):
    """A checkpoint of the parts, with what lies in one beside weights."""
    state = control_ldm.whole({name: parts[name] for name in names})
    copies = {
        f"cond_encoder.{name}": array
        for name, array in parts["autoencoder"].items()
        if name.startswith(("encoder.", "quant_conv."))
    }
    idle = ("cond_stage_model.model.logit_scale", "betas", "model_ema.decay")
    return state | copies | {name: np.ones(1, np.float32) for name in idle}


@pytest.fixture(scope="module")
def files(parts, tmp_path_factory):
    """{what: path} of everything that an author might hand out."""
    root = tmp_path_factory.mktemp("theirs")
    write_npz(root / "sd.npz", checkpoint(parts, STABLE_DIFFUSION))
    write_pytorch(root / "control.ckpt", checkpoint(parts, control_ldm.NETWORKS))
    idle = {"loss.logvar": np.zeros(1), "model_ema.decay": np.zeros(1)}
    write_npz(root / "vae.npz", parts["autoencoder"] | idle)
    folder(root / "diffusers", parts)
    return {path.stem: path for path in root.iterdir()}


def folder(root, parts):
    """A folder as diffusers writes it."""
    spelled = sibling("spellings")
    vae, unet = fields("autoencoder"), fields("unet")
    spell = {
        "unet": spelled.unet(len(unet["channel_mult"]), unet["num_res_blocks"], ()),
        "autoencoder": spelled.autoencoder(
            len(vae["channel_mult"]), vae["num_res_blocks"]
        ),
    }
    for part, name in control_ldm.FOLDERS.items():
        (root / name).mkdir(parents=True)
        state = parts[part]
        if part in spell:
            state = spelled.respelled(state, spell[part])
        path = root / name / "diffusion_pytorch_model.safetensors"
        safetensors.numpy.save_file(state, path)
    tell(root / "vae" / "config.json", scaling_factor=0.18215)
    tell(root / "scheduler" / "scheduler_config.json", prediction_type="v_prediction")


def tell(path, **facts):
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(facts))


def same(found, wanted):
    """Whether two trees hold the same arrays under the same names, bit for bit."""
    found, wanted = (traverse_util.flatten_dict(tree) for tree in (found, wanted))
    assert found.keys() == wanted.keys()
    for path, array in wanted.items():
        np.testing.assert_array_equal(found[path], array, err_msg=str(path))
        assert found[path].shape == array.shape


def converted(name, source, output, **changes):
    config = recipe(name)
    config.task.update(changes)
    assert convert.run(config, output.parent, source, output) == 0
    return store.load(output)


# --- there and back -------------------------------------------------------------------


@pytest.mark.parametrize("theirs", ["vae", "sd", "control", "diffusers"])
def test_an_autoencoder(theirs, files, networks, tmp_path, capsys):
    output = tmp_path / "autoencoder.safetensors"
    found, about = converted("autoencoder", files[theirs], output)
    same(found["params"], networks["autoencoder"]["params"])
    scale = autoencoding.scale(found["batch_stats"])
    assert scale.shape == () and abs(scale - 0.18215) < 1e-7
    shapes = jax.eval_shape(tasks.build(recipe("autoencoder")).init, jax.random.key(0))
    assert jax.tree.map(np.shape, found) == jax.tree.map(np.shape, shapes)
    assert about["source"] == files[theirs].name
    told = capsys.readouterr().out
    assert f"--config.parts.autoencoder={output}" in told
    if theirs == "vae":
        assert about["ignored"] == {"loss": 1, "model_ema": 1}
        assert (
            "ignored, being no weights or of other parts: 1 loss, 1 model_ema" in told
        )

    using = latent_prior.get_config("tiny")
    using.parts.autoencoder = str(output)
    same(inference.parts(using)["autoencoder"], found)


@pytest.mark.parametrize("theirs", ["sd", "control", "diffusers"])
def test_a_latent_prior(theirs, files, networks, context, tmp_path, capsys):
    output = tmp_path / "prior.safetensors"
    found, about = converted("unet", files[theirs], output)
    same(found["params"]["unet"], networks["unet"]["params"])
    frozen = found["frozen"]
    assert frozen.keys() == {"autoencoder", "context"}
    same(frozen["autoencoder"]["params"], networks["autoencoder"]["params"])
    assert frozen["context"].shape == (77, 8)
    np.testing.assert_array_equal(frozen["context"], context[0])
    told = capsys.readouterr().out
    count = sum(x.size for x in jax.tree.leaves(networks["unet"]["params"]))
    assert f"{count:,} parameters" in told and "an array of shape (77, 8)" in told
    assert f"--config.parts.unet={output}" in told
    if theirs == "control":
        assert about["ignored"]["control_model"] == len(
            weights.table("control_net", **fields("control"))
        )


def test_a_whole_diff_prior(files, networks, context, tmp_path, capsys):
    output = tmp_path / "diff_prior.safetensors"
    found, about = converted("control", files["control"], output)
    same(found["params"]["control"], networks["control"]["params"])
    frozen = found["frozen"]
    assert frozen.keys() == {"autoencoder", "context", "unet", "restorer"}
    same(frozen["unet"], networks["unet"]["params"])
    same(frozen["restorer"]["params"], networks["restorer"]["params"])
    np.testing.assert_array_equal(frozen["context"], context[0])
    ignored = about["ignored"]
    assert ignored["of the schedule"] == ignored["model_ema"] == 1
    assert ignored["cond_encoder"] > 10
    told = capsys.readouterr().out
    assert f"--config.augment.weights.diff_prior={output}" in told

    using = control.get_config("tiny")
    using.unet.channels = 77  # the file knows better
    using.weights = str(output)
    using, loaded, _ = inference.trained(using, tmp_path)
    shape = jax.ShapeDtypeStruct((1, 20, 20, 1), jnp.float32)
    keys = jax.eval_shape(lambda: jax.random.split(jax.random.key(0), 1))
    image = jax.eval_shape(tasks.build(using).predict, loaded, {"image": shape}, keys)
    assert image["realistic"].shape == (1, 20, 20, 1)


def test_it_is_what_a_run_leaves(files, parts, tmp_path):
    """Stable Diffusion and a Pixel-Prior, converted, begin the training of a control.

    The control begins as the U-Net's encoder, with zeros for the hint and at the ends.
    """
    paths = {name: str(tmp_path / f"{name}.safetensors") for name in RECIPES}
    write_npz(tmp_path / "swinir.npz", parts["restorer"])
    convert.run(recipe("unet"), tmp_path, files["sd"], paths["unet"])
    convert.run(
        recipe("restorer"), tmp_path, tmp_path / "swinir.npz", paths["restorer"]
    )
    config = recipe("control")
    config.parts.update({name: paths[name] for name in ("unet", "restorer")})
    variables = tasks.build(config).init(jax.random.key(0), **inference.parts(config))
    begins, unet = variables["params"]["control"], variables["frozen"]["unet"]
    kernel = begins["encoder"]["in_0"]["kernel"]
    z = unet["encoder"]["in_0"]["kernel"].shape[2]
    np.testing.assert_array_equal(kernel[:, :, :z], unet["encoder"]["in_0"]["kernel"])
    assert kernel.shape[2] == 2 * z and not kernel[:, :, z:].any()
    assert not begins["zero_mid"]["kernel"].any()

    store.save(paths["control"], variables, {})
    run, _ = store.load(paths["control"])
    ours, _ = converted("control", files["control"], tmp_path / "ours.safetensors")
    assert jax.tree.map(np.shape, ours) == jax.tree.map(np.shape, run)
    same(ours["frozen"], run["frozen"])


def test_the_weights_are_let_go(parts):
    state = checkpoint(parts, STABLE_DIFFUSION)
    settings = convert.published.carried(recipe("unet"))
    systems.latent_diffusion(settings, state)
    assert not state


# --- refusals -------------------------------------------------------------------------


def refusal(name, source, tmp_path, error=ValueError, **changes):
    """The message with which a conversion is refused; nothing is written."""
    output = tmp_path / "none.safetensors"
    with pytest.raises(error) as raised:
        converted(name, source, output, **changes)
    assert not output.exists()
    return str(raised.value)


def test_stable_diffusion_is_no_control(files, tmp_path):
    message = refusal("control", files["sd"], tmp_path)
    assert "sd.npz: it has no control (control_model.*), no restorer" in message
    assert "--config=configs/diff_mosaic/latent_prior.py" in message
    assert "--config.parts.unet=FILE" in message
    message = refusal("control", files["diffusers"], tmp_path, parameterisation="v")
    assert "diffusers: it has no control" in message


def test_a_prior_wants_its_text_tower(parts, tmp_path):
    path, state = tmp_path / "theirs.npz", checkpoint(parts, ("unet", "autoencoder"))
    del state["cond_stage_model.model.logit_scale"]
    write_npz(path, state)
    message = refusal("unet", path, tmp_path)
    assert "theirs.npz: it has no text (cond_stage_model.model.*)" in message
    assert "output for the empty string" in message


def test_the_width_of_the_context_is_compared(parts, tables):
    settings = convert.published.carried(recipe("unet"))
    settings["model"]["context_dim"] = 16
    with pytest.raises(ValueError, match="tower is 8 wide, and model.context_dim 16"):
        systems.context(settings, parts["text"])


@pytest.mark.parametrize("part", ["unet", "autoencoder", "restorer", "control"])
def test_all_wrong_names_of_a_part_are_told(part, parts, tmp_path):
    state = checkpoint(parts, control_ldm.NETWORKS)
    prefix = control_ldm.PREFIXES[part]
    names = sorted(n for n in parts[part] if n.endswith("bias") and "encoder" not in n)
    del state[prefix + names[0]]
    state[prefix + names[1]] = np.zeros(99, np.float32)
    state[f"{prefix}stray"] = np.zeros(2, np.float32)
    write_npz(tmp_path / "theirs.npz", state)
    message = refusal("control", tmp_path / "theirs.npz", tmp_path)
    assert f"theirs.npz: the part {part}: these weights do not fit" in message
    assert f"1 missing: {names[0]}" in message
    assert "1 unexpected: stray" in message
    assert f"1 misshapen: {names[1]} (99,) instead of" in message


def test_strange_names_are_refused(parts, tmp_path):
    state = checkpoint(parts, STABLE_DIFFUSION) | {"embedder.x": np.zeros(2)}
    write_npz(tmp_path / "theirs.npz", state)
    message = refusal("unet", tmp_path / "theirs.npz", tmp_path)
    assert "theirs.npz: 1 names belong to no part: embedder.x" in message


def test_a_folder_that_says_it_is_another_system(files, parts, tmp_path):
    message = refusal("unet", files["diffusers"], tmp_path, parameterisation="eps")
    assert "predicts v, the recipe says eps: add" in message
    assert "--config.task.parameterisation=v" in message
    root = tmp_path / "xl"
    folder(root, parts)
    tell(root / "vae" / "config.json", scaling_factor=0.13025)
    message = refusal("autoencoder", root, tmp_path)
    assert "xl/vae/config.json: scaling_factor is 0.13025" in message


def test_only_the_parts_that_are_needed_are_read(files, parts, tmp_path):
    root = tmp_path / "some"
    folder(root, parts)
    for name in ("unet", "text_encoder"):
        (root / name / "diffusion_pytorch_model.safetensors").write_bytes(b"nothing")
    converted("autoencoder", root, tmp_path / "ours.safetensors")
    assert "cannot read weights" in refusal(
        "unet", root, tmp_path, parameterisation="v"
    )


def test_other_refusals(files, tmp_path):
    message = refusal("unet", files["sd"], tmp_path, part="all")
    assert message == "unknown task.part 'all'; choose from ['control', 'unet']"
    assert "diffusers is a folder: name the file in it" in refusal(
        "restorer", files["diffusers"], tmp_path
    )
    assert "has none of" in refusal("unet", tmp_path, tmp_path, FileNotFoundError)
    config = recipe("unet")
    config.task.name = "guessing"
    with pytest.raises(ValueError, match="unknown task.name 'guessing'; choose from"):
        convert.run(config, tmp_path, files["sd"], tmp_path / "a.safetensors")


# --- the published size ---------------------------------------------------------------


def hollow(shape):
    """Zeros of a shape that take no memory."""
    return np.broadcast_to(np.float32(0), shape)


def test_the_published_systems_by_their_shapes(monkeypatch):
    """Stable Diffusion 2.1 and DiffBIR: all names and shapes, without the weights."""

    def convert_shapes(entries, given, unused=()):
        assert not unused
        assert {n: a.shape for n, a in given.items()} == {
            e.name: e.shape for e in entries
        }
        arrays = {e.path: engine.KINDS[e.kind].to_flax(given[e.name]) for e in entries}
        return traverse_util.unflatten_dict(arrays)

    def context(settings, given):
        network = models.build("text_encoder")
        found = systems.converted(settings, "text", given)
        tokens = jnp.array([text_encoder.EMPTY])
        return hollow(jax.eval_shape(network.apply, found, tokens).shape[1:])

    monkeypatch.setattr(engine, "convert", convert_shapes)
    monkeypatch.setattr(systems, "context", context)
    settings = convert.published.carried(control.get_config())
    state = control_ldm.whole(
        {
            part: {
                e.name: hollow(e.shape)
                for e in weights.table(name, **systems.fields(settings, part))
            }
            for part, name in control_ldm.NETWORKS.items()
        }
    )
    found = jax.tree.map(np.shape, systems.latent_diffusion(settings, state))

    def init(name, **given):
        task = tasks.build(RECIPES[name].get_config())
        run = lambda given: task.init(jax.random.key(0), **given)  # noqa: E731
        return jax.eval_shape(run, given)

    prior = init("unet", autoencoder=init("autoencoder"))
    wanted = init("control", unet=prior, restorer=init("restorer"))
    wanted = jax.tree.map(np.shape, wanted)
    assert found["frozen"].pop("context") == (77, 1024)
    del wanted["frozen"]["context"]
    assert found == wanted
