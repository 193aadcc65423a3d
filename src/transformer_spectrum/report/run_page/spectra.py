"""Vega-Lite specifications of whole spectra, without their data: densities and singular values."""

from __future__ import annotations

from collections.abc import Sequence

from transformer_spectrum.report.run_page.parts import (
    DASH,
    HOVER,
    NULL,
    Spec,
    axis,
    colour,
    family_facets,
    muted,
    select,
    tip,
)

STEPS = ("last", "tracked")
SHOWN = [{"filter": "datum.step > 0 && (steps === 'tracked' || datum.progress == 1)"}]
BY_PROGRESS = "0.2 + 0.8 * datum.progress"


def density(families: Sequence[str], optimizers: Sequence[str]) -> Spec:
    """Spectral densities on log-log axes."""
    x = axis("eigenvalue", "eigenvalue / mean initial one", log=True)
    return _spectrum(families, optimizers, x, axis("density", "density", log=True), ".3g")


def singular_values(families: Sequence[str], optimizers: Sequence[str]) -> Spec:
    """Singular values by rank on log-log axes: over the initial ones of the same rank, which shows more, or bare."""
    y = axis("y", "= (shown === 'ratio' ? 'over the initial one' : 'singular value') + ' (log)'", log=True)
    spec = _spectrum(families, optimizers, axis("rank", "rank", log=True), y, "d")
    labels = ["over the initial ones", "in weight units"]
    spec["params"].append(select("shown", "values", ["ratio", "value"], labels))
    # A ratio to nothing has no value.
    spec["transform"] = [
        {"filter": "shown === 'value' || datum.initial > 0"},
        {"calculate": "shown === 'ratio' ? datum.value / datum.initial : datum.value", "as": "y"},
    ]
    return spec


def _spectrum(families: Sequence[str], optimizers: Sequence[str], x: Spec, y: Spec, form: str) -> Spec:
    """The last or all tracked steps of each optimizer, paler the earlier, and the start."""
    place = {"x": x, "y": y, "detail": [{"field": "step"}]}
    inks = {"color": colour(optimizers)}
    tooltip = tip(
        ("optimizer", "optimizer", ""),
        ("step", "step", ",d"),
        (x["field"], x["title"].removesuffix(" (log)"), form),
        (y["field"], "density" if y["field"] == "density" else "value", ".4g"),
    )
    layers = [
        {
            "transform": [{"filter": f"datum.step == 0 && datum.optimizer === '{optimizers[0]}'"}],
            "mark": {"type": "line", "color": NULL, "strokeDash": DASH, "strokeWidth": 1.6},
            "encoding": place,
        },
        {
            "transform": SHOWN,
            "mark": {"type": "line", "strokeWidth": 1.8, **muted(BY_PROGRESS)},
            "encoding": {**place, **inks},
        },
        {"transform": SHOWN, "mark": HOVER, "encoding": {**place, **inks, "tooltip": tooltip}},
    ]
    return {
        "params": [select("steps", "steps", STEPS, ["the last one", "all tracked ones"])],
        **family_facets(families, layers),
    }
