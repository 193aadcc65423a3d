"""Template of the curves of trainings that are running."""

from __future__ import annotations

from transformer_spectrum.report.dvc_plots.curves import EARLY, EARLY_AXIS, MEANING
from transformer_spectrum.report.dvc_plots.frame import template
from transformer_spectrum.report.dvc_plots.pieces import (
    WORDS,
    X_LABEL,
    Spec,
    X,
    Y,
    axis,
    colour,
    dash,
    quantitative,
    tooltip,
)

SOURCE = "datum['filename::field']"
OF_FILE = f"replace({SOURCE}, /^(.*\\/)?([a-z]+)\\/plots\\/metrics\\/.*$/, '$2')"


def live() -> Spec:
    """DVCLive's curves of several trainings: a panel a metric, while they run and afterwards.

    Each curve is a file of its own with a column of its own, so DVC adds the columns "filename::field" and, as the
    value, dvc_inferred_y_value.

    >>> live()["vconcat"][1]["facet"]["field"]
    'panel'
    """
    return template(
        "What the trainings report while they run: a panel a metric, a line an optimizer.",
        [MEANING, "'as far as each training has come; dvc plots show again, or VS Code, goes on'"],
        ["step", "dvc_inferred_y_value"],
        [
            {"calculate": OF_FILE, "as": "optimizer"},
            *WORDS,
            {"calculate": f"replace(split({SOURCE}, '::')[1], /_/g, ' ')", "as": "panel"},
            {"filter": f"isFinite(datum['{Y}'])"},
        ],
        {
            "facet": {"field": "panel", "type": "nominal", "title": None, "sort": None},
            "columns": 3,
            "spec": {
                "width": 300,
                "height": 160,
                "layer": [
                    {
                        "mark": {"type": "line", "strokeWidth": 1.5, "clip": True},
                        "encoding": {
                            "x": {**quantitative(X, X_LABEL, **EARLY), "axis": EARLY_AXIS},
                            "y": {**quantitative(Y, None, zero=False), "axis": axis(4, minExtent=40)},
                            "color": colour(),
                            "strokeDash": dash(),
                            "tooltip": tooltip("rev", "method", "panel"),
                        },
                    },
                    {
                        # A training's first step is no line yet.
                        "transform": [
                            {"joinaggregate": [{"op": "max", "field": X, "as": "last"}], "groupby": ["method", "rev"]},
                            {"filter": f"datum.last == datum['{X}']"},
                        ],
                        "mark": {"type": "point", "filled": True, "size": 30, "opacity": 1},
                        "encoding": {
                            "x": quantitative(X, X_LABEL, **EARLY),
                            "y": quantitative(Y, None, zero=False),
                            "color": colour(),
                            "tooltip": tooltip("rev", "method", "panel", "last"),
                        },
                    },
                ],
            },
            "resolve": {"scale": {"y": "independent"}, "axis": {"x": "independent"}},
            "spacing": 14,
        },
    )
