"""Our templates for `dvc plots` and their page: columns fit, figures are drawn, colours mean what they must."""

import json
from pathlib import Path

import pytest
import vl_convert
import yaml
from dvc_render.html import render_html
from dvc_render.vega import VegaRenderer

from transformer_spectrum.analysis.of_training import plot_tables
from transformer_spectrum.analysis.of_training.rows import cells
from transformer_spectrum.report.dvc_plots.__main__ import contents
from transformer_spectrum.report.page import vega
from transformer_spectrum.vocabulary import (
    EVOLUTION_METRICS,
    NAMES,
    REVISION_SHADES,
    SHADES,
    family_words,
    metric_label,
)
from transformer_spectrum.weights.matrices.families import BLOCKS

TEMPLATES = {
    "evolution": ("step", "value", plot_tables.SPECTRA_EVOLUTION),
    "evolution_by_budget": ("evaluations", "value", plot_tables.SPECTRA_EVOLUTION),
    "evolution_by_mae": ("validation_mae", "value", plot_tables.SPECTRA_EVOLUTION),
    "evolution_by_distance": ("distance", "value", plot_tables.SPECTRA_EVOLUTION),
    "heatmap": ("step", "change", plot_tables.HEATMAP),
    "singular_values": ("rank", "value", plot_tables.SINGULAR_VALUES),
    "esd": ("eigenvalue", "density", plot_tables.ESD),
    "loss": ("step", "loss", plot_tables.LOSS),
    "validation": ("step", "validation_mae", plot_tables.VALIDATION),
    "forecasts": ("time", "value", plot_tables.FORECASTS),
    "live": ("step", "dvc_inferred_y_value", ("step", "dvc_inferred_y_value", "filename::field")),
    "parameters": ("parameter", "value", ("parameter", "value")),
}
CURVES = {"validation_mae", "residual_mad", "influence_cosine", "change_stable_rank"}
"""What every training writes besides what has its searcher's name or is older than the committed run."""
LINES = [name for name in TEMPLATES if name not in ("heatmap", "parameters")]
WIDTHS = (390, 820, 1400)
DRAWN = "document.documentElement.dataset.drawn"
LIGHT, DARK = ([pair[i] for pair in (SHADES[name] for name in NAMES)] for i in (0, 1))
LIGHT_REVISIONS, DARK_REVISIONS = ([pair[i] for pair in REVISION_SHADES] for i in (0, 1))


@pytest.fixture(scope="module")
def rows(histories, summarized, forecast):
    summaries = summarized(histories)
    evolution = list(cells(plot_tables.spectra_evolution(summaries)))
    return {
        "evolution": evolution,
        "evolution_by_budget": evolution,
        "evolution_by_mae": evolution,
        "evolution_by_distance": evolution,
        "heatmap": list(cells(plot_tables.heatmap(summaries))),
        "singular_values": list(cells(plot_tables.singular_values(summaries))),
        "esd": list(cells(plot_tables.esd(summaries))),
        "loss": list(cells(plot_tables.loss(summaries, "sgt, nats"))),
        "validation": list(cells(plot_tables.validation(summaries))),
        "forecasts": list(cells(plot_tables.forecasts(forecast))),
        "live": [
            (step, value / (step + 1), f"{name}/plots/metrics/{metric}.tsv::{metric}")
            for name in NAMES
            for value, metric in enumerate(("validation_loss", "stable_rank", "distance"), start=1)
            for step in range(9)
        ],
        "parameters": [("seed", "1"), ("loss.q", "5"), ("es.sigma", "0.1")],
    }


def renderer(name, rows, folder, revisions, standin="", shift=0.0):
    """As DVC makes it: every value is text, and `rev` tells revisions apart; the later ones' values may be shifted."""
    x, y, header = TEMPLATES[name]
    points = []
    for number, rev in enumerate(revisions):
        for row in rows:
            point = dict(zip(header, map(str, row), strict=True))
            for start in ("initial", "reference"):
                if point.get(start):
                    point[start] = str(float(point[start]) + number * shift)
            points.append({**point, "standin": standin, "rev": rev})
    about = {"x": x, "y": y, "title": f"About {name}", "template": name, "template_dir": folder}
    return VegaRenderer(points, name, **about)


@pytest.fixture
def page(browser, rows, tmp_path, pytestconfig):
    """Opens the page that DVC makes of all templates."""
    folder = pytestconfig.rootpath / ".dvc" / "plots"

    def make(revisions, names=tuple(TEMPLATES), standin="", shift=0.0, **options):
        made = [renderer(name, rows[name], folder, revisions, standin, shift) for name in names]
        render_html(made, tmp_path / "index.html", str(folder / "page.html"))
        return browser.open(tmp_path / "index.html", ready=DRAWN, **options)

    return make


def entries(tree, key):
    if isinstance(tree, dict):
        for name, value in tree.items():
            if name == key:
                yield value
            elif name != "values":
                yield from entries(value, key)
    elif isinstance(tree, list):
        for value in tree:
            yield from entries(value, key)


def test_the_committed_files_are_what_the_package_makes(pytestconfig):
    folder = pytestconfig.rootpath / ".dvc" / "plots"
    made = contents()
    assert {path.name for path in folder.iterdir()} == set(made)
    for name, text in made.items():
        assert (folder / name).read_text(encoding="utf-8") == text, f"{name} is old: make templates"
    assert vega.BUNDLE.read_text(encoding="utf-8") == vega.bundle(), "vega.js is old: make templates"


def test_dvc_plots_shows_every_curve_of_dvclive_and_no_more_rows_than_a_browser_draws_soon(pytestconfig):
    plots = yaml.safe_load((pytestconfig.rootpath / "dvc.yaml").read_text())["plots"]
    live = [about["y"] for plot in plots if isinstance(plot, dict) for about in plot.values()]
    live = [files for files in live if any(name.endswith(".tsv") for name in files)]
    assert all(field == Path(name).stem for files in live for name, field in files.items())
    written = {
        str(path.relative_to(pytestconfig.rootpath)) for path in pytestconfig.rootpath.glob("metrics/*/plots/metrics/*")
    }
    axes = {name for name in written if Path(name).stem in ("evaluations", "seconds", "rounds")}
    listed = {name for files in live for name in files}
    assert written - axes <= listed
    assert {Path(name).stem for name in listed - written} <= CURVES
    for files in live:
        there = [pytestconfig.rootpath / name for name in files if name in written]
        rows = sum(len(path.read_text().splitlines()) - 1 for path in there)
        assert rows * len(files) / max(1, len(there)) <= plot_tables.ROWS_AT_MOST


def test_no_revision_has_the_colour_of_an_optimizer():
    assert not {*LIGHT, *DARK} & {*LIGHT_REVISIONS, *DARK_REVISIONS}


@pytest.mark.slow
@pytest.mark.parametrize("name", TEMPLATES)
def test_a_template_is_filled_and_names_only_columns_that_exist(name, rows, pytestconfig):
    spec = renderer(name, rows[name], pytestconfig.rootpath / ".dvc" / "plots", ("A", "B")).get_filled_template()
    assert "DVC_METRIC" not in json.dumps(spec)
    assert len(spec["data"]["values"]) == 2 * len(rows[name])
    assert len(rows[name]) <= plot_tables.ROWS_AT_MOST
    made = {name for names in entries(spec, "as") for name in (names if isinstance(names, list) else [names])}
    known = {*TEMPLATES[name][2], "rev", "standin", *made}
    assert {field for field in entries(spec, "field") if isinstance(field, str)} <= known


def test_with_one_revision_colours_mean_optimizers_and_nothing_is_asked_of_the_network(page, rows):
    with page(["workspace"]) as shown:
        figures = shown.figures(".plot")
        assert (shown.requests, shown.errors, shown.warnings) == ([], [], [])
        assert shown.driver.text_content("h1") == "Plots of workspace"
        assert shown.driver.locator(".plot > h2").all_text_contents() == [f"About {name}" for name in TEMPLATES]
        for name, figure in zip(TEMPLATES, figures, strict=True):
            if name == "heatmap":
                assert figure.marks == len(rows["heatmap"])
            if name in LINES:
                assert set(LIGHT) <= set(figure.strokes), name
                assert not set(LIGHT_REVISIONS) & {*figure.strokes, *figure.fills}, name
                assert {"Adam", "ES", "GA"} <= set(figure.texts)
        assert "workspace minimises sgt, nats" in shown.driver.locator("#loss").text_content()


def test_with_two_revisions_colours_mean_revisions_and_each_stand_in_is_named_in_red(page):
    revisions = ("main", "loss-q3")
    with page(revisions, standin="STAND-IN DATA") as shown:
        assert (shown.requests, shown.errors, shown.warnings) == ([], [], [])
        assert shown.driver.text_content("h1") == "Plots of main and loss-q3"
        above = [f"STAND-IN DATA ({rev}): simulated, no real series" for rev in revisions]
        assert sorted(shown.driver.locator("header .warning").all_text_contents()) == sorted(above)
        for name, figure in zip(TEMPLATES, shown.figures(".plot"), strict=True):
            if name == "parameters":
                continue  # HTML
            assert set(revisions) <= set(figure.texts), name
            assert shown.driver.locator(f"#{name} .warning").all_text_contents() == above, name
            if name in LINES:
                assert set(LIGHT_REVISIONS[:2]) <= set(figure.strokes), name
                assert not set(LIGHT) & set(figure.strokes), name
                assert any("Adam" in text for text in figure.texts), name


def test_revisions_that_start_from_the_same_weights_share_a_grey_line_and_others_have_their_own(
    page, rows, monkeypatch
):
    for name in ("evolution", "singular_values"):
        few = [row for row in rows[name] if "feed_forward" in row]  # one family: the page is drawn sooner
        of_weights = [row for row in few if not any(str(cell).startswith("change_") for cell in row)]
        monkeypatch.setitem(rows, name, of_weights)
    names = ["evolution", "singular_values"]

    def strokes(shift):
        with page(["A", "B"], names=names, shift=shift) as shown:
            shown.driver.select_option("#singular_values select[name=subject]", "weights")
            shown.driver.wait_for_function(
                "document.querySelector('#singular_values').textContent.includes('initial one')"
            )
            shown.driver.wait_for_timeout(300)
            return dict(zip(names, (figure.strokes for figure in shown.figures(".plot")), strict=True))

    alike, apart = strokes(0.0), strokes(0.1)
    for name in names:
        assert "#6b6b6b" in alike[name]
        assert "#6b6b6b" not in apart[name]


def test_every_training_has_the_area_of_its_own_null_in_its_colour(page, rows, monkeypatch):
    few = [row for row in rows["evolution_by_mae"] if "feed_forward" in row]
    monkeypatch.setitem(rows, "evolution_by_mae", few)
    areas = (
        "[...document.querySelectorAll('#evolution_by_mae g.mark-area.role-mark > path')]"
        ".filter(path => path.getBBox().width > 0).map(path => path.getAttribute('fill'))"
    )
    with page(["A"], names=["evolution_by_mae"]) as shown:
        alone = shown.driver.evaluate(areas)
    with page(["A", "B"], names=["evolution_by_mae"]) as shown:
        several = shown.driver.evaluate(areas)
    assert sorted(alone) == sorted(LIGHT)
    assert sorted(several) == sorted([*LIGHT_REVISIONS[:2]] * len(NAMES))


PANELS = """
([columns, rows]) => {
    const svg = document.querySelector('#evolution svg');
    const centre = element => {
        const box = element.getBoundingClientRect();
        return [box.x + box.width / 2, box.y + box.height / 2];
    };
    const header = words => [...svg.querySelectorAll('text')].find(text => text.textContent === words);
    const nearest = (names, axis, at) => names
        .map(name => [Math.abs(centre(header(name))[axis] - at[axis]), name]).sort((a, b) => a[0] - b[0])[0][1];
    const lines = [...svg.querySelectorAll('g.mark-line.role-mark > path')].filter(path => path.getBBox().width > 0);
    return lines.map(centre).map(at => [nearest(columns, 0, at), nearest(rows, 1, at)]);
}
"""


def test_every_metric_stands_in_its_row_and_column_where_a_family_lacks_some(page, rows, monkeypatch):
    family, metric = (plot_tables.SPECTRA_EVOLUTION.index(name) for name in ("family", "metric"))
    lacking = {("encoder_self_attention", "spectral_norm"), ("readout", "ks_alpha"), ("embedding", "stable_rank")}
    kept = [row for row in rows["evolution"] if (row[family], row[metric]) not in lacking]
    monkeypatch.setitem(rows, "evolution", kept)
    words = {name: family_words(name) for name in BLOCKS}
    titles = {name: metric_label(name).replace("\n", "") for name in EVOLUTION_METRICS}
    expected = {(words[row[family]], titles[row[metric]]) for row in kept}
    columns = [words[name] for name in BLOCKS if words[name] in {column for column, _ in expected}]
    with page(["A"], names=["evolution"]) as shown:
        found = shown.driver.evaluate(PANELS, [columns, list(titles.values())])
    assert {tuple(panel) for panel in found} == expected


def test_the_page_is_dark_where_dark_is_preferred(page):
    with page(["workspace"], names=["loss", "esd"], dark=True) as shown:
        for figure in shown.figures(".plot"):
            assert set(DARK) <= set(figure.strokes)
        assert shown.driver.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(15, 17, 20)"
        shown.driver.emulate_media(color_scheme="light")
        shown.driver.wait_for_function(f"document.querySelector('svg').innerHTML.includes('{LIGHT[0]}')")


def test_the_reader_chooses_an_optimizer_and_earlier_steps(page, rows, monkeypatch):
    monkeypatch.setitem(rows, "evolution", [row for row in rows["evolution"] if "feed_forward" in row])
    with page(["A", "B"], names=["evolution", "esd"]) as shown:
        before = [figure.marks for figure in shown.figures(".plot")]
        shown.driver.select_option("#evolution select[name=shown]", "ES")
        shown.driver.check("#esd input[type=checkbox]")
        shown.driver.wait_for_timeout(300)
        after = [figure.marks for figure in shown.figures(".plot")]
    assert after[0] < before[0]
    assert after[1] > before[1]


def test_a_plot_that_cannot_be_drawn_says_so_and_the_others_are_drawn(page, rows, browser, tmp_path, pytestconfig):
    with page(["A"], names=["loss", "esd"]):
        pass
    path = tmp_path / "index.html"
    path.write_text(path.read_text().replace('"mark": {"type": "area"', '"mark": {"type": "nonsense"'))
    with browser.open(path, ready=DRAWN) as shown:
        first, second = shown.figures(".plot")
        assert first.marks > 0
        assert second.marks == 0
        assert "About esd could not be drawn" in shown.driver.text_content("#esd")
        assert shown.errors


def test_the_page_carries_the_licences_of_what_is_in_it(pytestconfig):
    text = (pytestconfig.rootpath / ".dvc" / "plots" / "page.html").read_text(encoding="utf-8")
    for owner in ("University of Washington Interactive Data Lab", "Mike Bostock", "Joachim Wester", "Mapbox"):
        assert owner in text
    assert "{plot_divs}" in text
    assert "{scripts}" not in text
    assert "<script src" not in text


def sideways(shown):
    """The plots that would have to be scrolled sideways, and by how much; CSS pixels."""
    return shown.driver.evaluate(
        "[...document.querySelectorAll('.plot')].map(plot => [plot.id, plot.scrollWidth - plot.clientWidth])"
        ".filter(([, excess]) => excess > 0)"
    )


def columns(shown, name):
    """Panels beside each other, by where their frames begin."""
    return shown.driver.evaluate(
        "name => new Set([...document.querySelectorAll(`#${name} svg.marks g[class$=cell] > g > path.background`)]"
        ".map(path => Math.round(path.getBoundingClientRect().x))).size",
        name,
    )


def test_nothing_is_scrolled_sideways_on_any_width_and_panels_fold(page, rows, monkeypatch):
    names = [name for name in TEMPLATES if not name.startswith("evolution_by")]
    few = [row for row in rows["evolution"] if "stable_rank" in row]  # one metric: the page is drawn sooner
    monkeypatch.setitem(rows, "evolution", few)
    revisions = ["main", "an-experiment-of-a-longer-name"]
    with page(revisions, names, width=WIDTHS[0], standin="STAND-IN DATA") as shown:
        counts = []
        for width in WIDTHS:
            if width != WIDTHS[0]:
                shown.driver.set_viewport_size({"width": width, "height": 900})
                shown.driver.wait_for_timeout(300)  # the page waits until the width rests
                shown.driver.wait_for_function(DRAWN)
            assert (width, shown.overflow(), sideways(shown)) == (width, 0, [])
            counts.append({name: columns(shown, name) for name in ("evolution", "heatmap", "forecasts", "live")})
        assert (shown.errors, shown.warnings) == ([], [])
    assert counts[0] == {"evolution": 2, "heatmap": 1, "forecasts": 1, "live": 1}
    assert counts[2] == {"evolution": 6, "heatmap": 3, "forecasts": 3, "live": 3}
    assert all(counts[0][name] <= counts[1][name] <= counts[2][name] for name in counts[0])


def test_no_dash_of_an_optimizer_is_another_ones_or_the_nulls(page, rows, monkeypatch):
    monkeypatch.setitem(rows, "evolution", [row for row in rows["evolution"] if "feed_forward" in row])
    marks = "kind => [...document.querySelectorAll(`#evolution g.mark-${kind}.role-mark > *`)]"
    with page(["A", "B"], names=["evolution"], shift=0.1) as shown:  # starts of their own have the revisions' colours
        dashes = shown.driver.evaluate(f"({marks}.map(path => path.getAttribute('stroke-dasharray')))", "line")
        nulls = shown.driver.evaluate(
            f"({marks}.map(path => [path.getAttribute('stroke-dasharray'), path.getAttribute('stroke-width')]))", "rule"
        )
    assert len({dash or "1,0" for dash in dashes}) == 3
    assert {(dash, float(width)) for dash, width in nulls} == {(None, 5.0)}


@pytest.mark.parametrize(("subject", "words"), [("change", "shuffled"), ("weights", "initial")])
def test_singular_values_are_drawn_over_what_is_beside_them_unless_asked_for(page, rows, monkeypatch, subject, words):
    kept = [row for row in rows["singular_values"] if "feed_forward" in row]
    monkeypatch.setitem(rows, "singular_values", kept)
    heights = "[...document.querySelectorAll('#singular_values g.mark-line.role-mark > path')].map(p => p.__data__)"
    with page(["A"], names=["singular_values"]) as shown:
        shown.driver.select_option("#singular_values select[name=subject]", subject)
        shown.driver.wait_for_function(f"document.querySelector('.note').textContent.includes('the {words} one')")
        shown.driver.wait_for_timeout(300)
        drawn = shown.driver.evaluate(f"{heights}.flatMap(item => item.items ?? [item]).map(item => item.datum)")
        notes = shown.driver.locator(".note").text_content()
        shown.driver.select_option("#singular_values select[name=view]", "value")
        shown.driver.wait_for_function("document.querySelector('.note').textContent.includes('weight units')")
    assert f"over the {words} one" in notes
    last = {}
    for optimizer, step, of, _, rank, value, reference in kept:
        if of == subject:
            last[optimizer, step, rank] = value / reference
    seen = {(row["optimizer"], row["step"], row["rank"]): row["height"] for row in drawn}
    assert len(seen) >= len(NAMES)
    for key, height in seen.items():
        assert height == pytest.approx(last[key], rel=1e-6)


def test_the_parameters_that_differ_are_listed(page, rows, monkeypatch, browser, tmp_path, pytestconfig):
    folder = pytestconfig.rootpath / ".dvc" / "plots"
    points = [
        {"parameter": name, "value": value, "rev": rev}
        for rev, values in {
            "A": {"seed": "1", "loss.q": "5", "old": "x"},
            "B": {"seed": "1", "loss.q": "3", "new": "<i>"},
        }.items()
        for name, value in values.items()
    ]
    about = {"x": "parameter", "y": "value", "title": "Differ", "template": "parameters", "template_dir": folder}
    made = [VegaRenderer(points, "parameters", **about), renderer("loss", rows["loss"], folder, ("A", "B", "C"))]
    render_html(made, tmp_path / "index.html", str(folder / "page.html"))
    with browser.open(tmp_path / "index.html", ready=DRAWN, width=390) as shown:
        table = shown.driver.evaluate(
            "[...document.querySelectorAll('tr')].map(r => [...r.cells].map(c => c.innerText))"
        )
        notes = shown.driver.locator("#parameters").text_content()
        assert shown.overflow() == 0
    assert table == [["parameter", "A", "B"], ["loss.q", "5", "3"], ["old", "x", "–"], ["new", "–", "<i>"]]
    assert "C has no list of its parameters" in notes
    with page(["A"], names=["parameters"]) as shown:
        assert "One revision: nothing to compare." in shown.driver.locator("#parameters").text_content()
    with page(["A", "B"], names=["parameters"]) as shown:
        assert "None differs." in shown.driver.locator("#parameters").text_content()


def test_the_list_of_parameters_is_a_picture_where_there_is_no_page(tmp_path, pytestconfig):
    """VS Code and PNG files draw the template itself: only rows that differ."""
    folder = pytestconfig.rootpath / ".dvc" / "plots"
    points = [
        {"parameter": name, "value": value, "rev": rev}
        for rev, q in (("A", "5"), ("B", "3"))
        for name, value in (("seed", "1"), ("loss.q", q))
    ]
    about = {"x": "parameter", "y": "value", "title": "Differ", "template": "parameters", "template_dir": folder}
    spec = VegaRenderer(points, "parameters", **about).get_filled_template()
    drawing = vl_convert.vegalite_to_svg(spec)
    assert ">loss.q<" in drawing
    assert ">seed<" not in drawing


def test_a_stand_in_and_the_objective_are_said_in_pictures_too(rows, pytestconfig):
    folder = pytestconfig.rootpath / ".dvc" / "plots"
    spec = renderer("loss", rows["loss"], folder, ("A", "B"), standin="STAND-IN DATA").get_filled_template()
    drawing = vl_convert.vegalite_to_svg(spec)
    assert drawing.count("#c00000") == 2
    for rev in "AB":
        assert f">STAND-IN DATA ({rev}): simulated, no real series<" in drawing
        assert f">{rev} minimises sgt, nats<" in drawing
