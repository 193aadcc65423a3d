"""Every number of the figures, on the page and in the pictures, computed once more from histories and weights."""

import csv
import io

import numpy as np
import pandas as pd
import pytest
from matplotlib.patches import StepPatch
from recomputed import BEST, BOOTSTRAP, SHUFFLES, TRACKED, Recomputed

from transformer_spectrum.analysis.of_training import plot_tables
from transformer_spectrum.analysis.of_training.smoothing import running_median
from transformer_spectrum.report.charts import esd, evolution, forecasts, gallery, heatmap, loss, singular_values
from transformer_spectrum.report.charts import moved as chart_of_moves
from transformer_spectrum.report.figures import caption
from transformer_spectrum.report.figures import heatmap as heatmap_words
from transformer_spectrum.report.page.numbers import number, signed
from transformer_spectrum.report.pictures import esd as picture_of_densities
from transformer_spectrum.report.pictures import evolution as picture_of_evolution
from transformer_spectrum.report.pictures import forecasts as picture_of_forecasts
from transformer_spectrum.report.pictures import heatmap as picture_of_changes
from transformer_spectrum.spectra.effects import UNUSABLE
from transformer_spectrum.vocabulary import display_name, family_words, metric_words

CAPTION = caption.Caption("synthetic", "scaled units", "mse", "", "squared units", 1, standin=False)


@pytest.fixture(scope="module")
def truth(few_histories, kept):
    return Recomputed(few_histories, kept(few_histories))


@pytest.fixture(scope="module")
def summaries(few_histories, summarized):
    return summarized(few_histories, bootstrap=BOOTSTRAP)


def near(value, rel=1e-6):
    return pytest.approx(float(value), rel=rel, abs=1e-9)


def short(value):
    return "–" if value is None else f"{value:.4g}".replace("-", "−")


METRIC_NAMED = {metric_words(metric): metric for metric in plot_tables.EVOLUTION_METRICS}
OPTIMIZER_NAMED = {display_name(name): name for name in TRACKED}


def family_of(words_of_family, truth):
    return next(family for family in truth.families if family_words(family) == words_of_family)


def read(cell):
    return None if cell == "–" else float(cell.replace("−", "-"))


def test_the_effects_in_the_figure_and_its_table_are_those_of_the_best_steps(run, truth):
    rows, header = chart_of_moves.numbers(run).rows, chart_of_moves.numbers(run).header
    assert header == ("metric", "family", "optimizer", "initial", "value", "null", "effect", "deviations")
    assert rows[0][0] == metric_words("change_stable_rank")
    assert len(rows) == len(run.shifts)
    for words, family, title, *cells in rows:
        metric, optimizer, family = METRIC_NAMED[words], OPTIMIZER_NAMED[title], family_of(family, truth)
        if (optimizer, metric) == ("adam", "change_mp_spikes"):
            continue  # of rank 3: what is left is rounding
        initial, value, null, effect, deviations = map(read, cells)
        difference, expected = truth.effect(optimizer, BEST[optimizer], family, metric)
        mean = truth.mean(optimizer, BEST[optimizer], family, metric)
        assert value == pytest.approx(mean, rel=6e-4)
        assert null == pytest.approx(mean - difference, rel=6e-4)
        assert effect == pytest.approx(difference, rel=1e-3, abs=1e-4 * abs(mean))
        if not metric.startswith("change_"):
            assert initial == pytest.approx(truth.mean(optimizer, 0, family, metric), rel=6e-4)
        assert (metric.removeprefix("change_") in UNUSABLE) <= (deviations is None)
        assert deviations is None or deviations == pytest.approx(expected, rel=1e-3, abs=0.006)
    figure = next(chart for chart in gallery.charts(run) if chart.name == "moved")
    points = list(csv.DictReader(io.StringIO(figure.data)))
    assert len(points) == sum(row[-1] != "–" for row in rows) > len(rows) / 3
    for row in points:
        shift = run.shift(row["optimizer"], row["family"], row["metric"])
        for name in ("value", "null", "effect", "deviations"):
            assert float(row[name]) == pytest.approx(getattr(shift, name), rel=1e-3, abs=1e-4)


def test_the_means_beside_their_nulls_are_those_of_the_best_steps(run, truth):
    for words, family, initial, *cells in evolution.numbers(run).rows:
        metric, family = METRIC_NAMED[words], family_of(family, truth)
        if not metric.startswith("change_"):
            assert initial == short(truth.mean(truth.first, 0, family, metric))
        for i, (optimizer, best) in enumerate(BEST.items()):
            if (optimizer, metric) == ("adam", "change_mp_spikes"):
                continue
            value, null = cells[2 * i : 2 * i + 2]
            middle, sd = truth.null(optimizer, best, truth.families[family], metric)
            assert read(value) == pytest.approx(truth.mean(optimizer, best, family, metric), rel=6e-4)
            low, high = map(read, null.split(" to "))
            assert (low, high) == (
                pytest.approx(middle - 2 * sd, rel=6e-4, abs=1e-6),
                pytest.approx(middle + 2 * sd, rel=6e-4, abs=1e-6),
            )


def test_the_losses_on_the_page_are_at_the_first_the_best_and_the_last_step(run, truth):
    rows = iter(loss.numbers(run).rows)
    for optimizer, history in truth.histories.items():
        for place, position in (("start", 0), ("best", BEST[optimizer]), ("end", len(history.steps) - 1)):
            values = (history.loss[position], history.validation_loss[position], history.validation_mae[position])
            shown = (number(None if np.isnan(value) else float(value)) for value in values)
            assert next(rows) == (display_name(optimizer), place, f"{position:,}", *shown)


def test_the_largest_eigenvalues_and_singular_values_on_the_page(run, truth):
    for family, *shown in singular_values.numbers(run).rows:
        members = truth.families[family_of(family, truth)]
        places = [(truth.first, 0), *((name, positions[-1]) for name, positions in TRACKED.items())]
        tops = [truth.histories[name].singular_values[p, members, 0].astype(float).mean() for name, p in places]
        assert shown[:4] == [short(top) for top in tops]
        for i, (name, positions) in enumerate(TRACKED.items()):
            spectra = [np.linalg.svd(truth.change(name, positions[-1], m), compute_uv=False)[0] for m in members]
            drawn = truth.null_spectra(name, positions[-1], "change_shuffled")
            shuffled = np.mean([drawn[draw, m][0] for draw in range(SHUFFLES) for m in members])
            assert read(shown[4 + 2 * i]) == pytest.approx(np.mean(spectra), rel=6e-4)
            assert read(shown[5 + 2 * i]) == pytest.approx(shuffled, rel=6e-4)
    for family, *shown in esd.numbers(run).rows:
        family = family_of(family, truth)
        edges, tops = truth.edges(family), []
        for name, position in places:
            bin_of = np.searchsorted(edges, truth.pooled(name, position, family).max() * (1 - 1e-9)) - 1
            tops.append(np.sqrt(edges[bin_of] * edges[bin_of + 1]))
        assert shown == [short(top) for top in tops]


def test_the_matrices_that_changed_most_are_ranked_by_size_at_the_last_step(run, truth):
    changes = []
    for optimizer, positions in TRACKED.items():
        for m, matrix in enumerate(truth.names):
            start, last = (truth.of_history[optimizer][p][m]["stable_rank"] for p in (0, positions[-1]))
            changes.append((abs(last / start - 1), matrix, optimizer, last, 100 * (last / start - 1)))
    changes.sort(reverse=True)
    shown = heatmap.numbers(run).rows
    assert len(shown) == 12
    for row, (_, matrix, optimizer, last, change) in zip(shown, changes, strict=False):
        assert row == (matrix, display_name(optimizer), short(last), signed(change))


def test_the_colours_of_the_heat_map_end_where_one_change_in_a_hundred_is_larger(run, truth):
    spec = next(one for one in gallery.charts(run) if one.name == "layers").spec
    (limits,) = (param["value"] for param in spec["params"] if param["name"] == "limits")
    assert set(limits) == set(plot_tables.HEAT_METRICS)
    for metric, limit in limits.items():
        sizes = []
        for steps in truth.of_history.values():
            for m in truth.shapes:
                sizes += [abs(100 * (step[m][metric] / steps[0][m][metric] - 1)) for step in steps]
        assert limit == pytest.approx(np.quantile(sizes, 0.99, method="lower"), rel=6e-3)  # three digits
    assert heatmap_words.limit(-value for value in range(1, 101)) == 99
    assert heatmap_words.limit([0.0]) == heatmap_words.limit([]) == 1e-6


def test_the_errors_on_the_page_are_mean_absolute_errors_of_each_window(run, forecast):
    rows = forecasts.numbers(run).rows
    assert forecasts.numbers(run).header == ("window", *map(display_name, forecast["forecast"]))
    windows = np.linspace(0, 8, 6).round().astype(int)
    assert len(rows) == len(windows)
    for (name, *shown), window in zip(rows, windows, strict=True):
        assert name == f"series {window} (window {window})"
        errors = [np.abs(values[window] - forecast["truth"][window]).mean() for values in forecast["forecast"].values()]
        assert shown == [short(error) for error in errors]


def test_the_heights_of_the_drawn_densities_are_shares_over_widths(truth, summaries):
    figure = picture_of_densities.draw(summaries, CAPTION)
    drawn = [axes for axes in figure.findobj(lambda artist: hasattr(artist, "get_xscale")) if axes.patches]
    assert len(drawn) == 2 * 3 * len(truth.families)
    for log in (False, True):
        panels = [axes for axes in drawn if (axes.get_xscale() == "log") is log]
        for axes, (family, optimizer) in zip(
            panels, [(family, name) for family in truth.families for name in TRACKED], strict=True
        ):
            stairs = [patch.get_data() for patch in axes.patches if isinstance(patch, StepPatch)]
            positions = [*TRACKED[optimizer][1:], 0, 0]
            for (values, edges, _), position in zip(stairs, positions, strict=True):
                pooled = truth.pooled(optimizer, position, family)
                inside = ((pooled >= edges[0]) & (pooled <= edges[-1])).mean()
                assert (np.nan_to_num(values) * np.diff(edges)).sum() == near(inside)
                top = int(np.nanargmax(values))
                low, high = edges[top], edges[top + 1]
                count = ((pooled >= low) & ((pooled < high) | (top == len(values) - 1))).sum()
                assert values[top] == near(count / len(pooled) / (high - low))


def test_the_bold_line_of_alpha_is_its_median_over_a_tenth_of_the_steps():
    generator = np.random.default_rng(0)
    for steps in (5, 41, 100):
        values = generator.normal(size=steps)
        width = 2 * (steps // 20) + 1
        expected = pd.Series(values).rolling(width, center=True, min_periods=1).median().to_numpy()
        np.testing.assert_allclose(running_median(values), expected)
    gaps = np.array([np.nan] * 9 + [1.0, 5.0, 2.0] + [np.nan] * 30)
    medians = running_median(gaps)
    expected = pd.Series(gaps).rolling(5, center=True, min_periods=1).median().to_numpy()
    np.testing.assert_allclose(medians, expected)


def test_the_drawn_heat_map_ends_where_one_change_in_a_hundred_is_larger(truth, summaries):
    figure = picture_of_changes.draw(summaries, CAPTION)
    meshes = [axes.collections[0] for axes in figure.axes if axes.get_label() != "<colorbar>"]
    for row, metric in enumerate(plot_tables.HEAT_METRICS):
        changes = [
            np.array([[100 * (step[m][metric] / steps[0][m][metric] - 1) for step in steps] for m in truth.shapes])
            for steps in truth.of_history.values()
        ]
        sizes = np.abs(np.concatenate([change.ravel() for change in changes]))
        limit = float(f"{np.quantile(sizes, 0.99, method='lower'):.3g}")  # as on the page
        for mesh, change in zip(meshes[3 * row : 3 * row + 3], changes, strict=True):
            np.testing.assert_allclose(mesh.get_array(), change, rtol=1e-4, atol=1e-4)
            assert mesh.get_clim() == (near(-limit, rel=1e-4), near(limit, rel=1e-4))


@pytest.mark.parametrize(
    ("figure", "curve", "columns"),
    [
        ("loss", "loss", ("step", "evaluations", "loss")),
        ("evolution", "spectra_evolution", ("step", "value", "null_low", "null_high")),
        ("esd", "esd", ("step", "eigenvalue", "density")),
        ("layers", "heatmap", ("step", "row", "value", "change")),
    ],
)
def test_the_data_of_a_figure_are_those_of_its_table(run, figure, curve, columns):
    made = next(one for one in gallery.charts(run) if one.name == figure)
    for row, expected in zip(csv.DictReader(io.StringIO(made.data)), run.curves[curve].to_dict("records"), strict=True):
        for column in columns:
            value = float(row[column]) if row[column] else np.nan
            assert value == pytest.approx(float(expected[column]), rel=1e-3, nan_ok=True)
        if "progress" in row:
            steps = TRACKED[row["optimizer"]]
            progress = steps.index(int(row["step"])) / (len(steps) - 1)
            assert float(row["progress"]) == pytest.approx(progress, abs=0.006)


def test_the_drawn_forecasts_are_those_stored(forecast):
    windows = np.linspace(0, 8, 6).round().astype(int)
    for axes, window in zip(picture_of_forecasts.draw(forecast, CAPTION).axes, windows, strict=True):
        drawn = [line.get_ydata() for line in axes.lines]
        np.testing.assert_array_equal(drawn[0], forecast["truth"][window, :, 0])
        for values, line in zip(forecast["forecast"].values(), drawn[2:], strict=True):
            np.testing.assert_array_equal(line, values[window, :, 0])


def test_the_drawn_curves_are_family_means_beside_the_null_of_each_tracked_step(truth, summaries):
    figure = picture_of_evolution.draw(summaries, CAPTION)
    panels = iter(figure.axes)
    for metric in plot_tables.EVOLUTION_METRICS:
        for family, members in truth.families.items():
            axes = next(panels)
            if metric == "change_mp_spikes":
                continue  # Adam's changes, of rank 3, have none
            lines = [line for line in axes.lines if len(line.get_ydata()) > 2]
            thin = lines[::2] if metric == "ks_alpha" else lines
            for line, (optimizer, history) in zip(thin, truth.histories.items(), strict=True):
                first = int(metric.startswith("change_"))
                means = [truth.mean(optimizer, p, family, metric) for p in range(first, len(history.steps))]
                drawn = np.asarray(line.get_ydata(), float)[first:]
                np.testing.assert_allclose(drawn, means, rtol=2e-5)
            if metric.removeprefix("change_") in ("stable_rank", "spectral_entropy"):
                for band, (optimizer, steps) in zip(axes.collections, TRACKED.items(), strict=True):
                    corners = np.concatenate([path.vertices for path in band.get_paths()])
                    for step in steps[1:]:
                        middle, sd = truth.null(optimizer, step, members, metric)
                        heights = corners[np.isclose(corners[:, 0], step), 1]
                        ends = near(middle - 2 * sd, rel=1e-4), near(middle + 2 * sd, rel=1e-4)
                        assert (heights.min(), heights.max()) == ends
