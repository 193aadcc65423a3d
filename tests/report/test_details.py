"""The long tables: every matrix, every step, and no gap without its reason."""

import csv

import numpy as np
import pytest

from transformer_spectrum.analysis.of_training import details
from transformer_spectrum.analysis.of_training.summary import estimators_of
from transformer_spectrum.runtime.files import write_csv
from transformer_spectrum.spectra.analysis import METRICS


@pytest.fixture(scope="module")
def summaries(few_histories, summarized):
    return summarized(few_histories, bootstrap=8, per_head=True)


def read(tmp_path, header, rows):
    write_csv(tmp_path / "table.csv", header, rows)
    with (tmp_path / "table.csv").open() as stream:
        return list(csv.DictReader(stream))


def test_the_history_has_every_metric_of_every_matrix_at_every_step(summaries, tmp_path):
    rows = read(tmp_path, details.SPECTRA_HISTORY, details.spectra_history(summaries))
    es = summaries["es"]
    assert len(rows) == (13 + 18 + 18) * len(es.history.names)
    (row,) = [row for row in rows if (row["optimizer"], row["step"], row["matrix"]) == ("es", "5", "readout")]
    for metric in METRICS:
        assert float(row[metric]) == pytest.approx(es.analysis.values[metric][5, -1], rel=1e-8)
    assert (row["evaluations"], row["family"], row["rows"], row["columns"]) == ("160", "readout", "12", "16")
    assert row["missing"] == ""


def test_the_history_never_holds_a_silent_gap(with_rank_one_embedding, summarized, tmp_path):
    rows = read(tmp_path, details.SPECTRA_HISTORY, details.spectra_history(summarized(with_rank_one_embedding)))
    for row in rows:
        for metric in METRICS:
            assert (row[metric] == "") == (metric in row["missing"].replace(";", ",").replace(":", ",").split(", "))
    assert {row["family"] for row in rows if row["missing"]} == {"embedding"}
    assert any(row["missing"].startswith("only one singular value: ") for row in rows)


def test_every_metric_stands_beside_both_nulls_or_says_why_not(summaries, tmp_path):
    rows = read(tmp_path, details.SPECTRA_NULLS, details.spectra_nulls(summaries))
    evidence = summaries["adam"].evidence
    assert evidence.steps == (0, 1, 5, 10, 12)
    mine = [row for row in rows if row["optimizer"] == "adam"]
    assert len(mine) == len(evidence.steps) * len(evidence.specs) * len(METRICS)
    for row in rows:
        assert (row["value"] == "") == (row["reason"] != "")
        for null in ("initial", "shuffled"):
            assert (row[f"{null}_z"] == "") == (row[f"{null}_reason"] != "")
    for row in mine:
        if row["initial_z"]:
            change = float(row["value"]) - float(row["initial"])
            assert float(row["initial_difference"]) == pytest.approx(change, rel=1e-5, abs=1e-7)
            assert float(row["initial_z"]) == pytest.approx(change / float(row["initial_sd"]), rel=1e-4, abs=1e-4)
        if row["shuffled_z"]:
            change = float(row["value"]) - float(row["shuffled_mean"])
            assert float(row["shuffled_z"]) == pytest.approx(change / float(row["shuffled_sd"]), rel=1e-4, abs=1e-4)
    frobenius = next(row for row in mine if row["metric"] == "frobenius_norm")
    assert frobenius["shuffled_reason"] == "the metric is the same in every null draw"
    start = [float(row["shuffled_z"]) for row in mine if (row["step"], row["metric"]) == ("0", "stable_rank")]
    assert np.median(np.abs(start)) < 2


def test_heads_follow_the_matrices_when_asked_for(summaries, few_histories, summarized):
    names = [spec.name for spec in summaries["ga"].evidence.specs]
    matrices = len(few_histories["ga"].names)
    assert names[:matrices] == few_histories["ga"].names.tolist()
    attentions = sum("attention" in family for family in few_histories["ga"].families) // 4
    assert len(names) == matrices + attentions * 3 * 4
    assert len(summarized({"ga": few_histories["ga"]})["ga"].evidence.specs) == matrices


def test_tails_have_goodness_rivals_and_a_null(summaries, tmp_path):
    rows = read(tmp_path, details.SPECTRA_TAILS, details.spectra_tails(summaries))
    assert {row["step"] for row in rows if row["optimizer"] == "ga"} == {"0", "17"}
    fitted = [row for row in rows if row["ks_alpha"]]
    assert len(fitted) > len(rows) / 3
    for row in fitted:
        assert 0 <= float(row["goodness_p"]) <= 1
        assert float(row["ks_alpha"]) > 1
        assert row["ks_distance"]
        assert row["ks_tail"]
        shortest = float(row["ks_tail"]) == summaries["ga"].settings.min_tail
        assert ("ks_tail ≤ " in row["bounds"]) == shortest
        assert ("goodness_p < 1/" in row["bounds"]) == (float(row["goodness_p"]) == 0)
    assert any(row["bounds"] for row in fitted)
    assert any(row["lognormal_ratio"] for row in fitted)
    assert all(row["missing"] for row in rows if not row["ks_alpha"])
    assert all(("farms_alpha" in row["missing"]) == (row["farms_alpha"] == "") for row in rows)


def test_the_same_seed_draws_the_same_nulls(few_histories, summarized):
    one, two = (list(details.spectra_nulls(summarized(few_histories))) for _ in range(2))
    assert one == two


def test_every_row_has_the_evaluations_of_its_own_step(summaries, tmp_path):
    for header, rows in (
        (details.SPECTRA_NULLS, details.spectra_nulls(summaries)),
        (details.SPECTRA_TAILS, details.spectra_tails(summaries)),
    ):
        for row in read(tmp_path, header, rows):
            history = summaries[row["optimizer"]].history
            assert int(row["evaluations"]) == history.evaluations[history.steps.tolist().index(int(row["step"]))]


def test_the_estimators_are_those_of_the_parameters(spectra):
    changes = {"hill_fraction": 0.31, "min_tail": 7, "ks_distance": "powerlaw", "window_first": 0.11}
    settings = spectra.model_copy(update={**changes, "window_last": 0.91, "edge_level": 0.87})
    found = estimators_of(settings)
    assert (found.hill_fraction, found.min_tail, found.ks_distance) == (0.31, 7, "powerlaw")
    assert (found.window, found.edge_level) == ((0.11, 0.91), 0.87)
