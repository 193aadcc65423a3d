"""Our Vega-Lite templates for `dvc plots`: each fits the columns of its CSV and compiles."""

import json

import pytest
from dvc_render.vega import VegaRenderer

from transformer_spectrum.report import tables

TEMPLATES = {
    "evolution": ("step", "value", tables.SPECTRA_EVOLUTION),
    "heatmap": ("step", "change", tables.HEATMAP),
    "singular_values": ("rank", "value", tables.SINGULAR_VALUES),
    "esd": ("eigenvalue", "density", tables.ESD),
    "loss": ("step", "loss", tables.LOSS),
    "forecasts": ("time", "value", tables.FORECASTS),
}


@pytest.fixture(scope="module")
def rows(histories, summarized, forecast):
    summaries = summarized(histories)
    return {
        "evolution": list(tables.spectra_evolution(summaries)),
        "heatmap": list(tables.heatmap(summaries)),
        "singular_values": list(tables.singular_values(summaries)),
        "esd": list(tables.esd(summaries)),
        "loss": list(tables.loss(summaries)),
        "forecasts": list(tables.forecasts(forecast)),
    }


def filled(name, rows, folder):
    """The specification as DVC makes it of two revisions: every value is text, and `rev` tells them apart."""
    x, y, header = TEMPLATES[name]
    points = [
        {**dict(zip(header, map(str, row), strict=True)), "standin": "STAND-IN DATA", "rev": rev}
        for rev in ("HEAD", "workspace")
        for row in rows
    ]
    about = {"x": x, "y": y, "title": "A title", "template": name, "template_dir": folder}
    return VegaRenderer(points, name, **about).get_filled_template()


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


@pytest.mark.parametrize("name", TEMPLATES)
def test_a_template_is_filled_and_names_only_columns_that_exist(name, rows, pytestconfig):
    spec = filled(name, rows[name], pytestconfig.rootpath / ".dvc" / "plots")
    assert "DVC_METRIC" not in json.dumps(spec)
    assert len(spec["data"]["values"]) == 2 * len(rows[name])
    made = set(entries(spec, "as"))
    known = {*TEMPLATES[name][2], "rev", "standin", *made}
    assert {field for field in entries(spec, "field") if isinstance(field, str)} <= known


@pytest.mark.parametrize("name", TEMPLATES)
def test_a_template_compiles_without_a_warning_about_its_marks(name, rows, pytestconfig):
    vl_convert = pytest.importorskip("vl_convert")
    spec = filled(name, rows[name], pytestconfig.rootpath / ".dvc" / "plots")
    compiled = vl_convert.vegalite_to_vega(spec)
    drawn = json.dumps(compiled)
    assert "STAND-IN" in drawn
    lines = ("#0072B2", "#D55E00", "#009E73")
    for colour in {"esd": ("viridis",), "singular_values": ("viridis",), "heatmap": ("redblue",)}.get(name, lines):
        assert colour in drawn
