"""What is said of the trainings together, computed once more by hand or by plain loops."""

import numpy as np
import pandas as pd
import pytest

from transformer_spectrum.analysis.comparison.forecast_errors import forecast_errors
from transformer_spectrum.analysis.comparison.shifts import shifts
from transformer_spectrum.analysis.comparison.tail_fits import family_tails, rejected
from transformer_spectrum.analysis.of_training import long_tables, plot_tables


@pytest.fixture(scope="module")
def summaries(few_histories, summarized):
    return summarized(few_histories, bootstrap=8)


def test_a_shift_is_a_mean_at_the_best_step_against_its_null(summaries):
    best = {name: summary.history.best_step for name, summary in summaries.items()}
    found = shifts(plot_tables.spectra_evolution(summaries), best)
    expected = {}
    for optimizer, summary in summaries.items():
        at = best[optimizer]  # every step is recorded
        position = summary.tracked.index(at)
        for family in summary.families:
            for metric in plot_tables.EVOLUTION_METRICS:
                mean, against = summary.mean(metric, family), summary.effect(metric, family, position)
                if np.isfinite(mean[at]):
                    expected[optimizer, family, metric] = mean, against, summary.null(metric, family, position)
    assert len(found) == len(expected) > 3 * 3 * len(plot_tables.EVOLUTION_METRICS) - 4  # Adam's changes have no bulk
    for shift in found:
        mean, against, null = expected[shift.optimizer, shift.family, shift.metric]
        assert (shift.step, shift.value) == (best[shift.optimizer], mean[shift.step])
        assert shift.initial == (None if np.isnan(mean[0]) else mean[0])
        percent = 100 * (mean[shift.step] / mean[0] - 1) if mean[0] > 0 else None
        assert shift.percent == (pytest.approx(percent, abs=1e-9) if percent is not None else None)
        assert shift.effect == pytest.approx(float(against.difference))
        assert shift.null == pytest.approx(float(null.mean))
        expected_deviations = None if against.reason.item() else pytest.approx(float(against.deviations))
        assert shift.deviations == expected_deviations
    assert shifts(pd.DataFrame(), best) == ()


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
    at_the_limit = family_tails(tails.assign(goodness_p=0.1))
    assert (at_the_limit["plausible"] == at_the_limit["matrices"]).all()
    assert rejected(tails.assign(goodness_p=0.1)) == (0, len(tails))
    every = [p for p in tails["goodness_p"] if p == p]
    assert rejected(tails) == (sum(p < 0.1 for p in every), len(every))
    assert family_tails(tails.iloc[:0]).empty


def test_errors_of_forecasts_are_means_over_time_and_features(forecast):
    errors = forecast_errors(plot_tables.forecasts(forecast, windows_at_most=3))
    assert errors.index.tolist() == [(window, f"series {window}") for window in (0, 4, 8)]
    for optimizer, values in forecast["forecast"].items():
        expected = np.abs(values - forecast["truth"])[[0, 4, 8]].mean(axis=(1, 2))
        np.testing.assert_allclose(errors[optimizer], expected)
