"""What is said of the trainings together, computed once more by hand or by plain loops."""

import numpy as np
import pandas as pd
import pytest

from transformer_spectrum.analysis.comparison.equal_axes import AXES, Record, at_equal, furthest, records
from transformer_spectrum.analysis.comparison.forecast_errors import forecast_errors
from transformer_spectrum.analysis.comparison.shifts import shifts
from transformer_spectrum.analysis.comparison.tail_fits import family_tails, rejected
from transformer_spectrum.analysis.of_training import long_tables, plot_tables

FAST = [Record(0, 1, 0.0, 3.0, 0.0), Record(1, 10, 2.0, 0.9, -0.1), Record(2, 20, 4.0, 0.5, -5.0)]
SLOW = [Record(0, 1, 0.0, 3.0, 0.0), Record(1, 4, 3.0, 2.0, -1.0), Record(5, 16, 9.0, 1.0, -2.0)]


@pytest.fixture(scope="module")
def summaries(few_histories, summarized):
    return summarized(few_histories, bootstrap=8)


@pytest.mark.parametrize(
    ("axis", "reached", "fast", "slow"),
    [
        ("step", 2, -5.0, -1.0),
        ("evaluations", 16, -5.0, -2.0),
        ("distance", 4.0, -5.0, -1.0),
        ("validation_loss", 1.0, -0.1, -2.0),  # where the order turns round
    ],
)
def test_each_axis_has_the_record_that_is_there(axis, reached, fast, slow):
    value, there = at_equal(axis, {"adam": FAST, "es": SLOW})
    assert value == reached
    assert (there["adam"].change, there["es"].change) == (fast, slow)


def test_who_moved_furthest_depends_on_what_is_held_equal():
    histories = {"adam": FAST, "es": SLOW}
    assert {axis: furthest(axis, histories) for axis in AXES} == {
        "step": "adam",
        "evaluations": "adam",
        "distance": "adam",
        "validation_loss": "es",
    }


def test_records_are_the_changes_of_one_family_at_the_steps_of_its_curve(summaries):
    evolution = plot_tables.spectra_evolution(summaries)
    history = summaries["ga"].history
    walked = {"ga": dict(enumerate(history.distance.tolist()))}
    losses = {"ga": dict(enumerate(history.validation_loss.tolist()))}
    (found,) = records(evolution, "readout", "stable_rank", walked, losses).values()
    mean = summaries["ga"].mean("stable_rank", "readout")
    assert found == [
        Record(step, 32 * step, history.distance[step], history.validation_loss[step], mean[step] - mean[0])
        for step in range(18)
    ]
    assert records(evolution, "readout", "no such metric", walked, losses) == {}
    assert records(pd.DataFrame(), "readout", "stable_rank", walked, losses) == {}


def test_a_shift_is_the_change_of_a_mean_in_standard_deviations_of_its_null(summaries):
    found = shifts(plot_tables.spectra_evolution(summaries))
    assert len(found) == 3 * 3 * len(plot_tables.EVOLUTION_METRICS)
    for shift in found:
        summary = summaries[shift.optimizer]
        mean = summary.mean(shift.metric, shift.family)
        assert (shift.initial, shift.last) == (mean[0], mean[-1])
        assert shift.percent == (pytest.approx(100 * (mean[-1] / mean[0] - 1), abs=1e-9) if mean[0] else None)
        expected = summary.z(shift.metric, shift.family, -1)
        assert shift.z is None if np.isnan(expected) else shift.z == pytest.approx(expected)
    assert shifts(pd.DataFrame()) == ()


def test_tails_of_a_family_are_means_of_the_last_step_over_one_shape(summaries):
    tails = long_tables.spectra_tails(summaries)
    fits = family_tails(tails)
    assert len(fits) == 3 * 3
    for fit in fits.itertuples():
        last = max(summaries[fit.optimizer].evidence.steps)
        members = [
            row
            for row in tails.to_dict("records")
            if (row["optimizer"], row["family"], row["step"]) == (fit.optimizer, fit.family, last)
        ]
        assert fit.matrices == len(members)
        assert {(fit.larger, fit.smaller)} == {
            (max(row["rows"], row["columns"]), min(row["rows"], row["columns"])) for row in members
        }
        for metric in ("ks_alpha", "null_alpha", "ks_distance", "ks_tail"):
            assert getattr(fit, metric) == pytest.approx(np.mean([row[metric] for row in members]))
        tested = [row["goodness_p"] for row in members if row["goodness_p"] == row["goodness_p"]]
        assert (fit.plausible, fit.tested) == (sum(p >= 0.1 for p in tested), len(tested))
    every = [p for p in tails["goodness_p"] if p == p]
    assert rejected(tails) == (sum(p < 0.1 for p in every), len(every))
    assert family_tails(tails.iloc[:0]).empty


def test_errors_of_forecasts_are_means_over_time_and_features(forecast):
    errors = forecast_errors(plot_tables.forecasts(forecast, windows_at_most=3))
    assert errors.index.tolist() == [(window, f"series {window}") for window in (0, 4, 8)]
    for optimizer, values in forecast["forecast"].items():
        expected = np.abs(values - forecast["truth"])[[0, 4, 8]].mean(axis=(1, 2))
        np.testing.assert_allclose(errors[optimizer], expected)
