"""Circuits of checkpoints whose layout is certain, and reasons for the others."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from transformer_spectrum.analysis.of_checkpoint import circuits
from transformer_spectrum.analysis.of_checkpoint.checkpoint import examine
from transformer_spectrum.analysis.of_checkpoint.circuits import checkpoint_circuits
from transformer_spectrum.analysis.of_checkpoint.settings import ExaminationSettings
from transformer_spectrum.spectra.analysis import Estimators
from transformer_spectrum.weights.anatomy.dissection import dissect


def gaussian(seed, *shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def llama(keys=2, layer=0):
    rows = {"q": 16, "k": 4 * keys, "v": 4 * keys, "o": 12}
    columns = {"q": 12, "k": 12, "v": 12, "o": 16}
    return {
        f"model.layers.{layer}.self_attn.{name}_proj.weight": gaussian(i + 10 * layer, rows[name], columns[name])
        for i, name in enumerate("qkvo")
    }


CONFIG = {"num_attention_heads": 4, "num_key_value_heads": 2, "hidden_size": 12, "head_dim": 4}


def of(stored, config=CONFIG, heads=None):
    matrices = dissect({name: tuple(tensor.shape) for name, tensor in stored.items()}, config).matrices
    return checkpoint_circuits(matrices, stored.__getitem__, stored, config, heads)


def test_grouped_heads_have_the_spectra_of_their_formed_products():
    stored = {**llama(), **llama(layer=1)}
    results, skipped = of(stored)
    assert not skipped
    assert [(result.attention, result.kind) for result in results] == [
        (f"model.layers.{layer}.self_attn", kind) for layer in (0, 1) for kind in ("query_key", "output_value")
    ]
    for result in results:
        q, k, v, o = (stored[f"{result.attention}.{name}_proj.weight"].double() for name in "qkvo")
        for head in range(4):
            rows, group = slice(4 * head, 4 * head + 4), slice(4 * (head // 2), 4 * (head // 2) + 4)
            formed = q[rows].T @ k[group] if result.kind == "query_key" else o[:, rows] @ v[group]
            np.testing.assert_allclose(result.singular_values[head], torch.linalg.svdvals(formed)[:4], rtol=1e-10)
        values = result.singular_values
        np.testing.assert_allclose(result.metrics.values["stable_rank"], (values**2).sum(1) / values[:, 0] ** 2)


def test_fused_conv1d_tensors_are_cut_and_turned_first():
    fused, output = gaussian(0, 8, 24), gaussian(1, 8, 8)
    stored = {"h.0.attn.c_attn.weight": fused, "h.0.attn.c_proj.weight": output}
    results, skipped = of(stored, {"model_type": "gpt2", "n_head": 2, "n_embd": 8})
    assert not skipped
    q, k, v = (part.T.double() for part in fused.split(8, dim=1))
    for head in range(2):
        rows = slice(4 * head, 4 * head + 4)
        expected = (
            torch.linalg.svdvals(q[rows].T @ k[rows])[:4],
            torch.linalg.svdvals(output.T.double()[:, rows] @ v[rows])[:4],
        )
        for result, values in zip(results, expected, strict=True):
            np.testing.assert_allclose(result.singular_values[head], values, rtol=1e-10)


def test_heads_may_be_given_where_no_configuration_states_them():
    stored = {f"layers.0.self_attn.{name}_proj.weight": gaussian(i, 8, 8) for i, name in enumerate("qkvo")}
    results, skipped = of(stored, {}, heads=4)
    assert not skipped
    assert results[0].singular_values.shape == (4, 2)


@pytest.mark.parametrize(
    ("change", "config", "heads", "reason"),
    [
        ({}, {}, None, circuits.NO_HEADS),
        ({}, {}, 4, circuits.NO_HEADS),  # fewer keys than queries: how they are grouped is not stated
        ({}, CONFIG, 3, circuits.NO_HEADS),
        (
            {},
            {**CONFIG, "vision_config": {"num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 8}},
            None,
            circuits.NO_HEADS,
        ),
        ({"model.layers.0.self_attn.q_norm.weight": torch.ones(4)}, CONFIG, None, circuits.NORMED),
        (
            {"model.layers.0.self_attn.v_proj.weight": torch.full((8, 12), torch.nan)},
            CONFIG,
            None,
            "value: must be finite",
        ),
        (
            {"model.layers.0.self_attn.o_proj.weight": None},
            CONFIG,
            None,
            "no output beside these queries, by their names",
        ),
    ],
)
def test_what_is_not_certain_has_a_reason_and_no_circuit(change, config, heads, reason):
    stored = {name: tensor for name, tensor in {**llama(), **change}.items() if tensor is not None}
    results, skipped = of(stored, config, heads)
    assert results == []
    assert [(entry.name, entry.reason) for entry in skipped] == [("model.layers.0.self_attn.q_proj", reason)]


def test_a_checkpoint_is_examined_with_its_circuits_where_they_are_asked_for(tmp_path):
    stored = {**llama(), **{f"other.attn.{name}_proj.weight": gaussian(7, 12, 12) for name in "qkv"}}
    save_file(stored, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    asked, plain = (
        examine(tmp_path, ExaminationSettings(Estimators(), shuffles=0, circuits=circuits))
        for circuits in (True, False)
    )
    assert [(result.attention, result.kind) for result in asked.circuits] == [
        ("model.layers.0.self_attn", "query_key"),
        ("model.layers.0.self_attn", "output_value"),
    ]
    assert [entry.name for entry in asked.without_circuits] == ["other.attn.q_proj"]
    np.testing.assert_array_equal(asked.circuits[0].singular_values, of(stored)[0][0].singular_values)
    assert (plain.circuits, plain.without_circuits) == ((), ())
    assert asked.settings["circuits"] is True
