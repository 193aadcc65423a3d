"""Scores by hand, and the baselines."""

import numpy as np
import pytest

from transformer_spectrum import scores


def column(*values):
    return np.array(values, dtype=float).reshape(1, -1, 1)


def test_scores_of_a_small_example_by_hand():
    forecast, truth = column(1, 2, 3), column(2, 4, 3)
    assert scores.mae(forecast, truth) == pytest.approx(1.0)
    assert scores.rmse(forecast, truth) == pytest.approx(np.sqrt(5 / 3))
    assert scores.smape(forecast, truth) == pytest.approx((2 / 3 + 4 / 6 + 0) / 3)
    assert scores.mape(forecast, truth) == (pytest.approx((0.5 + 0.5 + 0) / 3), 0)


def test_mase_of_the_naive_forecast_of_a_straight_line_is_its_mean_lead():
    context, truth = column(0, 1, 2, 3), column(4, 5)
    assert scores.mase(column(3, 3), truth, context) == (pytest.approx(1.5), 0)
    assert scores.mase(column(3, 3), truth, context, season=2)[0] == pytest.approx(0.75)


def test_mase_is_the_mean_of_the_windows_ratios_and_not_the_ratio_of_their_means():
    # Contexts that step by 1 and by 4, errors of 2 and 4: ratios 2 and 1, in the means 3 over 2.5.
    context = np.array([[0.0, 1.0, 2.0], [0.0, 4.0, 8.0]])[..., None]
    truth = np.array([[3.0, 4.0], [12.0, 16.0]])[..., None]
    forecast = truth + np.array([[2.0, -2.0], [4.0, -4.0]])[..., None]
    assert scores.mase(forecast, truth, context) == (pytest.approx(1.5), 0)
    # The same as two features of one window, and beside a window that repeats itself, which is left out.
    one = (part.transpose(2, 1, 0) for part in (forecast, truth, context))
    assert scores.mase(*one) == (pytest.approx(1.5), 0)
    still = (np.concatenate([part, np.full_like(part[:1], 7.0)]) for part in (forecast, truth, context))
    assert scores.mase(*still) == (pytest.approx(1.5), 1)


def test_errors_of_several_windows_are_pooled_before_the_root_and_the_shares_are_means_of_points():
    truth = np.array([[1.0, 2.0], [4.0, 0.0]])[..., None]
    forecast = np.array([[2.0, 2.0], [1.0, 0.0]])[..., None]
    assert scores.mae(forecast, truth) == pytest.approx(1.0)
    assert scores.rmse(forecast, truth) == pytest.approx(np.sqrt(10 / 4))
    assert scores.smape(forecast, truth) == pytest.approx((2 / 3 + 0 + 6 / 5 + 0) / 4)
    assert scores.mape(forecast, truth) == (pytest.approx((1 + 0 + 3 / 4) / 3), 1)


def test_smape_counts_a_correct_zero_as_zero():
    assert scores.smape(column(0, 1), column(0, -1)) == pytest.approx(1.0)


@pytest.mark.parametrize("unit", [1e-6, 1e6])
def test_percentage_errors_do_not_depend_on_the_unit(unit):
    forecast, truth = column(1, 2, 0, 0), column(2, 4, 0, 3)
    assert scores.smape(unit * forecast, unit * truth) == pytest.approx((2 / 3 + 4 / 6 + 0 + 2) / 4)
    assert scores.mape(unit * forecast, unit * truth) == (pytest.approx((0.5 + 0.5 + 1) / 3), 1)


def test_mape_leaves_out_zeros_and_says_how_many():
    assert scores.mape(column(1, 1, 1), column(0, 2, 2)) == (pytest.approx(0.5), 1)


@pytest.mark.parametrize("truth", [column(1, -1), column(0, 0)])
def test_mape_is_refused_where_it_means_nothing(truth):
    with pytest.raises(ValueError, match="truth"):
        scores.mape(column(1, 1), truth)


def test_mase_is_refused_when_every_context_repeats_itself():
    with pytest.raises(ValueError, match="repeats itself"):
        scores.mase(column(1), column(2), column(5, 5, 5))


@pytest.mark.parametrize("season", [0, 4])
def test_mase_refuses_a_season_that_does_not_fit(season):
    with pytest.raises(ValueError, match="season"):
        scores.mase(column(1), column(2), column(1, 2, 3, 4)[:, :4], season=season)


def test_baselines_repeat_what_they_say():
    context = column(1, 2, 3, 6)
    assert scores.persistence(context, 3).ravel().tolist() == [6, 6, 6]
    assert scores.seasonal_naive(context, 5, 2).ravel().tolist() == [3, 6, 3, 6, 3]
    assert scores.seasonal_naive(context, 3, 4).ravel().tolist() == [1, 2, 3]
    assert scores.context_mean(context, 2).ravel().tolist() == [3, 3]
    with pytest.raises(ValueError, match="season = 5"):
        scores.seasonal_naive(context, 3, 5)


def test_a_score_that_cannot_be_computed_has_a_reason_instead_of_a_value():
    rng = np.random.default_rng(0)
    forecast, truth, context = rng.normal(size=(3, 4, 2, 1))
    values, reasons = scores.score(forecast, truth, context, np.zeros((4, 1, 1)), np.ones((4, 1, 1)))
    assert "mape" not in values
    assert "negative" in reasons["mape"]
    assert all(np.isfinite(value) for value in values.values())


def test_a_zero_is_still_a_zero_after_scaling_in_float32():
    location, scale = np.full((1, 1, 1), 3.3), np.full((1, 1, 1), 7.1)
    truth = ((column(0, 0, 2) - location) / scale).astype(np.float32)
    assert (truth.astype(float) * scale + location != 0).any()  # else this test shows nothing
    forecast = ((column(1, 1, 1) - location) / scale).astype(np.float32)
    values, reasons = scores.score(forecast, truth, column(1, 2, 4, 7), location, scale)
    assert values["mape"] == pytest.approx(0.5, rel=1e-5)
    assert reasons["mape"].startswith("2 points left out")


def test_data_units_weigh_by_scale_and_scaled_units_do_not():
    forecast, truth = np.ones((2, 1, 1)), np.zeros((2, 1, 1))
    context = np.random.default_rng(0).normal(size=(2, 5, 1))
    scale = np.array([1.0, 9.0]).reshape(2, 1, 1)
    values, _ = scores.score(forecast, truth, context, np.full((2, 1, 1), 10.0), scale)
    assert values["mae"] == pytest.approx(1.0)
    assert values["mae_data"] == pytest.approx(5.0)
    assert values["mape"] == pytest.approx(0.5)
