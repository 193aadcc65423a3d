"""The library measures the weights that a live module computes with, and tensors of every type or not at all."""

import logging
import math

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn.utils import parametrizations, parametrize, prune

import transformer_spectrum as ts
from transformer_spectrum.analysis.of_checkpoint.checkpoint import examine
from transformer_spectrum.analysis.of_checkpoint.settings import ExaminationSettings
from transformer_spectrum.runtime.errors import InputError
from transformer_spectrum.spectra.analysis import Estimators

torch.manual_seed(0)
REAL = torch.randn(8, 6)
COMPLEX = torch.randn(8, 6, dtype=torch.complex64)


def weight_norm(layer):
    layer = nn.utils.weight_norm(layer)
    layer.weight_v.data.mul_(torch.logspace(2, 0, 8)[:, None])  # `weight` stays as it was at the last call
    return layer


def twice_pruned(layer):
    prune.ln_structured(layer, "weight", amount=0.5, n=2, dim=0)
    return prune.random_unstructured(layer, "weight", amount=0.2)


class Cayley(nn.Module):
    def forward(self, weight):
        return torch.linalg.qr(weight)[0]


def of_my_own(layer):
    parametrize.register_parametrization(layer, "weight", Cayley())
    return layer


@pytest.mark.parametrize(
    ("made", "effective"),
    [
        (weight_norm, lambda layer: torch._weight_norm(layer.weight_v, layer.weight_g, 0)),
        (parametrizations.weight_norm, lambda layer: layer.weight),
        (parametrizations.orthogonal, lambda layer: layer.weight),
        (of_my_own, lambda layer: layer.weight),
        (parametrizations.spectral_norm, lambda layer: layer.eval().weight),
        (nn.utils.spectral_norm, lambda layer: (layer.eval()(torch.ones(1, 6)), layer.weight)[1]),
        (twice_pruned, lambda layer: layer.weight),
    ],
)
def test_a_live_module_gives_the_weight_that_acts_under_its_plain_name(made, effective):
    model = nn.Sequential(made(nn.Linear(6, 8)))
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    found = ts.singular_values(model)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert model.training
    assert model[0].training
    expected = np.linalg.svd(effective(model[0]).detach().double().numpy(), compute_uv=False)
    assert list(found) == ["0"]
    np.testing.assert_allclose(found["0"], expected, rtol=1e-5, atol=1e-6)
    assert ts.analyze(model).notes[0]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("wrap", [torch.jit.script, torch.compile, nn.DataParallel])
def test_modules_that_wrap_another_have_its_weights(wrap):
    layer = nn.Linear(6, 5)
    found = ts.singular_values(wrap(layer))
    np.testing.assert_array_equal(next(iter(found.values())), ts.singular_values(layer)["weight"])


class WithBuffers(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(8, 8)
        self.register_buffer("tril", torch.ones(16, 16).tril())
        self.register_buffer("statistics", torch.randn(16, 16))
        self.queue = nn.Parameter(torch.randn(8, 16))  # a name of buffers, yet a parameter
        phase = torch.arange(64.0)[:, None] * torch.tensor([1.0, 0.1, 0.01, 0.001])
        self.pos_embed = nn.Parameter(torch.cat([phase.sin(), phase.cos()], 1)[None], requires_grad=False)
        self.identity = nn.Parameter(torch.eye(8))  # to be trained


def test_a_live_module_gives_parameters_and_no_buffers(caplog):
    with caplog.at_level(logging.WARNING):
        measurement = ts.analyze(WithBuffers())
    assert sorted(measurement.names) == ["fc", "identity", "queue"]
    assert dict(measurement.left_out) == {"pos_embed": "sinusoids over its positions, a fixed table"}
    assert "left out: pos_embed: sinusoids" in caplog.text


def test_a_state_dict_leaves_out_what_its_names_and_entries_tell():
    measurement = ts.analyze({**WithBuffers().state_dict(), "causal": torch.full((9, 9), -math.inf).triu(1)})
    assert sorted(measurement.names) == ["fc", "statistics"]
    assert set(measurement.left_out) == {"tril", "queue", "pos_embed", "identity", "causal"}


def test_a_tied_parameter_is_measured_once_with_a_note():
    model = nn.ModuleDict({"embedding": nn.Embedding(20, 8), "readout": nn.Linear(8, 20, bias=False)})
    model["readout"].weight = model["embedding"].weight
    measurement = ts.analyze(model)
    assert measurement.names.tolist() == ["embedding"]
    assert measurement.table()["note"].tolist() == ["the same parameter as readout.weight"]


class Adapted(nn.Module):
    """A layer as peft wraps it."""

    def __init__(self, base):
        super().__init__()
        self.base_layer = base
        self.lora_A = nn.ModuleDict({"default": nn.Linear(base.in_features, 2, bias=False)})
        self.lora_B = nn.ModuleDict({"default": nn.Linear(2, base.out_features, bias=False)})
        self.active_adapters, self.merged = ["default"], False

    def get_delta_weight(self, adapter):
        return 2 * self.lora_B[adapter].weight @ self.lora_A[adapter].weight


def test_a_layer_of_peft_is_its_base_and_its_update_and_no_factors():
    layer = Adapted(nn.Linear(6, 8))
    acting = layer.base_layer.weight + layer.get_delta_weight("default")
    for weight in (acting, layer.base_layer.weight):
        found = ts.singular_values(nn.ModuleDict({"q_proj": layer}))
        assert list(found) == ["q_proj"]
        np.testing.assert_allclose(found["q_proj"], torch.linalg.svdvals(weight.detach()).numpy(), rtol=1e-4)
        layer.merged = True


def test_a_live_module_knows_its_axes():
    model = nn.ModuleDict({"up": nn.ConvTranspose2d(6, 6, 2, groups=2), "form": nn.Bilinear(5, 4, 3)})
    measurement = ts.analyze(model)
    assert measurement.names.tolist() == ["up", "form.output_0", "form.output_1", "form.output_2"]
    weight = model["up"].weight.detach().unflatten(0, (2, 3)).transpose(1, 2).reshape(6, -1)
    np.testing.assert_allclose(
        ts.singular_values(model)["up"], np.linalg.svd(weight.numpy(), compute_uv=False), rtol=1e-5
    )


with FakeTensorMode():
    FAKE = torch.ones(3, 3)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("matrix", "same"),
    [
        (COMPLEX, COMPLEX),
        (COMPLEX.numpy(), COMPLEX),
        (COMPLEX.conj(), COMPLEX.conj().resolve_conj()),
        (COMPLEX.tolist(), COMPLEX),
        (np.array(COMPLEX.numpy(), dtype=object), COMPLEX),
        (REAL.to_sparse(), REAL),
        (REAL.to_sparse_csr(), REAL),
        (REAL.to(torch.float8_e4m3fn), REAL.to(torch.float8_e4m3fn).float()),
        (nn.Parameter(REAL), REAL),
        ([REAL, 2 * REAL], torch.stack([REAL, 2 * REAL])),
        (np.array(REAL.numpy(), dtype=object), REAL),
        (np.ma.masked_array(REAL.numpy(), mask=False), REAL),
        (pd.DataFrame(REAL.numpy()), REAL),
        (scipy.sparse.csr_matrix(REAL.numpy()), REAL),
        (torch.arange(6).reshape(2, 3), torch.arange(6.0).reshape(2, 3)),
    ],
)
def test_every_type_of_numbers_has_the_spectrum_of_what_it_stands_for(matrix, same):
    expected = np.linalg.svd(same.numpy(), compute_uv=False)
    np.testing.assert_allclose(ts.singular_values(matrix), expected, rtol=1e-5, atol=1e-6)
    if isinstance(matrix, torch.Tensor) and matrix.dtype != torch.int64:
        np.testing.assert_allclose(ts.singular_values({"fc.weight": matrix})["fc"], expected, rtol=1e-5)


@pytest.mark.filterwarnings("ignore")
def test_quantised_tensors_and_layers_are_measured_as_what_they_stand_for():
    quantised = torch.quantize_per_channel(REAL, torch.full((8,), 0.05), torch.zeros(8), 0, torch.qint8)
    layer = torch.ao.quantization.quantize_dynamic(nn.Sequential(nn.Linear(6, 8)), {nn.Linear}, torch.qint8)
    for held, tensor in ((quantised, quantised), ({"0.weight": quantised}, quantised), (layer, layer[0].weight())):
        values = ts.singular_values(held)
        values = values["0"] if isinstance(values, dict) else values
        np.testing.assert_allclose(values, torch.linalg.svdvals(tensor.dequantize()).numpy(), rtol=1e-5)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("held", "words"),
    [
        (torch.empty(3, 3, device="meta"), "the matrix: on the meta device"),
        (nn.Linear(3, 3, device="meta"), "weight: on the meta device"),
        (nn.LazyLinear(3), "weight and 1 more: a lazy parameter"),
        (FAKE, "the matrix: on the meta device"),
        (torch.nested.nested_tensor([torch.ones(2, 3), torch.ones(4, 3)]), "the matrix: a nested tensor"),
        (torch.masked.masked_tensor(REAL, REAL > 0), "the matrix: a masked tensor"),
        (torch.zeros(4, 4, dtype=torch.uint8).view(torch.float4_e2m1fn_x2), "float4_e2m1fn_x2 are no single numbers"),
        ({"ids": torch.ones(9, 9, dtype=torch.int64)}, "ids: int64 entries are no floating-point weights"),
        ({"fc.weight": torch.zeros(0, 4)}, "fc.weight: it has no entries"),
        (np.ma.masked_array(REAL.numpy(), mask=REAL.numpy() > 0), "masked entries have no value"),
        ([[1.0, 2.0], [3.0]], "rows of different lengths"),
        ([REAL, REAL.T], "tensors of different shapes"),
        (pd.DataFrame({"a": ["x"], "b": ["y"]}), "is no number"),
        (np.array([["2020-01-01"]], dtype="M8[D]"), r"entries of datetime64\[D\] are no numbers"),
        (pd.DataFrame({"a": [1, None], "b": [2, 3]}, dtype="Int64"), "an entry is not finite"),
    ],
)
def test_what_has_no_readable_entries_is_one_line_that_names_it(held, words):
    with pytest.raises(InputError, match=words) as raised:
        ts.singular_values(held)
    assert "\n" not in str(raised.value)


def test_arrays_in_nested_dictionaries_are_weights_too():
    kernels = np.random.default_rng(0).normal(size=(2, 4, 6)).astype(np.float32)
    layers = {f"dense_{i}": {"kernel": kernel, "bias": np.zeros(6)} for i, kernel in enumerate(kernels)}
    found = ts.singular_values({"params": layers})
    assert list(found) == ["dense_0", "dense_1"]
    np.testing.assert_allclose(found["dense_1"], np.linalg.svd(kernels[1], compute_uv=False), rtol=1e-5)


def test_a_tensor_that_is_not_finite_is_left_out_of_the_rest():
    measurement = ts.analyze({"a.weight": torch.full((4, 4), math.nan), "b.weight": REAL})
    assert measurement.names.tolist() == ["b"]
    assert measurement.left_out["a.weight"] == "weights are not finite: 16 of 16 entries are NaN or infinite"


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "weight",
    [
        torch.randn(24, 16, dtype=torch.complex64),
        torch.randn(24, 16).to_sparse(),
        torch.randn(24, 16).to_sparse_csr(),
        torch.quantize_per_tensor(torch.randn(24, 16), 0.05, 0, torch.qint8),
    ],
)
def test_command_and_library_measure_the_same_of_every_type(weight, tmp_path):
    table = (torch.arange(40.0)[:, None] * torch.linspace(0.1, 1, 8)).sin()
    state = {"fc.weight": weight, "tril": torch.ones(12, 12).tril(), "table": table, "ids": torch.ones(9, 9).long()}
    torch.save(state, tmp_path / "model.pt")
    command = examine(tmp_path / "model.pt", ExaminationSettings(Estimators(), shuffles=3))
    library = ts.analyze(state)
    assert [matrix.matrix.name for matrix in command.matrices] == library.names.tolist() == ["fc"]
    np.testing.assert_allclose(command.matrices[0].values["stable_rank"], library.values["stable_rank"][0, 0])
    null = command.matrices[0].shuffled
    norms = np.linalg.norm(null, axis=1), np.linalg.norm(command.matrices[0].singular_values)
    np.testing.assert_allclose(*norms, rtol=1e-6)  # the same entries, imaginary parts included
    assert {skipped.name: skipped.reason for skipped in command.skipped} == library.left_out
    assert set(library.left_out) == {"tril", "table", "ids"}
