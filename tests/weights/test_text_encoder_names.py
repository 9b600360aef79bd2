import numpy as np
import pytest
import spellings

from irstd_jax import weights

NAME = "text_encoder"
TOY = dict(vocabulary=5, length=3, width=4, layers=2, heads=2)


@pytest.fixture(scope="module")
def state_dict():
    return spellings.drawn(weights.table(NAME, **TOY))


def read_back(state_dict):
    return weights.invert(NAME, weights.convert(NAME, state_dict, **TOY), **TOY)


def diffusers(state_dict):
    """As text_encoder/ has it, with the leading `text_model.`."""
    pairs = {
        "token_embedding": "embeddings.token_embedding",
        "ln_final": "final_layer_norm",
    }
    for i in range(2):
        old, new = f"transformer.resblocks.{i}", f"encoder.layers.{i}"
        pairs |= {
            f"{old}.ln_1": f"{new}.layer_norm1",
            f"{old}.ln_2": f"{new}.layer_norm2",
            f"{old}.attn.out_proj": f"{new}.self_attn.out_proj",
            f"{old}.mlp.c_fc": f"{new}.mlp.fc1",
            f"{old}.mlp.c_proj": f"{new}.mlp.fc2",
        }
    result = {"embeddings.position_ids": np.arange(3)[None]}
    for name, array in state_dict.items():
        if name == "positional_embedding":
            result["embeddings.position_embedding.weight"] = array
        elif ".attn.in_proj_" in name:
            stem, leaf = name.split(".attn.in_proj_")
            stem = stem.replace("transformer.resblocks", "encoder.layers")
            for part, third in zip("qkv", np.split(array, 3), strict=True):
                result[f"{stem}.self_attn.{part}_proj.{leaf}"] = third
        else:
            result |= spellings.respelled({name: array}, pairs)
    return {f"text_model.{name}": array for name, array in result.items()}


def test_published_names():
    shapes = {entry.name: entry.shape for entry in weights.table(NAME)}
    block = "transformer.resblocks.22."
    assert {name.removeprefix(block) for name in shapes if name.startswith(block)} == {
        *("ln_1.weight", "ln_1.bias", "ln_2.weight", "ln_2.bias"),
        *("attn.in_proj_weight", "attn.in_proj_bias"),
        *("attn.out_proj.weight", "attn.out_proj.bias"),
        *("mlp.c_fc.weight", "mlp.c_fc.bias", "mlp.c_proj.weight", "mlp.c_proj.bias"),
    }
    others = {n: s for n, s in shapes.items() if not n.startswith("transformer.")}
    assert others == {
        "token_embedding.weight": (49408, 1024),
        "positional_embedding": (77, 1024),
        "ln_final.weight": (1024,),
        "ln_final.bias": (1024,),
    }
    assert len(shapes) == 23 * 12 + 4
    assert shapes[f"{block}attn.in_proj_weight"] == (3072, 1024)
    assert shapes[f"{block}mlp.c_fc.weight"] == (4096, 1024)


@pytest.mark.parametrize("prefix", ["", "cond_stage_model.model."])
def test_what_never_runs_is_dropped_by_name(state_dict, prefix):
    idle = {
        name.replace("resblocks.1.", "resblocks.2."): array
        for name, array in state_dict.items()
        if "resblocks.1." in name
    }
    idle |= {"text_projection": np.zeros((4, 4)), "logit_scale": np.zeros(())}
    given = {prefix + name: array for name, array in (state_dict | idle).items()}
    assert len(given) == len(state_dict) + 12 + 2
    assert spellings.same(read_back(given), state_dict)


@pytest.mark.parametrize("prefix", ["text_model.", ""])
def test_diffusers_names_mean_the_same(state_dict, prefix):
    given = diffusers(state_dict)
    given = {prefix + n.removeprefix("text_model."): a for n, a in given.items()}
    assert "attn.in_proj" not in " ".join(given)
    assert spellings.same(read_back(given), state_dict)


def test_all_that_does_not_fit_is_said(state_dict):
    given = diffusers(state_dict)
    del given["text_model.encoder.layers.1.self_attn.q_proj.bias"]
    given["text_model.encoder.layers.3.mlp.fc1.bias"] = np.zeros(16)
    with pytest.raises(ValueError) as error:
        weights.convert(NAME, given, **TOY)
    message = str(error.value)
    assert "1 missing: transformer.resblocks.1.attn.in_proj_bias" in message
    parts = "resblocks.1.self_attn.k_proj.bias", "resblocks.1.self_attn.v_proj.bias"
    for name in (*parts, "resblocks.3.mlp.c_fc.bias"):
        assert f"transformer.{name}" in message
    assert "3 unexpected" in message
