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


def test_a_shift_is_a_mean_at_one_step_beside_its_start_and_the_draws_of_its_null(summaries):
    steps = {name: int(summary.history.steps[summary.tracked[-2]]) for name, summary in summaries.items()}
    found = shifts(plot_tables.spectra_evolution(summaries), steps)
    assert [(shift.optimizer, shift.family, shift.metric) for shift in found] == [
        (optimizer, family, metric)
        for optimizer, summary in summaries.items()
        for family in summary.families
        for metric in plot_tables.EVOLUTION_METRICS
        if np.isfinite(summary.mean(metric, family)[summary.tracked[-2]])
    ]
    for shift in found:
        summary = summaries[shift.optimizer]
        assert shift.step == steps[shift.optimizer]
        mean = summary.mean(shift.metric, shift.family)
        assert shift.value == mean[summary.tracked[-2]]
        assert shift.initial is None if np.isnan(mean[0]) else shift.initial == mean[0]
        assert shift.percent == (pytest.approx(100 * (shift.value / mean[0] - 1), abs=1e-9) if shift.initial else None)
        name = "change_shuffled" if shift.metric.startswith("change_") else "path"
        draws = summary.evidence.nulls[name][-2].values[shift.metric][:, summary.families[shift.family]]
        null = np.nanmean(draws)
        assert shift.null == pytest.approx(null)
        assert shift.effect == pytest.approx(shift.value - null, abs=1e-9)
        if shift.deviations is not None:
            spread = np.nanmean(draws, axis=1).std(ddof=1)
            assert shift.deviations == pytest.approx(shift.effect / spread, rel=1e-6)
    assert any(shift.deviations is not None for shift in found)
    assert shifts(pd.DataFrame(), steps) == ()


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
