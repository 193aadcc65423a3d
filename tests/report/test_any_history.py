"""Whatever a training may legally have recorded goes through tables, figures and the report's page."""

import dataclasses
import json
import warnings
from html import unescape

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from made_up import training, write_run

from transformer_spectrum.analysis.of_training import long_tables, plot_tables
from transformer_spectrum.analysis.of_training.comparison_file import comparison
from transformer_spectrum.analysis.of_training.metrics_file import effects, headline
from transformer_spectrum.analysis.of_training.rows import cells
from transformer_spectrum.analysis.of_training.summary import summarize
from transformer_spectrum.config.load import load_params
from transformer_spectrum.report.charts import evolution as chart_of_evolution
from transformer_spectrum.report.charts.parts import metric_select
from transformer_spectrum.report.figures.caption import Caption
from transformer_spectrum.report.pictures import esd, evolution, heatmap, loss, overview, singular_values, style
from transformer_spectrum.report.run import read_run
from transformer_spectrum.report.run_page.markdown import markdown
from transformer_spectrum.report.run_page.page import page
from transformer_spectrum.training.records.snapshots import Snapshots

pytestmark = pytest.mark.slow
QUICK = {
    "deadline": None,
    "phases": [Phase.generate],
    "suppress_health_check": list(HealthCheck),
    "derandomize": True,
}
CAPTION = Caption("x", "u", "mse", "", "scaled units squared", 1, False)
SHAPES = {
    "as usual": [("e", "embedding", (16, 12)), ("a.query", "encoder_self_attention", (16, 16))],
    "of rank 1": [("e", "embedding", (16, 1)), ("r", "readout", (1, 16))],
    "tiny": [("e", "embedding", (2, 2)), ("r", "readout", (3, 2))],
}
LOSSES = st.sampled_from([0.0, -3.0, 1.0, 1.0 + 1e-9, 1e-30, 1e10, 1e38])
ERRORS = st.sampled_from([0.0, 1.0, 1.0 + 1e-9, 1e-30, 1e10])
FACTORS = st.sampled_from([0.0, 1.0, 1e-30, 1e15])


def of_weights(history, weights):
    """The spectra and distances of the history that these weights have had."""
    values = history.singular_values[: len(next(iter(weights.values())))]
    spectra = {"singular_values": np.full_like(values, np.nan), "change_singular_values": np.full_like(values, np.nan)}
    distances = np.full(values.shape[:2], np.nan, np.float32)
    for m, name in enumerate(history.names.tolist()):
        stack = weights[name].astype(np.float64)
        rank = min(stack.shape[1:])
        for field, matrices in zip(spectra, (stack, stack - stack[0]), strict=True):
            spectra[field][:, m, :rank] = np.linalg.svd(matrices, compute_uv=False)
        if stack[0].any():
            distances[:, m] = np.linalg.norm(stack - stack[0], axis=(1, 2)) / np.linalg.norm(stack[0])
    return {**spectra, "distances": distances}


@st.composite
def histories(draw):
    """Two or three trainings from one start, of 1 to 4 steps each, of any weights and losses."""
    specs = SHAPES[draw(st.sampled_from(sorted(SHAPES)))]
    start = draw(FACTORS)
    trainings = {}
    for optimizer in draw(st.sampled_from([("adam",), ("adam", "es", "ga")])):
        history, snapshots = training(optimizer, 3, specs)
        count = draw(st.integers(1, 4))
        scales = [start] + [draw(FACTORS) for _ in range(count - 1)]
        scales = np.array(scales, np.float32)[:, None, None]
        losses = np.array([draw(LOSSES) for _ in range(count)])
        training_losses = np.array([draw(LOSSES | st.just(float("nan"))) for _ in range(count)])
        first = draw(st.sampled_from([0, 1]))
        evaluations = draw(st.sampled_from([[first, 2, 3, 4], [first, 1001, 1002, 1003], [first, 2000, 300000, 10**9]]))
        names = ("steps", "rounds", "distance", "residual_mad", "influence_cosine")
        changes = {name: getattr(history, name)[:count] for name in names}
        weights = {name: values[:count] * scales for name, values in snapshots.weights.items()}
        errors = np.array([draw(ERRORS) for _ in range(count)])
        history = dataclasses.replace(
            history,
            **changes,
            **of_weights(history, weights),
            evaluations=np.array(evaluations[:count]),
            loss=training_losses,
            validation_loss=losses,
            validation_mae=errors,
            best_step=int(errors.argmin()),
        )
        trainings[optimizer] = history, Snapshots(snapshots.steps[:count], weights)
    return trainings


def summarized_as(trainings, spectra):
    parts = ({name: pair[i] for name, pair in trainings.items()} for i in (0, 1))
    return summarize(*parts, spectra, heads=2, seed=0)


def forecast_of(trainings):
    truth = np.zeros((2, 4, 1))
    forecast = dict.fromkeys(trainings, truth)
    return {"context": np.zeros((2, 8, 1)), "truth": truth, "forecast": forecast, "entities": np.array(["a", "b"])}


def one_step(count=1):
    """All three with step 0 alone, or some of them."""
    trainings = {}
    for name in ("adam", "es", "ga"):
        history, snapshots = training(name, 2, SHAPES["as usual"])
        steps = 1 if count else 3
        count -= 1
        names = [
            field.name for field in dataclasses.fields(history) if field.name not in ("names", "families", "shapes")
        ]
        arrays = {field: getattr(history, field) for field in names}
        cut = {field: array[:steps] for field, array in arrays.items() if isinstance(array, np.ndarray)}
        history = dataclasses.replace(history, **cut, best_step=0)
        trainings[name] = (
            history,
            Snapshots(snapshots.steps[:steps], {name: values[:steps] for name, values in snapshots.weights.items()}),
        )
    return trainings


def tables_of(summaries, forecast):
    for table in (
        plot_tables.spectra_evolution(summaries),
        plot_tables.heatmap(summaries),
        plot_tables.singular_values(summaries),
        plot_tables.esd(summaries),
        plot_tables.loss(summaries),
        plot_tables.validation(summaries),
        plot_tables.forecasts(forecast),
        *long_tables.long_tables(summaries).values(),
    ):
        for row in cells(table):
            assert all(np.isfinite(value) for value in row if isinstance(value, float)), row
    for tree in (headline(summaries), effects(summaries), comparison(summaries, dataset="synthetic", seed=0)):
        json.dumps(tree, allow_nan=False)


def pages_of(summaries, forecast, root):
    write_run(root, summaries, forecast)
    run = read_run(load_params(root / "params.yaml"), root)
    return page(run), markdown(run)


@settings(max_examples=6, **QUICK)
@given(trainings=histories())
def test_any_history_has_tables_of_numbers_and_a_page(trainings, spectra, tmp_path_factory):
    summaries, forecast = summarized_as(trainings, spectra), forecast_of(trainings)
    tables_of(summaries, forecast)
    if len(summaries) == 3:
        pages_of(summaries, forecast, tmp_path_factory.mktemp("run"))


@pytest.mark.parametrize("count", [1, 3])
def test_trainings_that_have_step_0_alone_have_a_page_with_all_figures_that_can_be(count, spectra, tmp_path):
    trainings = one_step(count)
    summaries, forecast = summarized_as(trainings, spectra), forecast_of(trainings)
    tables_of(summaries, forecast)
    html, text = pages_of(summaries, forecast, tmp_path)
    for name in ("loss", "evolution", "esd", "singular-values"):
        assert f'<section id="{name}"' in html
    assert "ES" in text


def test_a_figure_without_anything_to_show_is_left_out_and_the_page_says_so(spectra, tmp_path):
    zeros = {}
    for name, (history, snapshots) in one_step(3).items():
        weights = {matrix: 0 * values for matrix, values in snapshots.weights.items()}
        zero = {field: 0 * getattr(history, field) for field in ("singular_values", "change_singular_values")}
        nothing = dataclasses.replace(history, **zero)
        zeros[name] = nothing, Snapshots(snapshots.steps, weights)
    html, _ = pages_of(summarized_as(zeros, spectra), forecast_of(zeros), tmp_path)
    assert '<section id="esd"' not in html
    assert "The figure 'Empirical spectral densities' is left out: no eigenvalue is positive." in unescape(html)


DRAWINGS = {
    "evolution": evolution.draw,
    "budget": lambda summaries, caption: evolution.draw(summaries, caption, across="evaluations"),
    "heatmap": heatmap.draw,
    "singular_values": singular_values.draw,
    "esd": esd.draw,
    "loss": loss.draw,
    "overview": overview.draw,
}


def drawn(name, summaries):
    """The figure after it was drawn, small; any warning is an error."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure = DRAWINGS[name](summaries, CAPTION)
        figure.set_dpi(30)
        figure.canvas.draw()
    return figure


@settings(max_examples=3, **QUICK)
@given(trainings=histories(), name=st.sampled_from(sorted(DRAWINGS)))
def test_any_history_can_be_drawn(trainings, name, spectra):
    drawn(name, summarized_as(trainings, spectra))


@pytest.mark.parametrize(
    ("low", "high", "labels"),
    [
        (1.0, 12.0, ["1", "3", "10"]),
        (0.66, 1.8, ["0.7", "1", "1.5"]),
        (1001.0, 1004.0, ["1001", "1002", "1003", "1004"]),
        (1e6, 1e6 + 3, ["1000000", "1000001", "1000002", "1000003"]),
        (2e5, 9e6, ["$10^{6}$", "$3\\times10^{5}$", "$3\\times10^{6}$"]),
        (2e-6, 9e-6, ["$2\\times10^{-6}$", "$3\\times10^{-6}$", "$5\\times10^{-6}$", "$7\\times10^{-6}$"]),
    ],
)
def test_a_logarithmic_axis_has_three_labels_or_more_all_different(low, high, labels):
    figure = style.new_figure(3, 2)
    axes = figure.subplots()
    axes.plot([low, high], [1, 2])
    axes.set_xlim(low, high)
    axes.set_xlabel("evaluations")
    style.log_axes(axes, "x")
    figure.canvas.draw()
    shown = [label.get_text() for label in axes.get_xticklabels()]
    assert sorted(set(shown)) == sorted(labels)
    assert axes.get_xlabel() == "evaluations (log)"


def test_a_null_band_is_in_the_picture_as_a_whole(summarized, few_histories):
    summaries = summarized(few_histories)
    figure = evolution.draw(summaries, CAPTION)
    reference, families = summaries["adam"], len(summaries["adam"].families)
    for row, metric in enumerate(plot_tables.EVOLUTION_METRICS):
        for column, family in enumerate(reference.families):
            low, high = reference.band(metric, family)
            drawn_ones = np.isfinite(low)
            assert drawn_ones.any()
            bottom, top = figure.axes[row * families + column].get_ylim()
            assert bottom <= low[drawn_ones].min() <= high[drawn_ones].max() <= top


def test_no_axis_of_the_page_gives_all_ticks_the_unit_of_the_largest():
    """Vega labels 0, 1 and 200 as 0k where an axis that is not logarithmic ends at 10,000 and has a format in s."""
    spec = chart_of_evolution.spec(["feed_forward"], ["adam"], metric_select(["stable_rank"]))
    text = json.dumps(spec)
    assert '"format": "~s"' not in text
    assert "format(datum.value, places[across].digits)" in text
    assert "symmetric log" in text


@pytest.mark.parametrize("name", ["evolution", "budget", "loss", "overview"])
def test_a_history_of_one_point_shows_it(name, spectra):
    """By a marker, on an axis that holds it: a line has no ink there."""
    panels = drawn(name, summarized_as(one_step(3), spectra)).axes
    dots_of = {axes: [line for line in axes.get_lines() if line.get_marker() in (".", "o")] for axes in panels}
    axes, dots = next((axes, dots) for axes, dots in dots_of.items() if dots)  # a change has none before it happens
    assert len(dots) >= 3
    for dot in dots:
        low, high = axes.get_xlim()
        assert low <= dot.get_xdata()[0] <= high


def test_a_training_without_a_record_behind_its_start_arrives_nowhere_and_the_page_says_so(spectra, tmp_path):
    trainings = one_step(1)  # of Adam: it diverged at once
    trainings["ga"] = training("ga", 2, SHAPES["as usual"])
    summaries = summarized_as(trainings, spectra)
    html, text = pages_of(summaries, forecast_of(trainings), tmp_path)
    sentence = "no value has Adam, which never arrives (right-censored)."
    assert sentence in html
    assert sentence in text
    pair = comparison({"adam": summaries["adam"], "es": summaries["es"]}, dataset="synthetic", seed=0)
    assert {axis["target"] for axis in pair["axes"].values()} == {None}
    assert {verdict["agrees"] for verdict in pair["verdicts"]} == {None}
    assert comparison({"adam": summaries["adam"]}, dataset="synthetic", seed=0) == {}
