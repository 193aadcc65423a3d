"""The report's sentences say what the numbers say, and no more."""

import copy
import dataclasses

import numpy as np
import pytest
import yaml

from transformer_spectrum.report.run_page import answer_words as page_text
from transformer_spectrum.report.run_page import origin as page_origin
from transformer_spectrum.report.run_page import tables as page_tables
from transformer_spectrum.report.run_page.markdown import PICTURES, markdown
from transformer_spectrum.report.run_page.page import page
from transformer_spectrum.report.run_page.warnings import warnings
from transformer_spectrum.vocabulary import display_name, family_words


def changed(run, optimizer, **scores):
    """The run with other scores of one training."""
    trainings = dict(run.trainings)
    trainings[optimizer] = dataclasses.replace(trainings[optimizer], scores={**trainings[optimizer].scores, **scores})
    return dataclasses.replace(run, trainings=trainings)


def scaled(run, factor):
    """The run with every null wider by a factor, so that every z is smaller by it."""

    def wider(one):
        middle, half = (one.low + one.high) / 2, factor * (one.high - one.low) / 2
        return dataclasses.replace(one, low=middle - half, high=middle + half)

    return dataclasses.replace(run, shifts=tuple(wider(one) if one.low is not None else one for one in run.shifts))


def test_z_is_the_change_in_standard_deviations_of_the_shuffles(run, few_histories, summarized):
    summaries = summarized(few_histories)
    compared = 0
    for one in run.shifts:
        summary = summaries[one.optimizer]
        expected = summary.z(one.metric, one.family, len(summary.history.steps) - 1)
        if np.isfinite(expected):
            assert one.z == pytest.approx(expected, rel=1e-4, abs=1e-4)
            compared += 1
        else:
            assert one.z is None
    assert compared > 30


@pytest.fixture
def narrow(run):
    """The run with nulls so narrow that changes lie outside."""
    return scaled(run, 1e-3)


def test_the_headline_names_the_lowest_loss_and_the_largest_move(narrow):
    run = narrow
    best = min(run.trainings, key=lambda name: run.trainings[name].scores["best_validation_loss"])
    moved = max((run.shift(name, "feed_forward", "stable_rank") for name in run.trainings), key=lambda one: abs(one.z))
    assert abs(moved.z) > 2
    sentence = page_text.headline(run)
    assert sentence.startswith(f"{display_name(best)} reached the lowest validation loss, ")
    assert f"{run.trainings[best].scores['best_validation_loss']:.3f} nats" in sentence
    assert f"{moved.initial:.2f} to {moved.last:.2f}, z = {moved.z:+.1f}".replace("-", "−") in sentence


def test_the_headline_follows_the_numbers(run, narrow):
    moved = max(
        (narrow.shift(name, "feed_forward", "stable_rank") for name in run.trainings), key=lambda one: abs(one.z)
    )
    same = changed(narrow, moved.optimizer, best_validation_loss=-1.0)
    assert "reached the lowest validation loss, −1.000 nats, and moved" in page_text.headline(same)
    name = next(name for name in run.trainings if name != moved.optimizer)
    other = page_text.headline(changed(narrow, name, best_validation_loss=-1.0))
    assert other.startswith(f"{display_name(name)} reached the lowest validation loss, −1.000 nats")
    assert f", but {display_name(moved.optimizer)} moved" in other
    assert "no optimizer moved the stable rank of the feed-forward matrices out of its null" in page_text.headline(
        scaled(run, 1e4)
    )
    without = dataclasses.replace(
        run, shifts=tuple(dataclasses.replace(one, low=None, high=None) for one in run.shifts)
    )
    assert "has no null to be compared with" in page_text.headline(without)


def test_a_model_without_feed_forward_matrices_gets_the_family_that_moved_furthest(run):
    others = tuple(one for one in run.shifts if one.family != "feed_forward")
    lstm = dataclasses.replace(run, shifts=others)
    ranks = [one for one in others if one.metric == "stable_rank"]
    assert lstm.main_family == max(ranks, key=lambda one: abs(one.z)).family
    assert page_tables.result(lstm).header[6].startswith("stable rank, ")


def test_a_change_inside_its_null_is_called_so(run, narrow):
    inside = " ".join(page_text.answer(scaled(run, 1e4)))
    assert inside.count("stayed within its null") == 3
    assert "In no other family did it leave the null" in inside
    outside = " ".join(page_text.answer(narrow))
    for name in run.trainings:
        one = narrow.shift(name, "feed_forward", "stable_rank")
        assert abs(one.z) > 2
        assert f"{'fell' if one.last < one.initial else 'rose'} to {one.last:.2f} (" in outside
    assert "Of the other families, " in outside


def test_forecasts_are_measured_at_the_best_baseline(run):
    assert "only Adam does better than the best baseline that needs no model, context mean (0.750)" in " ".join(
        page_text.answer(run)
    )
    worse = run
    for name in run.trainings:
        worse = changed(worse, name, free_running={"mae": 2.0})
    assert "none does better than" in " ".join(page_text.answer(worse))


def test_a_stand_in_is_said_first_and_in_a_banner(run):
    standin = dataclasses.replace(
        run,
        caption=dataclasses.replace(run.caption, standin=True),
        provenance={**run.provenance, "standin": True, "notes": ["Simulated."]},
    )
    assert page_text.headline(standin).startswith("On simulated stand-in data, no real series: ")
    assert page_text.banner(standin)[0].startswith("STAND-IN DATA")
    assert "Simulated." in page_text.banner(standin)
    assert "STAND-IN DATA" in markdown(standin)
    assert ("source", "STAND-IN: simulated, no real series") in page_tables.provenance(standin).rows
    assert page_text.banner(run) == []
    assert "STAND-IN" not in markdown(run)


def test_what_is_missing_stands_among_the_warnings_with_its_reason(run):
    lines = warnings(run)
    assert (
        "Not computed: truth takes negative values: free-running mape of Adam, ES and GA; mape of persistence." in lines
    )
    assert "Description of the test windows, sgt: the fit did not converge." in lines
    for cell in run.tails["missing"]:
        for reason in filter(None, cell.split("; ")):
            assert any(reason in line for line in lines)
    rejected = int((run.tails["goodness_p"] < 0.1).sum())
    assert rejected > 0
    assert any(f" in {rejected} of {len(run.tails)} fits" in line for line in lines)
    reasons = [f"{when}.readout: hill_alpha: 1 of 1: too short" for when in ("initial", *run.trainings)]
    reasons += ["adam.gates_16x4: ks_alpha, ks_tail: 1 of 4: no tail: none"]
    spectra = {**run.spectra, "reasons": reasons}
    lines = warnings(dataclasses.replace(run, spectra=spectra))
    assert "Spectra, too short: no Hill alpha for readout." in lines
    assert "Spectra, no tail: none: no KS alpha, KS tail for gates 16×4, 1 of 4 matrices (Adam)." in lines


def test_a_training_that_came_to_nothing_or_was_resumed_is_among_the_warnings(run):
    nothing = changed(run, "es", best_validation_loss=run.trainings["es"].initial_loss)
    assert "ES: no step is better by validation than the initial weights." in warnings(nothing)
    assert "(no better than the start)" in page_text.answer(nothing)[0]
    resumed = changed(run, "ga", resumed_at=[7, 12])
    assert any("GA: stopped and resumed at step 7 and 12" in line for line in warnings(resumed))
    assert page_tables.trainings(resumed).rows[2][7] == "7, 12"
    assert page_tables.trainings(run).rows[2][7] == "never"
    trainings = dict(run.trainings)
    trainings["adam"] = dataclasses.replace(trainings["adam"], settings={**trainings["adam"].settings, "seed": 5})
    other = dataclasses.replace(run, trainings=trainings)
    assert any("trained with seed 5, not params.yaml's 1" in line for line in warnings(other))


def test_versions_that_differ_between_trainings_stand_side_by_side(run):
    assert page_tables.versions(run).header == ("package", "version")
    trainings = copy.copy(dict(run.trainings))
    settings = {**trainings["ga"].settings, "versions": {"python": "3.12.1", "torch": "2.13.0"}}
    trainings["ga"] = dataclasses.replace(trainings["ga"], settings=settings)
    table = page_tables.versions(dataclasses.replace(run, trainings=trainings))
    assert table.header == ("package", "Adam", "ES", "GA")
    assert ("python", "3.11.7", "3.11.7", "3.12.1") in table.rows


def test_parameters_of_other_data_sets_are_left_out(run):
    names = {row[0] for table in page_tables.parameters(run) for row in table.rows}
    assert {"seed", "loss.q", "data.synthetic.kernel.size", "data.split.by", "spectra.shuffles"} <= names
    assert not any(
        name.startswith(("data.covid", "data.rvr", "data.file", "data.mirror", "tracking")) for name in names
    )


def test_the_stage_depends_on_every_parameter_that_is_shown_and_on_no_other(run, pytestconfig):
    stage = yaml.safe_load((pytestconfig.rootpath / "dvc.yaml").read_text())["stages"]["report"]
    listed = [name.replace("${data.dataset}", run.caption.dataset) for name in stage["params"]]
    shown = {row[0] for table in page_tables.parameters(run) for row in table.rows}

    def below(section):
        return {name for name in shown if name == section or name.startswith(f"{section}.")}

    assert set().union(*map(below, listed)) == shown
    assert all(map(below, listed))


def test_the_markdown_has_the_answer_its_table_the_warnings_and_pictures_that_exist(run, pytestconfig):
    text = markdown(run)
    plain = text.replace("\\", "").replace("&lt;", "<")
    assert page_text.headline(run) in plain
    for warning in warnings(run):
        assert f"- {warning}" in plain
    table = page_tables.result(run)
    for row in table.rows:
        assert "| " + " | ".join(row) + " |" in text
    pictures = pytestconfig.rootpath / "plots"
    for name in PICTURES:
        assert f"](../plots/{name}.png)" in text
        assert (pictures / f"{name}.png").is_file()
    assert text.count("<details>") == text.count("</details>") == 2


def test_a_loss_without_a_unit_is_given_none(run):
    cauchy = dataclasses.replace(run, caption=dataclasses.replace(run.caption, loss_unit="dimensionless"))
    assert "dimensionless" not in page_text.headline(cauchy) + page_text.answer(cauchy)[0]
    assert " nats" in page_text.headline(run)
    assert " nats" in page_text.answer(run)[0]


def test_power_laws_are_averaged_over_matrices_of_one_family_and_shape_at_the_last_step(run):
    table = page_tables.tails(run)
    rows = {row[:3]: row for row in table.rows}
    assert len(rows) == len(table.rows)
    checked = 0
    for name, one in run.trainings.items():
        mine = [row for row in run.tails.to_dict("records") if (row["optimizer"], row["step"]) == (name, one.last_step)]
        for kind in {(row["family"], *sorted((int(row["rows"]), int(row["columns"])))) for row in mine}:
            alphas = [
                float(row["ks_alpha"])
                for row in mine
                if (row["family"], *sorted((int(row["rows"]), int(row["columns"])))) == kind
            ]
            cells = rows[family_words(kind[0]), f"{kind[2]}×{kind[1]}", display_name(name)]
            assert cells[3] == str(len(alphas))
            assert float(cells[4]) == pytest.approx(np.mean(alphas), abs=0.0051)
            checked += 1
    assert checked == len(rows) > 6


MADE = {
    "begun": "2026-01-02T03:04:05Z",
    "commit": "0123456789abcdef0123456789abcdef01234567",
    "changed": [],
    "experiment": "eager-owl",
    "machine": {
        "processor": "Some Processor",
        "architecture": "x86_64",
        "capability": "AVX2",
        "cores": 2,
        "system": "Linux",
        "accelerator": None,
    },
    "unknown": {},
}


def made(run, **others):
    """The run with trainings made under MADE, or under what else is said of one."""
    trainings = {
        name: dataclasses.replace(training, circumstances={**MADE, **others.get(name, {})})
        for name, training in run.trainings.items()
    }
    return dataclasses.replace(run, trainings=trainings)


def test_page_and_comment_name_commit_experiment_day_and_machine(run):
    sentence = (
        "Trained on 2026-01-02, commit 0123456789, DVC experiment eager-owl, on Some Processor (x86_64, AVX2, Linux), "
        "2 cores, device cpu, 1 thread."
    )
    assert page_origin.sentences(made(run)) == [sentence]
    assert sentence in page(made(run))
    assert sentence.replace("_", "\\_") in markdown(made(run))
    for text in (page(made(run)), markdown(made(run))):
        assert text.count(MADE["commit"]) == 3  # a row of the table for each training


def test_trainings_of_different_origin_are_told_apart_and_what_is_not_as_committed_is_named(run):
    changed = ["params.yaml", "src/a.py", "src/b.py", "src/c.py", "src/d.py"]
    mixed = made(run, es={"changed": changed[:1], "experiment": None}, ga={"changed": changed})
    adam, es, ga = page_origin.sentences(mixed)
    assert adam.startswith("Adam trained on 2026-01-02, commit 0123456789, DVC experiment eager-owl, ")
    assert "commit 0123456789 with uncommitted changes in params.yaml, no DVC experiment, " in es
    assert "with uncommitted changes in params.yaml, src/a.py, src/b.py and 2 more files, DVC" in ga
    alike = made(run, es={"begun": "2026-01-03T00:00:00Z"}, ga={"begun": "2026-01-03T23:00:00Z"})
    assert [line.partition(" trained")[0] for line in page_origin.sentences(alike)] == ["Adam", "ES and GA"]


def test_what_is_unknown_of_the_origin_is_said_with_its_reason(run):
    nothing = page_origin.sentences(run)
    assert len(nothing) == 1
    assert nothing[0].count("unknown") == 4
    assert "trained before this was recorded" in nothing[0]
    lost = {"commit": None, "unknown": {"commit": "git is not installed"}}
    (line,) = page_origin.sentences(made(run, adam=lost, es=lost, ga=lost))
    assert "commit unknown (git is not installed), DVC experiment eager-owl" in line
