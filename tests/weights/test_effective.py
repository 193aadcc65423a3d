"""The command and the library measure the weights that act, say how these are formed, and count what they leave out."""

import csv
import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from states import in_use
from torch import nn
from torch.nn.utils import prune

import transformer_spectrum as ts
from transformer_spectrum.analysis.of_checkpoint.checkpoint import examine
from transformer_spectrum.analysis.of_checkpoint.settings import ExaminationSettings
from transformer_spectrum.cli.main import main
from transformer_spectrum.report.model_page.tables import facts
from transformer_spectrum.runtime.errors import InputError
from transformer_spectrum.spectra.analysis import Estimators
from transformer_spectrum.weights.anatomy.formed import NotFormedError

SETTINGS = ExaminationSettings(Estimators(), shuffles=3)


def numbers(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed + sum(shape)))


def saved(tensors, folder, **companions):
    folder.mkdir(exist_ok=True)
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, folder / "model.safetensors")
    for name, tree in companions.items():
        (folder / f"{name}.json").write_text(json.dumps(tree))
    return folder


def values(examination):
    return {matrix.matrix.name: matrix.singular_values for matrix in examination.matrices}


def normed():
    """A layer of weight_norm and the weight that it computes with."""
    torch.manual_seed(0)
    module = nn.utils.parametrizations.weight_norm(nn.Linear(24, 16))
    with torch.no_grad():
        module.parametrizations.weight.original1.mul_(torch.logspace(1, -1, 16)[:, None])
    return {f"fc1.{name}": tensor for name, tensor in module.state_dict().items()}, module.weight.detach()


def test_the_command_and_the_library_measure_the_same_weight_that_acts(tmp_path):
    state, weight = normed()
    state["fc2.weight"] = numbers(16, 24)
    found = examine(saved(state, tmp_path), SETTINGS)
    np.testing.assert_allclose(values(found)["fc1"], torch.linalg.svdvals(weight), rtol=1e-5)
    library = ts.singular_values(state)
    assert library.keys() == values(found).keys() == {"fc1", "fc2"}
    for name, spectrum in values(found).items():
        np.testing.assert_allclose(spectrum, library[name], rtol=1e-6)
    assert any(note.startswith("fc1: parametrizations: weight_norm") for note in found.notes)
    assert "2 matrices of 3 of 4 tensors, 768 of 784 weights" in facts(found)[0]


def test_heads_and_fused_rows_are_cut_out_of_the_weight_that_is_formed(tmp_path):
    module = nn.MultiheadAttention(16, 2, bias=False)
    prune.random_unstructured(module, "in_proj_weight", 0.5)
    found = examine(saved({f"a.attn.{k}": v.detach() for k, v in module.state_dict().items()}, tmp_path), SETTINGS)
    keys = next(matrix for matrix in found.matrices if matrix.matrix.name == "a.attn.in_proj.key")
    np.testing.assert_allclose(
        keys.singular_values, torch.linalg.svdvals(module.in_proj_weight[16:32].detach()), rtol=1e-4
    )
    assert keys.matrix.note == "in_proj_weight_orig times in_proj_weight_mask; rows of the fused tensor"
    assert found.measured_weights == 4 * 256


def test_an_adapter_is_measured_by_its_update_and_the_weight_in_use(tmp_path, capsys):
    w, a, b = numbers(24, 16), numbers(2, 16), numbers(24, 2)
    layer = "layers.0.self_attn.q_proj"
    state = {f"{layer}.base_layer.weight": w, f"{layer}.lora_A.weight": a, f"{layer}.lora_B.weight": b}
    path = saved(state, tmp_path / "in", adapter_config={"peft_type": "LORA", "r": 2, "lora_alpha": 8})
    main(["analyze", str(path), "--shuffles", "3", "--figures", "0", "--out", str(tmp_path / "out")])
    with (tmp_path / "out" / "matrices.csv").open() as stream:
        rows = {row["matrix"]: row for row in csv.DictReader(stream)}
    assert {name: row["family"] for name, row in rows.items()} == {layer: "query", f"{layer}.update": "query_update"}
    for name, matrix in ((layer, w + 4 * b @ a), (f"{layer}.update", 4 * b @ a)):
        spectrum = torch.linalg.svdvals(matrix)
        assert float(rows[name]["stable_rank"]) == pytest.approx(
            float((spectrum**2).sum() / spectrum[0] ** 2), rel=1e-5
        )
    assert rows[f"{layer}.update"]["numerical_rank"] == "2"
    assert rows[layer]["taken"] == "weight in use: base_layer + 4 lora_B lora_A"
    assert "2 matrices of 3 of 3 tensors, 464 of 464 weights" in " ".join(capsys.readouterr().out.split())


def test_what_is_packed_is_counted_and_never_replaced_by_its_scales(tmp_path, caplog):
    state = {
        "q_proj.qweight": torch.ones(4, 32, dtype=torch.int32),
        "q_proj.qzeros": torch.arange(8, dtype=torch.int32).reshape(2, 4),
        "q_proj.scales": numbers(2, 32).half(),
        "lm_head.weight": numbers(16, 32),
    }
    path = saved(state, tmp_path / "in")
    found = examine(path, SETTINGS)
    assert list(values(found)) == ["lm_head"]
    lines = facts(found)
    assert "1 matrix of 1 of 4 tensors, 512 of 1536 weights" in lines[0]
    assert any("left out: 1024 weights in 3 tensors, q_proj.qweight" in line and "GPTQ" in line for line in lines)
    assert list(ts.singular_values(state)) == ["lm_head"]
    assert "left out: q_proj.qweight, q_proj.qzeros, q_proj.scales: packed 4-bit integers of GPTQ" in caplog.text
    del state["lm_head.weight"]
    with pytest.raises(InputError, match="packed 4-bit integers of GPTQ"):
        examine(saved(state, tmp_path / "packed"), SETTINGS)
    with pytest.raises(InputError, match="packed 4-bit integers of GPTQ"):
        ts.analyze(state)


def test_eight_bit_floats_are_the_same_for_the_command_and_the_library(tmp_path):
    entries, scales = numbers(256, 128).to(torch.float8_e4m3fn), numbers(2, 1).abs() + 0.1
    state = {"l.q_proj.weight": entries, "l.q_proj.weight_scale_inv": scales, "l.up_proj.weight": entries.clone()}
    found = values(examine(saved(state, tmp_path), SETTINGS))
    library = ts.singular_values(state)
    scaled = entries.float() * scales.repeat_interleave(128, 0)
    for name, expected in (("l.q_proj", scaled), ("l.up_proj", entries.float())):
        np.testing.assert_allclose(found[name], torch.linalg.svdvals(expected.double()), rtol=1e-6)
        np.testing.assert_allclose(library[name], found[name], rtol=1e-8)


def test_what_turns_out_not_to_be_formed_is_left_out_and_the_rest_is_measured(tmp_path, caplog):
    state = {"fc1.weight": numbers(16, 24), "fc1.mask": 2 * torch.ones(16, 24), "fc2.weight": numbers(16, 24)}
    found = examine(saved(state, tmp_path), SETTINGS)
    assert list(values(found)) == ["fc2"]
    reasons = {skipped.name: skipped.reason for skipped in found.skipped}
    assert "other numbers than 0 and 1" in reasons["fc1.weight"]
    assert list(ts.singular_values(state)) == ["fc2"]
    assert "other numbers than 0 and 1" in caplog.text


def test_a_broken_adapter_config_is_named(tmp_path, capsys):
    path = saved({"q.lora_A.weight": numbers(2, 16), "q.lora_B.weight": numbers(24, 2)}, tmp_path, adapter_config=[1])
    with pytest.raises(SystemExit):
        main(["analyze", str(path)])
    assert "adapter_config.json: must be a JSON object" in capsys.readouterr().err


_PIECES = (
    "weight weight_g weight_v weight_u weight_orig weight_mask weight_bar weight_raw mask module.weight "
    "parametrizations.weight.original parametrizations.weight.original0 parametrizations.weight.original1 "
    "parametrizations.weight.0._u parametrizations.weight.0._v parametrizations.weight.0.base "
    "parametrizations.weight.1.mask base_layer.weight lora_A.weight lora_B.weight lora_E lora_A.cat.weight alpha "
    "lora_B.cat.weight lora_magnitude_vector lora_embedding_A lora_embedding_B lora_down.weight lora_up.weight "
    "lora_mid.weight hada_w1_a hada_w1_b hada_w2_a hada_w2_b lokr_w1 lokr_w2 lokr_w2_a lokr_w2_b ia3_l qweight qzeros "
    "scales g_idx weight_packed weight_scale weight_shape weight_zero_point weight_global_scale weight_scale_inv "
    "weight_scale_2 SCB weight_format W_q nbits shape weight.absmax weight.quant_map biases weight_blocks "
    "weight.quant_state.bitsandbytes__nf4 weight_scales modules_to_save.a.weight original_module.weight scale"
)
NAMES = _PIECES.split()
SHAPES = [(), (1,), (2,), (4,), (0, 4), (4, 4), (4, 1), (1, 4), (2, 4), (4, 8), (4, 4, 1, 1), (2, 4, 1, 16), (2, 4, 1)]
KINDS = [torch.float32, torch.float16, torch.float8_e4m3fn, torch.int8, torch.uint8, torch.int32, torch.int64]
CONFIGS = [
    {},
    {"quantization_config": {"bits": 4, "quant_method": "gptq"}},
    {"quantization": {"bits": 4, "group_size": 4}},
]
SCALES = [
    {},
    {"adapter_config.json": {"r": 4, "lora_alpha": 8}},
    {"adapter_config.json": {"r": "x", "alpha_pattern": 3}},
]
tensors = st.tuples(st.sampled_from(SHAPES), st.sampled_from(KINDS))


@settings(max_examples=150, deadline=None)
@given(st.dictionaries(st.sampled_from(NAMES), tensors, max_size=6), st.sampled_from(CONFIGS), st.sampled_from(SCALES))
def test_whatever_a_file_holds_every_tensor_is_shown_used_or_left_out(held, config, beside):
    state = {f"q.{name}": torch.ones(shape).to(kind) for name, (shape, kind) in held.items()}
    of = in_use(state, config, beside)
    left_out = {skipped.name for skipped in of.skipped}
    used = {piece for name in {*of.tensors, *left_out} for piece in of.pieces(name)}
    assert set(state) <= used | left_out
    for name, tensor in of.tensors.items():
        try:
            assert tuple(of.read(name).shape) == tensor.shape
        except NotFormedError as error:
            assert str(error)
