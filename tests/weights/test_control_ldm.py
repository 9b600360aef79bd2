import numpy as np
import pytest
import safetensors.numpy
import spellings

from irstd_jax import weights
from irstd_jax.weights import control_ldm

WHOLE = {
    "model.diffusion_model.out.2.bias": 1,
    "first_stage_model.encoder.conv_in.bias": 2,
    "first_stage_model.quant_conv.bias": 3,
    "control_model.zero_convs.0.0.bias": 4,
    "cond_stage_model.model.ln_final.bias": 5,
    "preprocess_model.conv_last.bias": 6,
    "cond_encoder.encoder.conv_in.bias": 2,
    "cond_encoder.quant_conv.bias": 3,
    "model_ema.diffusion_modelout2bias": 7,
    "betas": 8,
    "logvar": 9,
}


def whole(**changes):
    return {name: np.full(2, value) for name, value in (WHOLE | changes).items()}


@pytest.mark.parametrize("prefix", ["", "module."])
def test_parts_by_prefix(prefix):
    given = {prefix + name: array for name, array in whole().items()}
    parts = control_ldm.parts(given)
    assert {
        part: {name: int(array[0]) for name, array in sd.items()}
        for part, sd in parts.items()
    } == {
        "unet": {"out.2.bias": 1},
        "autoencoder": {"encoder.conv_in.bias": 2, "quant_conv.bias": 3},
        "control": {"zero_convs.0.0.bias": 4},
        "text": {"ln_final.bias": 5},
        "restorer": {"conv_last.bias": 6},
    }
    assert control_ldm.ignored(given) == list(WHOLE)[6:]


def test_every_part_has_its_network():
    assert control_ldm.NETWORKS.keys() == control_ldm.PREFIXES.keys()
    for name in control_ldm.NETWORKS.values():
        assert name in weights.NETWORKS


def test_stable_diffusion_alone_has_three_parts():
    theirs = ("model.diffusion_model.", "first_stage_model.", "cond_stage_model.")
    given = {n: a for n, a in whole().items() if n.startswith((*theirs, "betas"))}
    assert set(control_ldm.parts(given)) == {"unet", "autoencoder", "text"}


@pytest.mark.parametrize(
    "name", ["embedder.weight", "cond_stage_model.transformer.x", "betas.x", "sigmas"]
)
def test_an_unknown_name_is_refused(name):
    with pytest.raises(ValueError, match=f"1 names belong to no part: {name}; they"):
        control_ldm.parts(whole(**{name: 0}))


def test_weights_of_one_network_are_no_system():
    with pytest.raises(ValueError, match="0 names belong to no part"):
        control_ldm.parts({"betas": np.zeros(2)})


@pytest.mark.parametrize("changed", ["encoder.conv_in.bias", "quant_conv.bias"])
def test_a_condition_encoder_of_its_own_is_refused(changed):
    given = whole(**{f"cond_encoder.{changed}": 99})
    with pytest.raises(ValueError, match=f"cond_encoder.{changed} differs"):
        control_ldm.parts(given)
    del given[f"first_stage_model.{changed}"]
    with pytest.raises(ValueError, match="differs"):
        control_ldm.parts(given)


# --- diffusers' folder -----------------------------------------------------------


def write(path, **arrays):
    path.parent.mkdir(parents=True, exist_ok=True)
    arrays = {name: np.float32(value) for name, value in arrays.items()}
    safetensors.numpy.save_file(arrays, path)


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "sd"
    write(root / "unet" / "diffusion_pytorch_model.safetensors", u=[1, 2])
    write(root / "vae" / "diffusion_pytorch_model.safetensors", v=[3])
    write(root / "text_encoder" / "model.safetensors", t=[4])
    write(root / "safety_checker" / "model.safetensors", s=[5])
    return root


def test_parts_of_a_folder(folder):
    parts = control_ldm.folder(folder)
    assert set(parts) == {"unet", "autoencoder", "text"}
    assert spellings.same(parts["unet"], {"u": np.float32([1, 2])})
    assert spellings.same(parts["autoencoder"], {"v": np.float32([3])})
    assert spellings.same(parts["text"], {"t": np.float32([4])})


def test_a_folder_may_lack_parts(folder):
    (folder / "unet").rename(folder / "unet_of_others")
    assert set(control_ldm.folder(folder)) == {"autoencoder", "text"}


def test_a_folder_without_parts(tmp_path):
    with pytest.raises(FileNotFoundError, match="has none of .'text_encoder', 'unet'"):
        control_ldm.folder(tmp_path)


def test_a_part_without_its_file(folder):
    (folder / "vae" / "diffusion_pytorch_model.safetensors").unlink()
    with pytest.raises(ValueError, match="vae has none of diffusion_pytorch_model"):
        control_ldm.folder(folder)


def test_a_damaged_file_is_named(folder):
    (folder / "text_encoder" / "model.safetensors").write_bytes(b"nothing of use")
    with pytest.raises(ValueError, match="cannot read weights from .*text_encoder"):
        control_ldm.folder(folder)


@pytest.mark.parametrize("link", ["file", "folder"])
def test_nothing_leads_outside(folder, tmp_path, link):
    write(tmp_path / "other" / "diffusion_pytorch_model.safetensors", v=[9])
    inside = folder / "vae" / "diffusion_pytorch_model.safetensors"
    inside.unlink()
    if link == "file":
        inside.symlink_to(tmp_path / "other" / "diffusion_pytorch_model.safetensors")
    else:
        (folder / "vae").rmdir()
        (folder / "vae").symlink_to(tmp_path / "other")
    with pytest.raises(ValueError, match="leads outside of"):
        control_ldm.folder(folder)


def test_a_link_inside_is_followed(folder):
    (folder / "blob").write_bytes(
        (folder / "text_encoder/model.safetensors").read_bytes()
    )
    (folder / "text_encoder" / "model.safetensors").unlink()
    (folder / "text_encoder" / "model.safetensors").symlink_to(folder / "blob")
    assert set(control_ldm.folder(folder)["text"]) == {"t"}
