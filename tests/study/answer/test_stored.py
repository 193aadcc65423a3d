"""Damaged tables of a study: each step that reads them says so in a line, and writes nothing."""

import json
import shutil

import pandas as pd
import pytest

from transformer_spectrum.runtime.errors import InputError
from transformer_spectrum.study.answer.places import StudyPlaces
from transformer_spectrum.study.answer.tabulated import tabulate_study
from transformer_spectrum.study.conclusions.published import report_study
from transformer_spectrum.study.conclusions.steps import judge_whole_study


@pytest.fixture
def places(tmp_path, pytestconfig):
    """The committed study."""
    for name in ("protocol.yaml", "tables", "claims"):
        source, copy = pytestconfig.rootpath / "studies" / name, tmp_path / name
        shutil.copytree(source, copy) if source.is_dir() else shutil.copy(source, copy)
    return StudyPlaces(tmp_path)


def content_of(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def refused(step, places, words):
    before = content_of(places.root)
    with pytest.raises(InputError, match=words):
        step(places)
    assert content_of(places.root) == before


def lines(path, change):
    path.write_text("".join(change(path.read_text().splitlines(keepends=True))))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda rows: rows[5:], r"cells\.csv: has no column block; run the stage study-run again"),
        (lambda rows: rows[:1], r"cells\.csv: has no row; run the stage study-run again"),
        (lambda rows: [], r"cells\.csv: not a readable table"),
        (lambda rows: rows[:-1], r"cells\.csv: the cell .* is missing; run the stage study-run again"),
        (lambda rows: [*rows, rows[-1]], r"cells\.csv: the cell .* comes twice"),
        (lambda rows: [rows[0], rows[1].replace(",1,", ",x,", 1), *rows[2:]], r"cells\.csv: the cell .* is "),
        (lambda rows: [rows[0], rows[1].replace("seed_1,", "seed_999,", 1), *rows[2:]], "has no record in the paths"),
    ],
)
def test_cells_that_are_not_the_protocols(change, words, places):
    lines(places.cells, change)
    refused(tabulate_study, places, words)


def test_a_table_of_something_else(places):
    shutil.copy(places.spectra, places.paths)
    refused(tabulate_study, places, r"paths\.parquet: has no column training; run the stage study-run again")
    shutil.copy(places.spectra, places.endpoints)
    refused(judge_whole_study, places, r"endpoints\.parquet: has no column protocol; run the stage study-table again")


def test_what_was_followed_up_is_no_table(places):
    places.cells.with_name("followed.csv").write_text("")
    refused(judge_whole_study, places, r"followed\.csv: not a readable table .*run the stage study-follow again")


@pytest.mark.parametrize("name", ["summary", "curves", "cells"])
def test_a_report_of_nothing(name, places):
    lines(getattr(places, name), lambda rows: rows[:1])
    refused(report_study, places, rf"{name}\.csv: has no row; run the stage study-")


@pytest.mark.parametrize("name", ["summary", "variance", "nulls"])
def test_a_report_of_a_torn_table(name, places):
    lines(places.cells.with_name(f"{name}.csv"), lambda rows: [rows[0], rows[1].replace(",", ',"', 1), *rows[2:]])
    refused(report_study, places, rf"{name}\.csv: not a readable table")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{}", r"verdicts\.json: has no title; run the stage study-judge again"),
        ("[]", r"verdicts\.json: must be verdicts by their names"),
        ("x", r"verdicts\.json: not valid JSON"),
    ],
)
def test_verdicts_that_are_none(content, words, places):
    places.verdicts.write_text(content)
    refused(report_study, places, words)


def test_verdicts_of_another_protocol(places):
    verdicts = json.loads(places.verdicts.read_text())
    places.verdicts.write_text(json.dumps({**verdicts, "protocol": "0" * 64}))
    refused(
        report_study, places, r"verdicts\.json: of protocol 00000000, and it is \w{8} now; run the stage study-judge"
    )
    lines(places.protocol, lambda rows: [row.replace("level: 0.05", "level: 0.5") for row in rows])
    refused(report_study, places, r"tuning\.json: was made under protocol \w{8}, and it is \w{8} now")


def test_the_committed_tables_are_complete(places):
    before = pd.read_csv(places.summary)
    tabulate_study(places)
    pd.testing.assert_frame_equal(pd.read_csv(places.summary), before)
