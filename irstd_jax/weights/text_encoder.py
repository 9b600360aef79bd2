"""The names of TextEncoder's weights: OpenCLIP (the table's) and diffusers.

OpenCLIP's file, in a whole checkpoint behind `cond_stage_model.model.`, holds more than
runs: DEAD and its last block. Those are dropped by name. Diffusers' folder
text_encoder/ holds what runs, with queries, keys and values apart.
"""

import jax
import jax.numpy as jnp
import numpy as np

from irstd_jax.models import build
from irstd_jax.weights import engine, names

PREFIX = "cond_stage_model.model."
# The projection and the temperature; the places' numbers.
DEAD = ("text_projection", "logit_scale", "embeddings.position_ids")
RENAMINGS = (
    (r"^token_embedding$", "token_embedding.weight"),
    (r"qkv/kernel$", "attn.in_proj_weight"),
    (r"qkv/bias$", "attn.in_proj_bias"),
    (r"(kernel|scale)$", "weight"),
    (r"^norm/", "ln_final/"),
    (r"^block_(\d+)/", r"transformer.resblocks.\1/"),
    (r"/norm(\d)/", r"/ln_\1/"),
    (r"/proj/", "/attn.out_proj/"),
    (r"/mlp_in/", "/mlp.c_fc/"),
    (r"/mlp_out/", "/mlp.c_proj/"),
)
DIFFUSERS = (
    (r"^embeddings\.token_embedding\.", "token_embedding."),
    (r"^embeddings\.position_embedding\.weight$", "positional_embedding"),
    (r"^final_layer_norm\.", "ln_final."),
    (r"^encoder\.layers\.(\d+)\.", r"transformer.resblocks.\1."),
    (r"\.layer_norm(\d)\.", r".ln_\1."),
    (r"\.self_attn\.out_proj\.", ".attn.out_proj."),
    (r"\.mlp\.fc1\.", ".mlp.c_fc."),
    (r"\.mlp\.fc2\.", ".mlp.c_proj."),
)
APART = (".self_attn.q_proj.", ".self_attn.k_proj.", ".self_attn.v_proj.")


def canonical(state_dict, **fields):
    """The weights that run under OpenCLIP's names, from either spelling."""
    state_dict = names.bare(state_dict, engine.PREFIX, "text_model.")
    # The published tower has one block more than `layers`, which never runs.
    idle = f"transformer.resblocks.{build('text_encoder', **fields).layers}."
    state_dict = {
        name: array
        for name, array in state_dict.items()
        if name not in DEAD and not name.startswith(idle)
    }
    if not any(name.startswith("embeddings.") for name in state_dict):
        return state_dict
    state_dict = together(state_dict)
    return names.renamed(state_dict, lambda n: names.substituted(n, DIFFUSERS))


def together(state_dict):
    """Queries, keys and values of each attention as one array, where all are there."""
    result = dict(state_dict)
    for name in state_dict:
        parts = [name.replace(APART[0], part) for part in APART]
        if APART[0] in name and all(part in state_dict for part in parts):
            joined = np.concatenate([result.pop(part) for part in parts])
            stem, leaf = name.split(APART[0])
            result[f"{stem}.attn.in_proj_{leaf}"] = joined
    return result


def torch_name(path, leaf):
    """OpenCLIP's name of a Flax path and the kind of its axes (engine.KINDS)."""
    name = names.substituted("/".join(path), RENAMINGS)
    return name.replace("/", "."), names.kind(path, leaf)


def table(**fields):
    """The entries for TextEncoder(**fields); the published ones by default."""
    network = build("text_encoder", **fields)
    tokens = jnp.zeros((1, network.length), jnp.int32)
    variables = jax.eval_shape(network.init, jax.random.key(0), tokens)
    return engine.table(variables, torch_name)
