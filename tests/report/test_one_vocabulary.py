"""A picture, its page and `dvc plots` say the same words, end at the same limits and have the same colours."""

import ast
import csv
import io
import json
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import vl_convert
import yaml

from transformer_spectrum import vocabulary
from transformer_spectrum.report import charts
from transformer_spectrum.report.charts import gallery
from transformer_spectrum.report.dvc_plots.__main__ import contents
from transformer_spectrum.report.figures import (
    esd,
    evolution,
    forecasts,
    heatmap,
    loss,
    singular_values,
)
from transformer_spectrum.report.pictures import evolution as picture_of_evolution
from transformer_spectrum.report.pictures import forecasts as picture_of_forecasts
from transformer_spectrum.report.pictures import heatmap as picture_of_changes
from transformer_spectrum.report.pictures import loss as picture_of_losses
from transformer_spectrum.report.pictures import singular_values as picture_of_singular_values
from transformer_spectrum.report.run_page.page import page
from transformer_spectrum.spectra.analysis import METRICS
from transformer_spectrum.weights.matrices.families import BLOCKS


@pytest.fixture(scope="module")
def summaries(few_histories, summarized):
    return summarized(few_histories)


@pytest.fixture(scope="module")
def drawings(run):
    return {chart.name: chart for chart in gallery.charts(run)}


@pytest.fixture(scope="module")
def templates():
    return {name.removesuffix(".json"): json.loads(text) for name, text in contents().items() if name != "page.html"}


def value_of(chart, name):
    return next(param["value"] for param in chart.spec["params"] if param["name"] == name)


def everything(tree, key):
    """Values of a key anywhere in a specification."""
    nodes = tree.values() if isinstance(tree, dict) else tree if isinstance(tree, list) else []
    mine = [tree[key]] if isinstance(tree, dict) and key in tree else []
    return mine + [value for node in nodes for value in everything(node, key)]


def test_every_metric_has_a_name_and_a_unit_and_nothing_else_has():
    assert set(vocabulary.METRICS) == set(METRICS)
    names = [metric.name for metric in vocabulary.METRICS.values()]
    assert len(set(names)) == len(names)
    assert all(metric.unit for metric in vocabulary.METRICS.values())


@pytest.mark.slow
def test_metrics_have_the_same_label_and_unit_in_picture_page_and_dvc_plots(drawings, summaries, run, templates):
    figure = picture_of_evolution.draw(summaries, run.caption)
    drawn = [" ".join(axes.get_ylabel().split("\n")) for axes in figure.axes if axes.get_ylabel()]
    labels = value_of(drawings["evolution"], "labels")
    for words, metric in zip(drawn, vocabulary.EVOLUTION_METRICS, strict=True):
        name, unit = vocabulary.metric_words(metric), vocabulary.METRICS[vocabulary.subject_of(metric)[1]].unit
        assert words.startswith(name)
        assert labels[metric].startswith(name)
        if unit != vocabulary.DIMENSIONLESS:
            assert f"({unit}" in words
            assert f"({unit}" in labels[metric]
        (words,) = {text for text in everything(templates["evolution"], "calculate") if "'stable_rank':" in text}
        assert repr(vocabulary.metric_label(metric)) in words
    settings = evolution.settings_of(run.params.spectra)
    assert all(setting in labels[metric] for metric, setting in settings.items())


def test_families_have_the_same_words_in_python_and_in_vega():
    labels = [*BLOCKS, "feed_forward_32x16", "encoder_gates_16x4", "attention_output", "other"]
    spec = {
        "data": {"values": [{"family": label} for label in labels]},
        "transform": [{"calculate": vocabulary.family_expression("datum.family"), "as": "words"}],
        "mark": "text",
        "encoding": {"text": {"field": "words"}, "y": {"field": "family", "axis": None}},
    }
    drawn = set(re.findall(r"<text[^>]*>([^<]*)</text>", vl_convert.vegalite_to_svg(spec)))
    assert drawn == {vocabulary.family_words(label) for label in labels}
    assert "feed-forward 32×16" in drawn


def test_all_speak_of_families_through_the_one_expression(drawings, templates):
    expression = vocabulary.family_expression("datum.value")
    for name in ("moved", "evolution", "esd", "singular-values"):
        assert expression in everything(drawings[name].spec, "labelExpr")
    for name in ("evolution", "esd", "singular_values"):
        assert vocabulary.family_expression("datum.family") in everything(templates[name], "calculate")


def test_optimizers_have_the_same_colours_in_picture_page_and_dvc_plots(summaries, run, templates):
    figure = picture_of_losses.draw(summaries, run.caption)
    drawn = {line.get_color() for axes in figure.axes for line in axes.lines}
    style = page(run).split("<style>")[1].split("</style>")[0]
    for optimizer, name in vocabulary.NAMES.items():
        shade = vocabulary.SHADES[optimizer]
        assert shade.light in drawn
        assert f"--{optimizer}: {shade.light};" in style
        assert f"--{optimizer}: {shade.dark};" in style
        for template in ("loss", "evolution", "esd"):
            text = json.dumps(templates[template])
            assert f"dark ? '{shade.dark}' : '{shade.light}'" in text
            assert name in text


def test_colours_of_the_heat_map_end_at_the_same_change_in_picture_and_page(drawings, summaries, run):
    figure = picture_of_changes.draw(summaries, run.caption)
    ends = {}
    for row, metric in enumerate(vocabulary.HEAT_METRICS):
        meshes = [axes.collections[0] for axes in figure.axes if axes.get_label() != "<colorbar>"]
        (ends[metric],) = {mesh.get_clim()[1] for mesh in meshes[3 * row : 3 * row + 3]}
    assert value_of(drawings["layers"], "limits") == ends


def test_curves_of_singular_values_end_at_the_same_rank_in_picture_page_and_dvc_plots(run, templates):
    values = np.array([1.0, 0.5, 1 / singular_values.DEPTH, 0.99 / singular_values.DEPTH, 0.0])
    visible = singular_values.in_sight(values, values[0])
    assert visible.tolist() == [True, True, True, False, False]
    table = run.curves["singular_values"]
    mine = (table["optimizer"] == "adam") & (table["family"] == "readout") & (table["of"] == "weights")
    deep = table[mine].copy()
    deep["value"] = np.resize(values, len(deep))
    deep = deep.groupby("step").head(len(values))
    page_run = type(run)(**{**vars(run), "curves": {**run.curves, "singular_values": deep}})
    rows = list(csv.DictReader(io.StringIO(charts.singular_values.chart(page_run).data)))
    assert {float(row["value"]) for row in rows} == set(values[visible])

    summary = SimpleNamespace(
        tracked=[0, 1],
        mean_singular_values=lambda family, position: values,
        singular_value_ratios=lambda family, position: values,
        mean_change_spectra=lambda family, position: (values, np.ones(len(values))),
    )
    for subject in singular_values.SUBJECTS:
        drawn = picture_of_singular_values.ratios(summary, "readout", 1, subject)
        assert np.isfinite(drawn).tolist() == visible.tolist()
    (rule,) = {text for text in everything(templates["singular_values"], "filter") if "largest" in str(text)}
    assert rule.endswith(f">= datum.largest / {singular_values.DEPTH}")


def test_a_wide_range_of_losses_is_logarithmic_in_picture_and_page(summaries, run):
    for factor, kind in ((1.0, "linear"), (1e6, "log")):
        table = run.curves["loss"].copy()
        table.loc[table.index[-1], "loss"] *= factor
        chart = charts.loss.chart(type(run)(**{**vars(run), "curves": {**run.curves, "loss": table}}))
        scales = [scale for scale in everything(chart.spec["concat"][0], "y") if isinstance(scale, dict)]
        assert {scale["scale"].get("type", "linear") for scale in scales} == {kind}
    assert picture_of_losses.draw(summaries, run.caption).axes[0].get_yscale() == "linear"
    assert loss.is_logarithmic([1.0, 1001.0])


def test_pictures_and_pages_have_the_same_titles_units_and_axes(drawings, summaries, forecast, run):
    titles = {"loss": loss, "evolution": evolution, "esd": esd, "singular-values": singular_values}
    titles |= {"layers": heatmap, "forecasts": forecasts}
    assert {name: drawings[name].title for name in titles} == {name: words.TITLE for name, words in titles.items()}
    figure = picture_of_forecasts.draw(forecast, run.caption)
    axes = drawings["forecasts"].spec["spec"]["layer"][1]["encoding"]
    assert {axis.get_ylabel() for axis in figure.axes} - {""} == {axes["y"]["title"]}
    assert {axis.get_xlabel() for axis in figure.axes} - {""} == {axes["x"]["title"]}
    windows = [axis.get_title(loc="left") for axis in figure.axes]
    assert windows == drawings["forecasts"].spec["facet"]["sort"]
    figure = picture_of_losses.draw(summaries, run.caption)
    panels = [panel["layer"][0]["encoding"] for panel in drawings["loss"].spec["concat"]]
    assert [axis.get_xlabel() for axis in figure.axes[2:]] == [panel["x"]["title"] for panel in panels[2:]]
    assert run.caption.loss_unit in figure.axes[0].get_ylabel()
    assert run.caption.loss_unit in panels[0]["y"]["title"]
    assert figure.axes[2].get_ylabel() == panels[2]["y"]["title"] == loss.MAE


def test_the_axes_have_the_same_words_in_picture_page_and_dvc_plots(drawings, summaries, run, pytestconfig):
    places = value_of(drawings["evolution"], "places")
    plots = yaml.safe_load((pytestconfig.rootpath / "dvc.yaml").read_text())["plots"]
    mine = [entry for plot in plots if isinstance(plot, dict) for entry in plot.values()]
    named = {entry["x"]: entry for entry in mine if entry["template"].startswith("evolution")}
    assert list(named) == list(evolution.ACROSS) == list(places)
    for name, across in evolution.ACROSS.items():
        assert places[name]["title"].removesuffix(" (symmetric log)") == named[name]["x_label"] == across.label
        assert named[name]["title"] == evolution.title(name)
    for name in ("step", "evaluations", "validation_mae"):
        figure = picture_of_evolution.draw(summaries, run.caption, across=name, metrics=["stable_rank"])
        assert figure.axes[-1].get_xlabel() == evolution.ACROSS[name].label
        assert figure.axes[0].xaxis_inverted() == evolution.ACROSS[name].falling == places[name]["falling"]


def test_the_null_and_the_initial_weights_have_the_same_words_everywhere(drawings, summaries, run, templates):
    figure = picture_of_evolution.draw(summaries, run.caption, metrics=["stable_rank"])
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend[-2:] == [vocabulary.START_LABEL, vocabulary.BAND_LABEL]
    assert any(vocabulary.BAND_MEANING in text.get_text() for text in figure.texts)
    assert vocabulary.BAND_MEANING in drawings["evolution"].text
    for across in ("evolution", "evolution_by_mae"):
        (note,) = [param["expr"] for param in templates[across]["params"] if param["name"] == "note"]
        assert vocabulary.BAND_MEANING in note
        assert vocabulary.START_LABEL in note


def test_dvc_yaml_gives_its_plots_these_words(pytestconfig):
    plots = yaml.safe_load((pytestconfig.rootpath / "dvc.yaml").read_text())["plots"]
    named = {name: plot for entry in plots if isinstance(entry, dict) for name, plot in entry.items()}
    for name, words in (
        ("spectra by layer", heatmap),
        ("singular values", singular_values),
        ("empirical spectral density", esd),
        ("forecasts", forecasts),
    ):
        assert named[name]["title"].startswith(words.TITLE)
    assert {named["loss"]["title"], "MAE"} == set(loss.TITLE.split(" and "))
    assert named["validation MAE"]["y_label"] == loss.MAE
    assert named["spectra by layer"]["y_label"] == heatmap.CHANGE
    assert named["empirical spectral density"]["x_label"] == esd.EIGENVALUES
    assert named["empirical spectral density"]["y_label"] == esd.DENSITY
    assert named["singular values"]["x_label"] == singular_values.RANK
    assert named["forecasts"]["x_label"] == forecasts.TIME


def test_no_picture_page_or_template_has_words_or_colours_of_its_own(pytestconfig):
    package = pytestconfig.rootpath / "src/transformer_spectrum"
    own = {shade.light for shade in vocabulary.SHADES.values()} | set(vocabulary.LOSS_COLOURS.values())
    own -= {"#222222"}  # black ink
    said = {
        vocabulary.STANDIN,
        vocabulary.STANDIN_MEANING,
        vocabulary.NULL_LABEL,
        "feed forward",
    }
    said |= {metric.name for name, metric in vocabulary.METRICS.items() if name not in ("ks_tail", "alpha_hat")}
    for path in [*(package / "report").rglob("*.py"), package / "study/sweep/figures.py"]:
        for text in strings(path):
            assert not any(colour.lower() in text.lower() for colour in own), (path, text)
            assert text not in said, (path, text)
    for path in (package / "report").rglob("*.j2"):
        assert not any(colour.lower() in path.read_text().lower() for colour in own), path


def strings(path: Path) -> list[str]:
    """The string constants of a module, but for its docstrings."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    expressions = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    return [
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in expressions
    ]
