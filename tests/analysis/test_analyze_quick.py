"""`analyze` without nulls, in WeightWatcher's words, and with values that are the bound of their search."""

import contextlib
import csv
import io
import json
import logging
import re

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from transformer_spectrum.analysis.of_checkpoint.checkpoint import examine
from transformer_spectrum.analysis.of_checkpoint.settings import ExaminationSettings
from transformer_spectrum.analysis.of_checkpoint.weightwatcher import KERNEL
from transformer_spectrum.cli.main import main
from transformer_spectrum.report.model_page import exports
from transformer_spectrum.report.model_page import tables as model_tables
from transformer_spectrum.report.model_page.page import page
from transformer_spectrum.spectra.analysis import MANY_SPIKES, METRICS, Estimators
from transformer_spectrum.spectra.effects import HEAVY_TAILED
from transformer_spectrum.spectra.power_law import clauset_fit
from transformer_spectrum.spectra.weightwatcher import COLUMNS, spectrum_details

SAME_WAY = set(COLUMNS) - {"layer_type", "longname"}


class Net(torch.nn.Module):
    """What WeightWatcher takes of every kind: few eigenvalues, a lost rank, a tiny unit, fused rows, kernels."""

    def __init__(self):
        super().__init__()
        self.embedding = torch.nn.Embedding(100, 32)
        self.square = torch.nn.Linear(40, 40)
        self.few = torch.nn.Linear(30, 12)
        self.fewest = torch.nn.Linear(16, 8)
        self.lost = torch.nn.Linear(64, 48)
        self.unit = torch.nn.Linear(64, 48)
        self.attn = torch.nn.ModuleDict({"qkv": torch.nn.Linear(24, 72), "proj": torch.nn.Linear(24, 24)})
        self.kernel = torch.nn.Conv2d(16, 32, 3)
        self.depthwise = torch.nn.Conv2d(32, 32, 3, groups=32)
        generator = torch.Generator().manual_seed(5)
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.copy_(torch.randn(parameter.shape, generator=generator) / 5)
            self.lost.weight[:, 40:] = self.lost.weight[:, :24]
            self.lost.weight[:20] = self.lost.weight[20:40]
            self.unit.weight.mul_(2e-3)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    path = tmp_path_factory.mktemp("net") / "net.safetensors"
    state = Net().state_dict()
    save_file({**state, "again.weight": state["square.weight"].clone()}, path)
    return path


@pytest.fixture(scope="module")
def theirs():
    """WeightWatcher's own table of the model."""
    level = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        import weightwatcher

        table = weightwatcher.WeightWatcher(model=Net()).analyze()
    logging.disable(level)
    return table


def rows_of(path):
    with path.open() as stream:
        return list(csv.DictReader(stream))


@pytest.fixture(scope="module")
def quick(saved, tmp_path_factory):
    out = tmp_path_factory.mktemp("quick") / "out"
    with contextlib.redirect_stdout(io.StringIO()):
        main(["analyze", str(saved), "--like", "weightwatcher", "--shuffles", "0", "--out", str(out), "--figures", "1"])
    return out


@pytest.mark.filterwarnings("ignore:::weightwatcher")
def test_the_table_is_weightwatchers_own_wherever_it_has_a_fit(quick, theirs):
    ours = {row["longname"]: row for row in rows_of(quick / "matrices.csv")}
    assert list(theirs.columns) == ["layer_id", "name", *COLUMNS]
    assert set(ours) == {*theirs["longname"], "again"}
    assert {ours[name]["same_entries_as"] for name in ("square", "again")} == {"square", "again"}
    assert ours["again"]["alpha"] == ours["square"]["alpha"]
    for row in theirs.to_dict("records"):
        mine = ours[row["longname"]]
        assert mine["layer_type"] == row["layer_type"]
        for name in SAME_WAY:
            value = row[name]
            if isinstance(value, (str, bool, np.bool_)):
                assert mine[name] == str(value), (row["longname"], name)
            else:
                assert float(mine[name]) == pytest.approx(value, rel=1e-6, abs=1e-6), (row["longname"], name)


def test_where_its_fit_fails_it_has_minus_one_and_here_is_a_reason():
    values, reasons = spectrum_details(np.full((1, 20), 1e-3), (20, 20))
    assert values["status"] == "failed"
    assert not {"alpha", "D", "sigma", "xmin", "alpha_weighted"} & values.keys()
    assert "1e-5" in reasons["alpha"]
    zero, lacking = spectrum_details(np.zeros((1, 8)), (8, 9))
    assert set(COLUMNS) - zero.keys() - {"layer_type", "longname"} == lacking.keys()


def test_with_shuffles_its_alpha_stands_beside_the_same_estimate_of_shuffled_entries(saved, tmp_path, capsys):
    main(["analyze", str(saved), "--like", "weightwatcher", "--shuffles", "3", "--out", str(tmp_path / "out")])
    found = examine(saved, ExaminationSettings(Estimators(min_tail=2, ks_distance="powerlaw"), 3, like="weightwatcher"))
    measured = {name: matrix for matrix in found.matrices for name in (matrix.matrix.name, *matrix.same)}
    rows = {row["name"]: row for row in rows_of(tmp_path / "out" / "matrices.csv")}
    drawn = clauset_fit(measured["square"].shuffled.astype(float) ** 2, 2, "powerlaw").alpha
    assert float(rows["square"]["alpha_null"]) == pytest.approx(drawn.mean())
    assert float(rows["square"]["alpha_null_sd"]) == pytest.approx(drawn.std(ddof=1))
    assert KERNEL in rows["kernel"]["reasons"]
    assert rows["kernel"]["alpha_null"] == ""
    assert rows["square"]["alpha_deviations"] == ""
    assert f"alpha_deviations: {HEAVY_TAILED}" in rows["square"]["reasons"]
    difference = float(rows["square"]["alpha"]) - drawn.mean()
    assert float(rows["square"]["alpha_difference"]) == pytest.approx(difference)
    assert "alpha_difference" in capsys.readouterr().out.splitlines()[0]


def test_without_a_null_no_table_page_or_file_has_one(saved, tmp_path, capsys):
    main(["analyze", str(saved), "--shuffles", "0", "--out", str(tmp_path / "out"), "--figures", "2"])
    printed = capsys.readouterr().out
    assert not {"null", "sd", "diff"} & set(printed.splitlines()[0].split())
    assert "nan" not in printed
    assert "null: none was drawn, --shuffles 0." in printed
    rows = rows_of(tmp_path / "out" / "matrices.csv")
    assert not [
        name
        for name in rows[0]
        if name.endswith(("_null", "_null_sd", "_deviations", "deviations_reasons", "_difference"))
    ]
    assert {row["null_draws"] for row in rows} == {"0"}
    with_null = {m.matrix.name: m for m in examine(saved, ExaminationSettings(Estimators(), shuffles=3)).matrices}
    assert {"attn.qkv.query", "attn.qkv.key", "attn.qkv.value"} < with_null.keys()
    for row in rows:
        for metric in METRICS:
            expected = with_null[row["matrix"]].values[metric]
            assert float(row[metric] or "nan") == pytest.approx(expected, rel=1e-6, nan_ok=True)
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["null_draws"] == {"fewest": 0, "most": 0}
    assert not re.search(r"_null\b|NaN", json.dumps(summary))
    html = (tmp_path / "out" / "index.html").read_text()
    assert 'class="area null"' not in html
    assert "nan" not in html


@pytest.fixture(scope="module")
def bounded(tmp_path_factory):
    """A spectrum that falls so steeply that half of it counts as spikes, one of noise, and one of eight values."""
    generator = torch.Generator().manual_seed(1)
    left, right = (torch.linalg.qr(torch.randn(48, 48, generator=generator))[0] for _ in range(2))
    tensors = {
        "layers.0.fc1.weight": left @ torch.diag(0.85 ** torch.arange(48.0)) @ right,
        "layers.1.fc1.weight": torch.randn(48, 48, generator=generator),
        "eight.weight": torch.randn(8, 30, generator=generator),
    }
    path = tmp_path_factory.mktemp("bounded") / "model.safetensors"
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, path)
    return examine(path, ExaminationSettings(Estimators(), shuffles=3))


def test_a_bound_of_a_search_is_marked_in_table_file_and_page(bounded):
    cells = {row[0]: row for row in (model_tables.cells(m, bounded, {}) for m in bounded.matrices)}
    titles = model_tables.header(bounded)
    assert cells["layers.0.fc1"][titles.index("spikes")] == "≥24"
    assert cells["layers.1.fc1"][titles.index("spikes")] == "0"
    assert cells["eight"][titles.index("tail")] == "≤8"
    names = exports.csv_header(bounded)
    rows = {row[0]: dict(zip(names, row, strict=True)) for row in exports.csv_rows(bounded)}
    steep = rows["layers.0.fc1"]
    assert "mp_spikes ≥ 24" in steep["bounds"]
    for metric in ("mp_spikes", "mp_variance", "mp_upper_edge", "tw_edge", "mp_soft_rank", "mp_distance"):
        assert steep[metric] == ""
        assert metric in steep["reasons"].split(MANY_SPIKES)[0]
    assert rows["eight"]["bounds"] == "ks_tail ≤ 8"
    html = page(bounded, 3)
    assert html.count("no bulk: more spikes than half") == 1
    assert "layers.0.fc1: ≥ 24" in html
    section = html.split("<h3>layers.0.fc1</h3>")[1].split("<h3>")[0]
    assert 'class="line bulk"' not in section


def test_the_page_is_readable_on_every_screen(bounded, browser, tmp_path):
    path = tmp_path / "index.html"
    path.write_text(page(bounded, 3))
    tops_of = "all => all.map(panel => panel.getBoundingClientRect().top)"
    with browser.open(path, dark=True) as opened:
        for width, columns in ((390, 1), (820, 2), (1400, 3)):
            opened.driver.set_viewport_size({"width": width, "height": 900})
            tops = opened.driver.eval_on_selector_all("h3 + p + .panels > svg", tops_of)
            assert len(tops) == 3 * 3
            assert max(tops.count(top) for top in tops) == columns
            assert opened.overflow() == 0
        assert (opened.errors, opened.requests) == ([], [])
