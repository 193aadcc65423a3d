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
    for metric in ("validation_mae", "test_mae")
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
    assert lower == ["experiment", "MAE", "test", "MAE", "test", "MAE", "test", "q", "dataset"]
    cells = [line.split() for line in lines if line.rstrip().endswith(("synthetic", "covid", "rvr_flu"))]
    assert cells == [
        ["workspace", *["0.1235"] * 6, "5", "synthetic"],
        ["main", *["16.99"] * 6, "5", "synthetic"],
        ["├╴sgt-heavy", "*", *["1.235e+06"] * 6, "inf", "covid"],
        ["└╴c0ffee2", "*", "nan", "-", "!", "0.5", "1", "-2.5", "1e-05", "rvr_flu"],
    ]


def test_rows_of_other_data_sets_are_marked_and_a_line_says_why(monkeypatch, capsys):
    lines = printed(monkeypatch, capsys)
    assert [line.split()[0] for line in lines if " * " in line] == ["├╴sgt-heavy", "└╴c0ffee2"]
    assert lines[-1].startswith("*: another data set (data.dataset) than the first row's")
    assert not any("*" in line for line in printed(monkeypatch, capsys, rows=ROWS[:2]))


def table_of(monkeypatch, capsys, numbers):
    """Header and cells of a table of one row with these numbers."""
    header = ["Experiment", "rev", "typ", METRICS[0], *numbers, "loss.q"]
    rows = [["", name, "baseline", "0.1235", *values, q] for name, values, q in numbers_by_row(numbers)]
    lines = printed(monkeypatch, capsys, header, rows)
    upper, lower = next((a.split(), b.split()) for a, b in itertools.pairwise(lines) if "experiment" in b)
    return list(zip(upper, lower[1:], strict=True)), [line.split() for line in lines if line[:4] in ("work", "main")]


def numbers_by_row(numbers):
    return [(name, [values[i] for values in numbers.values()], q) for i, (name, q) in enumerate(ROW_NAMES)]


ROW_NAMES = (("workspace", "3.0"), ("main", "5.0"))


@pytest.mark.parametrize("prefix", ["", "metrics/effects.json:"])
def test_the_change_is_that_of_the_best_step_beside_its_effect_and_no_number_is_taken_for_a_parameter(
    prefix, monkeypatch, capsys
):
    """DVC names a metric without its file unless two files have it."""
    numbers = {
        f"{prefix}{name}": values
        for name, values in {
            "standin_data": ["0", "1"],
            "adam.step": ["17", "18"],
            "adam.validation_mae": ["0.5", "0.6"],
            "adam.feed_forward.distance": ["0.7", "0.8"],
            "adam.feed_forward.change_stable_rank": ["4.4044", "5.0"],
            "adam.feed_forward.change_stable_rank_effect": ["-16.1067", "-15"],
            "adam.feed_forward.change_stable_rank_deviations": ["-32.6", "-30"],
            "adam.feed_forward.stable_rank": ["20.1", "20.2"],
        }.items()
    }
    header, rows = table_of(monkeypatch, capsys, numbers)
    assert header == [("adam", "MAE"), ("adam", "rank"), ("adam", "effect"), ("loss.", "q")]
    assert rows == [["workspace", "0.1235", "4.404", "-16.11", "3"], ["main", "0.1235", "5", "-15", "5"]]


def test_rows_of_two_models_show_the_family_that_moves_in_each(monkeypatch, capsys):
    numbers = {
        "es.decoder_gates.change_stable_rank": ["", "9"],
        "es.encoder_gates.change_stable_rank": ["", "8"],
        "es.feed_forward.change_stable_rank": ["7", ""],
        "ga.feed_forward.change_stable_rank": ["", ""],
    }
    header, rows = table_of(monkeypatch, capsys, numbers)
    assert header[1:3] == [("es", "rank"), ("ga", "rank")]
    assert [row[2:4] for row in rows] == [["7", "-"], ["8", "-"]]


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
