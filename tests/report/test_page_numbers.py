"""Every number of the page's own tables and of its Markdown, computed once more from histories and weights."""

import json

import numpy as np
import pytest
from recomputed import BEST, TRACKED, Recomputed

from transformer_spectrum.report.page.numbers import number, signed
from transformer_spectrum.report.run_page import tables as page_tables
from transformer_spectrum.report.run_page.markdown import markdown
from transformer_spectrum.spectra.effects import UNUSABLE
from transformer_spectrum.vocabulary import EVOLUTION_METRICS, display_name, family_words


@pytest.fixture(scope="module")
def truth(few_histories, kept):
    return Recomputed(few_histories, kept(few_histories))


def family_of(words_of_family, truth):
    return next(family for family in truth.families if family_words(family) == words_of_family)


def test_every_shift_is_the_effect_of_the_best_step(run, truth):
    shifts = {(shift.optimizer, shift.family, shift.metric): shift for shift in run.shifts}
    compared = 0
    for optimizer, best in BEST.items():
        for family in truth.families:
            for metric in EVOLUTION_METRICS:
                if (optimizer, metric) == ("adam", "change_mp_spikes"):
                    continue  # of rank 3: what is left is rounding
                shift = shifts[optimizer, family, metric]
                difference, deviations = truth.effect(optimizer, best, family, metric)
                assert shift.step == best
                assert shift.value == pytest.approx(truth.mean(optimizer, best, family, metric), rel=2e-5)
                assert shift.effect == pytest.approx(difference, rel=1e-4, abs=1e-5 * max(1, abs(shift.value)))
                assert shift.null == pytest.approx(shift.value - difference, rel=1e-4)
                if not metric.startswith("change_"):
                    start = truth.mean(optimizer, 0, family, metric)
                    assert shift.initial == pytest.approx(start, rel=2e-5)
                if metric.removeprefix("change_") in UNUSABLE:
                    assert shift.deviations is None
                elif shift.deviations is not None:
                    assert shift.deviations == pytest.approx(deviations, rel=1e-3, abs=1e-3)
                    compared += 1
    assert compared >= 3 * 3 * 4


def rounded(cell):
    return None if cell == "–" else float(cell.replace("−", "-").replace(",", ""))


def test_the_tables_of_ranks_are_means_of_the_best_step_against_their_nulls(run, truth):
    changes, ranks = page_tables.shifts(run)
    for table, metric, begins in ((changes, "change_stable_rank", False), (ranks, "stable_rank", True)):
        assert [row[0] for row in table.rows] == [family_words(family) for family in truth.families]
        for row in table.rows:
            family, cells = family_of(row[0], truth), list(row[1:])
            if begins:
                assert cells.pop(0) == number(truth.mean(truth.first, 0, family, metric), 2)
            assert len(cells) == 3 * 3
            for i, (optimizer, best) in enumerate(BEST.items()):
                value, effect, deviations = map(rounded, cells[3 * i : 3 * i + 3])
                difference, expected = truth.effect(optimizer, best, family, metric)
                assert value == pytest.approx(truth.mean(optimizer, best, family, metric), abs=0.0051)
                assert effect == pytest.approx(difference, abs=0.0051)
                assert deviations == pytest.approx(expected, rel=1e-3, abs=0.051)
    text = markdown(run)
    for table in (changes, ranks):
        for row in table.rows:
            assert f"| {' | '.join(row)} |" in text


def test_the_table_of_results_is_of_the_best_steps_and_compares_with_persistence(run, truth):
    rows = page_tables.result(run).rows
    start = truth.histories[truth.first].validation_mae[0]
    begun = truth.mean(truth.first, 0, "feed_forward", "stable_rank")
    assert rows[0] == ("initial weights", "0", "", number(start), "", "", "", "", number(begun, 2), "0")
    for i, (row, (optimizer, history)) in enumerate(zip(rows[1:4], truth.histories.items(), strict=True)):
        best = BEST[optimizer]
        walked = 3.25 * history.distance[best] / history.distance[-1]
        assert row == (
            display_name(optimizer),
            f"{best:,}",
            f"{history.evaluations[best]:,}",
            number(float(np.nanmin(history.validation_mae))),
            number(0.2 + i / 10),
            number(0.7 + i / 10),
            f"{signed(100 * (0.7 + i / 10 - 1), 0)} %",  # persistence misses by 1
            number(truth.mean(optimizer, best, "feed_forward", "change_stable_rank"), 2),
            number(truth.mean(optimizer, best, "feed_forward", "stable_rank"), 2),
            number(walked, 1),
        )
    assert [row[5:7] for row in rows[4:]] == [("1.000", "0 %"), ("0.750", "−25 %")]


def test_the_table_of_tails_holds_means_of_the_last_step(run, truth):
    names = {display_name(name): name for name in TRACKED}
    table = page_tables.tails(run)
    assert len(table.rows) == 3 * len(truth.families)
    for family, _, title, count, alpha, of_null, distance, tail, plausible, *_ in table.rows:
        optimizer, members = names[title], truth.families[family_of(family, truth)]
        position = TRACKED[optimizer][-1]
        expected = {
            metric: np.mean([truth.of_history[optimizer][position][m][metric] for m in members])
            for metric in ("ks_alpha", "ks_distance", "ks_tail")
        }
        null = np.mean([truth.null(optimizer, position, [m], "ks_alpha", "path")[0] for m in members])
        assert (count, alpha) == (str(len(members)), number(expected["ks_alpha"], 2))
        assert (distance, tail) == (number(expected["ks_distance"], 2), number(expected["ks_tail"], 0))
        assert of_null == number(null, 2)
        p_values = [
            row["goodness_p"]
            for row in run.tails.to_dict("records")
            if (row["optimizer"], row["step"]) == (optimizer, position) and truth.names.index(row["matrix"]) in members
        ]
        assert plausible == f"{sum(p >= 0.1 for p in p_values)} of {len(p_values)}"


def test_what_the_trainings_spent_is_what_their_files_say(run, truth):
    table = page_tables.trainings(run)
    assert "40 seconds" in table.caption or "41 seconds" in table.caption  # 12.5 + 13.5 + 14.5
    for i, (row, (optimizer, history)) in enumerate(zip(table.rows, truth.histories.items(), strict=True)):
        best = int(np.nanargmin(history.validation_mae))
        assert best == BEST[optimizer]
        spent = (f"{len(history.steps) - 1:,}", f"{best:,}", f"{history.evaluations[-1]:,}", number(12.5 + i, 0))
        assert row == (display_name(optimizer), *spent, "cpu", "1", "off", "never", "all steps done")


def test_the_files_of_numbers_say_what_the_page_says(run, run_folder):
    effects = json.loads((run_folder / "metrics/effects.json").read_text())
    for optimizer in BEST:
        for metric in ("change_stable_rank", "stable_rank"):
            shift = run.shift(optimizer, "feed_forward", metric)
            numbers = effects[optimizer]["feed_forward"]
            assert numbers[metric] == pytest.approx(shift.value, rel=1e-5)
            assert numbers[f"{metric}_effect"] == pytest.approx(shift.effect, rel=1e-4, abs=1e-5)
            assert numbers[f"{metric}_deviations"] == pytest.approx(shift.deviations, rel=1e-4)
