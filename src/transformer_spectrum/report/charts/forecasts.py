"""Forecasts against truth: the chart of the page."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from transformer_spectrum.analysis.comparison.forecast_errors import forecast_errors
from transformer_spectrum.report.charts.parts import (
    DASH,
    HOVER,
    NULL,
    ONCE,
    Chart,
    Spec,
    axis,
    csv,
    number_columns,
    select,
    tip,
)
from transformer_spectrum.report.figures import forecasts as figure_words
from transformer_spectrum.report.page.html import Table
from transformer_spectrum.report.page.numbers import short
from transformer_spectrum.report.run import Run

COLUMNS = ["window", "feature", "time", "series", "value"]


def _named(run: Run) -> pd.DataFrame:
    """The table of forecasts, its windows by their names."""
    table = run.curves["forecasts"]
    names = [
        figure_words.window_name(entity, window)
        for entity, window in zip(table["entity"], table["window"], strict=True)
    ]
    return table.assign(window=names)[COLUMNS]


def chart(run: Run) -> Chart:
    """Forecasts of test windows.

    >>> print(*chart(run).data.splitlines()[:2], sep="\\n")
    window,feature,time,series,value
    north (window 0),0,-8,context,50
    """
    table = _named(run)
    horizon = int(table["time"].max()) + 1
    visible = table[table["time"] >= -figure_words.context_shown(-int(table["time"].min()), horizon)]
    return Chart(
        "forecasts",
        figure_words.TITLE,
        f"{figure_words.TEXT} The forecast begins at the dashed line.",
        "A panel for each of several test windows: context, truth and the forecast of each optimizer.",
        _spec(run, table["window"].unique().tolist(), table["feature"].astype(str).unique().tolist()),
        number_columns(visible),
        csv(visible),
        numbers(run),
        legend=("context", "truth"),
    )


def _spec(run: Run, windows: Sequence[str], features: Sequence[str]) -> Spec:
    """Several test windows: the end of the context, the truth and each optimizer's forecast."""
    series = ["context", "truth", *run.trainings]
    scale = {"domain": series, "range": [f"var(--{name})" for name in series]}
    ink = {"field": "series", "type": "nominal", "scale": scale, "legend": None}
    width = {"condition": {"test": "datum.series === 'truth'", "value": 2.6}, "value": 1.5}
    place = {"x": axis("time", figure_words.TIME), "y": axis("value", run.caption.unit), "color": ink}
    off = {"opacity": {"expr": "indexof(muted, datum.series) >= 0 ? 0.06 : 1"}}
    tooltip = tip(("series", "series", ""), ("time", "step", "d"), ("value", "value", ".4g"))
    chosen = select("feature", "channel", features, features)
    return {
        **({"params": [chosen], "transform": [{"filter": "datum.feature == feature"}]} if len(features) > 1 else {}),
        "facet": {"field": "window", "type": "nominal", "sort": list(windows), "title": None},
        "spec": {
            "height": 150,
            "layer": [
                {
                    **ONCE,
                    "mark": {"type": "rule", "color": NULL, "strokeDash": DASH},
                    "encoding": {"x": {"datum": -0.5}},
                },
                {"mark": {"type": "line", **off}, "encoding": {**place, "strokeWidth": width}},
                {"mark": HOVER, "encoding": {**place, "tooltip": tooltip}},
            ],
        },
        "resolve": {"scale": {"y": "independent"}, "axis": {"x": "independent", "y": "independent"}},
        "usermeta": {"panels": {"least": 240, "most": 3, "gutter": 70}},
    }


def numbers(run: Run) -> Table:
    """Mean absolute error of each window and forecast, data units.

    >>> numbers(run).rows[0]
    ('north (window 0)', '1', '2', '3')
    """
    errors = forecast_errors(run.curves["forecasts"]).reindex(columns=list(run.trainings))
    rows = tuple(
        (figure_words.window_name(entity, window), *map(short, means))
        for (window, entity), means in zip(errors.index, errors.to_numpy(), strict=True)
    )
    header = ("window", *(run.caption.name_of(name) for name in run.trainings))
    return Table(f"Mean absolute error of the forecasts shown; {run.caption.unit}.", header, rows)
