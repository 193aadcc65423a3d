"""The table of `make compare`: twelve columns and more on one screen."""

import csv
import io
import itertools
import sys

import pytest

from transformer_spectrum.cli import main

METRICS = [f"metrics/{o}/metrics.json:{m}" for o in ("adam", "es", "ga") for m in ("validation_loss", "stable_rank")]
HEADER = ["Experiment", "rev", "typ", "Created", "State", *METRICS, "loss.q", "data.dataset"]
ROWS = [
    ["", "workspace", "baseline", "", "", *["0.123456789"] * 6, "5.0", "synthetic"],
    ["", "main", "baseline", "2026-01-01", "", *["16.98765"] * 6, "5.0", "synthetic"],
    ["sgt-heavy", "c0ffee1", "branch_commit", "2026-01-02", "", *["1234567.0"] * 6, "inf", "covid"],
    ["", "c0ffee2", "branch_base", "2026-01-02", "", *["nan", "", "!", "0.5", "1", "-2.5"], "1e-05", "rvr_flu"],
]


def printed(monkeypatch, capsys, header=HEADER, rows=ROWS):
    text = io.StringIO()
    csv.writer(text).writerows([header, *rows])
    monkeypatch.setattr(sys, "stdin", io.StringIO(text.getvalue()))
    main(["compare"])
    return capsys.readouterr().out.splitlines()


def test_all_is_there_in_words_that_fit_120_columns(monkeypatch, capsys):
    lines = printed(monkeypatch, capsys)
    assert max(map(len, lines)) <= 120
    upper, lower = next((a.split(), b.split()) for a, b in itertools.pairwise(lines) if "experiment" in b)
    assert upper == ["adam", "adam", "es", "es", "ga", "ga", "loss.", "data."]
    assert lower == ["experiment", "loss", "rank", "loss", "rank", "loss", "rank", "q", "dataset"]
    cells = [line.split() for line in lines if len(line.split()) == 9][1:]
    assert cells == [
        ["workspace", *["0.1235"] * 6, "5", "synthetic"],
        ["main", *["16.99"] * 6, "5", "synthetic"],
        ["├╴sgt-heavy", *["1.235e+06"] * 6, "inf", "covid"],
        ["└╴c0ffee2", "nan", "-", "!", "0.5", "1", "-2.5", "1e-05", "rvr_flu"],
    ]


def test_the_state_is_shown_where_one_still_runs(monkeypatch, capsys):
    assert not any("State" in line for line in printed(monkeypatch, capsys))
    queued = [[*ROWS[2][:4], "Queued", *ROWS[2][5:]]]
    assert any("Queued" in line for line in printed(monkeypatch, capsys, rows=[*ROWS[:2], *queued]))


@pytest.mark.parametrize("text", ["", "ERROR: unexpected\n", "a,b\n1,2\n"])
def test_what_dvc_has_not_printed_is_one_line_and_exit_code_2(monkeypatch, capsys, text):
    monkeypatch.setattr(sys, "stdin", io.StringIO(text))
    with pytest.raises(SystemExit) as ended:
        main(["compare"])
    assert ended.value.code == 2
    assert "standard input: no table of dvc exp show --csv" in capsys.readouterr().err
