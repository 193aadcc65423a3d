"""Tensor name -> family of the matrix, by the naming habits of PyTorch, transformers, timm and their kin.

A name is no proof. What no habit covers is "other", and the table shows the name beside the family.
"""

from __future__ import annotations

import re
from collections.abc import Collection

from transformer_spectrum.weights.matrices.families import PROJECTIONS, Family

# Names of the last component of a path such as "encoder.layer.0.attention.self.query".
_LAST = {
    "query": "q query q_proj q_lin wq to_q q_attn query_proj linear_q query_layer w_q fc_q q_proj_weight",
    "key": "k key k_proj k_lin wk to_k key_proj linear_k key_layer w_k fc_k k_proj_weight",
    "value": "v value v_proj v_lin wv to_v value_proj linear_v value_layer w_v fc_v v_proj_weight",
    "feed_forward_gate": "gate_proj wi_0",
    "feed_forward_up": (
        "fc1 c_fc up_proj wi wi_1 w3 w_1 w_in v1 lin1 linear1 dense_h_to_4h expand fc_in up ffn fc_up intermediate"
    ),
    "feed_forward_down": (
        "fc2 down_proj w2 w_2 w_out lin2 linear2 dense_4h_to_h contract fc_out down ffn_output fc_down"
    ),
    "feed_forward": "gate_up_proj wi_fused mlp",
    "router": "router gate gate_network",
    "readout": "lm_head embed_out readout classifier score output_projection decoder_output out_head unembed w_u",
    "token_embedding": (
        "wte word_embeddings embed_tokens tok_embeddings token_embedding shared embed_in embedding embed"
    ),
    "type_embedding": "token_type_embeddings segment_embeddings token_type_embedding",
    "position_embedding": "wpe",
}
_BY_LAST = {last: role for role, names in _LAST.items() for last in names.split()}
_FUSED = "in_proj in_proj_weight c_attn qkv qkv_proj query_key_value wqkv w_pack to_qkv attn_qkv"
FUSED = frozenset(_FUSED.split())
_ATTENTION_OUTPUT = frozenset(
    [
        "o",
        "o_proj",
        "out_proj",
        "out_lin",
        "wo",
        "w_o",
        "to_out",
        "dense",
        "c_proj",
        "proj",
        "out",
        "output",
        "linear_out",
        "fc_o",
    ]
)
_POSITION = re.compile(r"position|(^|[._])pos_emb|relative_attention_bias|relative_bias|rel_pos|(^|\.)pe$")
_CROSS = re.compile(r"cross|encoder_attn|encdec|multihead_attn|attn2|src_attn")
_ATTENTION = re.compile(r"att(?:n|ention)")
_FEED_FORWARD = re.compile(r"mlp|ffn|feed_forward|feedforward|densereludense|experts")

_WRAPPERS = frozenset(["module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"])


def path_of(name: str) -> str:
    """The name without what every name ends in: "h.0.attn.c_attn.weight" -> "h.0.attn.c_attn".

    >>> path_of("h.0.attn.c_attn.weight"), path_of("h/0/attn/kernel")
    ('h.0.attn.c_attn', 'h/0/attn')
    """
    return re.sub(r"[._/](weight|kernel)$", "", name)


def is_bias(name: str) -> bool:
    """Whether a tensor of two or more axes is a bias or a mask after all, such as GPT-2's causal mask attn.bias.

    >>> is_bias("h.0.attn.bias"), is_bias("relative_attention_bias.weight")
    (True, False)
    """
    last = re.split(r"[./]", name)[-1]
    return bool(re.search(r"(^|_)(bias|mask)(_[kv])?$|^b_[QKV]$", last)) and not _POSITION.search(name)


def fused_kind(name: str) -> str | None:
    """The last component when a tensor holds queries, keys and values together, in lower case; None when not.

    `in_proj.weight` is a fused one in few models and Mamba's input projection in names; `in_proj_weight`, of
    torch.nn.MultiheadAttention, always is.

    >>> fused_kind("h.0.attn.c_attn.weight"), fused_kind("h.0.attn.q_proj.weight")
    ('c_attn', None)
    """
    last = name.rsplit(".", 1)[-1].lower()
    if last == "in_proj_weight":
        return last
    last = path_of(name).rsplit(".", 1)[-1].lower()
    return last if last in FUSED else None


def family_of(name: str, names: Collection[str] = ()) -> Family:
    """What the matrix is for.

    Args:
        name: of the tensor, such as "encoder.layer.0.attention.self.query.weight".
        names: of all tensors, which tell Llama's w1 (a gate beside w3) from a plain feed-forward's.
    Returns:
        Of a role such as "query", "cross_key", "attention_output", "feed_forward_down", "token_embedding"; "other" when
        no naming habit covers it. It has no block: see `families.forecaster_prefix`.

    >>> family_of("encoder.layer.0.attention.self.query.weight").label
    'query'
    >>> family_of("decoder.block.0.layer.1.EncDecAttention.v.weight").label
    'cross_value'
    """
    path = path_of(name).lower().replace("/", ".")
    if _POSITION.search(path):
        return Family("position_embedding")
    steps = [step for step in path.split(".") if not step.isdigit() and step not in _WRAPPERS] or [path]
    steps = steps[1:] if len(steps) > 1 and steps[0] == "model" else steps
    last, before = steps[-1], ".".join(steps[:-1])
    if fused_kind(name) == "in_proj_weight":
        last = "in_proj_weight"
    if last in ("linear", "layer", "base_layer") and len(steps) > 1:
        last, before = steps[-2], ".".join(steps[:-2])
    role = _attention(last, before) or _feed_forward(last, before, name, names)
    if role is None and "embed" in path:
        role = "type_embedding" if re.search(r"type|segment", path) else "token_embedding"
    if role is None and ((len(steps) == 1 and last in ("head", "fc", "output")) or before.endswith("predictions")):
        role = "readout"
    return Family(role or "other")


def _attention(last: str, before: str) -> str | None:
    """The attention's matrices; "cross_" when its keys come from elsewhere."""
    role = _BY_LAST.get(last)
    inside = before if last != "dense" else before.removesuffix(".output")
    if last in _ATTENTION_OUTPUT and _ATTENTION.search(inside.rsplit(".", 1)[-1] or before):
        role = "attention_output"
    if last in FUSED and last != "in_proj":
        role = "query_key_value"
    if role in (*PROJECTIONS, "query_key_value", "attention_output"):
        return f"cross_{role}" if _CROSS.search(before) else role
    return None


def _feed_forward(last: str, before: str, name: str, names: Collection[str]) -> str | None:
    """The feed-forward's matrices, and what is known by its last component alone."""
    if last == "w1":
        gated = re.sub(r"w1(?=\.|$)", "w3", name) in names
        return "feed_forward_gate" if gated else "feed_forward_up"
    if last == "dense":  # BERT's intermediate.dense and output.dense
        inside = before.rsplit(".", 1)[-1]
        return {"intermediate": "feed_forward_up", "output": "feed_forward_down"}.get(inside)
    if last in ("c_proj", "wo") or (last in ("proj", "out", "output") and _FEED_FORWARD.search(before)):
        return "feed_forward_down"
    if last in _BY_LAST:
        return _BY_LAST[last]
    return "feed_forward" if _FEED_FORWARD.search(f"{before}.{last}") else None
