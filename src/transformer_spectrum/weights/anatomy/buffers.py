"""Tensors that a checkpoint holds beside its weights, known by their names: tables, masks, statistics, queues.

Only names that no trained weight bears are here. What a name such as "pe" leaves open, `constructed` settles by the
entries.
"""

from __future__ import annotations

import re
from collections.abc import Collection

_MASK = "a mask by its name"
_ROTARY = "a table of rotary positions by its name"
STATISTICS = "running statistics by its name"
_WINDOWS = "a fixed transform of signals by its name"
_LAST: tuple[tuple[str, str], ...] = (
    (r"((causal|attn|attention|subsequent|future|padding|square|weight)_?)*masks?(_\d+)?|masked_bias", _MASK),
    (r"tril|triu|causal|look_?ahead", _MASK),
    (r"(cos|sin)(_?(cached?|table|pos|emb(ed|edding|eddings|s)?))?", _ROTARY),
    (r"(rope|rotary)_?(cos|sin|freqs?|cache|table)\w*|cached_?(cos|sin|freqs?)|rope", _ROTARY),
    (r"(inv|pos)_?freqs?|freqs?_?(cis|cos|sin|complex)\w*", _ROTARY),
    (r"_?(embed|embedding|codebook|ema)_?avg|_?ema_(w|dw|weight|embed|embedding)|_?(ema_)?cluster_?size", STATISTICS),
    (r"_?ema_(count|sum|num|denom)|_?(code_?)?(count|usage)|embed_(sum|ema|onehot_sum)", STATISTICS),
    (r"running_(mean|var|max|min|std|cov|stats?)|moving_(mean|variance|average)|num_batches_tracked", STATISTICS),
    (r"conf_?mat(rix)?|confusion(_?mat(rix)?)?|\w*_cov_sum|\w*_features_sum", "counts of a metric by its name"),
    (r"(\w+_)?queue(_(ptr|labels?|feat(ure)?s?|[a-z]|\d+))?|(feature_|feat_)?memory_bank", "a queue by its name"),
    (r"(teacher_|momentum_|ema_)?center|(teacher|momentum|ema)_centers", "a momentum centre by its name"),
    (r"(relative_)?pos(ition)?_(bucket|ind(ex|ices)|ids)\w*", "indices by its name"),
    (r"(relative|rel)_coords(_table)?|(base|mesh|pos|anchor)_?grid|(base|cell)_anchors", "a grid by its name"),
    (r"alibi\w*|m_slopes|slopes", "fixed slopes of ALiBi by its name"),
    (r"((hann|hamming|stft|analysis|synthesis)_?)?window|mel_?(filters?|fb|basis|bank|w)|filter_?banks?|fb", _WINDOWS),
    (r"(forward|inverse|dft|dct|fft|stft|fourier)_?(basis|mat(rix)?|window|kernels?)|w(sin|cos)", _WINDOWS),
    (r"resample_filter|blur_?(kernel|filter)|filt|noise_const", "a fixed filter or noise by its name"),
    (r"positional_encoding_gaussian_matrix", "fixed random features by its name"),
    (r"implicit_codebook", "a fixed codebook by its name"),
)
_BY_LAST = tuple((re.compile(pattern), reason) for pattern, reason in _LAST)
_INSIDE = (
    (re.compile(r"(^|\.)rotary_(pos_)?emb(ed|edding|eddings)?(\.|$)(?!.*weight$)"), _ROTARY),
    (re.compile(r"(^|\.)(stft|istft|melscale|mel_scale|mel_spec|melspec|logmel_extractor)\."), _WINDOWS),
    (re.compile(r"(^|\.)noises\."), "a fixed filter or noise by its name"),
    (re.compile(r"(^|\.)fast_attention\.projection_matrix$"), "fixed random features by its name"),
)


def buffer_by_name(name: str) -> str:
    """Why a tensor is no trained weight as its name says; empty where the name does not.

    Args:
        name: of the tensor, such as "layers.0.rotary_emb.cos_cached".

    >>> buffer_by_name("layers.0.rotary_emb.cos_cached") != "", buffer_by_name("layers.0.mlp.fc1.weight")
    (True, '')
    """
    path = name.lower().replace("/", ".")
    last = path.rsplit(".", 1)[-1]
    for pattern, reason in _BY_LAST:
        if pattern.fullmatch(last):
            return reason
    return next((reason for pattern, reason in _INSIDE if pattern.search(path)), "")


def codebook_note(name: str, names: Collection[str]) -> str:
    """What has to be said of a codebook beside the statistics it is moved by; empty of any other tensor.

    >>> codebook_note("vq.embed", ["vq.embed", "vq.embed_avg"])
    'a codebook beside its moving averages, which may be no trained parameter'
    """
    before, _, last = name.rpartition(".")
    beside = f"{before}." if before else ""
    if last in ("embed", "codebook", "weight") and f"{beside}embed_avg" in names:
        return "a codebook beside its moving averages, which may be no trained parameter"
    return ""
