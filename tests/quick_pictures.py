"""Pictures that are drawn soon, for tests of other things; how pictures look is tested in tests/report."""

from collections.abc import Callable, Mapping
from typing import Any

from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from transformer_spectrum.analysis.of_training.summary import Summary
from transformer_spectrum.report.figures.caption import Caption
from transformer_spectrum.report.pictures import esd, evolution, heatmap, overview, singular_values, style


def one_panel(summaries: Mapping[str, Summary], caption: Caption, **_: Any) -> Figure:
    """In the place of a picture of up to a hundred panels."""
    with style.house_style():
        figure = style.new_figure(8, 4)
        axes = figure.subplots()
        for summary in summaries.values():
            axes.plot(summary.history.steps, summary.history.distance)
    return style.finish(figure, "One panel in the place of many", caption)


def draw_quickly(replace: Callable[[object, str, object], None]) -> None:
    """Has pictures drawn at half the resolution and without what takes longest: panels, axes, and room for labels.

    Args:
        replace: `setattr`, or a monkeypatch's.
    """
    for picture in (esd, evolution, heatmap, overview, singular_values):
        replace(picture, "draw", one_panel)
    replace(ConstrainedLayoutEngine, "execute", lambda engine, figure: None)
    replace(Axis, "draw", lambda axis, renderer: None)
    replace(Axes, "_update_title_position", lambda axes, renderer: None)
    replace(style, "STYLE", {**style.STYLE, "savefig.dpi": style.STYLE["savefig.dpi"] // 2})
