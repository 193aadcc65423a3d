"""Every number of the tables, the page and the pictures, computed once more from the stored histories and weights.

Nothing here asks `Summary`, `Evidence` or `tables` what is right: singular values come from the histories, entries from
the snapshots, nulls from shuffles drawn here, means and spreads from plain numpy.
"""

import csv
import dataclasses
import io
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from matplotlib.patches import StepPatch

from transformer_spectrum.analysis.of_training import densities, long_tables, plot_tables
from transformer_spectrum.analysis.of_training.metrics_file import HEADLINE_METRICS, headline
from transformer_spectrum.analysis.of_training.rows import cells
from transformer_spectrum.analysis.of_training.smoothing import running_median
from transformer_spectrum.report.charts import esd, evolution, forecasts, gallery, heatmap, loss, singular_values
from transformer_spectrum.report.charts import moved as chart_of_moves
from transformer_spectrum.report.figures import caption
from transformer_spectrum.report.figures import heatmap as heatmap_words
from transformer_spectrum.report.figures import singular_values as spectrum_words
from transformer_spectrum.report.page.numbers import number, signed
from transformer_spectrum.report.pictures import esd as picture_of_densities
from transformer_spectrum.report.pictures import evolution as picture_of_evolution
from transformer_spectrum.report.pictures import forecasts as picture_of_forecasts
from transformer_spectrum.report.pictures import heatmap as picture_of_changes
from transformer_spectrum.report.pictures import overview
from transformer_spectrum.report.pictures import singular_values as picture_of_singular_values
from transformer_spectrum.report.run_page import tables as page_tables
from transformer_spectrum.runtime.seeds import numpy_generator, torch_generator
from transformer_spectrum.spectra import metrics, nulls, power_law, random_matrix, tail_tests
from transformer_spectrum.spectra.analysis import METRICS
from transformer_spectrum.spectra.submatrices import farms_alpha
from transformer_spectrum.study import spectra_rows
from transformer_spectrum.vocabulary import display_name, family_words, metric_words

SEED, SHUFFLES, BOOTSTRAP, MIN_TAIL = 0, 4, 5, 8
TRACKED = {"adam": [0, 1, 5, 10, 12], "es": [0, 1, 5, 10, 15, 17], "ga": [0, 1, 5, 10, 15, 17]}
COLUMNS = {  # of the values of `every_metric`, as METRICS has them
    "alpha_exponent": ("alpha_exponent", "alpha_exponent_se", "alpha_exponent_r_squared"),
    "ks": ("ks_alpha", "ks_alpha_se", "ks_xmin", "ks_distance", "ks_tail"),
    "bulk": ("mp_variance", "mp_upper_edge", "tw_edge", "mp_spikes", "mp_soft_rank", "mp_distance"),
}
CAPTION = caption.Caption("synthetic", "scaled units", "mse", "", "squared units", 1, standin=False)


def every_metric(spectrum, shape):
    """Each metric of one spectrum (r,): by plain formulas where there are some, else by its estimator alone."""
    s = np.asarray(spectrum, dtype=np.float64)
    energies = s**2 / (s**2).sum()
    entropy = -(energies * np.log(energies)).sum()
    shares = s / s.sum()
    hill_count = power_law.hill_count(len(s), 0.25)
    decay = metrics.alpha_exponent(s, (0.0, 0.5))
    fit = power_law.clauset_fit(s**2, MIN_TAIL, "two_sided")
    bulk = random_matrix.fit_bulk(s, shape, level=0.99)
    alpha = float(fit.alpha)
    return {
        "spectral_entropy": entropy,
        "spectral_entropy_normalised": entropy / np.log(len(s)),
        "effective_rank": np.exp(-(shares * np.log(shares)).sum()),
        "participation_ratio": 1 / (energies**2).sum(),
        "stable_rank": (s**2).sum() / s.max() ** 2,
        "spectral_norm": s.max(),
        "frobenius_norm": np.sqrt((s**2).sum()),
        "condition_number": s.max() / s.min(),
        "numerical_rank": len(s),
        **dict(zip(COLUMNS["alpha_exponent"], (decay.alpha, decay.standard_error, decay.r_squared), strict=True)),
        "hill_alpha": 1 + hill_count / np.log(s[:hill_count] ** 2 / s[hill_count] ** 2).sum(),
        **dict(zip(COLUMNS["ks"], (alpha, fit.standard_error, fit.xmin, fit.distance, fit.tail), strict=True)),
        "alpha_hat": alpha * np.log10(s.max() ** 2),
        "log_alpha_norm": np.log10(((s**2) ** alpha).sum()),
        **dict(
            zip(
                COLUMNS["bulk"],
                (
                    bulk.variance,
                    bulk.upper_edge,
                    bulk.tracy_widom_edge,
                    bulk.spikes,
                    bulk.soft_rank,
                    bulk.distance,
                ),
                strict=True,
            )
        ),
    }


class Recomputed:
    """Everything about the trainings of `few_histories` that the tables may say."""

    def __init__(self, histories, snapshots):
        self.histories, self.snapshots = histories, snapshots
        self.first = next(iter(histories))
        self.names = histories[self.first].names.tolist()
        self.shapes = {m: tuple(shape) for m, shape in enumerate(histories[self.first].shapes.tolist())}
        families = histories[self.first].families
        self.families = {name: np.flatnonzero(families == name).tolist() for name in dict.fromkeys(families.tolist())}
        self.of_history = {
            name: [[every_metric(history.spectrum(p, m), self.shapes[m]) for m in self.shapes] for p in range(steps)]
            for name, history in histories.items()
            for steps in [len(history.steps)]
        }
        self.draws = {}

    def matrix(self, optimizer, step, m):
        kept = self.snapshots[optimizer]
        return kept.weights[self.names[m]][kept.steps.index(step)].astype(np.float64)

    def mean(self, optimizer, position, family, metric):
        return np.mean([self.of_history[optimizer][position][m][metric] for m in self.families[family]])

    def shuffled(self, optimizer, step):
        """(draw, matrix) -> metrics of the matrices with their entries in random places."""
        key = (optimizer if step else self.first, step)
        if key not in self.draws:
            purpose = f"shuffles {optimizer} {step}" if step else "shuffles initial"
            generator = torch_generator(SEED, purpose)
            drawn = {}
            for shape in dict.fromkeys(self.shapes.values()):
                members = [m for m in self.shapes if self.shapes[m] == shape]
                stack = np.stack([self.matrix(key[0], step, m) for m in members])
                values = nulls.shuffled_singular_values(stack, SHUFFLES, generator)
                for i, m in enumerate(members):
                    for draw in range(SHUFFLES):
                        drawn[draw, m] = every_metric(values[draw, i], shape)
            self.draws[key] = drawn
        return self.draws[key]

    def null(self, optimizer, step, members, metric):
        """Mean and standard deviation over draws of the mean over matrices."""
        drawn = self.shuffled(optimizer, step)
        means = [np.mean([drawn[draw, m][metric] for m in members]) for draw in range(SHUFFLES)]
        return np.mean(means), np.std(means, ddof=1)

    def pooled(self, optimizer, position, family):
        spectra = {
            p: np.concatenate([self.histories[optimizer].spectrum(p, m).astype(float) for m in self.families[family]])
            for p in (0, position)
        }
        return spectra[position] ** 2 / np.mean(spectra[0] ** 2)

    def edges(self, family):
        """Bins of the densities: one for six eigenvalues, 8 to 30, from the 2 % quantile of all that are shown."""
        shown = [self.pooled(name, p, family) for name, positions in TRACKED.items() for p in positions]
        bins = min(30, max(8, len(shown[0]) // 6))
        every = np.concatenate(shown)
        return np.exp(np.linspace(np.log(np.quantile(every, 0.02)), np.log(every.max()), bins + 1))


@pytest.fixture(scope="module")
def truth(few_histories, kept):
    return Recomputed(few_histories, kept(few_histories))


@pytest.fixture(scope="module")
def summaries(few_histories, summarized):
    return summarized(few_histories, bootstrap=BOOTSTRAP)


def as_dicts(header, table):
    assert tuple(table.columns) == header
    return [dict(zip(header, row, strict=True)) for row in cells(table)]


def near(value, rel=1e-6):
    return pytest.approx(float(value), rel=rel, abs=1e-9)


# -- CSV ---------------------------------------------------------------------------------------------------------------
def test_the_history_holds_every_metric_of_every_matrix_at_every_step(truth, summaries):
    rows = as_dicts(long_tables.SPECTRA_HISTORY, long_tables.spectra_history(summaries))
    assert len(rows) == sum(len(history.steps) for history in truth.histories.values()) * len(truth.names)
    for row in rows:
        m, position = truth.names.index(row["matrix"]), row["step"]  # every step is recorded
        expected = truth.of_history[row["optimizer"]][position][m]
        assert {name: float(row[name]) for name in METRICS} == {name: near(expected[name]) for name in METRICS}
        assert row["evaluations"] == truth.histories[row["optimizer"]].evaluations[position]
        assert m in truth.families[row["family"]]
        assert (row["rows"], row["columns"]) == truth.shapes[m]


def test_every_null_is_of_the_step_and_the_matrix_it_stands_beside(truth, summaries):
    rows = as_dicts(long_tables.SPECTRA_NULLS, long_tables.spectra_nulls(summaries))
    assert len(rows) == sum(map(len, TRACKED.values())) * len(truth.names) * len(METRICS)
    rounded = {"rel": 2e-4}  # the tables are of entries in float64, the histories of values in float32
    for row in rows:
        optimizer, step, metric = row["optimizer"], row["step"], row["metric"]
        m = truth.names.index(row["matrix"])
        value, start = (truth.of_history[optimizer][p][m][metric] for p in (step, 0))
        own, own_sd = truth.null(optimizer, step, [m], metric)
        _, initial_sd = truth.null(optimizer, 0, [m], metric)
        assert float(row["value"]) == near(value, **rounded)
        assert float(row["initial"]) == near(start, **rounded)
        assert float(row["shuffled_mean"]) == near(own)
        assert float(row["shuffled_sd"]) == pytest.approx(own_sd, rel=1e-5, abs=1e-8 * max(1, abs(own)))
        assert float(row["initial_sd"]) == pytest.approx(initial_sd, rel=1e-5, abs=1e-8 * max(1, abs(start)))


def test_the_tests_of_a_tail_are_of_the_step_they_stand_at(truth, summaries):
    rows = as_dicts(long_tables.SPECTRA_TAILS, long_tables.spectra_tails(summaries))
    assert len(rows) == 3 * 2 * len(truth.names)
    p_values = {}
    for row in rows:
        optimizer, step, m = row["optimizer"], row["step"], truth.names.index(row["matrix"])
        matrix = truth.matrix(optimizer, step, m)
        eigenvalues = np.linalg.svd(matrix, compute_uv=False) ** 2
        fit = power_law.clauset_fit(eigenvalues, MIN_TAIL, "two_sided")
        for column, value in zip(
            ("ks_alpha", "ks_alpha_se", "ks_distance", "ks_tail", "ks_xmin"),
            (fit.alpha, fit.standard_error, fit.distance, fit.tail, fit.xmin),
            strict=True,
        ):
            assert float(row[column]) == near(value)
        own, own_sd = truth.null(optimizer, step, [m], "ks_alpha")
        assert float(row["null_alpha"]) == near(own)
        assert float(row["null_alpha_sd"]) == near(own_sd, rel=1e-5)
        assert float(row["null_z"]) == near((float(fit.alpha) - own) / own_sd, rel=1e-5)
        generator = numpy_generator(SEED, f"bootstrap {optimizer if step else 'initial'} {row['matrix']}")
        goodness = tail_tests.goodness_of_fit(eigenvalues, min_tail=MIN_TAIL, draws=BOOTSTRAP, generator=generator)
        assert float(row["goodness_p"]) == near(goodness.p_value)
        assert float(row["goodness_p_se"]) == near(goodness.standard_error)
        p_values[optimizer, step, m] = goodness.p_value
        for rival in ("lognormal", "exponential", "truncated_power_law"):
            ratio = tail_tests.likelihood_ratio(eigenvalues, float(fit.xmin), rival)
            for column, value in ((f"{rival}_ratio", ratio.ratio), (f"{rival}_p", ratio.p_value)):
                assert row[column] == "" if np.isnan(value) else float(row[column]) == near(value, rel=1e-4)
        farms = farms_alpha(matrix[None], side=8)
        assert row["farms_alpha"] == "" if farms.reason[0] else float(row["farms_alpha"]) == near(farms.alpha[0])
    # Else a goodness of another step would pass.
    assert sum(p_values["adam", 0, m] != p_values["adam", 12, m] for m in truth.shapes) > 3
    for optimizer, summary in summaries.items():
        for position, tails in summary.evidence.tails.items():
            for m, tail in enumerate(tails):
                last = truth.of_history[optimizer][TRACKED[optimizer][position]][m]
                assert tail.goodness.distance == near(last["ks_distance"], rel=2e-4)


def test_the_evolution_holds_family_means_beside_their_null(truth, summaries):
    rows = as_dicts(plot_tables.SPECTRA_EVOLUTION, plot_tables.spectra_evolution(summaries))
    assert {row["step"] for row in rows if row["optimizer"] == "ga"} == set(range(18))
    for row in rows:
        optimizer, family, metric = row["optimizer"], row["family"], row["metric"]
        assert row["value"] == near(truth.mean(optimizer, row["step"], family, metric))
        assert row["initial"] == near(truth.mean(optimizer, 0, family, metric))
        middle, sd = truth.null("adam", 0, truth.families[family], metric)
        assert (row["null_low"], row["null_high"]) == (near(middle - 2 * sd, rel=1e-5), near(middle + 2 * sd, rel=1e-5))
        assert row["evaluations"] == row["step"] * (66 if optimizer == "adam" else 32)


def test_the_headline_numbers_are_means_of_the_last_step_and_z_is_their_change_in_nulls(truth, summaries):
    tree = headline(summaries)
    for optimizer in ("initial", *TRACKED):
        name, position = (truth.first, 0) if optimizer == "initial" else (optimizer, TRACKED[optimizer][-1])
        for family, members in truth.families.items():
            numbers = dict(tree[optimizer][family])
            middle, sd = truth.null(name, 0, members, "ks_alpha")
            change = truth.mean(name, position, family, "ks_alpha") - truth.mean(name, 0, family, "ks_alpha")
            assert numbers.pop("ks_alpha_null") == near(middle, rel=1e-5)
            assert numbers.pop("ks_alpha_z") == pytest.approx(change / sd, rel=1e-4, abs=1e-9)
            expected = {metric: near(truth.mean(name, position, family, metric), rel=1e-5) for metric in numbers}
            assert numbers == expected
            assert set(numbers) == {*HEADLINE_METRICS, "ks_distance", "ks_tail"}


def test_the_heat_map_holds_every_matrix_and_its_change(truth, summaries):
    for row in as_dicts(plot_tables.HEATMAP, plot_tables.heatmap(summaries)):
        value, start = (truth.of_history[row["optimizer"]][p][row["row"]][row["metric"]] for p in (row["step"], 0))
        assert row["matrix"] == truth.names[row["row"]]
        assert row["value"] == near(value)
        assert row["change"] == pytest.approx(100 * (value / start - 1), rel=1e-5, abs=1e-5)


def test_singular_values_are_means_by_rank(truth, summaries):
    for row in as_dicts(plot_tables.SINGULAR_VALUES, plot_tables.singular_values(summaries)):
        history, members = truth.histories[row["optimizer"]], truth.families[row["family"]]
        for column, position in (("value", row["step"]), ("initial", 0)):
            values = [float(history.singular_values[position, m, row["rank"] - 1]) for m in members]
            assert row[column] == near(np.mean(values))


def test_a_density_is_the_share_of_all_eigenvalues_in_a_bin_over_its_width():
    eigenvalues, edges = np.array([0.0, 0.5, 1.0, 1.5, 3.0, 3.5, 3.9, 10.0]), np.array([1.0, 2.0, 4.0])
    assert densities.density(eigenvalues, edges).tolist() == [2 / 8 / 1, 3 / 8 / 2]
    assert densities.density(np.empty(0), edges).tolist() == [0.0, 0.0]


def test_the_densities_of_a_family_hold_each_eigenvalue_once(truth, summaries):
    rows = as_dicts(plot_tables.ESD, plot_tables.esd(summaries))
    assert {(row["optimizer"], row["step"]) for row in rows} == {(n, p) for n, steps in TRACKED.items() for p in steps}
    for family in truth.families:
        edges = truth.edges(family)
        for optimizer, positions in TRACKED.items():
            for position in positions:
                pooled = truth.pooled(optimizer, position, family)
                mine = {
                    row["eigenvalue"]: row["density"]
                    for row in rows
                    if (row["optimizer"], row["step"], row["family"]) == (optimizer, position, family)
                }
                left = 0
                for low, high in pairwise(edges):
                    last = high == edges[-1]
                    inside = int(((pooled >= low) & ((pooled < high) | last)).sum())
                    near_centre = [density for x, density in mine.items() if low < x < high]
                    assert near_centre == ([near(inside / len(pooled) / (high - low))] if inside else [])
                    left += inside
                width = {x: edges[np.searchsorted(edges, x)] - edges[np.searchsorted(edges, x) - 1] for x in mine}
                integral = sum(mine[x] * width[x] for x in mine)
                assert integral == near(left / len(pooled))
                assert integral == near(1 - (pooled < edges[0]).mean())


def test_losses_are_those_of_the_history(truth, summaries):
    found = {}
    for row in as_dicts(plot_tables.LOSS, plot_tables.loss(summaries, "mse")):
        found[row["optimizer"], row["split"], row["step"]] = row["loss"]
        assert row["evaluations"] == truth.histories[row["optimizer"]].evaluations[row["step"]]
    expected = {}
    for name, history in truth.histories.items():
        for split, values in (("train", history.loss), ("validation", history.validation_loss)):
            expected |= {(name, split, step): value for step, value in enumerate(values.tolist()) if value == value}
    assert found == expected


# -- the study's tables -----------------------------------------------------------------------------------------------
def test_the_families_of_a_study_stand_beside_shuffles_of_their_own_step(truth, few_histories, summarized):
    summary = summarized({"adam": few_histories["adam"]}, bootstrap=0)["adam"]
    cell = SimpleNamespace(optimizer="adam", key=("study", "data", "mse", "adam", SEED))
    rows = [
        dict(zip(spectra_rows.FAMILY_COLUMNS, row, strict=True))
        for row in spectra_rows.family_rows(cell, summary, standin=False)
    ]
    assert len(rows) == len(TRACKED["adam"]) * len(truth.families) * len(METRICS)
    for row in rows:
        members, metric, step = truth.families[row["family"]], row["metric"], row["step"]
        assert row["value"] == near(truth.mean("adam", step, row["family"], metric), rel=2e-4)
        assert row["null"] == near(truth.mean("adam", 0, row["family"], metric), rel=2e-4)
        own, own_sd = truth.null("adam", step, members, metric)
        start, start_sd = truth.null("adam", 0, members, metric)
        assert row["shuffled"] == near(own)
        assert row["shuffled_sd"] == pytest.approx(own_sd, rel=1e-5, abs=1e-8 * max(1, abs(own)))
        assert row["null_sd"] == pytest.approx(start_sd, rel=1e-5, abs=1e-8 * max(1, abs(start)))
        assert (row["matrices"], row["last"]) == (len(members), int(step == 12))
    # And by matrix each column is the one that it is named after.
    long = as_dicts(long_tables.SPECTRA_NULLS, long_tables.spectra_nulls({"adam": summary}))
    rows = list(spectra_rows.matrix_rows(cell, summary, standin=True))
    for row, expected in zip(rows, long, strict=True):
        written = dict(zip(spectra_rows.COLUMNS, row, strict=True))
        assert written["standin"] == 1
        assert [written[name] for name in spectra_rows.PLACE] == [expected[name] for name in spectra_rows.PLACE]
        assert written["reason"] == expected["reason"]
        for name, column in spectra_rows.VALUES.items():
            number = expected[column]
            assert written[name] == (f"{number:.9g}" if isinstance(number, float) else number)


# -- the page ---------------------------------------------------------------------------------------------------------
def short(value):
    return "–" if value is None else f"{value:.4g}".replace("-", "−")


METRIC_NAMED = {metric_words(metric): metric for metric in plot_tables.EVOLUTION_METRICS}


def family_of(words_of_family, truth):
    return next(family for family in truth.families if family_words(family) == words_of_family)


def moved(truth, optimizer, family, metric):
    """Initial and last mean, change in percent, z; as the page has them."""
    start, last = (truth.mean(optimizer, p, family, metric) for p in (0, TRACKED[optimizer][-1]))
    _, sd = truth.null(truth.first, 0, truth.families[family], metric)
    percent = 100 * (last - start) / abs(start) if start else None
    return start, last, percent, (last - start) / sd if sd else None


def test_the_changes_on_the_page_are_those_of_the_histories(run, truth):
    rows = chart_of_moves.numbers(run).rows
    assert len(rows) == len(plot_tables.EVOLUTION_METRICS) * len(truth.families) * 3
    names = {display_name(name): name for name in TRACKED}
    for metric, family, optimizer, *shown in rows:
        expected = moved(truth, names[optimizer], family_of(family, truth), METRIC_NAMED[metric])
        start, last, percent, z = expected
        assert shown == [short(start), short(last), signed(percent, 2), signed(z, 2)]
    figure = next(one for one in gallery.charts(run) if one.name == "moved")
    points = list(csv.DictReader(io.StringIO(figure.data)))
    assert len(points) == sum(row[-1] != "–" for row in rows) > len(rows) / 2
    for row in points:
        expected = moved(truth, row["optimizer"], row["family"], row["metric"])
        for name, value in zip(("initial", "last", "percent", "z"), expected, strict=True):
            assert (float(row[name]) if row[name] else None) == (
                value if value is None else pytest.approx(value, rel=1e-4, abs=1e-4)
            )


def test_the_ends_beside_their_nulls_are_those_of_the_histories(run, truth):
    for metric, family, initial, null, *ends in evolution.numbers(run).rows:
        name, family = METRIC_NAMED[metric], family_of(family, truth)
        middle, sd = truth.null(truth.first, 0, truth.families[family], name)
        assert initial == short(truth.mean(truth.first, 0, family, name))
        assert null == f"{short(middle - 2 * sd)} to {short(middle + 2 * sd)}"
        assert ends == [short(truth.mean(one, positions[-1], family, name)) for one, positions in TRACKED.items()]


def test_the_losses_on_the_page_are_at_the_first_the_best_and_the_last_step(run, truth):
    rows = iter(loss.numbers(run).rows)
    for optimizer, history in truth.histories.items():
        best = int(np.nanargmin(history.validation_loss))
        for place, position in (("start", 0), ("best", best), ("end", len(history.steps) - 1)):
            pair = (float(history.loss[position]), float(history.validation_loss[position]))
            shown = (number(None if np.isnan(value) else value) for value in pair)
            assert next(rows) == (display_name(optimizer), place, f"{position:,}", *shown)


def test_the_largest_eigenvalues_and_singular_values_on_the_page(run, truth):
    for family, *shown in singular_values.numbers(run).rows:
        members = truth.families[family_of(family, truth)]
        places = [(truth.first, 0), *((name, positions[-1]) for name, positions in TRACKED.items())]
        tops = [truth.histories[name].singular_values[p, members, 0].astype(float).mean() for name, p in places]
        assert shown == [short(top) for top in tops]
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
    windows = np.linspace(0, 8, 6).round().astype(int)
    assert len(rows) == len(windows)
    for (name, *shown), window in zip(rows, windows, strict=True):
        assert name == f"series {window} (window {window})"
        errors = [np.abs(values[window] - forecast["truth"][window]).mean() for values in forecast["forecast"].values()]
        assert shown == [short(error) for error in errors]


def test_the_table_of_results_holds_both_ends_and_compares_with_persistence(run, truth):
    rows = page_tables.result(run).rows
    start = truth.histories[truth.first].validation_loss[0]
    begun = truth.mean(truth.first, 0, "feed_forward", "stable_rank")
    assert rows[0] == ("initial weights", "", number(start), "", "", "", number(begun, 2), "", "0")
    for i, (row, (optimizer, history)) in enumerate(zip(rows[1:4], truth.histories.items(), strict=True)):
        _, last, _, z = moved(truth, optimizer, "feed_forward", "stable_rank")
        assert row == (
            display_name(optimizer),
            f"{history.evaluations[-1]:,}",
            number(float(np.nanmin(history.validation_loss))),
            number(0.2 + i / 10),
            number(0.7 + i / 10),
            f"{signed(100 * (0.7 + i / 10 - 1), 0)} %",  # persistence misses by 1
            number(last, 2),
            signed(z),
            "3.2",
        )
    assert [row[4:6] for row in rows[4:]] == [("1.000", "0 %"), ("0.750", "−25 %")]


def test_the_tables_of_ranks_and_tails_are_means_of_the_last_step(run, truth):
    for family, initial, *ends_of in page_tables.shifts(run).rows:
        family = family_of(family, truth)
        assert initial == number(truth.mean(truth.first, 0, family, "stable_rank"), 2)
        ends = [moved(truth, optimizer, family, "stable_rank") for optimizer in TRACKED]
        assert ends_of == [cell for _, last, _, z in ends for cell in (number(last, 2), signed(z))]
    names = {display_name(name): name for name in TRACKED}
    table = page_tables.tails(run)
    assert len(table.rows) == 3 * len(truth.families)
    for family, _, title, count, alpha, of_shuffles, distance, tail, plausible in table.rows:
        optimizer, members = names[title], truth.families[family_of(family, truth)]
        position = TRACKED[optimizer][-1]
        expected = {
            metric: np.mean([truth.of_history[optimizer][position][m][metric] for m in members])
            for metric in ("ks_alpha", "ks_distance", "ks_tail")
        }
        null = np.mean([truth.null(optimizer, position, [m], "ks_alpha")[0] for m in members])
        assert (count, alpha) == (str(len(members)), number(expected["ks_alpha"], 2))
        assert (distance, tail) == (number(expected["ks_distance"], 2), number(expected["ks_tail"], 0))
        assert of_shuffles == number(null, 2)
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
        best = int(np.nanargmin(history.validation_loss))
        spent = (f"{len(history.steps) - 1:,}", f"{best:,}", f"{history.evaluations[-1]:,}", number(12.5 + i, 0))
        assert row == (display_name(optimizer), *spent, "cpu", "1", "never", "all steps done")


@pytest.mark.parametrize(
    ("figure", "curve", "columns"),
    [
        ("loss", "loss", ("step", "evaluations", "loss")),
        ("evolution", "spectra_evolution", ("step", "evaluations", "value", "initial", "null_low", "null_high")),
        ("esd", "esd", ("step", "eigenvalue", "density")),
        ("layers", "heatmap", ("step", "row", "value", "change")),
    ],
)
def test_the_data_of_a_figure_are_those_of_its_table(run, figure, curve, columns):
    made = next(one for one in gallery.charts(run) if one.name == figure)
    for row, expected in zip(csv.DictReader(io.StringIO(made.data)), run.curves[curve].to_dict("records"), strict=True):
        for column in columns:
            assert float(row[column]) == pytest.approx(float(expected[column]), rel=1e-4)
        if "progress" in row:
            steps = TRACKED[row["optimizer"]]
            progress = steps.index(int(row["step"])) / (len(steps) - 1)
            assert float(row["progress"]) == pytest.approx(progress, abs=0.006)


# -- the pictures -----------------------------------------------------------------------------------------------------
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


def test_the_drawn_curves_are_family_means_and_their_null_is_that_of_the_start(truth, summaries):
    figure = picture_of_evolution.draw(summaries, CAPTION)
    panels = iter(figure.axes)
    for metric in plot_tables.EVOLUTION_METRICS:
        for family, members in truth.families.items():
            axes = next(panels)
            lines = [line for line in axes.lines if len(line.get_ydata()) > 2]
            bold = lines[1::2] if metric == "ks_alpha" else lines
            thin = lines[::2] if metric == "ks_alpha" else lines
            for line, smooth, (optimizer, history) in zip(thin, bold, truth.histories.items(), strict=True):
                means = [truth.mean(optimizer, p, family, metric) for p in range(len(history.steps))]
                np.testing.assert_allclose(line.get_ydata(), means, rtol=1e-6)
                np.testing.assert_allclose(smooth.get_ydata(), means, rtol=1e-6)  # 18 steps: a window of one
            middle, sd = truth.null(truth.first, 0, members, metric)
            (band,) = [patch.get_extents().transformed(axes.transData.inverted()) for patch in axes.patches]
            assert (band.y0, band.y1) == (near(middle - 2 * sd, rel=1e-4), near(middle + 2 * sd, rel=1e-4))


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


def test_the_drawn_singular_values_ranks_losses_and_forecasts_are_those_stored(truth, summaries, forecast):
    figure = picture_of_singular_values.draw(summaries, CAPTION)
    for axes, (optimizer, family) in zip(figure.axes, [(n, f) for n in TRACKED for f in truth.families], strict=False):
        members = truth.families[family]
        means = {
            position: np.mean([truth.histories[optimizer].spectrum(position, m).astype(float) for m in members], axis=0)
            for position in TRACKED[optimizer]
        }
        *curves, start = (line.get_ydata() for line in axes.lines)
        np.testing.assert_array_equal(start, 1)
        for curve, position in zip(curves, TRACKED[optimizer][1:], strict=True):
            shown = means[position] >= means[position][0] / spectrum_words.DEPTH
            np.testing.assert_allclose(curve[shown], (means[position] / means[0])[shown], rtol=1e-6)
            assert np.isnan(curve[~shown]).all()
    budget, ranks, _ = overview.draw(summaries, CAPTION).axes
    for line, history in zip(budget.lines, truth.histories.values(), strict=True):
        np.testing.assert_array_equal(line.get_ydata(), history.validation_loss)
        np.testing.assert_array_equal(line.get_xdata()[1:], history.evaluations[1:])
    ends = iter(line.get_xdata() for line in ranks.lines)
    for bar, (family, members) in zip(ranks.patches, truth.families.items(), strict=True):
        start = truth.mean(truth.first, 0, family, "stable_rank")
        middle, sd = truth.null(truth.first, 0, members, "stable_rank")
        band = [100 * ((middle + side * sd) / start - 1) for side in (-2, 2)]
        assert [bar.get_x(), bar.get_x() + bar.get_width()] == pytest.approx(band, rel=1e-4, abs=1e-4)
        for optimizer, positions in TRACKED.items():
            change = 100 * (truth.mean(optimizer, positions[-1], family, "stable_rank") / start - 1)
            np.testing.assert_allclose(next(ends), [0, change], rtol=1e-4, atol=1e-4)
            np.testing.assert_allclose(next(ends), change, rtol=1e-4, atol=1e-4)
    windows = np.linspace(0, 8, 6).round().astype(int)
    for axes, window in zip(picture_of_forecasts.draw(forecast, CAPTION).axes, windows, strict=True):
        drawn = [line.get_ydata() for line in axes.lines]
        np.testing.assert_array_equal(drawn[0], forecast["truth"][window, :, 0])
        for values, line in zip(forecast["forecast"].values(), drawn[2:], strict=True):
            np.testing.assert_array_equal(line, values[window, :, 0])


def test_the_tables_of_numbers_say_what_their_columns_are(run):
    last = ("Adam, last step", "ES, last step", "GA, last step")
    names = tuple(title.removesuffix(", last step") for title in last)
    found = {
        name: (table.caption, tuple(table.header))
        for name, chart in {
            "shifts": chart_of_moves,
            "losses": loss,
            "ends": evolution,
            "densities": esd,
            "largest": singular_values,
            "furthest": heatmap,
            "errors": forecasts,
        }.items()
        if (table := chart.numbers(run))
    }
    assert found == {
        "shifts": (
            "Every family's mean at the initial weights and at the last step.",
            ("metric", "family", "optimizer", "initial", "last", "change (%)", "z"),
        ),
        "losses": (
            f"Losses, {run.caption.loss_unit}.",
            ("optimizer", "at the", "step", "training loss", "validation loss"),
        ),
        "ends": ("Family means beside their nulls.", ("metric", "family", "initial", "null ± 2 sd", *last)),
        "densities": (
            "The largest eigenvalue of each family (centre of its bin), over the family's mean initial eigenvalue.",
            ("family", "initial", *last),
        ),
        "largest": ("Mean largest singular value of each family, weight units.", ("family", "initial", *last)),
        "furthest": (
            "The 12 matrices whose stable rank has changed most by the last step.",
            ("matrix", "optimizer", "stable rank", "change (%)"),
        ),
        "errors": (
            "Mean absolute error of the forecasts shown; " + run.caption.data_unit.replace("\n", " ") + ".",
            ("window", *names),
        ),
    }


def test_the_null_of_one_training_alone_is_its_own(run):
    alone = dataclasses.replace(
        run,
        trainings={"adam": run.trainings["adam"]},
        shifts=tuple(shift for shift in run.shifts if shift.optimizer == "adam"),
    )
    nulls = {tuple(row[:2]): row[3] for row in evolution.numbers(run).rows}
    assert {tuple(row[:2]): row[3] for row in evolution.numbers(alone).rows} == nulls
