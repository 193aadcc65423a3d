"""`analyze` of the library: one matrix, paths, and nulls, each the same as by the longer way."""

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import transformer_spectrum as ts
from transformer_spectrum.analysis.of_checkpoint.checkpoint import examine
from transformer_spectrum.analysis.of_checkpoint.measuring import measure
from transformer_spectrum.analysis.of_checkpoint.settings import ExaminationSettings
from transformer_spectrum.runtime.errors import InputError
from transformer_spectrum.spectra.analysis import METRICS, Estimators
from transformer_spectrum.spectra.effects import HEAVY_TAILED, NO_SPREAD, UNUSABLE
from transformer_spectrum.weights.matrices.families import Family
from transformer_spectrum.weights.matrices.matrix import Matrix

WEIGHT = torch.randn(24, 16, generator=torch.Generator().manual_seed(0))


def state():
    generator = torch.Generator().manual_seed(1)
    return {f"layers.{i}.fc1.weight": torch.randn(24, 16, generator=generator) for i in range(2)}


def same(one, other):
    for metric in METRICS:
        np.testing.assert_allclose(one.values[metric], other.values[metric], rtol=1e-12)


@pytest.mark.parametrize("of", [WEIGHT, WEIGHT.numpy(), WEIGHT.tolist(), WEIGHT.double().T.T], ids=type)
def test_one_matrix_is_measured_as_its_singular_values_with_its_shape(of):
    found = ts.analyze(of)
    values = np.linalg.svd(WEIGHT.double().numpy(), compute_uv=False)
    expected = ts.analyze(values, (24, 16))
    for metric in METRICS:
        np.testing.assert_allclose(found.values[metric], expected.values[metric], rtol=1e-9)
    assert found.shapes.tolist() == [[24, 16]]


def test_a_triangular_matrix_that_is_given_by_itself_is_no_mask():
    assert ts.analyze(torch.ones(9, 9).tril()).values["numerical_rank"].tolist() == [[9]]


@pytest.mark.parametrize("of", [np.ones((3, 4, 5)), np.ones((2, 2, 3, 3)), [WEIGHT, WEIGHT]], ids=type)
def test_more_than_two_axes_say_what_to_write(of):
    with pytest.raises(InputError, match="a dictionary of matrices by name"):
        ts.analyze(of)


@pytest.mark.parametrize("kind", ["safetensors", "pt", "folder"])
def test_a_checkpoint_is_measured_by_its_path_as_its_tensors_are(kind, tmp_path):
    path = tmp_path / ("model.safetensors" if kind == "folder" else f"any.{kind}")
    torch.save(state(), path) if kind == "pt" else save_file(state(), path)
    path = tmp_path if kind == "folder" else path
    for source in (path, str(path)):
        found = ts.analyze(source)
        same(found, ts.analyze(state()))
        assert found.names.tolist() == ["layers.0.fc1", "layers.1.fc1"]
    values, expected = ts.singular_values(path), ts.singular_values(state())
    assert values.keys() == expected.keys()
    for name, spectrum in values.items():
        np.testing.assert_array_equal(spectrum, expected[name])


def test_nulls_are_those_of_the_command_whatever_holds_the_entries(tmp_path):
    path = tmp_path / "any.safetensors"
    save_file(state(), path)
    command = examine(path, ExaminationSettings(Estimators(), shuffles=4, seed=7))
    found = [ts.analyze(of, shuffles=4, seed=7) for of in (path, state())]
    for measured in found:
        for i, matrix in enumerate(command.matrices):
            for metric in METRICS:
                null, expected = measured.nulls[metric], matrix.nulls[metric]
                for ours, theirs in zip(null[:4], expected[:4], strict=True):
                    assert ours[0, i] == pytest.approx(float(theirs), nan_ok=True)
                assert null.reason[0, i] == str(expected.reason)
    table = found[0].table()
    change = table["stable_rank"] - table["stable_rank_null"]
    np.testing.assert_allclose(table["stable_rank_deviations"], change / table["stable_rank_null_sd"])
    for missing in table["deviations_missing"]:
        reasons = dict(reason.rsplit(": ", 1) for reason in missing.split("; "))
        assert "frobenius_norm" in reasons[NO_SPREAD].split(", ")
        assert set(reasons[HEAVY_TAILED].split(", ")) <= UNUSABLE
    assert table["ks_alpha_difference"].notna().all()
    assert table["ks_alpha_deviations"].isna().all()
    assert "beside their nulls" in repr(found[0])
    assert ts.analyze(state()).nulls is None
    assert not [name for name in ts.analyze(state()).table() if name.endswith(("_null", "_deviations"))]


def test_a_module_and_one_matrix_have_nulls_too():
    layer = torch.nn.Linear(16, 24, bias=False)
    layer.weight = torch.nn.Parameter(WEIGHT)
    whole, lone = ts.analyze(layer, shuffles=5, seed=1), ts.analyze(WEIGHT, shuffles=5, seed=1)
    for found in (whole, lone):
        null = found.nulls["stable_rank"]
        assert null.deviations.shape == (1, 1)
        assert abs(float(null.deviations[0, 0])) < 8
    again = ts.analyze(WEIGHT, shuffles=5, seed=1).nulls["ks_alpha"].null_mean
    assert again == lone.nulls["ks_alpha"].null_mean
    assert again != ts.analyze(WEIGHT, shuffles=5, seed=2).nulls["ks_alpha"].null_mean


@pytest.mark.parametrize(
    ("of", "options", "words"),
    [
        (WEIGHT, {"shuffles": 2}, "shuffles = 2: must be >= 3, or 0"),
        (WEIGHT, {"shuffles": 3, "seed": -1}, "seed = -1: must be >= 0"),
        (np.ones(3), {"shapes": (3, 3), "shuffles": 3}, "singular values: only entries can be shuffled"),
        ("nothing/there", {}, "nothing/there: no such file or folder; name a training"),
        (".", {"shapes": (3, 3)}, "shapes = "),
    ],
)
def test_what_cannot_be_done_is_said_in_a_line(of, options, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=words) as raised:
        ts.analyze(of, **options)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("unit", [1e-300, 1e-200, 1e-60, 1e-39, 1.0, 1e39, 1e60, 1e200, 1e300])
def test_a_matrix_has_the_same_shape_in_any_unit_and_nothing_warns(unit):
    entries = torch.from_numpy(np.random.default_rng(0).normal(size=(24, 32)))
    matrix = Matrix("head", Family("readout"), "head", (24, 32))
    plain, scaled = (
        measure(matrix, factor * entries, ExaminationSettings(Estimators(), shuffles=4)) for factor in (1.0, unit)
    )
    for name in ("stable_rank", "spectral_entropy", "spectral_norm", "hill_alpha", "mp_soft_rank"):
        factor = unit if name == "spectral_norm" else 1.0
        assert scaled.values[name] == pytest.approx(factor * plain.values[name], rel=1e-9)
        assert scaled.nulls[name].deviations == pytest.approx(plain.nulls[name].deviations, rel=1e-6, nan_ok=True)
    assert np.isfinite(scaled.shuffled).all()
    np.testing.assert_allclose(scaled.shuffled.astype(float) / unit, plain.shuffled, rtol=1e-6)


def test_matrices_without_a_spread_or_a_bulk_are_measured_and_nothing_warns():
    for entries in (torch.full((32, 48), 3.0), torch.ones(32, 32), torch.zeros(16, 16), torch.eye(24, 32)):
        matrix = Matrix("head", Family("readout"), "head", tuple(entries.shape))
        measured = measure(matrix, entries, ExaminationSettings(Estimators(), shuffles=4))
        assert all(measured.reasons[name] for name, value in measured.values.items() if np.isnan(value))
