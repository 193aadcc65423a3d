"""The numbers that leave the spectra stage: right, complete where they must be, small where they may be."""

import dataclasses
import json

import numpy as np
import pytest

from transformer_spectrum.analysis.of_training import densities, plot_tables
from transformer_spectrum.analysis.of_training.metrics_file import headline
from transformer_spectrum.analysis.of_training.rows import cells
from transformer_spectrum.analysis.of_training.thinning import early, evenly, tracked_positions
from transformer_spectrum.runtime.errors import InputError
from transformer_spectrum.runtime.files import write_json
from transformer_spectrum.spectra.analysis import METRICS
from transformer_spectrum.spectra.nulls import NO_VALUE

FAMILIES = [
    "encoder_self_attention",
    "decoder_self_attention",
    "decoder_cross_attention",
    "feed_forward",
    "embedding",
    "readout",
]


@pytest.fixture(scope="module")
def summaries(histories, summarized):
    return summarized(histories)


def as_dicts(header, table):
    assert tuple(table.columns) == header
    return [dict(zip(header, row, strict=True)) for row in cells(table)]


def replaced(histories, optimizer, **changes):
    return {**histories, optimizer: dataclasses.replace(histories[optimizer], **changes)}


def test_headline_has_the_last_step_of_each_optimizer_and_one_null(summaries):
    tree = headline(summaries)
    assert list(tree) == ["initial", "adam", "es", "ga", "reasons"]
    assert tree["adam"]["step"] == 12
    assert tree["es"]["step"] == 17
    for optimizer, position in (("initial", 0), ("adam", 12), ("ga", 17)):
        summary = summaries["adam" if optimizer == "initial" else optimizer]
        members = np.flatnonzero(summary.history.families == "feed_forward")
        for metric in ("stable_rank", "ks_alpha", "ks_distance", "ks_tail"):
            expected = summary.analysis.values[metric][position, members].mean()
            assert tree[optimizer]["feed_forward"][metric] == pytest.approx(expected, rel=1e-5)


def test_headline_is_a_few_dozen_numbers_and_never_an_alpha_without_its_tail(summaries, tmp_path):
    write_json(tmp_path / "spectra.json", headline(summaries))
    tree = json.loads((tmp_path / "spectra.json").read_text())
    for optimizer in ("initial", "adam", "es", "ga"):
        families = {name: block for name, block in tree[optimizer].items() if name != "step"}
        assert list(families) == FAMILIES
        assert 40 <= sum(map(len, families.values())) <= 70
        for family, block in families.items():
            assert {"ks_alpha", "ks_distance", "ks_tail", "ks_alpha_null"} <= set(block)
            assert block["ks_alpha_null"] != block["ks_alpha"], family  # at step 0 every draw of the path is W_0 itself
            assert ("change_stable_rank" in block) == (optimizer != "initial")
    assert tree["reasons"] == [
        {
            "training": "initial",
            "family": family,
            "metrics": ["change_stable_rank"],
            "reason": "zero matrix",
            "lacking": count,
            "matrices": count,
        }
        for family, count in zip(FAMILIES, (8, 8, 8, 8, 2, 1), strict=True)
    ]


def test_headline_gives_the_reason_for_what_it_lacks(with_rank_one_embedding, summarized):
    tree = headline(summarized(with_rank_one_embedding))
    assert tree["adam"]["embedding"] == {"spectral_entropy": 0.0, "stable_rank": 1.0, "change_stable_rank": 1.0}
    assert tree["initial"]["embedding"] == {"spectral_entropy": 0.0, "stable_rank": 1.0}
    missing = ["alpha_exponent", "hill_alpha", "mp_spikes", "ks_alpha", "ks_distance", "ks_tail"]
    why = {"reason": "only one singular value", "lacking": 2, "matrices": 2}
    for training in ("initial", "adam", "es", "ga"):
        assert {"training": training, "family": "embedding", "metrics": missing, **why} in tree["reasons"]


def test_spectra_evolution_carries_the_null_at_every_tracked_step_and_nowhere_else(summaries):
    rows = as_dicts(plot_tables.SPECTRA_EVOLUTION, plot_tables.spectra_evolution(summaries))
    for row in rows:
        summary = summaries[row["optimizer"]]
        start = summary.mean(row["metric"], row["family"])[0]
        assert row["initial"] == ("" if np.isnan(start) else start)
        assert row["step"] > 0 or row["value"] == start
        if row["metric"] == "change_stable_rank":  # nothing has changed at step 0, so there is no direction
            assert (row["initial"], row["step"] > 0) == ("", True)
        has_null = row["step"] in summary.history.steps[summary.tracked]
        assert (row["null_low"] != "") == (row["null_high"] != "") == (row["effect"] != "") == has_null
        if has_null:
            assert row["null_low"] <= row["null_high"]
            middle = (row["null_low"] + row["null_high"]) / 2
            difference = pytest.approx(row["value"] - middle, abs=1e-6 * max(1, abs(middle)))  # recorded in float32
            assert row["effect"] == difference
        assert row["validation_mae"] == summary.history.validation_mae[row["step"]]
        assert row["distance"] == summary.distance(row["family"])[row["step"]]
    assert {row["metric"] for row in rows} == set(plot_tables.EVOLUTION_METRICS)
    assert {row["family"] for row in rows} == set(FAMILIES)


def test_two_revisions_of_a_plot_stay_within_ten_thousand_rows(summaries, forecast):
    for rows in (
        plot_tables.spectra_evolution(summaries),
        plot_tables.heatmap(summaries),
        plot_tables.singular_values(summaries),
        plot_tables.esd(summaries),
        plot_tables.loss(summaries),
        plot_tables.validation(summaries),
        plot_tables.forecasts(forecast),
    ):
        assert 0 < 2 * len(list(rows)) <= 10_000


def test_thinning_keeps_the_beginning_and_the_end(summaries, monkeypatch):
    monkeypatch.setattr(plot_tables, "ROWS_AT_MOST", 1400)
    rows = as_dicts(plot_tables.SPECTRA_EVOLUTION, plot_tables.spectra_evolution(summaries))
    assert 900 < len(rows) <= 1400
    for optimizer, last in (("adam", 12), ("es", 17)):
        steps = sorted({row["step"] for row in rows if row["optimizer"] == optimizer})
        assert (steps[0], steps[1], steps[-1]) == (0, 1, last)
    assert len(list(plot_tables.loss(summaries))) <= 1400
    assert len(list(plot_tables.singular_values(summaries))) <= 1400


@pytest.mark.parametrize(("count", "at_most"), [(1, 6), (2, 2), (5, 6), (151, 6), (10_000, 69)])
def test_evenly_picks_distinct_ascending_positions(count, at_most):
    picked = evenly(count, at_most)
    assert len(picked) == min(count, at_most)
    assert picked[0] == 0
    assert picked[-1] == count - 1
    if len(picked) > 2:
        assert np.ptp(np.diff(picked)) <= 1


@pytest.mark.parametrize(("count", "at_most"), [(1, 2), (5, 6), (151, 2), (151, 3), (641, 39), (10_000, 69)])
def test_early_picks_distinct_ascending_positions_closer_at_the_beginning(count, at_most):
    picked = early(count, at_most)
    assert min(count, max(2, at_most // 2)) <= len(picked) <= at_most
    assert (picked[0], picked[-1]) == (0, count - 1)
    assert (np.diff(picked) > 0).all()
    if at_most > 6:
        assert picked[:4].tolist() == [0, 1, 2, 3]
        assert np.diff(picked).max() <= count / (at_most // 2 - 1) + 1


def test_tracked_steps_are_few_and_hold_start_and_end():
    def generations(count, best, every, at_most):
        return tracked_positions(np.arange(count), np.arange(count), best, every, at_most).tolist()

    assert generations(13, 12, 5, 6) == [0, 1, 5, 10, 12]
    assert generations(13, 7, 5, 6) == [0, 1, 5, 7, 10, 12]
    assert generations(301, 300, 5, 7) == [0, 1, 5, 20, 70, 300]
    assert generations(301, 300, 5, 1000) == [0, 1, *range(5, 301, 5)]
    assert generations(1, 0, 5, 6) == [0]
    for best in range(301):
        for at_most in (4, 5, 9):
            positions = generations(301, best, 5, at_most)
            assert len(positions) <= at_most
            assert {0, 1, best, 300} <= set(positions)


def test_tracked_steps_are_counted_in_rounds_and_given_as_positions():
    updates, epochs = np.array([0, 1, 2, 4, 8, 9, 18, 27, 36]), np.array([0, 0, 0, 0, 0, 1, 2, 3, 4])
    assert tracked_positions(updates, epochs, 36, 2, 10).tolist() == [0, 1, 2, 3, 4, 5, 6, 8]
    assert tracked_positions(updates, epochs, 27, 4, 10).tolist() == [0, 1, 2, 3, 4, 5, 7, 8]
    assert tracked_positions(np.array([0, 2, 4, 5]), np.array([0, 2, 4, 5]), 5, 5, 6).tolist() == [0, 3]


def test_the_null_band_comes_from_the_initial_matrices_plus_their_shuffled_changes(summaries):
    summary = summaries["es"]
    members = summary.families["feed_forward"]
    last = summary.tracked[-1]
    draws = summary.evidence.nulls["path"][-1].values["hill_alpha"][:, members].mean(axis=1)
    low, high = summary.band("hill_alpha", "feed_forward")
    assert low[last] == pytest.approx(draws.mean() - 2 * draws.std(ddof=1))
    assert high[last] == pytest.approx(draws.mean() + 2 * draws.std(ddof=1))
    assert np.flatnonzero(np.isfinite(low)).tolist() == summary.tracked
    means = summary.mean("hill_alpha", "feed_forward")
    against = summary.effect("hill_alpha", "feed_forward", -1)
    assert against.difference == pytest.approx(means[-1] - draws.mean(), rel=1e-4)
    ranks = summary.evidence.nulls["path"][-1].values["stable_rank"][:, members].mean(axis=1)
    against, means = summary.effect("stable_rank", "feed_forward", -1), summary.mean("stable_rank", "feed_forward")
    assert against.deviations == pytest.approx((means[-1] - ranks.mean()) / ranks.std(ddof=1), rel=1e-4)
    own = summary.evidence.nulls["change_shuffled"][-1].values["change_hill_alpha"][:, members].mean(axis=1)
    moved = summary.mean("change_hill_alpha", "feed_forward")[-1]
    assert summary.effect("change_hill_alpha", "feed_forward", -1).difference == pytest.approx(
        moved - own.mean(), rel=1e-4
    )


def test_what_has_not_moved_has_an_effect_of_exactly_nothing(summaries):
    for summary in summaries.values():
        assert summary.tracked[0] == 0
        for family in summary.families:
            assert summary.effects("spectral_norm", family)[0][0] == 0
            for metric in METRICS:
                against = summary.effect(metric, family, 0)
                assert against.difference == 0 or str(against.reason) == NO_VALUE, (family, metric)


def test_the_heat_map_holds_every_matrix_and_its_change_in_percent(summaries):
    rows = as_dicts(plot_tables.HEATMAP, plot_tables.heatmap(summaries))
    assert {row["matrix"] for row in rows} == set(summaries["adam"].history.names.tolist())
    assert {row["metric"] for row in rows} == set(plot_tables.HEAT_METRICS)
    ga = summaries["ga"].history
    picked = {
        row["step"]: row
        for row in rows
        if (row["optimizer"], row["matrix"], row["metric"]) == ("ga", "readout", "spectral_norm")
    }
    assert picked[0]["change"] == 0
    first, last = float(np.nanmax(ga.singular_values[0, -1])), float(np.nanmax(ga.singular_values[17, -1]))
    assert picked[17]["change"] == pytest.approx(100 * (last / first - 1), rel=1e-5)


def test_singular_values_are_family_means_by_rank_beside_the_initial_ones(summaries):
    rows = as_dicts(plot_tables.SINGULAR_VALUES, plot_tables.singular_values(summaries))
    adam = summaries["adam"].history
    members = np.flatnonzero(adam.families == "embedding")
    picked = [row for row in rows if (row["optimizer"], row["family"], row["step"]) == ("adam", "embedding", 12)]
    changes = [row for row in picked if row["of"] == "change"]
    picked = [row for row in picked if row["of"] == "weights"]
    assert [row["rank"] for row in picked] == list(range(1, 13))
    np.testing.assert_allclose(
        [row["value"] for row in picked], adam.singular_values[12, members, :12].mean(axis=0), rtol=1e-6
    )
    np.testing.assert_allclose(
        [row["reference"] for row in picked], adam.singular_values[0, members, :12].mean(axis=0), rtol=1e-6
    )
    np.testing.assert_allclose(
        [row["value"] for row in changes], adam.change_singular_values[12, members, :12].mean(axis=0), rtol=1e-6
    )
    own = summaries["adam"].evidence.shuffled_change[-1][members, :12].mean(axis=0)
    np.testing.assert_allclose([row["reference"] for row in changes], own, rtol=1e-6)
    assert {row["of"] for row in rows if row["step"] == 0} == {"weights"}


def test_a_rank_that_starts_as_zero_has_no_ratio_and_leaves_the_others_theirs(summaries):
    adam = summaries["adam"]
    (members,) = np.nonzero(adam.history.families == "readout")
    values = adam.history.singular_values.copy()
    values[0, members, 11] = 0.0
    changed = dataclasses.replace(adam, history=dataclasses.replace(adam.history, singular_values=values))
    ratios = changed.singular_value_ratios("readout", 12)
    assert np.isnan(ratios[11])
    expected = values[12, members, :11].mean(axis=0) / values[0, members, :11].mean(axis=0)
    np.testing.assert_allclose(ratios[:11], expected, rtol=1e-6)


@pytest.mark.parametrize("log", [True, False])
def test_a_bin_stands_for_about_six_eigenvalues_of_a_step(summaries, log):
    history = summaries["ga"].history
    counts = set()
    for family in FAMILIES:
        eigenvalues = int(history.shapes[history.families == family].min(axis=1).sum())
        bins = min(max(eigenvalues // 6, 8), 30)
        assert len(densities.esd_edges(summaries, family, log=log)) == bins + 1
        counts.add(bins)
    assert len(counts) > 1  # else this test shows less


def test_the_initial_density_has_mean_eigenvalue_one_and_bins_that_hold_almost_all(summaries):
    summary = summaries["ga"]
    assert summary.pooled_eigenvalues("feed_forward", 0).mean() == pytest.approx(1, rel=1e-6)
    assert summary.pooled_eigenvalues("feed_forward", 17).mean() == pytest.approx(
        np.mean(summary.history.singular_values[17][summary.history.families == "feed_forward"].astype(float) ** 2)
        / np.mean(summary.history.singular_values[0][summary.history.families == "feed_forward"].astype(float) ** 2),
        rel=1e-5,
    )
    for family in FAMILIES:
        edges = densities.esd_edges(summaries, family)
        assert (np.diff(edges) > 0).all()
        for one in summaries.values():
            heights = densities.density(one.pooled_eigenvalues(family, one.tracked[-1]), edges)
            assert 0.85 < (heights * np.diff(edges)).sum() <= 1 + 1e-9
        linear = densities.esd_edges(summaries, family, log=False)
        inside = densities.density(summary.pooled_eigenvalues(family, 17), linear) * np.diff(linear)
        assert inside.sum() == pytest.approx(1)


def test_esd_rows_are_positive_densities_at_the_tracked_steps(summaries):
    rows = as_dicts(plot_tables.ESD, plot_tables.esd(summaries))
    assert all(row["density"] > 0 and row["eigenvalue"] > 0 for row in rows)
    assert {row["step"] for row in rows if row["optimizer"] == "adam"} == {0, 1, 5, 10, 11, 12}  # 11: the best
    assert {row["family"] for row in rows} == set(FAMILIES)


def test_loss_leaves_out_what_was_never_evaluated(summaries):
    rows = as_dicts(plot_tables.LOSS, plot_tables.loss(summaries))
    adam = [row for row in rows if row["optimizer"] == "adam"]
    assert [row["split"] for row in adam if row["step"] == 0] == ["validation"]
    assert len(adam) == 2 * 13 - 1
    history = summaries["es"].history
    es = {(row["step"], row["split"]): row for row in rows if row["optimizer"] == "es"}
    assert es[7, "train"]["loss"] == history.loss[7]
    assert es[7, "validation"]["loss"] == history.validation_loss[7]
    assert es[7, "train"]["evaluations"] == 7 * 32


def test_validation_says_where_residuals_lie_and_marks_the_best_step_even_where_it_is_thinned(summaries, monkeypatch):
    monkeypatch.setattr(plot_tables, "ROWS_AT_MOST", 24)
    rows = as_dicts(plot_tables.VALIDATION, plot_tables.validation(summaries))
    for optimizer, summary in summaries.items():
        history, mine = summary.history, [row for row in rows if row["optimizer"] == optimizer]
        assert len(mine) <= 5
        assert [row["step"] for row in mine if row["best"]] == [history.best_step]
        for row in mine:
            position = row["step"]  # every step is recorded
            assert row["evaluations"] == history.evaluations[position]
            for name in ("validation_mae", "residual_mad", "influence_cosine"):
                assert row[name] == getattr(history, name)[position]


def test_the_step_marked_as_best_is_the_one_whose_weights_were_selected_whatever_its_validation_mae(summaries):
    history = summaries["adam"].history
    worst = int(history.steps[history.validation_mae.argmax()])
    selected = {"adam": dataclasses.replace(summaries["adam"], history=dataclasses.replace(history, best_step=worst))}
    rows = as_dicts(plot_tables.VALIDATION, plot_tables.validation(selected))
    assert [row["step"] for row in rows if row["best"]] == [worst]


def test_forecasts_count_time_from_the_first_step_to_forecast(forecast):
    rows = as_dicts(plot_tables.FORECASTS, plot_tables.forecasts(forecast, windows_at_most=3))
    assert {row["window"] for row in rows} == {0, 4, 8}
    assert {row["series"] for row in rows} == {"context", "truth", "adam", "es", "ga"}
    picked = {(row["series"], row["feature"], row["time"]): row["value"] for row in rows if row["window"] == 4}
    assert picked["context", 1, -1] == forecast["context"][4, -1, 1]
    assert picked["context", 0, -72] == forecast["context"][4, 0, 0]
    assert picked["truth", 0, 0] == forecast["truth"][4, 0, 0]
    assert picked["ga", 1, 23] == forecast["forecast"]["ga"][4, 23, 1]
    assert {row["entity"] for row in rows if row["window"] == 4} == {"series 4"}


def test_many_features_are_cut_to_the_rows_that_a_plot_takes(forecast, monkeypatch):
    monkeypatch.setattr(plot_tables, "ROWS_AT_MOST", 1000)
    rows = as_dicts(plot_tables.FORECASTS, plot_tables.forecasts(forecast))
    assert {row["feature"] for row in rows} == {0}


def test_trainings_that_started_elsewhere_are_refused(histories, summarized):
    values = histories["ga"].singular_values.copy()
    values[0] *= 1.5
    with pytest.raises(InputError, match="adam and ga did not start from the same weights"):
        summarized(replaced(histories, "ga", singular_values=values))
    with pytest.raises(InputError, match="adam and es trained different matrices"):
        summarized(replaced(histories, "es", names=histories["es"].names[::-1]))


def test_a_history_that_is_not_finite_is_refused_by_name(histories, summarized):
    values = histories["es"].singular_values.copy()
    values[3, 0, 0] = np.inf
    with pytest.raises(InputError, match="history of es: singular value 0 of matrix 0 at step position 3 is inf"):
        summarized(replaced(histories, "es", singular_values=values))
    changes = histories["es"].change_singular_values.copy()
    changes[2, 1, 0] = np.nan
    with pytest.raises(InputError, match="history of es: singular value 0 of matrix 1 at step position 2 is nan"):
        summarized(replaced(histories, "es", change_singular_values=changes))
