"""The page of a study: every number on it is one of its tables, and it asks for nothing from elsewhere."""

import re

import numpy as np
import pandas as pd
import pytest

from transformer_spectrum.report.study_page.figures import TERMS, bars_of_variance
from transformer_spectrum.report.study_page.outputs import write_study_report
from transformer_spectrum.report.study_page.page import StudyTables, page
from transformer_spectrum.report.study_page.words import answers

AXES = ["validation_mae", "distance"]


def effect(mean, low, high):
    return {
        "pairs": 12,
        "mean": mean,
        "low": low,
        "high": high,
        "hodges_lehmann": mean,
        "d_z": 1.0,
        "p_value": 0.01,
    }


def verdict(name, between, mean, judgement, *, robust=True, failed=()):
    return {
        "sentence": f"{name} in words.",
        "block": "block",
        "between": between,
        "expected": None,
        "contrast": {"name": name, "dataset": "light", "first": "a", "second": "b"},
        "endpoint": "change_log_stable_rank",
        "judgement": judgement,
        "adjusted_p": 0.0123,
        "equivalence": {"margin": 0.1},
        "axes": {axis: effect(mean, mean - 0.25, mean + 0.25) for axis in AXES},
        "robust": robust,
        "censored": 2,
        "failed_controls": list(failed),
    }


@pytest.fixture
def tables():
    verdicts = {
        "title": "<b>does it?</b>",
        "protocol": "5f" * 32,
        "standing": {"confirmatory": True, "reason": ""},
        "failed_controls": {"A/A": ["change_log_stable_rank"]},
        "controls": [verdict("A/A", "treatment", 0.01, "inconclusive")],
        "contrasts": [
            verdict("Muon - Adam", "optimizer", 1.75, "found", failed=["A/A"]),
            verdict("GA - Adam", "optimizer", 2.5, "found", robust=False),
            verdict("MAE - MSE", "loss", 0.0625, "null"),
        ],
        "blocks": [
            {
                "name": "losses",
                "tuning": False,
                "datasets": ["light"],
                "arms": ["a", "b"],
                "seeds": [1, 12],
                "targets": {"light": None},
            }
        ],
        "axes": AXES,
        "level": 0.05,
        "endpoints": {"change_log_stable_rank": ["primary", "mean of ln stable rank", "log units"]},
        "secondary": [],
        "claims": [
            {
                "sentence": "Muon keeps rank: refuted (numbers).",
                "outcome": "refuted",
                "q_value": 0.02,
                "effect": effect(0.001, -0.001, 0.002),
                "on_axes": {
                    "validation_mae": {"outcome": "refuted", "q_value": 0.02, "effect": effect(0.001, 0.0, 0.002)},
                    "distance": {"outcome": "confirmed", "q_value": 0.01, "effect": effect(0.75, 0.5, 1.0)},
                },
                "claim": {
                    "statement": "Muon keeps rank",
                    "sources": [{"reference": "A & B (2026)", "read": "abstract", "says": "so"}],
                    "endpoint": "change_log_stable_rank",
                    "first": "muon-mse",
                    "second": "adam-mse",
                    "dataset": "light",
                    "axis": "validation_mae",
                    "caveat": "another network",
                },
            }
        ],
        "claims_not_measured": {"muon": "no block optimizers"},
        "tuning": {"rates": {"adam-mse": 0.001}, "targets": {}, "own_targets": {}, "margins": {}},
        "rates_at_the_edge": ["adam-mse"],
        "power": ["12 seeds are few."],
    }
    cells = pd.DataFrame(
        {
            "block": "losses",
            "dataset": "light",
            "arm": ["a", "a", "b"],
            "status": ["done", "diverged", "done"],
            "rate": 0.001,
            "validation_mae": [0.5, np.nan, 0.7],
            "steps": 40,
            "evaluations": 120,
        }
    )
    curves = pd.DataFrame(
        [
            ("losses", "light", arm, axis, at, "change_log_stable_rank", 12, at * 2, 0.1)
            for arm in "ab"
            for axis in AXES
            for at in (0.2, 0.4, 0.8)
        ],
        columns=["block", "dataset", "arm", "axis", "at", "endpoint", "seeds", "mean", "sd"],
    )
    spectra = pd.DataFrame(
        [
            ("losses", "light", arm, "change", "attention", rank, 12, -rank / 10, 0.01)
            for arm in "ab"
            for rank in (1, 2, 3)
        ],
        columns=["block", "dataset", "arm", "matrix", "group", "rank", "seeds", "mean", "sd"],
    )
    shares = {
        "optimizer": 0.7,
        "loss": 0.02,
        "rate": -0.01,
        "optimizer x loss": 0.09,
        "seed": 0.15,
        "loss x seed": 0.05,
    }
    variance = pd.DataFrame(
        [
            ("crossed", "change_log_stable_rank", axis, 216, term, 1, share, share - 0.01, share + 0.01, "")
            for axis in AXES
            for term, share in shares.items()
        ],
        columns=["block", "endpoint", "axis", "trainings", "term", "degrees", "share", "low", "high", "reason"],
    )
    summary = pd.DataFrame(
        [("losses", "light", "a", "validation_mae", "change_log_stable_rank", 12, 0, 1.5, 0.2)],
        columns=["block", "dataset", "arm", "axis", "endpoint", "seeds", "without", "mean", "sd"],
    )
    nulls = pd.DataFrame(
        [
            ("losses", "light", axis, arm, quantity, 3, value, 0.5, value - 0.5, 0.125, deviations)
            for axis in AXES
            for arm, value in (("a", 0.75), ("b", 1.0))
            for quantity, deviations in (("log_stable_rank", 8 * (value - 0.5)), ("ks_distance", np.nan))
        ],
        columns=[
            *("block", "dataset", "axis", "arm", "quantity", "seeds"),
            *("value", "null", "difference", "null_sd", "deviations"),
        ],
    )
    return StudyTables(verdicts, cells, summary, curves, spectra, variance, nulls)


def text_of(html):
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html))


def test_the_page_stands_alone_escapes_what_it_is_given_and_reports_failed_controls_first(tables):
    html = page(tables)
    assert "<b>does it?</b>" not in html
    assert not re.search(r"(src|href)=[\"']?(https?:)?//", html)
    assert "<script" not in html
    words = text_of(html)
    order = ["Control A/A did not come out", "Does the optimizer shape it?", "The protocol", "Contrasts on all axes"]
    assert [words.index(piece) for piece in order] == sorted(words.index(piece) for piece in order)
    for number in ("+1.75 [1.50, 2.00]", "0.0123", "12, 2 censored", "failed controls: A/A", "what all arms of a seed"):
        assert number in words, number


def test_the_answer_counts_what_was_found_names_it_by_size_and_says_where_the_axis_decides(tables):
    questions = dict(answers(tables.verdicts, tables.variance))
    (optimizer,) = questions["Does the optimizer shape it?"]
    assert "2 of 2 contrasts found (1 of them with one sign on all axes), 0 null within the margin" in optimizer
    assert optimizer.index("GA - Adam +2.50") < optimizer.index("Muon - Adam +1.75")
    assert "GA - Adam +2.50 [2.25, 2.75], found, the axis decides the sign" in optimizer
    (loss,) = questions["Does the loss shape it?"]
    assert "0 of 1 contrasts found, 1 null within the margin (1 of them small, and not zero), 0 inconclusive" in loss
    assert "The largest is MAE - MSE +0.06" in loss
    (shares,) = questions["Whose is the variance?"]
    assert (
        "over 216 trainings of the block crossed, at equal validation MAE: optimizer 70.0 % [69.0 %, 71.0 %]" in shares
    )
    assert "seed and all with it 20.0 %; under 1 %: rate" in shares


def test_a_claim_stands_on_its_axis_and_every_other_with_its_source(tables, tmp_path):
    words = text_of(page(tables))
    assert "ln stable rank of W 3 0.75 0.5 0.125 2" in words
    assert "D of the KS exponent 3 1 0.5 0.125 –" in words
    for piece in ("Muon keeps rank", "A &amp; B (2026) (abstract read)", "confirmed, 0.750", "another network"):
        assert piece in words, piece
    write_study_report(tables, tmp_path)
    line = next(line for line in (tmp_path / "index.md").read_text().splitlines() if "Muon keeps rank" in line)
    assert line.endswith("The axis decides: confirmed at equal relative distance (0.75).")


def test_bars_hold_the_shares_and_a_negative_one_has_no_width(tables):
    bars = bars_of_variance(tables.variance)
    assert len(bars) == len(AXES)
    widths = [float(width) for width in re.findall(r' width="([\d.]+)"', str(bars[0]["drawing"]))]
    shares = np.array([0.7, 0.02, 0.0, 0.0, 0.09, 0.2])
    assert len(widths) == len(TERMS)
    assert np.array(widths) / sum(widths) == pytest.approx(shares / shares.sum(), abs=1e-3)


def test_the_files_of_a_report_are_the_same_bytes_twice_and_the_paper_has_a_row_an_axis(tables, tmp_path):
    for name in ("one", "two"):
        write_study_report(tables, tmp_path / name)
    files = sorted(path.name for path in (tmp_path / "one").iterdir())
    assert files == ["answer.png", "contrasts.csv", "contrasts.tex", "index.html", "index.md"]
    for name in files:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    contrasts = pd.read_csv(tmp_path / "one/contrasts.csv")
    assert len(contrasts) == 4 * len(AXES)
    row = contrasts[(contrasts["contrast"] == "Muon - Adam") & (contrasts["equal"] == "distance")].iloc[0]
    assert (row["mean"], row["low"], row["high"]) == (1.75, 1.5, 2.0)
    latex = (tmp_path / "one/contrasts.tex").read_text()
    assert latex.count("Muon - Adam") == 1
    assert re.sub(r"\$[^$]*\$", "", latex).replace("\\_", "").count("_") == 0  # which LaTeX takes in mathematics alone
    assert set(contrasts["judgement"].dropna()) == {
        "found",
        "equivalent",
        "inconclusive",
    }  # pandas reads "null" as missing
    assert contrasts["judgement"].notna().sum() == 4  # judged on one axis
    assert "Muon - Adam" in (tmp_path / "one/index.md").read_text()
