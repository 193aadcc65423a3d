"""The report's sentences say what the numbers say, and no more."""

import copy
import dataclasses
import json
import shutil

import numpy as np
import pytest
import yaml

from transformer_spectrum.analysis.of_training import plot_tables
from transformer_spectrum.analysis.of_training.comparison_file import comparison
from transformer_spectrum.optimizers.contract import StopCause
from transformer_spectrum.report.charts.gallery import charts
from transformer_spectrum.report.figures.caption import caption_of
from transformer_spectrum.report.run import read_run
from transformer_spectrum.report.run_page import answer_words as page_text
from transformer_spectrum.report.run_page import axes as page_axes
from transformer_spectrum.report.run_page import origin as page_origin
from transformer_spectrum.report.run_page import tables as page_tables
from transformer_spectrum.report.run_page.markdown import PICTURES, markdown
from transformer_spectrum.report.run_page.page import page
from transformer_spectrum.report.run_page.warnings import warnings
from transformer_spectrum.vocabulary import display_name, family_words, metric_words


def changed(run, optimizer, **scores):
    """The run with other scores of one training."""
    trainings = dict(run.trainings)
    trainings[optimizer] = dataclasses.replace(trainings[optimizer], scores={**trainings[optimizer].scores, **scores})
    return dataclasses.replace(run, trainings=trainings)


def with_best_mae(run, optimizer, mae):
    """The run with another validation MAE at the best step of one training."""
    trainings = {**run.trainings, optimizer: dataclasses.replace(run.trainings[optimizer], best_mae=mae)}
    return dataclasses.replace(run, trainings=trainings)


def with_params(run, section, **values):
    """The run with other parameters of one section, and the caption that they make."""
    params = run.params.model_copy(update={section: getattr(run.params, section).model_copy(update=values)})
    return dataclasses.replace(run, params=params, caption=caption_of(params, run.caption.standin))


def scaled(run, factor):
    """The run with every null wider by a factor, so that all deviations are smaller by it."""

    def wider(shift):
        return dataclasses.replace(shift, deviations=None if shift.deviations is None else shift.deviations / factor)

    return dataclasses.replace(run, shifts=tuple(map(wider, run.shifts)))


def minus(text):
    return text.replace("-", "−")


def test_a_shift_is_the_effect_of_the_best_step(run, few_histories, summarized):
    summaries = summarized(few_histories)
    compared = 0
    for shift in run.shifts:
        summary = summaries[shift.optimizer]
        position = summary.tracked.index(summary.history.best_step)
        against = summary.effect(shift.metric, shift.family, position)
        assert shift.step == summary.history.best_step
        assert shift.effect == pytest.approx(float(against.difference), rel=1e-4, abs=1e-6)
        if against.reason.item():
            assert shift.deviations is None
        else:
            assert shift.deviations == pytest.approx(float(against.deviations), rel=1e-4, abs=1e-4)
            compared += 1
    assert compared > 60


def test_the_headline_names_the_lowest_error_and_the_changes_at_equal_error(run):
    best = min(run.trainings, key=lambda name: run.trainings[name].scores["best_validation_mae"])
    held = run.comparison["axes"]["validation_mae"]
    sentence = page_text.headline(run)
    lowest = run.trainings[best].scores["best_validation_mae"]
    assert sentence.startswith(f"{display_name(best)} reached the lowest validation MAE, {lowest:.3f}; ")
    assert (
        f"at equal validation MAE ({held['target']:.3f}) the stable rank of the change of the feed-forward" in sentence
    )
    for name, arm in held["arms"].items():
        assert f"{arm['change_stable_rank']:.2f} under {display_name(name)}" in sentence
    assert sentence.endswith(". One seed.")


def test_the_headline_follows_the_numbers(run):
    for name in run.trainings:
        first = page_text.headline(with_best_mae(run, name, 0.001))
        assert first.startswith(f"{display_name(name)} reached the lowest validation MAE, 0.001; ")

    def compared(**changes):
        comparison = copy.deepcopy(dict(run.comparison))
        for verdict in comparison["verdicts"]:
            if verdict["metric"] == "change_stable_rank":
                verdict["agrees"] = changes.get(f"{verdict['first']}_{verdict['second']}", True)
        return page_text.headline(dataclasses.replace(run, comparison=comparison))

    assert "; the order is the same on every axis. " in compared()
    assert "; the axis decides the order of Adam and ES. " in compared(adam_es=False)
    assert "; whether all axes agree on ES and GA is not known. " in compared(es_ga=None)
    both = compared(adam_es=False, adam_ga=None)
    assert "the axis decides the order of Adam and ES; whether all axes agree on Adam and GA is not known" in both


def test_who_has_no_value_at_equal_error_is_named_with_the_reason(run):
    comparison = copy.deepcopy(dict(run.comparison))
    arms = comparison["axes"]["validation_mae"]["arms"]
    for name, crossing in (("adam", "left_censored"), ("ga", "right_censored")):
        arms[name] |= {"crossing": crossing, "updates": None, "change_stable_rank": None, "stable_rank": None}
    censored = dataclasses.replace(run, comparison=comparison)
    sentence = page_text.headline(censored)
    assert "Adam passed it before its first record and GA never reaches it" in sentence
    assert " under Adam" not in sentence
    row = page_axes.tables(censored)[0].rows[0]
    assert (row[1], row[3]) == ("earlier than recorded", "never")
    arms["es"] |= {"crossing": "right_censored", "change_stable_rank": None}
    assert "no training has a stable rank of the change of the feed-forward matrices" in page_text.headline(censored)


def test_one_training_alone_is_compared_with_none(run):
    alone = dataclasses.replace(run, comparison={})
    assert page_text.headline(alone).count(";") == 0
    assert page_axes.tables(alone) == page_axes.verdicts(alone, "stable_rank") == page_axes.scope(alone) == []


def test_every_verdict_and_who_has_no_value_are_among_the_answers(run):
    answers = page_text.answer(run)
    for verdict in run.comparison["verdicts"]:
        assert verdict["sentence"][:1].upper() + verdict["sentence"][1:] in answers
    for sentence in run.comparison["sentences"]:
        assert sentence in answers


def test_an_lstm_is_answered_for_by_its_gates_as_in_its_comparison(run):
    gates = {"feed_forward": "encoder_gates", "encoder_self_attention": "embedding"}
    shifts = tuple(dataclasses.replace(shift, family=gates.get(shift.family, shift.family)) for shift in run.shifts)
    lstm = dataclasses.replace(run, shifts=shifts)
    assert (run.main_family, lstm.main_family) == ("feed_forward", "encoder_gates")
    words = family_words(lstm.main_family)
    assert page_tables.result(lstm).header[7:9] == (f"stable rank of the change, {words}", f"stable rank, {words}")


@pytest.mark.parametrize("metric", ["change_stable_rank", "stable_rank"])
def test_effects_are_told_with_their_side_and_called_within_their_null_where_they_are(run, metric):
    shifts = [run.shift(name, "feed_forward", metric) for name in run.trainings]
    within, outside = (" ".join(page_text.answer(scaled(run, factor))) for factor in (1e9, 1e-9))
    words = metric_words(metric)
    for text, factor in ((within, 1e9), (outside, 1e-9)):
        assert f"Against its null the mean {words} of the feed-forward matrices is " in text
        for shift in shifts:
            side = "below" if shift.effect < 0 else "above"
            deviations = minus(f"{shift.deviations / factor:+,.1f}") if abs(shift.deviations / factor) > 0.05 else "0.0"
            inside = ", within it" if factor > 1 else ""
            told = f"{shift.value:.2f} ({abs(shift.effect):.2f} {side} it, {deviations} deviations{inside})"
            assert f"{told} under {display_name(shift.optimizer)}" in text
    none = tuple(dataclasses.replace(shift, deviations=None) for shift in run.shifts)
    assert " deviations" not in " ".join(page_text.answer(dataclasses.replace(run, shifts=none)))
    none = tuple(dataclasses.replace(shift, null=None, effect=None, deviations=None) for shift in run.shifts)
    assert "(it has none)" in " ".join(page_text.answer(dataclasses.replace(run, shifts=none)))


def test_the_family_elsewhere_that_is_farthest_from_its_null_is_named(run):
    elsewhere = [
        shift for shift in run.shifts if shift.metric == "change_stable_rank" and shift.family != "feed_forward"
    ]
    deviating = [shift for shift in elsewhere if shift.deviations is not None]
    farthest = max(deviating, key=lambda shift: abs(shift.deviations))
    where = f"{family_words(farthest.family)} under {display_name(farthest.optimizer)}"
    text = " ".join(page_text.answer(run))
    told = f"the stable rank of the change of {where} deviates most from its null: {farthest.value:.2f} ("
    assert f"Of the other families {told}" in text
    none = tuple(dataclasses.replace(shift, deviations=None) for shift in run.shifts)
    farthest = max(elsewhere, key=lambda shift: abs(shift.effect / shift.value))
    where = f"{family_words(farthest.family)} under {display_name(farthest.optimizer)}"
    text = " ".join(page_text.answer(dataclasses.replace(run, shifts=none)))
    assert f"of {where} is farthest from its null for its size: {farthest.value:.2f} (" in text


def test_the_score_that_selects_is_named(run):
    by_loss = with_params(run, "training", select="loss")
    best = min(run.trainings, key=lambda name: run.trainings[name].best_mae)
    lowest = f"{display_name(best)} has the lowest validation MAE at its best step (by validation loss), "
    assert page_text.headline(by_loss).startswith(f"{lowest}{run.trainings[best].best_mae:.3f}; ")
    assert page_text.answer(by_loss)[0].endswith(", each at its best step by validation loss.")
    assert page_text.answer(run)[0].endswith(", each at its best step by validation MAE.")
    assert "of the best step by validation loss; " in page_tables.result(by_loss).caption
    assert "ES: no step is better by validation loss than the initial weights." in warnings(
        changed(by_loss, "es", best_step=0)
    )


def test_a_training_bears_the_name_of_its_algorithm_wherever_it_is_spoken_of(run):
    muon = with_params(run, "adam", algorithm="muon")
    assert "adam: muon · es: openai · model: transformer" in page_text.run_line(muon)
    assert "adam: " not in page_text.run_line(run)
    spoken = [page_text.headline(muon), *page_text.answer(muon)]
    spoken = [sentence for sentence in spoken if sentence not in page_axes.scope(muon)]
    verdicts = {sentence for metric in muon.comparison["metrics"] for sentence in page_axes.verdicts(muon, metric)}
    assert not any("Adam" in sentence for sentence in spoken if sentence not in verdicts)
    for table in (page_tables.result(muon), page_tables.trainings(muon), *page_axes.tables(muon)):
        cells = {*table.header, *(row[0] for row in table.rows)}
        assert "Muon" in cells
        assert "Adam" not in cells
    assert ">Muon</button>" in page(muon)
    assert all(chart.numbers is None or "Adam" not in str(chart.numbers) for chart in charts(muon))


def test_sentences_of_the_comparison_call_trainings_by_the_names_that_they_are_given(few_histories, summarized):
    names = {"adam": "Muon", "es": "ES", "ga": "GA"}
    tree = comparison(summarized(few_histories), dataset="synthetic", seed=1, names=names)
    plain = comparison(summarized(few_histories), dataset="synthetic", seed=1)
    assert "Muon" in json.dumps(tree)
    assert json.loads(json.dumps(tree).replace("Muon", "Adam")) == json.loads(json.dumps(plain))


def test_a_scale_that_follows_the_residuals_is_said_in_the_place_of_its_setting(run):
    sgt = with_params(run, "loss", scale="residual").caption
    cauchy = with_params(run, "loss", type="cauchy", scale="residual").caption
    squared = with_params(run, "loss", type="mse", scale="residual").caption
    assert sgt.loss == "sgt (p = 2, q = 5, λ = 0, σ follows the residuals)"
    assert cauchy.loss_name == "Cauchy loss (γ follows the residuals)"
    assert squared.loss == "mse"


def test_the_share_of_clipped_updates_is_that_of_the_last_record(run, run_folder, tmp_path):
    assert {row[7] for row in page_tables.trainings(run).rows} == {"off"}
    shutil.copytree(run_folder, tmp_path / "run")
    curve = tmp_path / "run/metrics/adam/plots/metrics/clipped_share.tsv"
    curve.write_text("step\tclipped_share\n1\t1.0\n2\t0.5\n3\t0.25\n")
    clipping = read_run(with_params(run, "adam", gradient_clip=0.5).params, tmp_path / "run")
    assert [row[7] for row in page_tables.trainings(clipping).rows] == ["25 %", "off", "off"]


def test_how_many_effects_were_looked_at_is_said_with_how_many_chance_would_give(run, few_histories, summarized):
    told = outside = 0
    for summary in summarized(few_histories).values():
        position = summary.tracked.index(summary.history.best_step)
        for family in summary.families:
            for metric in plot_tables.EVOLUTION_METRICS:
                deviations = summary.effect(metric, family, position).deviations
                told += bool(np.isfinite(deviations))
                outside += bool(abs(deviations) > 2)
    assert 60 < told <= 3 * 3 * len(plot_tables.EVOLUTION_METRICS)
    assert 0 < outside < told
    assert f"{told} effects with deviations were looked at, {outside} of them are beyond 2; " in page_text.care(run)


@pytest.mark.parametrize("draws", [3, 20])
def test_the_share_beyond_two_deviations_by_chance_is_that_of_draws_of_nothing(run, draws):
    """A value and so many draws of one normal law; the value is more than 2 of their deviations from their mean."""
    samples = np.random.default_rng(draws).normal(size=(200_000, draws + 1))
    values, nulls = samples[:, 0], samples[:, 1:]
    share = np.mean(abs(values - nulls.mean(axis=1)) > 2 * nulls.std(axis=1, ddof=1))
    spectra = run.params.spectra.model_copy(update={"shuffles": draws})
    params = run.params.model_copy(update={"spectra": spectra})
    text = page_text.care(dataclasses.replace(run, params=params))
    assert f"about {100 * share:.0f} in 100 would be" in text
    assert f"over {draws} draws of the null" in text


def test_a_loss_that_pulls_as_mse_does_is_warned_of(run):
    def with_cosines(run, **cosines):
        trainings = {
            name: dataclasses.replace(training, influence_cosine=cosines.get(name, 0.75))
            for name, training in run.trainings.items()
        }
        return dataclasses.replace(run, trainings=trainings)

    assert not any("pulls on" in line for line in warnings(run))
    assert not any("pulls on" in line for line in warnings(with_cosines(run, es=0.99, ga=float("nan"))))
    (line,) = (line for line in warnings(with_cosines(run, es=0.99001, adam=0.99944)) if "pulls on" in line)
    assert line == (
        f"The {run.caption.loss_name} pulls on the validation residuals of the best steps as MSE does (cosine "
        "0.9994 under Adam and 0.9900 under ES; above 0.99): a comparison with MSE would compare it with itself."
    )
    loss = run.params.loss.model_copy(update={"type": "mse"})
    squared = dataclasses.replace(run, params=run.params.model_copy(update={"loss": loss}))
    assert not any("pulls on" in line for line in warnings(with_cosines(squared, es=1.0)))


def test_the_influence_is_that_of_the_best_step(run, few_histories):
    for name, training in run.trainings.items():
        history = few_histories[name]
        best = int(history.validation_mae.argmin())
        assert training.influence_cosine == history.influence_cosine[best]
        assert training.evaluations_at_best == history.evaluations[best]
        assert training.initial_mae == pytest.approx(history.validation_mae[0])


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
    short = {"family": "readout", "metrics": ["hill_alpha"], "reason": "too short", "lacking": 1, "matrices": 1}
    reasons = [{"training": training, **short} for training in ("initial", *run.trainings)]
    none = {"family": "gates_16x4", "metrics": ["ks_alpha", "ks_tail"], "reason": "no tail: none"}
    reasons.append({"training": "adam", **none, "lacking": 1, "matrices": 4})
    spectra = {**run.spectra, "reasons": reasons}
    lines = warnings(dataclasses.replace(run, spectra=spectra))
    assert "Spectra, too short: no Hill alpha for readout." in lines
    assert "Spectra, no tail: none: no KS alpha, KS tail for gates 16×4, 1 of 4 matrices (Adam)." in lines


def test_a_training_that_came_to_nothing_or_was_resumed_is_among_the_warnings(run):
    nothing = changed(run, "es", best_step=0)
    assert "ES: no step is better by validation MAE than the initial weights." in warnings(nothing)
    assert "(no better than the start)" in page_text.answer(nothing)[0]
    resumed = changed(run, "ga", resumed_at=[7, 12])
    assert any("GA: stopped and resumed at step 7 and 12" in line for line in warnings(resumed))
    assert page_tables.trainings(resumed).rows[2][8] == "7, 12"
    assert page_tables.trainings(run).rows[2][8] == "never"
    trainings = dict(run.trainings)
    trainings["adam"] = dataclasses.replace(trainings["adam"], settings={**trainings["adam"].settings, "seed": 5})
    other = dataclasses.replace(run, trainings=trainings)
    assert any("trained with seed 5, not params.yaml's 1" in line for line in warnings(other))


def test_where_no_training_has_learned_none_is_said_to_be_the_best(run):
    nothing = run
    for name in run.trainings:
        nothing = changed(nothing, name, best_step=0)
    words = page_text.headline(nothing)
    assert words == "No training has a step that is better by validation MAE than the initial weights. One seed."


def test_a_training_that_diverged_is_named_with_its_reason(run):
    assert not any(training.diverged for training in run.trainings.values())
    reason = "diverged at step 4: the loss is not finite; the steps before it are kept"
    broken = changed(run, "es", stop_cause=str(StopCause.DIVERGED), stop_reason=reason)
    assert f"ES: {reason}." in warnings(broken)
    assert "evaluations (then diverged)" in page_text.answer(broken)[0]
    assert reason in markdown(broken)
    broken = changed(broken, "es", best_step=0)
    assert "(no better than the start, then diverged)" in page_text.answer(broken)[0]


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
    assert text.count("<details>") == text.count("</details>") == 3


def test_errors_are_told_in_the_unit_that_all_losses_share(run):
    told = page_text.headline(run) + page_text.answer(run)[0]
    assert run.caption.loss_unit not in told
    start = next(iter(run.trainings.values())).initial_mae
    assert f"with a validation MAE of {start:.3f}" in told
    for training in run.trainings.values():
        assert f"{training.scores['best_validation_mae']:.3f} in {training.evaluations_at_best:,} evaluations" in told


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
