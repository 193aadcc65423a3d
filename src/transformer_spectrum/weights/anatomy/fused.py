"""Where queries, keys and values lie in a tensor that holds them together.

Two families of layouts exist. Concatenated: all queries, then all keys, then all values. Interleaved: for each head,
or each group of heads that share a key, its queries, its key and its value. Shapes cannot tell them apart, and a
wrong guess gives three plausible wrong spectra, so what is not known for certain stays in one piece.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from transformer_spectrum.weights.matrices.matrix import Cut

_INTERLEAVED = "bloom gpt_neox gpt_neox_japanese persimmon fuyu deberta internlm2"
_CONCATENATED = "phi3 phi4mm mpt dbrx modernbert nomic_bert baichuan bailing_moe llada2_moe qwen blip sam"
INTERLEAVED, CONCATENATED = frozenset(_INTERLEAVED.split()), frozenset(_CONCATENATED.split())
CONV1D = frozenset({"gpt2", "openai-gpt", "imagegpt", "decision_transformer", "gptsan-japanese"})
_HEADS = ("num_attention_heads", "n_head", "n_heads", "num_heads", "encoder_attention_heads")
_GROUPS = ("num_key_value_heads", "num_kv_heads", "multi_query_group_num", "n_head_kv", "kv_n_heads")
_WIDTH = ("hidden_size", "n_embd", "d_model", "dim", "embed_dim")


class Heads(NamedTuple):
    """Attention heads of a model: for queries, for keys and values, and the rows of each."""

    queries: int
    keys: int
    width: int

    @property
    def rows(self) -> int:
        """Of all queries, keys and values together."""
        return (self.queries + 2 * self.keys) * self.width


def sections(config: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The configuration itself and those of its parts, such as text_config of a model for text and images.

    >>> sections({"model_type": "llava", "text_config": {"model_type": "llama"}})[1]
    {'model_type': 'llama'}
    """
    parts = (value for name, value in config.items() if name.endswith("_config") and isinstance(value, Mapping))
    return [_of_a_type(section) for section in (config, *parts)]


def _of_a_type(section: Mapping[str, Any]) -> Mapping[str, Any]:
    """Without a model_type that is no text, whatever somebody has written there."""
    if isinstance(section.get("model_type", ""), str):
        return section
    return {name: value for name, value in section.items() if name != "model_type"}


def _first(config: Mapping[str, Any], names: tuple[str, ...]) -> int | None:
    return next((config[name] for name in names if isinstance(config.get(name), int) and config[name] > 0), None)


def heads_of(config: Mapping[str, Any]) -> Heads | None:
    """The heads that one section of config.json states; None where it does not say how many or how wide.

    >>> heads_of({"num_attention_heads": 8, "num_key_value_heads": 2, "hidden_size": 64})
    Heads(queries=8, keys=2, width=8)
    """
    queries, width = _first(config, _HEADS), _first(config, ("head_dim", "kv_channels"))
    hidden = _first(config, _WIDTH)
    if queries is None or (width is None and hidden is None):
        return None
    inner = config.get("attn_config")
    keys = _first(config, _GROUPS) or (_first(inner, _GROUPS) if isinstance(inner, Mapping) else None) or queries
    kind = config.get("model_type")
    if kind == "chatglm" and not config.get("multi_query_attention"):
        keys = queries
    if kind == "gpt_bigcode" and config.get("multi_query"):
        keys = 1
    if kind == "falcon" and not config.get("new_decoder_architecture"):
        keys = 1 if config.get("multi_query") else queries
    return Heads(queries, keys, width or (0 if hidden is None else hidden // queries))


def key_heads(queries: int, config: Mapping[str, Any]) -> int:
    """Heads of the keys and values in an attention with so many of the queries; as many where config.json is silent.

    Args:
        queries: count, >= 1.
        config: config.json; empty where there is none.
    Raises:
        ValueError: config.json states other numbers.

    >>> key_heads(8, {"num_attention_heads": 8, "num_key_value_heads": 2, "hidden_size": 64})
    2
    """
    stated = [heads for heads in map(heads_of, sections(config)) if heads is not None]
    fitting = [heads for heads in stated if heads.queries == queries]
    if stated and not fitting:
        raise ValueError(f"{queries} heads: config.json says {stated[0].queries}")
    return fitting[0].keys if fitting else queries


def widths_of(config: Mapping[str, Any]) -> list[int]:
    """The widths of the model that config.json states, one of each of its parts.

    >>> widths_of({"n_embd": 768}), widths_of({"text_config": {"hidden_size": 64}})
    ([768], [64])
    """
    return [width for section in sections(config) if (width := _first(section, _WIDTH)) is not None]


def layout_of(config: Mapping[str, Any]) -> str | None:
    """ "concatenated" or "interleaved", by model_type and, where a type knows both, by its switches.

    >>> layout_of({"model_type": "bloom"}), layout_of({"model_type": "phi3"}), layout_of({"model_type": "unheard of"})
    ('interleaved', 'concatenated', None)
    """
    kind = config.get("model_type")
    if kind == "falcon":
        grouped = config.get("new_decoder_architecture") or not config.get("multi_query")
        return "interleaved" if grouped else "concatenated"
    if kind == "chatglm":
        return "concatenated" if config.get("multi_query_attention") else "interleaved"
    if kind == "gpt_bigcode":
        return "concatenated" if config.get("multi_query") else "interleaved"
    return "interleaved" if kind in INTERLEAVED else "concatenated" if kind in CONCATENATED else None


def _thirds(rows: int) -> list[Cut]:
    return [Cut(1, i * rows // 3, (i + 1) * rows // 3) for i in range(3)]


def _by_heads(rows: int, heads: Heads, layout: str) -> list[Cut]:
    """Every head is `width` rows; a group is the queries that share one key and one value."""
    blocks = heads.keys if layout == "interleaved" else 1
    queries, keys = heads.queries // blocks * heads.width, heads.keys // blocks * heads.width
    return [Cut(blocks, 0, queries), Cut(blocks, queries, queries + keys), Cut(blocks, queries + keys, rows // blocks)]


def cuts(kind: str, rows: int, columns: int, config: Mapping[str, Any], *, timm: bool) -> list[Cut] | str:
    """Rows of the queries, the keys and the values.

    Args:
        kind: last component of the tensor's name, see `habits.fused_kind`.
        rows: of the tensor, as outputs x inputs.
        columns: likewise.
        config: config.json; empty where there is none.
        timm: "proj" lies beside it, as in timm and the vision transformers after it.
    Returns:
        Three cuts, or the reason why the tensor stays in one piece.

    >>> cuts("c_attn", 12, 4, {}, timm=False)[1]  # GPT-2: the keys are the second third
    Cut(blocks=1, first=4, last=8)
    >>> cuts("query_key_value", 12, 4, {"model_type": "bloom", "n_head": 2, "hidden_size": 4}, timm=False)[1]
    Cut(blocks=2, first=2, last=4)
    """
    if kind == "in_proj_weight":  # torch.nn.MultiheadAttention, the same in every model
        return _thirds(rows) if rows % 3 == 0 else f"{rows} rows are no multiple of 3"
    types = [section.get("model_type") for section in sections(config)]
    if kind == "in_proj" and "deberta" not in types:
        return "in_proj holds queries, keys and values in DeBERTa alone"
    for section in sections(config):
        layout, heads = layout_of(section), heads_of(section)
        if (
            layout
            and heads
            and (heads.queries + 2 * heads.keys) * heads.width == rows
            and not heads.queries % heads.keys
        ):
            return _by_heads(rows, heads, layout)
    if rows == 3 * columns and "gpt_bigcode" not in types and (kind == "c_attn" or (kind == "qkv" and timm)):
        return _thirds(rows)  # GPT-2, nanoGPT; timm
    stated = [str(name) for name in types if name]
    if not stated:
        return "without the model_type and heads in a config.json its order of queries, keys and values is unknown"
    return f"its order of queries, keys and values in {stated[0]} is unknown, or the heads do not make {rows} rows"
