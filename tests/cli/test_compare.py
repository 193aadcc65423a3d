"""The table of `make compare`: twelve columns and more on one screen."""

import csv
import io
import itertools
import sys

import pytest

from transformer_spectrum.cli.main import main

METRICS = [
    f"metrics/{optimizer}/metrics.json:{metric}"
    for optimizer in ("adam", "es", "ga")
    for metric in ("validation_mae", "change_stable_rank")
]
HEADER = ["Experiment", "rev", "typ", "Created", "State", *METRICS, "loss.q", "data.dataset"]
ROWS = [
    ["", "workspace", "baseline", "", "", *["0.123456789"] * 6, "5.0", "synthetic"],
    ["", "main", "baseline", "2026-01-01", "", *["16.98765"] * 6, "5.0", "synthetic"],
    ["sgt-heavy", "c0ffee1", "branch_commit", "2026-01-02", "", *["1234567.0"] * 6, "inf", "covid"],
    ["", "c0ffee2", "branch_base", "2026-01-02", "", *["nan", "", "!", "0.5", "1", "-2.5"], "1e-05", "rvr_flu"],
]


def printed(monkeypatch, capsys, header=HEADER, rows=ROWS, width=None):
    text = io.StringIO()
    csv.writer(text).writerows([header, *rows])
    monkeypatch.setattr(sys, "stdin", io.StringIO(text.getvalue()))
    if width is None:
        monkeypatch.delenv("COLUMNS", raising=False)
    else:
        monkeypatch.setenv("COLUMNS", str(width))
    main(["compare"])
    return capsys.readouterr().out.splitlines()


def test_all_is_there_in_words_that_fit_120_columns(monkeypatch, capsys):
    lines = printed(monkeypatch, capsys)
    assert max(map(len, lines)) <= 120
    upper, lower = next((a.split(), b.split()) for a, b in itertools.pairwise(lines) if "experiment" in b)
    assert upper == ["adam", "adam", "es", "es", "ga", "ga", "loss.", "data."]
    assert lower == ["experiment", "MAE", "rank", "MAE", "rank", "MAE", "rank", "q", "dataset"]
    cells = [line.split() for line in lines if len(line.split()) == 9][1:]
    assert cells == [
        ["workspace", *["0.1235"] * 6, "5", "synthetic"],
        ["main", *["16.99"] * 6, "5", "synthetic"],
        ["├╴sgt-heavy", *["1.235e+06"] * 6, "inf", "covid"],
        ["└╴c0ffee2", "nan", "-", "!", "0.5", "1", "-2.5", "1e-05", "rvr_flu"],
    ]


LONG = "an-experiment-with-a-name-that-nobody-would-call-short"
MANY = [f"data.synthetic.setting_{i}" for i in range(30)]
WIDE_ROWS = [
    ["", "workspace", "baseline", "", "", *["1.126", "1.234e-05"] * 3, "5.0", "synthetic", *["3.0"] * 30],
    [
        LONG,
        "c0ffee1",
        "branch_base",
        "",
        "",
        *["-1.234e-105"] * 6,
        "inf",
        "covid",
        *[f"0.123456789{i}" for i in range(30)],
    ],
]


@pytest.mark.parametrize("width", [20, 60, 80, 120, 200, 1000])
def test_no_number_and_no_name_is_ever_cut_whatever_the_width(width, monkeypatch, capsys):
    lines = printed(monkeypatch, capsys, [*HEADER, *MANY], WIDE_ROWS, width)
    words = " ".join(lines).split()
    assert words.count("1.126") == 3
    assert words.count("1.234e-05") == 3
    assert words.count("-1.234e-105") == 6
    assert f"└╴{LONG}" in words
    for i, parameter in enumerate(MANY):
        assert parameter in words or (width == 1000 and f"synthetic.setting_{i}" in words)
        assert f"0.123456789{i}" in words
    if width >= 120:
        assert max(map(len, lines[:-1])) <= width


def test_a_parameter_is_told_to_its_last_digit_and_what_all_share_is_left_out(monkeypatch, capsys):
    header = [*HEADER, "seed", "adam.learning_rate", "src/transformer_spectrum/models", "plots"]
    rows = [[*ROWS[0], "1234567", "0.001", "aa", "aa"], [*ROWS[2], "1234568", "0.001", "bb", "bb"]]
    lines = printed(monkeypatch, capsys, header, rows)
    assert {"1234567", "1234568"} <= set(" ".join(lines).split())
    assert not any(word in " ".join(lines) for word in ("learning_rate", "src/", "plots", "bb"))


def test_without_an_experiment_it_says_how_to_make_one(monkeypatch, capsys):
    """Then DVC leaves out the columns that say nothing, "Experiment" and "typ" among them, when asked to."""
    text = io.StringIO()
    csv.writer(text).writerows([["rev", "Created", METRICS[0]], ["workspace", "", "0.5"], ["main", "2026", "0.5"]])
    monkeypatch.setattr(sys, "stdin", io.StringIO(text.getvalue()))
    main(["compare"])
    said = capsys.readouterr()
    assert ["workspace", "0.5"] in [line.split() for line in said.out.splitlines()]
    assert "no experiment yet: dvc exp run" in said.err


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
