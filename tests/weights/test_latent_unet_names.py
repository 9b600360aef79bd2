import numpy as np
import pytest
import spellings

from irstd_jax import weights
from irstd_jax.weights import latent_unet

TOY = dict(
    channels=4,
    channel_mult=(1, 2, 2),
    num_res_blocks=1,
    attention_downsamplings=(2,),
    head_width=4,
    context_dim=6,
)
SMALL = dict(
    channels=32,
    channel_mult=(1, 2, 4),
    attention_downsamplings=(2, 1),
    head_width=16,
    context_dim=24,
)
NAMES = ("latent_unet", "control_net")


@pytest.fixture(scope="module")
def state_dicts():
    return {name: spellings.drawn(weights.table(name, **TOY)) for name in NAMES}


def read_back(name, state_dict):
    """Through the network's variables and back to CompVis' names."""
    return weights.invert(name, weights.convert(name, state_dict, **TOY), **TOY)


def test_every_array_of_the_release_has_one_place(golden_root):
    with np.load(golden_root / "latent_unet_control_small.npz") as fixture:
        released = {
            str(key): tuple(int(n) for n in str(shape).split(",") if n)
            for key, shape in zip(fixture["keys"], fixture["shapes"], strict=True)
        }
    mine = {
        latent_unet.PREFIXES[name] + entry.name: entry.shape
        for name in NAMES
        for entry in weights.table(name, **SMALL)
    }
    assert mine == released


def test_all_published_names_of_diffusers_are_known():
    wanted = spellings.hollow(weights.table("latent_unet"))
    pairs = spellings.unet(levels=4, n=2, attending={0, 1, 2})
    given = spellings.respelled(wanted, pairs)
    assert len(given) == 686 and not set(given) & set(wanted)
    found = latent_unet.canonical(given)
    assert {k: a.shape for k, a in found.items()} == {
        k: a.shape for k, a in wanted.items()
    }


def test_published_control_has_324_arrays():
    entries = weights.table("control_net")
    shapes = {entry.name: entry.shape for entry in entries}
    assert len(shapes) == 324
    assert shapes["input_blocks.0.0.weight"] == (320, 8, 3, 3)
    assert shapes["zero_convs.11.0.weight"] == (1280, 1280, 1, 1)
    assert shapes["middle_block_out.0.weight"] == (1280, 1280, 1, 1)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("prefixed", [True, False])
def test_prefixes(state_dicts, name, prefixed):
    prefix = latent_unet.PREFIXES[name] if prefixed else ""
    given = {prefix + key: array for key, array in state_dicts[name].items()}
    assert spellings.same(read_back(name, given), state_dicts[name])


def test_one_checkpoint_of_both_serves_each(state_dicts):
    whole = {
        latent_unet.PREFIXES[name] + key: array
        for name in NAMES
        for key, array in state_dicts[name].items()
    }
    for name in NAMES:
        assert spellings.same(read_back(name, whole), state_dicts[name])


@pytest.mark.parametrize("name", NAMES)
def test_diffusers_names_mean_the_same(state_dicts, name):
    pairs = spellings.unet(levels=3, n=1, attending={1})
    pairs |= {f"zero_convs.{k}.0": f"controlnet_down_blocks.{k}" for k in range(6)}
    pairs["middle_block_out.0"] = "controlnet_mid_block"
    given = spellings.respelled(state_dicts[name], pairs)
    assert spellings.same(read_back(name, given), state_dicts[name])


def test_all_that_does_not_fit_is_said(state_dicts):
    pairs = spellings.unet(levels=3, n=1, attending={1})
    given = spellings.respelled(state_dicts["latent_unet"], pairs)
    del given["conv_in.bias"]
    given["add_embedding.linear_1.weight"] = np.zeros(1)
    given["mid_block.attentions.0.proj_in.weight"] = np.zeros((8, 8, 1, 1))
    with pytest.raises(ValueError) as error:
        weights.convert("latent_unet", given, **TOY)
    message = str(error.value)
    assert "1 missing: input_blocks.0.0.bias" in message
    assert "1 unexpected: add_embedding.linear_1.weight" in message
    assert "middle_block.1.proj_in.weight (8, 8, 1, 1) instead of (8, 8)" in message


def test_both_spellings_of_one_array_are_refused(state_dicts):
    pairs = spellings.unet(levels=3, n=1, attending={1})
    given = spellings.respelled(state_dicts["latent_unet"], pairs)
    given["out.2.bias"] = given["conv_out.bias"]
    with pytest.raises(ValueError, match="'conv_out.bias' and 'out.2.bias' both mean"):
        weights.convert("latent_unet", given, **TOY)
