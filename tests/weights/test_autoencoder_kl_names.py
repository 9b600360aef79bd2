import numpy as np
import pytest
import spellings

from irstd_jax import weights
from irstd_jax.weights import autoencoder_kl

NAME = "autoencoder_kl"
TOY = dict(channels=4, channel_mult=(1, 2, 2), num_res_blocks=1)


@pytest.fixture(scope="module")
def state_dict():
    return spellings.drawn(weights.table(NAME, **TOY))


def read_back(state_dict):
    """Through the network's variables and back to CompVis' names."""
    return weights.invert(NAME, weights.convert(NAME, state_dict, **TOY), **TOY)


def as_matrices(state_dict):
    return {
        name: array[:, :, 0, 0] if "attentions" in name and array.ndim == 4 else array
        for name, array in state_dict.items()
    }


def diffusers(state_dict):
    """As vae/ has it: other names, and matrices in the attention."""
    pairs = spellings.autoencoder(levels=3, n=1)
    return as_matrices(spellings.respelled(state_dict, pairs))


def test_every_published_array_has_one_place(golden_root):
    with np.load(golden_root / "autoencoder_kl.npz") as fixture:
        published = {
            str(key).removeprefix("first_stage_model."): tuple(
                int(n) for n in str(shape).split(",") if n
            )
            for key, shape in zip(fixture["keys"], fixture["shapes"], strict=True)
        }
    entries = weights.table(NAME)
    assert {entry.name: entry.shape for entry in entries} == published
    assert len(entries) == 248


def test_all_published_names_of_diffusers_are_known():
    wanted = spellings.hollow(weights.table(NAME))
    given = spellings.respelled(wanted, spellings.autoencoder(levels=4, n=2))
    given = as_matrices(given)
    assert len(given) == 248
    found = autoencoder_kl.canonical(given)
    assert {k: a.shape for k, a in found.items()} == {
        k: a.shape for k, a in wanted.items()
    }


@pytest.mark.parametrize("prefix", ["", "first_stage_model.", "module."])
def test_prefixes(state_dict, prefix):
    given = {prefix + name: array for name, array in state_dict.items()}
    assert spellings.same(read_back(given), state_dict)


def test_diffusers_names_mean_the_same(state_dict):
    given = diffusers(state_dict)
    assert "decoder.up_blocks.0.resnets.0.conv1.weight" in given
    assert spellings.same(read_back(given), state_dict)


def test_diffusers_old_names_of_the_attention(state_dict):
    old = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    given = {}
    for name, array in diffusers(state_dict).items():
        for new, before in old.items():
            name = name.replace(f"attentions.0.{new}.", f"attentions.0.{before}.")
        given[name] = array
    assert "encoder.mid_block.attentions.0.query.weight" in given
    assert spellings.same(read_back(given), state_dict)


@pytest.mark.parametrize("spell", [dict, diffusers])
def test_all_that_does_not_fit_is_said(state_dict, spell):
    given = spell(state_dict)
    del given["encoder.conv_in.bias"]
    given["loss.logvar"] = np.zeros(())
    given["decoder.conv_out.weight"] = np.zeros((3, 4, 1, 1))
    with pytest.raises(ValueError) as error:
        weights.convert(NAME, given, **TOY)
    message = str(error.value)
    assert "1 missing: encoder.conv_in.bias" in message
    assert "1 unexpected: loss.logvar" in message
    assert "decoder.conv_out.weight (3, 4, 1, 1) instead of (3, 4, 3, 3)" in message
