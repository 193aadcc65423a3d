"""`transformer-spectrum analyze` on small checkpoints: the numbers, the files, and what it refuses."""

import csv
import gc
import hashlib
import itertools
import json
import re
import weakref

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from transformer_spectrum.analysis.of_checkpoint import measuring
from transformer_spectrum.analysis.of_checkpoint.checkpoint import examine
from transformer_spectrum.analysis.of_checkpoint.measuring import draws_of
from transformer_spectrum.analysis.of_checkpoint.results import MADE_BY
from transformer_spectrum.analysis.of_checkpoint.settings import ExaminationSettings
from transformer_spectrum.cli.main import main
from transformer_spectrum.report.model_page.exports import csv_header, csv_rows, json_tree
from transformer_spectrum.report.model_page.figures import spectrum_panels
from transformer_spectrum.report.model_page.page import page
from transformer_spectrum.report.model_page.tables import _text_table, text_report
from transformer_spectrum.report.page.svg import Panel
from transformer_spectrum.spectra.analysis import METRICS, Estimators
from transformer_spectrum.spectra.effects import UNUSABLE
from transformer_spectrum.spectra.spike_or_tail import spike_or_tail
from transformer_spectrum.weights.files import Checkpoint

ESTIMATORS = Estimators(hill_fraction=0.25, min_tail=8, ks_distance="two_sided", window=(0.0, 0.5), edge_level=0.99)
SETTINGS = ExaminationSettings(ESTIMATORS, shuffles=3)


def matrix(rows, columns, seed=0):
    return torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed))


def block(seed=0):
    """A layer of a transformer of 16 channels, as GPT-2 names and Linear stores it."""
    return {
        "h.0.attn.c_attn.weight": matrix(48, 16, seed),
        "h.0.attn.c_proj.weight": matrix(16, 16, seed + 1),
        "h.0.mlp.c_fc.weight": matrix(64, 16, seed + 2),
        "h.0.mlp.c_proj.weight": matrix(16, 64, seed + 3),
        "h.0.ln_1.weight": torch.ones(16),
    }


def saved(tensors, folder, name="model.safetensors"):
    folder.mkdir(exist_ok=True)
    save_file({key: tensor.contiguous() for key, tensor in tensors.items()}, folder / name)
    return folder / name


def spectra(path, settings=SETTINGS):
    return {found.matrix.name: found for found in examine(path, settings).matrices}


def test_the_singular_values_are_those_that_the_matrix_was_built_from(tmp_path):
    values = np.linspace(10, 1, 12)
    left, right = (torch.linalg.qr(matrix(20, 12, seed).double())[0] for seed in (0, 1))
    weight = left @ torch.diag(torch.tensor(values)) @ right.T
    found = spectra(saved({"layer.weight": weight}, tmp_path))["layer"]
    np.testing.assert_allclose(found.singular_values[:12], values, rtol=1e-10)
    np.testing.assert_allclose(found.singular_values[12:], 0, atol=1e-9)
    assert found.values["stable_rank"] == pytest.approx((values**2).sum() / 100)
    assert found.values["numerical_rank"] == 12


def test_a_conv1d_checkpoint_equals_the_linear_one(tmp_path):
    linear = block()
    turned = {name: tensor.T if tensor.ndim == 2 else tensor for name, tensor in linear.items()}
    one, other = spectra(saved(linear, tmp_path / "a")), spectra(saved(turned, tmp_path / "b"))
    assert one.keys() == other.keys()
    for name, found in one.items():
        assert found.matrix.shape == other[name].matrix.shape
        for metric in METRICS:
            assert found.values[metric] == pytest.approx(other[name].values[metric], rel=1e-9, nan_ok=True), metric


def test_fused_and_separate_queries_keys_and_values_have_the_same_spectra(tmp_path):
    query, key, value = (matrix(16, 16, seed) for seed in range(3))
    fused = spectra(saved({"self_attn.in_proj_weight": torch.cat([query, key, value])}, tmp_path / "a"))
    names = {"q_proj": query, "k_proj": key, "v_proj": value}
    apart = spectra(saved({f"self_attn.{name}.weight": tensor for name, tensor in names.items()}, tmp_path / "b"))
    for role, name in (("query", "q_proj"), ("key", "k_proj"), ("value", "v_proj")):
        one, other = fused[f"self_attn.in_proj.{role}"], apart[f"self_attn.{name}"]
        assert one.matrix.family.label == other.matrix.family.label == role
        np.testing.assert_array_equal(one.singular_values, other.singular_values)


def test_half_precision_is_read_as_the_numbers_it_holds(tmp_path):
    weight = matrix(24, 16).to(torch.bfloat16)
    halves = spectra(saved({"w.weight": weight}, tmp_path / "a"))["w"]
    floats = spectra(saved({"w.weight": weight.float()}, tmp_path / "b"))["w"]
    np.testing.assert_array_equal(halves.singular_values, floats.singular_values)


def test_above_the_limit_a_matrix_goes_in_pieces_to_the_same_values(tmp_path, monkeypatch):
    path = saved({"w.weight": matrix(60, 20)}, tmp_path)
    whole = spectra(path)["w"]
    monkeypatch.setattr(measuring, "LARGE", 100)
    pieces = examine(path, SETTINGS)
    np.testing.assert_allclose(pieces.matrices[0].singular_values, whole.singular_values, rtol=1e-9)
    for metric in METRICS:
        assert pieces.matrices[0].values[metric] == pytest.approx(whole.values[metric], rel=1e-6, nan_ok=True)
    assert any("Gram matrix" in note for note in pieces.notes)
    monkeypatch.setattr(measuring, "LARGE", 1200)  # its own number of entries is none above
    assert not any("Gram matrix" in note for note in examine(path, SETTINGS).notes)


def test_notes_name_the_limits_that_were_met(tmp_path, monkeypatch):
    path = saved({"w.weight": matrix(60, 20)}, tmp_path)
    monkeypatch.setattr(measuring, "LARGE", 2**9)
    monkeypatch.setattr(measuring, "NULL_BUDGET", 70_000)  # products, of which a shuffle takes 24,000
    notes = "; ".join(examine(path, ExaminationSettings(ESTIMATORS, shuffles=4)).notes)
    assert "matrices above 2^9 entries were decomposed by the Gram matrix of their smaller side in float64" in notes
    assert "fewer shuffles: at most 70,000 / (entries x smaller side), at least 3" in notes


def test_large_matrices_get_fewer_shuffles_but_never_fewer_than_three():
    assert draws_of((768, 3072), 20) == 20
    assert draws_of((30522, 384), 20) == 2**36 // (30522 * 384 * 384)
    assert draws_of((50257, 4096), 20) == draws_of((4096, 50257), 20) == 3


def test_tensors_with_the_same_entries_are_measured_once(tmp_path):
    tied = matrix(40, 16)
    path = tmp_path / "a.pt"
    torch.save({"wte.weight": tied, "lm_head.weight": tied, "other.weight": matrix(40, 16, 1)}, path)
    found = examine(path, SETTINGS)
    assert [(m.matrix.name, m.same) for m in found.matrices] == [("lm_head", ("wte",)), ("other", ())]
    assert "lm_head stands for wte too" in text_report(found, 160)


def test_one_tensor_is_in_memory_at_a_time(tmp_path, monkeypatch):
    path, alive, most = saved(block(), tmp_path), weakref.WeakSet(), []
    read = Checkpoint.read

    def counted(self, name):
        gc.collect()
        tensor = read(self, name)
        alive.add(tensor)
        most.append(len(alive))
        return tensor

    monkeypatch.setattr(Checkpoint, "read", counted)
    examine(path, SETTINGS)
    assert most == [1, 1, 1, 1]


def test_patterns_sizes_and_types_leave_out_with_a_reason(tmp_path):
    tensors = {**block(), "small.weight": matrix(4, 16), "ids": torch.zeros(9, 9, dtype=torch.int8)}
    settings = ExaminationSettings(ESTIMATORS, shuffles=3, include=("h.*", "small", "ids"), exclude=("*.mlp.*",))
    found = examine(saved(tensors, tmp_path), settings)
    assert [m.matrix.name for m in found.matrices] == [
        *(f"h.0.attn.c_attn.{role}" for role in ("query", "key", "value")),
        "h.0.attn.c_proj",
    ]
    reasons = {skipped.name: skipped.reason for skipped in found.skipped}
    assert reasons == {
        "h.0.mlp.c_fc": "an --exclude matches",
        "h.0.mlp.c_proj": "an --exclude matches",
        "small": "its smaller side is below --min-size 8",
        "ids": "I8 entries are no floating-point weights",
    }
    assert found.vectors == 1
    assert found.measured_weights == 48 * 16 + 16 * 16


def test_heads_are_measured_beside_their_matrix(tmp_path):
    found = examine(saved(block(), tmp_path), ExaminationSettings(ESTIMATORS, shuffles=3, heads=2))
    names = [m.matrix.name for m in found.matrices]
    assert names.count("h.0.attn.c_attn.query") == 1
    assert sum(".head_" in name for name in names) == 6
    assert found.measured_weights == 5 * 16 * 16 - 16 * 16 + 2 * 64 * 16


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_a_tensor_that_is_not_finite_is_left_out_by_name_and_the_rest_is_measured(bad, tmp_path):
    tensors = block()
    whole = spectra(saved(tensors, tmp_path / "a"))
    tensors["h.0.attn.c_attn.weight"][3, 3] = bad
    found = examine(saved(tensors, tmp_path / "b"), SETTINGS)
    assert found.not_finite == ("h.0.attn.c_attn.weight",)
    reasons = {skipped.name: skipped.reason for skipped in found.skipped}
    assert reasons == {"h.0.attn.c_attn.weight": "weights are not finite: 1 of 768 entries are NaN or infinite"}
    assert [m.matrix.name for m in found.matrices] == ["h.0.attn.c_proj", "h.0.mlp.c_fc", "h.0.mlp.c_proj"]
    for measured in found.matrices:
        np.testing.assert_array_equal(measured.singular_values, whole[measured.matrix.name].singular_values)


@pytest.mark.parametrize("scale", [1e200, 1e300, 1e-200, 1e-320])
def test_a_tensor_whose_powers_no_number_holds_is_left_out_by_name(scale, tmp_path):
    weights = torch.randn(16, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    save_file({"fc1.weight": weights * scale, "fc2.weight": weights.T.contiguous()}, tmp_path / "a.safetensors")
    examination = examine(tmp_path / "a.safetensors", ExaminationSettings(ESTIMATORS, shuffles=0))
    assert examination.not_finite == ("fc1.weight",)
    (reason,) = [entry.reason for entry in examination.skipped if entry.name == "fc1.weight"]
    assert reason.startswith("weights are out of range: the largest is ")


def test_a_tensor_that_is_not_finite_ends_in_exit_code_1_with_everything_written(tmp_path, capsys):
    tensors = block()
    tensors["h.0.mlp.c_fc.weight"][0, 0] = float("nan")
    path = saved(tensors, tmp_path / "in")
    with pytest.raises(SystemExit) as ended:
        main(["analyze", str(path), "--shuffles", "3", "--figures", "0", "--out", str(tmp_path / "out")])
    printed = capsys.readouterr()
    assert ended.value.code == 1
    assert "h.0.attn.c_proj" in printed.out
    assert "left out: h.0.mlp.c_fc.weight: weights are not finite: 1 of 1,024 entries" in printed.out
    assert printed.err.splitlines()[-1].endswith(
        "1 tensor is not finite or out of range, left out: h.0.mlp.c_fc.weight"
    )
    assert json.loads((tmp_path / "out" / "summary.json").read_text())["not_finite"] == ["h.0.mlp.c_fc.weight"]
    assert (tmp_path / "out" / "index.html").is_file()


def test_when_no_tensor_is_finite_the_input_is_bad(tmp_path, capsys):
    path = saved({"a.weight": torch.full((9, 9), float("nan"))}, tmp_path)
    assert "no matrix left to measure; a.weight: weights are not finite: 81 of 81" in failing([path], capsys)


def test_the_summary_and_the_table_say_which_model_was_taken_and_what_was_beside_it(tmp_path, capsys):
    tensors = {"a.query.weight": matrix(16, 12)}
    averaged = {"a.query.weight": matrix(16, 12, 1)}
    whole = {"model": tensors, "ema": averaged, "confusion": torch.ones(20, 20), "epoch": 3}
    torch.save(whole, tmp_path / "a.pth.tar")
    for key, expected, beside in ((None, tensors, ("ema", "confusion")), ("ema", averaged, ("model", "confusion"))):
        options = [] if key is None else ["--key", key]
        arguments = [str(tmp_path / "a.pth.tar"), "--shuffles", "3", "--figures", "0", "--out", str(tmp_path / "out")]
        main(["analyze", *arguments, *options])
        printed = " ".join(capsys.readouterr().out.split())
        summary = json.loads((tmp_path / "out" / "summary.json").read_text())
        assert summary["checkpoint"]["key"] == (key or "model")
        assert summary["settings"]["key"] == key
        assert f'the model is what lies under "{key or "model"}"' in printed
        assert {skipped["name"] for skipped in summary["skipped"]} == set(beside)
        assert all(f"{name}: " in printed for name in beside)
        with (tmp_path / "out" / "matrices.csv").open() as stream:
            (row,) = csv.DictReader(stream)
        values = torch.linalg.svdvals(expected["a.query.weight"].double())
        assert float(row["stable_rank"]) == pytest.approx(float((values**2).sum() / values[0] ** 2), rel=1e-5)
    assert "--key emma is not in it (nearest: ema)" in failing([tmp_path / "a.pth.tar", "--key", "emma"], capsys)


def test_a_model_without_a_matrix_names_what_was_beside_it(tmp_path, capsys):
    torch.save({"model": {"a.bias": torch.ones(9)}, "confusion": torch.ones(9, 9)}, tmp_path / "a.pt")
    assert 'under "model"; beside them: confusion; --key takes another' in failing([tmp_path / "a.pt"], capsys)


def test_vectors_of_any_type_are_counted(tmp_path):
    path = saved({**block(), "bn.num_batches_tracked": torch.tensor(3), "bn.steps": torch.arange(3)}, tmp_path)
    assert examine(path, SETTINGS).vectors == 3


DEGENERATE = {
    "zero.weight": torch.zeros(12, 10),
    "lone.weight": torch.ones(12, 10),
    "orthogonal.weight": torch.eye(12),
    "row.weight": torch.arange(1.0, 9.0)[None],
    "tiny.weight": matrix(4, 3),
}


def test_degenerate_matrices_have_reasons_in_every_output(tmp_path):
    path = saved(DEGENERATE, tmp_path / "in")
    arguments = ["analyze", str(path), "--out", str(tmp_path / "out"), "--min-size", "2", "--shuffles", "3"]
    main(arguments)
    found = examine(path, ExaminationSettings(ESTIMATORS, shuffles=3, min_size=1))
    for measured in found.matrices:
        for metric in METRICS:
            assert bool(measured.reasons[metric]) == np.isnan(measured.values[metric])
            assert bool(str(measured.nulls[metric].reason)) == np.isnan(measured.nulls[metric].deviations)
    table = _text_table(found, 160)
    assert "nan" not in table
    assert ": zero matrix" in table
    with (tmp_path / "out" / "matrices.csv").open() as stream:
        rows = {row["matrix"]: row for row in csv.DictReader(stream)}
    assert rows["zero"]["ks_alpha"] == ""
    assert "ks_alpha" in rows["zero"]["reasons"]


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """Two runs on one checkpoint whose names need escaping."""
    folder = tmp_path_factory.mktemp("written")
    path = saved({**block(), "<b>&.weight": matrix(16, 12, 9)}, folder / "in")
    for name in ("one", "two"):
        main(["analyze", str(path), "--out", str(folder / name), "--shuffles", "5", "--figures", "1", "--seed", "3"])
    return folder


def test_the_same_seed_gives_the_same_numbers_and_words(written):
    for name in ("matrices.csv", "summary.json", "index.html"):
        assert (written / "one" / name).read_bytes() == (written / "two" / name).read_bytes()


def test_every_metric_in_the_csv_has_its_null_and_its_effect(written):
    with (written / "one" / "matrices.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 7
    for row in rows:
        assert row["null_draws"] == "5"
        for metric in METRICS:
            value, null, sd, difference, deviations = (
                float(row[name] or "nan")
                for name in (metric, *(f"{metric}_{what}" for what in ("null", "null_sd", "difference", "deviations")))
            )
            assert (metric in row["reasons"]) or np.isfinite(value)
            assert difference == pytest.approx(value - null, rel=1e-4, abs=1e-5, nan_ok=True)
            assert np.isnan(deviations) or deviations == pytest.approx(difference / sd, rel=1e-3, abs=1e-3)
            assert (metric in row["deviations_reasons"]) == np.isnan(deviations), metric
        assert "frobenius_norm" in row["deviations_reasons"]  # shuffling cannot change it


def test_the_numbers_of_the_table_and_of_the_summary_are_those_of_the_spectra(tmp_path):
    """By plain formulas on the singular values of the matrices and of their shuffles."""
    tensors = {f"layers.{i}.fc1.weight": matrix(32, 16, i) for i in range(3)}
    found = examine(saved(tensors, tmp_path), SETTINGS)
    formulas = {
        "stable_rank": lambda s: (s**2).sum() / s[0] ** 2,
        "spectral_entropy": lambda s: -(s**2 / (s**2).sum() * np.log(s**2 / (s**2).sum())).sum(),
        "hill_alpha": lambda s: 1 + 4 / np.log(s[:4] ** 2 / s[4] ** 2).sum(),
    }
    (group,) = json_tree(found)["classes"].values()
    for metric, formula in formulas.items():
        means = []
        for row, measured in zip(csv_rows(found), found.matrices, strict=True):
            row = dict(zip(csv_header(found), row, strict=True))
            exact = np.linalg.svd(tensors[f"{row['matrix']}.weight"].double().numpy(), compute_uv=False)
            drawn = [formula(np.asarray(s, dtype=np.float64)) for s in measured.shuffled]
            null, sd = np.mean(drawn), np.std(drawn, ddof=1)
            value = formula(exact)
            expected = {
                "": value,
                "_null": null,
                "_null_sd": sd,
                "_difference": value - null,
                "_deviations": "" if metric in UNUSABLE else (value - null) / sd,
            }
            for what, number in expected.items():
                assert row[metric + what] == (number and pytest.approx(number, rel=1e-4)), metric + what
            means.append((value, null))
        assert (group[metric], group[f"{metric}_null"]) == pytest.approx(tuple(np.mean(means, axis=0)), rel=1e-4)


def test_the_drawn_densities_are_shares_of_all_eigenvalues_over_widths(tmp_path, monkeypatch):
    (measured,) = examine(saved({"a.weight": 0.1 * matrix(60, 40)}, tmp_path), SETTINGS).matrices
    drawn = {"stairs": [], "line": []}
    for kind, calls in drawn.items():
        monkeypatch.setattr(Panel, kind, lambda self, x, y, look, calls=calls, **_: calls.append((look, x, y)))
    spectrum_panels(measured, ESTIMATORS)
    eigenvalues, shuffled = (
        np.asarray(s, dtype=np.float64).ravel() ** 2 for s in (measured.singular_values, measured.shuffled)
    )
    assert [look for look, *_ in drawn["stairs"]] == ["null", "own"] * 2  # linear, then logarithmic
    for look, edges, heights in drawn["stairs"]:
        values = {"null": shuffled, "own": eigenvalues}[look]
        for height, (low, high) in zip(heights, itertools.pairwise(edges), strict=True):
            inside = ((values >= low) & ((values < high) | (high == edges[-1]))).sum()
            assert height == pytest.approx(inside / len(values) / (high - low))
    # The bulk has the share of what is no spike, and the fitted line that of its tail.
    curves = {look: (x, y) for look, x, y in reversed(drawn["line"])}  # the linear bulk comes first
    x, bulk = curves["bulk"]
    assert np.trapezoid(np.nan_to_num(bulk), x) == pytest.approx(1 - measured.values["mp_spikes"] / 40, abs=0.05)
    alpha, xmin, tail = (measured.values[f"ks_{name}"] for name in ("alpha", "xmin", "tail"))
    x, fit = curves["fit"]
    assert x.tolist() == pytest.approx([xmin, eigenvalues.max()])
    assert fit[0] == pytest.approx(tail / 40 * (alpha - 1) / xmin)
    assert fit[1] == pytest.approx(fit[0] * (x[1] / xmin) ** -alpha)
    k, alphas = curves["own"]
    assert alphas[k == 5] == pytest.approx(1 + 5 / np.log(eigenvalues[:5] / eigenvalues[5]).sum())


def test_the_summary_says_where_the_numbers_come_from(written):
    summary = json.loads((written / "one" / "summary.json").read_text())
    assert summary["made_by"] == MADE_BY
    assert summary["checkpoint"]["name"] == "model.safetensors"
    assert re.fullmatch("[0-9a-f]{64}", summary["checkpoint"]["files"][0]["sha256"])
    assert summary["settings"]["seed"] == 3
    assert summary["settings"]["estimators"]["min_tail"] == 8
    assert summary["null_draws"] == {"fewest": 5, "most": 5}
    assert {"torch", "numpy"} <= summary["versions"].keys()
    assert str(written) not in (written / "one" / "summary.json").read_text()


def test_the_file_of_a_checkpoint_is_named_with_its_checksum_and_its_size(tmp_path):
    path = saved({"w.weight": matrix(60, 20)}, tmp_path)
    content = path.read_bytes()
    told = {"name": "model.safetensors", "sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
    assert examine(path, SETTINGS).files == (told,)


def test_alphas_are_averaged_within_one_family_and_shape_alone(tmp_path):
    tensors = {f"layers.{i}.fc1.weight": matrix(16 + 16 * (i > 1), 16, i) for i in range(4)}
    path = saved(tensors, tmp_path)
    main(["analyze", str(path), "--out", str(tmp_path / "out"), "--shuffles", "3", "--figures", "0"])
    classes = json.loads((tmp_path / "out" / "summary.json").read_text())["classes"]
    assert {label: group["matrices"] for label, group in classes.items()} == {
        "feed_forward_up_32x16": 2,
        "feed_forward_up_16x16": 2,
    }
    alphas = {name: found.values["ks_alpha"] for name, found in spectra(path).items()}
    mean = (alphas["layers.0.fc1"] + alphas["layers.1.fc1"]) / 2
    assert classes["feed_forward_up_16x16"]["ks_alpha"] == pytest.approx(mean, rel=1e-5)
    assert classes["feed_forward_up_16x16"]["ks_alpha_null"] > 1


def test_the_page_needs_no_network_no_script_and_escapes_names(written):
    page = (written / "one" / "index.html").read_text()
    assert "<script" not in page
    assert not re.search(r"""(src|href)=["']""", page)
    assert "url(" not in page
    assert "&lt;b&gt;&amp;" in page
    assert "<b>&" not in page
    drawings = page.count('role="img"')
    assert drawings == 4 * 3 + 3  # four metrics of each of three shapes, and the one matrix asked for
    assert page.count("<tr>") == 1 + 7


def test_the_verdict_on_the_tail_is_that_of_the_singular_values_in_table_csv_and_page(tmp_path):
    random = np.random.default_rng(1)
    tensors = {
        "layers.0.fc1.weight": random.standard_t(1.5, size=(32, 32)),
        "layers.1.fc1.weight": random.normal(size=(32, 32)),
        "layers.2.fc1.weight": random.normal(size=(16, 32)),
    }
    folder = tmp_path / "in"
    path = saved({name: torch.tensor(entries).float() for name, entries in tensors.items()}, folder)
    found = examine(path, SETTINGS)
    rows = [dict(zip(csv_header(found), row, strict=True)) for row in csv_rows(found)]
    for row, entries in zip(rows, tensors.values(), strict=True):
        expected = spike_or_tail(np.linalg.svd(entries, compute_uv=False), entries.shape)
        assert row["tail_verdict"] == expected.verdict
        if expected.reason:
            assert (row["tail_p"], row["tail_spikes"], row["tail_reason"]) == ("", "", str(expected.reason))
        else:
            assert row["tail_p"] == pytest.approx(float(expected.p_value), abs=2e-3)
            assert row["tail_spikes"] == expected.spikes
    assert [row["tail_verdict"] for row in rows] == ["heavy_tail", "noise", "not_tested"]
    heavy, noise, small = _text_table(found, 160).splitlines()[2:5]
    assert heavy.endswith(f"heavy tail  {rows[0]['tail_p']:.3f}")
    assert noise.endswith(f"noise  {rows[1]['tail_p']:.3f}")
    assert small.split()[-2:] == [small.split()[-1]] * 2
    assert "fewer than 20 singular values" in _text_table(found, 160)
    assert f"heavy tail: p {rows[0]['tail_p']:.3f} of noise with spikes" in page(found, 3)


@pytest.mark.parametrize("width", [120, 160])
def test_the_table_fits_the_terminal_and_shows_alpha_with_error_distance_tail_and_null(width, tmp_path):
    tensors = {f"model.decoder.layers.{i}.self_attn.q_proj.weight": matrix(16, 16, i) for i in range(2)}
    tensors["model.decoder.layers.0.a_very_long_name_of_a_module_that_no_table_holds.weight"] = matrix(16, 16, 3)
    found = examine(saved(tensors, tmp_path), SETTINGS)
    lines = _text_table(found, width).splitlines()
    assert max(map(len, lines)) <= width
    header = lines[0].split()
    first = next(line for line in lines if "q_proj" in line).split()
    values = found.matrices[-1].values
    assert {"alpha", "D", "tail", "null", "diff"} <= set(header)
    assert len({len(line) for line in lines[2:5]}) == 1
    assert f"{values['ks_alpha']:.2f}" in lines[4]
    assert len(first) == len(lines[3].split())


def test_long_names_stay_apart_on_a_narrow_terminal(tmp_path):
    layers = "base_model.model.transformer.very_long_module_name.layers"
    tensors = {f"{layers}.{i}.self_attention.query_projection.weight": matrix(16, 16, i) for i in range(3)}
    lines = _text_table(examine(saved(tensors, tmp_path), SETTINGS), 100).splitlines()
    names = [line.split()[0] for line in lines[2:5]]
    assert names == [f"…l.{i}.s.query_projection" for i in range(3)]


def failing(arguments, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["analyze", *map(str, arguments)])
    error = capsys.readouterr().err.splitlines()
    assert ended.value.code == 2
    assert error[-1].startswith("transformer-spectrum: error: ")
    return error[-1]


def test_a_failure_is_one_line_and_leaves_the_earlier_results(written, tmp_path, capsys):
    before = {path.name: path.read_bytes() for path in (written / "one").iterdir()}
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(b"nothing")
    assert str(broken) in failing([broken, "--out", written / "one"], capsys)
    assert {path.name: path.read_bytes() for path in (written / "one").iterdir()} == before
    assert not [path for path in written.iterdir() if path.name.startswith(".")]


def test_a_folder_with_other_files_is_never_replaced(tmp_path, capsys):
    path = saved(block(), tmp_path / "in")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("years of work")
    (tmp_path / "file").write_text("text")
    refused = {"mine": "holds other files", "in": "holds other files", "file": "is no folder", "file/a": "no folder"}
    for out, rule in refused.items():
        assert rule in failing([path, "--out", tmp_path / out], capsys)
    assert (tmp_path / "mine" / "thesis.tex").read_text() == "years of work"
    assert path.exists()


def test_a_missing_gpu_is_said(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert "no CUDA device" in failing([saved(block(), tmp_path), "--device", "cuda"], capsys)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device: it compares one with the CPU")
def test_a_gpu_gives_the_values_of_the_cpu(tmp_path, monkeypatch):
    monkeypatch.setattr(measuring, "LARGE", 100)
    path = saved(block(), tmp_path)
    one, other = spectra(path), spectra(path, ExaminationSettings(ESTIMATORS, shuffles=3, device="cuda"))
    for name, found in one.items():
        np.testing.assert_allclose(found.singular_values, other[name].singular_values, rtol=1e-8, atol=1e-7)
        np.testing.assert_allclose(found.shuffled, other[name].shuffled, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    ("options", "rule"),
    [
        (["--shuffles", "2"], "--shuffles = 2: must be >= 3, or 0"),
        (["--shuffles", "-1"], "--shuffles = -1: must be >= 0"),
        (["--like", "weightwatcher", "--min-tail", "8"], "--min-tail = 8 with --like weightwatcher: must be 2"),
        (["--like", "weightwatcher", "--heads", "2"], "--heads = 2 with --like weightwatcher: it has no heads"),
        (["--seed", "-1"], "--seed = -1"),
        (["--heads", "0"], "--heads = 0"),
        (["--heads", "5"], "no multiple of 5"),
        (["--min-tail", "1"], "--min-tail = 1: must be ≥ 2"),
        (["--hill-fraction", "nan"], "--hill-fraction = nan"),
        (["--ks-distance", "other"], "two_sided / powerlaw"),
        (["--window-first", "0.6"], "--window-first = 0.6 with --window-last = 0.5: must be smaller"),
        (["--include", "nothing"], "no --include matches"),
        (["--min-size", "100"], "below --min-size 100"),
    ],
)
def test_options_out_of_range_name_the_option_the_value_and_the_rule(options, rule, tmp_path, capsys):
    assert rule in failing([saved(block(), tmp_path), *options], capsys)


def test_a_checkpoint_of_vectors_has_nothing_to_measure(tmp_path, capsys):
    assert "none has two axes" in failing([saved({"bias": torch.ones(3)}, tmp_path)], capsys)
