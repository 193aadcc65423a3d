"""What a checkpoint holds beside its weights is left out with its reason, and no trained matrix is taken for it."""

import math

import pytest
import torch

from transformer_spectrum.weights.anatomy.buffers import buffer_by_name
from transformer_spectrum.weights.anatomy.constructed import constructed
from transformer_spectrum.weights.anatomy.dissection import dissect

NAMES = {
    "layers.0.self_attn.rotary_emb.cos_cached": "rotary",
    "rotary_emb.sin_cached": "rotary",
    "freqs_cis": "rotary",
    "model/rope/rope_cache": "rotary",
    "attn.inv_freq": "rotary",
    "tril": "a mask",
    "h.0.attn.causal_mask": "a mask",
    "layers.1.blocks.0.attn_mask": "a mask",
    "quantizer.layers.0._codebook.embed_avg": "statistics",
    "vq._ema_w": "statistics",
    "vq.cluster_size": "statistics",
    "bn.running_mean": "statistics",
    "queue": "a queue",
    "text_queue": "a queue",
    "memory_bank": "a queue",
    "dino_loss.center": "centre",
    "metrics.confmat": "counts",
    "confusion_matrix": "counts",
    "relative_position_index": "indices",
    "relative_coords_table": "a grid",
    "alibi_slopes": "ALiBi",
    "frontend.mel_filters": "transform",
    "stft.forward_basis": "transform",
    "mel.melscale.fb": "transform",
    "blur.resample_filter": "filter",
    "pe_layer.positional_encoding_gaussian_matrix": "random features",
}


@pytest.mark.parametrize(("name", "reason"), NAMES.items())
def test_names_that_no_weight_bears_tell_the_reason(name, reason):
    assert reason in buffer_by_name(name)
    anatomy = dissect({name: (12, 12), "fc.weight": (12, 12)}, {})
    assert [matrix.name for matrix in anatomy.matrices] == ["fc"]


@pytest.mark.parametrize(
    "name",
    [
        "mask_token",
        "mask_tokens.weight",
        "mask_embed",
        "pos_embed",
        "pe",
        "embed_positions.weight",
        "queue_proj.weight",
        "rotary_emb.proj.weight",
        "centers",
        "anchors",
        "freqs",
        "codebook.weight",
        "stft_encoder.weight",
        "window_attention.qkv.weight",
        "memory",
        "embed",
    ],
)
def test_names_that_weights_may_bear_say_nothing(name):
    assert buffer_by_name(name) == ""


def angles(positions, width, base=10_000.0):
    return torch.arange(float(positions))[:, None] * base ** (-torch.arange(0, width, 2) / width)


def interleaved(positions, width, base=10_000.0):
    """Vaswani's: sine and cosine in turn."""
    phase = angles(positions, width, base)
    return torch.stack([phase.sin(), phase.cos()], -1).flatten(1)


def halves(positions, width):
    """tensor2tensor's and fairseq's: all sines, then all cosines; another exponent."""
    frequencies = torch.exp(torch.arange(width // 2) * -(math.log(10_000) / (width // 2 - 1)))
    phase = torch.arange(float(positions))[:, None] * frequencies
    return torch.cat([phase.sin(), phase.cos()], 1)


def padded(table, row):
    table[row] = 0
    return table


def grid(high, wide, width, first_row=False):
    """MAE's and DiT's: half of the width for the row, half for the column, with a row of zeros for the class token."""
    rows = halves(high, width // 2)[:, None].expand(high, wide, -1)
    columns = halves(wide, width // 2)[None].expand(high, wide, -1)
    table = torch.cat([rows, columns], -1).flatten(0, 1)
    return torch.cat([torch.zeros(1, width), table]) if first_row else table


SINUSOIDS = {
    "vaswani": interleaved(200, 32),
    "a leading axis": interleaved(200, 32)[None],
    "an axis between": interleaved(300, 64)[:, None],
    "another base": interleaved(1000, 64, 500_000.0),
    "long": interleaved(5000, 32),
    "short": interleaved(16, 8),
    "an odd width": interleaved(100, 34)[:, :33],
    "scaled": 0.3 * interleaved(100, 32),
    "across": interleaved(100, 32).T,
    "halves": halves(512, 64),
    "fairseq's padding": padded(halves(514, 64), 1),
    "bfloat16": interleaved(512, 128).bfloat16(),
    "half precision": halves(512, 64).half(),
    "a square grid": grid(14, 14, 64, first_row=True),
    "another grid": grid(8, 12, 32),
    "cosines alone": angles(128, 32).cos(),
    "sines alone, twice": angles(128, 32).sin().repeat(1, 2)[None, None],
    "pairs": torch.stack([angles(128, 32).cos(), angles(128, 32).sin()], -1),
    "complex": torch.polar(torch.ones(128, 16), angles(128, 32)),
    "Fourier's": torch.fft.fft(torch.eye(16)),
}


@pytest.mark.parametrize("table", SINUSOIDS.values(), ids=SINUSOIDS)
def test_sinusoids_are_known_by_their_entries_in_every_layout(table):
    assert "sinusoids" in constructed("embed_positions.weight", table)
    noise = 2e-2 * torch.randn(table.shape, generator=torch.Generator().manual_seed(0))
    assert constructed("embed_positions.weight", (table + noise).to(table.dtype)) == ""  # learned, from there on


def lower(size):
    return torch.ones(size, size).tril()


DISTANCES = torch.arange(12)[:, None] - torch.arange(12.0)[None]
MASKS = {
    "tril": lower(12),
    "GPT-2's": lower(12)[None, None],
    "minus infinity": torch.full((12, 12), -math.inf).triu(1),
    "a large number": torch.full((12, 12), torch.finfo(torch.float32).min).triu(1),
    "averages": lower(12) / torch.arange(1, 13)[:, None],
    "minus infinity over ALiBi": (DISTANCES * torch.tensor([0.5, 0.25])[:, None, None]).masked_fill(
        lower(12) == 0, -math.inf
    ),
}


@pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS)
def test_masks_are_known_by_their_entries_whatever_their_name(mask):
    assert "a mask" in constructed("attn.weight", mask)


CONSTRUCTED = {
    "identity": (torch.eye(12), "identity"),
    "one-hot": (torch.eye(6)[torch.arange(30) % 6], "one-hot"),
    "constant": (torch.full((9, 7), 0.5), "every entry is 0.5"),
    "Swin's windows": (torch.where(torch.arange(512).reshape(2, 16, 16) % 3 > 0, 0.0, -100.0), "-100 and 0 alone"),
    "Toeplitz": (DISTANCES, "diagonal"),
    "RetNet's decay": ((0.9**DISTANCES).tril(), "diagonal"),
    "ALiBi": (torch.arange(12.0) * torch.tensor([0.5, 0.25])[:, None, None], "straight lines"),
    "angles": (angles(100, 32), "straight lines"),
    "coordinates": (torch.stack(torch.meshgrid(torch.arange(7.0), torch.arange(9.0), indexing="ij"), -1) / 9, "lines"),
    "counts": (torch.arange(100.0).reshape(10, 10).fmod(7), "whole number"),
}


@pytest.mark.parametrize(("table", "reason"), CONSTRUCTED.values(), ids=CONSTRUCTED)
def test_tables_are_known_by_their_entries_but_a_weight_may_begin_as_one(table, reason):
    assert reason in constructed("table", table)
    assert constructed("fc.weight", table) == ""


def test_a_bank_of_mel_filters_is_known_by_its_entries():
    frequency, edges = torch.linspace(0, 1, 201)[:, None], torch.linspace(0, 1, 22) ** 2
    rising, falling = (frequency - edges[:-2]) / edges.diff()[:-1], (edges[2:] - frequency) / edges.diff()[1:]
    assert "filters" in constructed("frontend", torch.minimum(rising, falling).clamp(min=0))


def trained():
    torch.manual_seed(0)
    dense = torch.randn(48, 40)
    return {
        "dense": dense,
        "half": dense.bfloat16(),
        "8 bits": dense.to(torch.float8_e4m3fn),
        "complex": torch.randn(32, 32, dtype=torch.complex64),
        "kernel": torch.randn(8, 4, 3, 3),
        "low rank": torch.randn(48, 2) @ torch.randn(2, 40),
        "not negative": torch.rand(48, 40),
        "binary": dense.sign(),
        "ternary": dense.sign() * (dense.abs() > 0.5),
        "pruned": dense * (dense.abs() > 1.5),
        "rows pruned": dense[:10] * torch.tensor([1.0, 0, 1, 0, 0, 1, 1, 0, 0, 1])[:, None],
        "triangular": torch.randn(40, 40).tril(),
        "diagonal": torch.diag(torch.rand(40)),
        "smooth": torch.randn(200, 8).cumsum(0).cumsum(0),
        "not a number": torch.full((8, 8), math.nan),
        "minus infinity on a diagonal": torch.randn(8, 8).fill_diagonal_(-math.inf),
    }


@pytest.mark.parametrize(("kind", "matrix"), trained().items(), ids=trained())
def test_no_trained_matrix_is_taken_for_a_table(kind, matrix):
    assert constructed("table", matrix) == ""
    assert constructed("fc.weight", matrix) == ""
