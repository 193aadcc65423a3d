"""The long tables: every matrix, every step, and no gap without its reason."""

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from transformer_spectrum.analysis.of_training import long_tables
from transformer_spectrum.analysis.of_training.rows import CATEGORIES
from transformer_spectrum.analysis.of_training.summary import estimators_of
from transformer_spectrum.runtime.files import read_table, write_table
from transformer_spectrum.spectra.analysis import METRICS
from transformer_spectrum.spectra.effects import UNUSABLE
from transformer_spectrum.spectra.tail_tests import GoodnessOfFit

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def summaries(few_histories, summarized):
    return summarized(few_histories, bootstrap=8, per_head=True)


@pytest.fixture(scope="module")
def tables(summaries):
    """Name -> the table, made once for all tests, which must not change it."""
    return long_tables.long_tables(summaries)


def records(table):
    """The rows as dictionaries; a category is looked up once a column, not once a cell."""
    return table.astype(object).to_dict("records")


def assert_same(first, second):
    """To the bit; pandas's own comparison looks every cell of a category up in Python."""
    assert first.dtypes.equals(second.dtypes)
    assert first.index.equals(second.index)
    assert first.equals(second)


def test_the_history_has_every_metric_of_every_matrix_at_every_step(tables, summaries):
    table = tables["spectra_history"]
    assert tuple(table.columns) == long_tables.SPECTRA_HISTORY
    rows = records(table)
    es = summaries["es"]
    assert len(rows) == (13 + 18 + 18) * len(es.history.names)
    (row,) = [row for row in rows if (row["optimizer"], row["step"], row["matrix"]) == ("es", 5, "readout")]
    for metric in METRICS:
        assert row[metric] == es.analysis.values[metric][5, -1]
    assert (row["evaluations"], row["family"], row["rows"], row["columns"]) == (160, "readout", 12, 16)
    for metric in METRICS:
        assert row[f"change_{metric}"] == es.analysis.values[f"change_{metric}"][5, -1]
        assert np.isnan(row[f"step_{metric}"])
    assert row["missing"] == ""
    assert (row["validation_mae"], row["distance"]) == (es.history.validation_mae[5], es.history.distances[5, -1])


def test_steps_have_their_metrics_where_they_were_recorded_and_a_reason_elsewhere(few_histories, summarized):
    history = few_histories["es"]
    steps = np.full_like(history.change_singular_values, np.nan)
    steps[[1, 5, 10]] = history.change_singular_values[[1, 5, 10]]
    stepping = dataclasses.replace(history, step_singular_values=steps)
    table = long_tables.spectra_history(summarized({"es": stepping}))
    for row in records(table):
        for metric in METRICS:
            value, expected = row[f"step_{metric}"], row[f"change_{metric}"]
            assert (np.isnan(value) and (row["step"] not in (1, 5, 10) or np.isnan(expected))) or value == expected
        named = "not recorded at this step: step_spectral_entropy" in row["missing"]
        assert named == (row["step"] not in (1, 5, 10))


def test_the_history_never_holds_a_silent_gap(with_rank_one_embedding, summarized):
    table = long_tables.spectra_history(summarized(with_rank_one_embedding))
    assert tuple(table.columns) == long_tables.SPECTRA_HISTORY
    rows = records(table)
    subjects = [f"{prefix}{metric}" for prefix in ("", "change_") for metric in METRICS]
    for row in rows:
        named = row["missing"].replace(";", ",").replace(":", ",").split(", ")
        for metric in subjects:
            assert np.isnan(row[metric]) == (metric in named)
    weights = {row["family"] for row in rows if "alpha_exponent" in row["missing"].split(": ")[-1].split(", ")}
    assert {row["family"] for row in rows if np.isnan(row["hill_alpha"])} == {"embedding"}
    assert weights >= {"embedding"}
    assert any(row["missing"].startswith("only one singular value: ") for row in rows if row["step"])
    assert all("zero matrix: change_" in row["missing"] for row in rows if row["step"] == 0)


def test_every_metric_stands_beside_each_of_its_nulls_or_says_why_not(tables, summaries):
    table = tables["spectra_nulls"]
    assert tuple(table.columns) == long_tables.SPECTRA_NULLS
    rows = records(table)
    evidence = summaries["adam"].evidence
    assert evidence.steps == (0, 1, 5, 10, 11, 12)
    mine = [row for row in rows if row["optimizer"] == "adam"]
    assert len(mine) == len(evidence.steps) * len(evidence.specs) * len(METRICS) * (3 + 2)
    for row in rows:
        assert np.isnan(row["value"]) == (row["missing"] != "")
        assert np.isnan(row["deviations"]) == (row["reason"] != "")
        assert row["metric"].startswith("change_") == row["null"].startswith("change_")
        if not np.isnan(row["difference"]):
            assert row["difference"] == pytest.approx(row["value"] - row["null_mean"], rel=1e-12, abs=1e-12)
        if row["reason"] == "":
            assert row["deviations"] == pytest.approx(row["difference"] / row["null_sd"], rel=1e-9)
            assert row["metric"].removeprefix("change_") not in UNUSABLE  # heavy-tailed under its null
    frobenius = next(row for row in mine if (row["metric"], row["null"]) == ("frobenius_norm", "shuffled"))
    assert frobenius["reason"] == "the metric is the same in half of the null draws or more"
    start = [
        row["deviations"] for row in mine if (row["step"], row["metric"], row["null"]) == (0, "stable_rank", "shuffled")
    ]
    assert np.median(np.abs(start)) < 2


def test_the_code_of_the_documentation_reads_them(summaries, tmp_path, monkeypatch):
    section = (ROOT / "docs/spectra.md").read_text(encoding="utf-8").split("## The long tables")[1].split("\n## ")[0]
    code = [line.strip() for line in section.splitlines() if line.startswith("    ")]
    (tmp_path / "metrics").mkdir()
    for name, table in long_tables.long_tables({"es": summaries["es"]}).items():
        table.to_parquet(tmp_path / "metrics" / f"{name}.parquet")
        assert name in section
    monkeypatch.chdir(tmp_path)
    names = {}
    for line in code:
        exec(line, names)
        if line.startswith("nulls.query"):
            assert len(eval(line, names)) == len(summaries["es"].evidence.steps) * len(summaries["es"].evidence.specs)
    assert (tmp_path / "tails.csv").exists()


def test_heads_follow_the_matrices_when_asked_for(summaries, few_histories, summarized):
    names = [spec.name for spec in summaries["ga"].evidence.specs]
    matrices = len(few_histories["ga"].names)
    assert names[:matrices] == few_histories["ga"].names.tolist()
    attentions = sum("attention" in family for family in few_histories["ga"].families) // 4
    assert len(names) == matrices + attentions * 3 * 4
    assert len(summarized({"ga": few_histories["ga"]})["ga"].evidence.specs) == matrices


def test_tails_have_goodness_rivals_and_a_null(tables, summaries):
    table = tables["spectra_tails"]
    assert tuple(table.columns) == long_tables.SPECTRA_TAILS
    rows = records(table)
    assert {row["step"] for row in rows if row["optimizer"] == "ga"} == {0, 17}
    assert list(tables) == list(long_tables.LONG_TABLES)
    fitted = [row for row in rows if row["ks_alpha"] > 0]
    nulls = records(tables["spectra_nulls"].query("metric == 'ks_alpha'"))
    key = ("optimizer", "step", "matrix", "null")
    of_alpha = {tuple(row[name] for name in key): (row["null_mean"], row["null_sd"]) for row in nulls}
    assert len(fitted) > len(rows) / 3
    for row in fitted:
        assert 0 <= float(row["goodness_p"]) <= 1
        assert float(row["ks_alpha"]) > 1
        assert 0 < row["ks_distance"] < 1
        assert row["ks_tail"] >= 8
        assert row["null_alpha_sd"] > 0
        name = "path" if row["step"] else "initial"
        place = (row["optimizer"], row["step"], row["matrix"], name)
        assert (row["null_alpha"], row["null_alpha_sd"]) == of_alpha[place]
        assert "usable spread" not in row["missing"]
        shortest = float(row["ks_tail"]) == summaries["ga"].settings.min_tail
        assert ("ks_tail ≤ " in row["bounds"]) == shortest
        assert ("goodness_p < 1/" in row["bounds"]) == (float(row["goodness_p"]) == 0)
    assert any(row["bounds"] for row in fitted)
    assert any(np.isfinite(row["lognormal_ratio"]) for row in fitted)
    assert all(row["missing"] for row in rows if np.isnan(row["ks_alpha"]))
    assert all(("farms_alpha" in row["missing"]) == np.isnan(row["farms_alpha"]) for row in rows)


@pytest.mark.parametrize(
    ("tail", "p", "words"),
    [
        (8, None, "ks_tail ≤ 8"),
        (9, None, ""),
        (9, 0.5, ""),
        (9, 0.0, "goodness_p < 1/40"),
        (9, 1.0, "goodness_p > 1 - 1/40"),
        (8, 0.0, "ks_tail ≤ 8; goodness_p < 1/40"),
    ],
)
def test_a_number_that_is_only_a_bound_is_called_one(tail, p, words):
    goodness = None if p is None else GoodnessOfFit(p, 0.1, 40, 0.05)
    assert long_tables._bounds(tail, 8, goodness) == words


def test_the_same_seed_draws_the_same_nulls(few_histories, summarized):
    first, second = (long_tables.spectra_nulls(summarized(few_histories, anew=True)) for _ in range(2))
    assert_same(first, second)


def test_what_is_read_back_is_what_was_computed_and_its_bytes_are_always_the_same(tables, tmp_path):
    for name, table in tables.items():
        paths = tmp_path / f"{name}.parquet", tmp_path / f"{name}_again.parquet"
        for path in paths:
            write_table(path, table)
        assert paths[0].read_bytes() == paths[1].read_bytes()
        stored = read_table(paths[0])
        assert_same(stored, table)
        for column, dtype in stored.dtypes.items():
            if column in CATEGORIES:
                assert isinstance(dtype, pd.CategoricalDtype)
            else:
                assert (dtype in (np.int64, np.float64)) or column in ("circuit", "of"), column
                if column in ("step", "rows", "columns", "head", "folded", "rank", "spike"):
                    assert dtype == np.int64, column
                elif column not in ("evaluations", "from_the_start", "circuit", "of"):
                    assert dtype == np.float64, column
        assert_same(pd.read_parquet(paths[0]), stored)


def test_numbers_are_those_of_the_metrics_to_the_last_bit(tables, summaries):
    table = tables["spectra_history"]
    for optimizer, rows in table.groupby("optimizer", observed=True):
        for metric in METRICS:
            values = summaries[optimizer].analysis.values[metric]
            np.testing.assert_array_equal(rows[metric].to_numpy().reshape(values.shape), values)


def test_every_row_has_the_evaluations_of_its_own_step(tables, summaries):
    for table in (
        tables["spectra_nulls"],
        tables["spectra_tails"],
        tables["spectra_vectors"],
        tables["spectra_circuits"],
    ):
        assert len(table)
        for optimizer, step, evaluations in table[["optimizer", "step", "evaluations"]].drop_duplicates().to_numpy():
            history = summaries[optimizer].history
            assert evaluations == history.evaluations[history.steps.tolist().index(step)]


def test_the_estimators_are_those_of_the_parameters(spectra):
    changes = {"hill_fraction": 0.31, "min_tail": 7, "ks_distance": "powerlaw", "window_first": 0.11}
    settings = spectra.model_copy(update={**changes, "window_last": 0.91, "edge_level": 0.87})
    found = estimators_of(settings)
    assert (found.hill_fraction, found.min_tail, found.ks_distance) == (0.31, 7, "powerlaw")
    assert (found.window, found.edge_level) == ((0.11, 0.91), 0.87)
