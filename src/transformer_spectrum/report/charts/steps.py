"""Whole spectra at the tracked steps: what the charts of densities and of singular values share."""

from __future__ import annotations

from collections.abc import Sequence

from transformer_spectrum.report.charts.parts import (
    DASH,
    HOVER,
    NULL,
    Spec,
    colour,
    family_facets,
    muted,
    select,
    tip,
)

STEPS = ("last", "tracked")
CHOSEN = [{"filter": "datum.step > 0 && (steps === 'tracked' || datum.progress == 1)"}]
BY_PROGRESS = "0.2 + 0.8 * datum.progress"


def spectrum(
    families: Sequence[str],
    optimizers: Sequence[str],
    x: Spec,
    y: Spec,
    tips: Sequence[tuple[str, str, str]],
    *,
    start: Spec | None = None,
) -> Spec:
    """The last or all tracked steps of each optimizer, paler the earlier, and the start.

    Args:
        families: in the order of their panels.
        optimizers: those that have lines; the start is that of the first.
        x, y: position channels.
        tips: what a tooltip says of a point beside optimizer and step, see `tip`.
        start: the layer behind the curves; None = the initial weights, dashed.

    >>> spectrum(["readout"], ["adam"], {}, {}, [])["params"][0]["bind"]["options"]
    ['last', 'tracked']
    """
    place = {"x": x, "y": y, "detail": [{"field": "step"}]}
    inks = {"color": colour(optimizers)}
    tooltip = tip(("optimizer", "optimizer", ""), ("step", "step", ",d"), *tips)
    layers = [
        start
        or {
            "transform": [{"filter": f"datum.step == 0 && datum.optimizer === '{optimizers[0]}'"}],
            "mark": {"type": "line", "color": NULL, "strokeDash": DASH, "strokeWidth": 1.6},
            "encoding": place,
        },
        {
            "transform": CHOSEN,
            "mark": {"type": "line", "strokeWidth": 1.8, **muted(BY_PROGRESS)},
            "encoding": {**place, **inks},
        },
        {"transform": CHOSEN, "mark": HOVER, "encoding": {**place, **inks, "tooltip": tooltip}},
    ]
    return {
        "params": [select("steps", "steps", STEPS, ["the last one", "all tracked ones"])],
        **family_facets(families, layers),
    }
