"""Template of the parameters that differ between revisions, as a table."""

from __future__ import annotations

from transformer_spectrum.report.dvc_plots.frame import template
from transformer_spectrum.report.dvc_plots.pieces import FAINT, INK, Spec, X, Y

REVISIONS = "length(revisions.scale.domain)"


def parameters() -> Spec:
    """A row for each parameter whose value is not the same everywhere, a column for each revision.

    The page makes a table of HTML from the same data (`usermeta.table`); this is for VS Code and PNG files.

    >>> parameters()["usermeta"]["table"]["value"]
    '<DVC_METRIC_Y>'
    """
    place = {
        "x": {
            "field": "rev",
            "type": "nominal",
            "title": None,
            "sort": None,
            "axis": {"orient": "top", "labelAngle": 0, "domain": False, "ticks": False, "labelFontWeight": "bold"},
        },
        "y": {
            "field": X,
            "type": "nominal",
            "title": None,
            "sort": None,
            "axis": {"labelLimit": 400, "labelFontSize": 12, "domain": False, "ticks": False},
        },
    }
    table = {
        "transform": [{"filter": "datum.differs"}],
        "width": {"step": 150},
        "height": {"step": 20},
        "mark": {"type": "text", "fontSize": 12, "color": INK, "limit": 145},
        "encoding": {**place, "text": {"field": Y}, "tooltip": [{"field": "rev"}, {"field": X}, {"field": Y}]},
    }
    nothing = {
        "transform": [
            {"aggregate": [{"op": "sum", "field": "differs", "as": "count"}]},
            {"filter": "datum.count == 0"},
            {"calculate": "several ? 'none differs' : 'one revision: nothing to compare'", "as": "words"},
        ],
        "width": 400,
        "height": {"step": 20},
        "view": {"stroke": None},
        "mark": {"type": "text", "align": "left", "fontSize": 12, "color": FAINT},
        "encoding": {
            "x": {"value": 0},
            "y": {"field": "words", "type": "nominal", "axis": None},
            "text": {"field": "words"},
        },
    }
    spec = template(
        "Parameters of the run whose values differ between the revisions.",
        ["'of the parameters that decide the result; dvc params diff names the others too'"],
        [],
        [
            {
                "joinaggregate": [
                    {"op": "distinct", "field": Y, "as": "values"},
                    {"op": "distinct", "field": "rev", "as": "revs"},
                ],
                "groupby": [X],
            },
            {"calculate": f"datum.values > 1 || datum.revs < {REVISIONS} ? 1 : 0", "as": "differs"},
        ],
        table,
        nothing,
    )
    spec["usermeta"]["table"] = {"row": X, "value": Y}
    return spec
