"""Pictures that are drawn soon, for tests of other things; how pictures look is tested in tests/report."""

from collections.abc import Callable

from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.layout_engine import ConstrainedLayoutEngine

from transformer_spectrum.report.pictures import style


def draw_quickly(replace: Callable[[object, str, object], None]) -> None:
    """Has pictures drawn at half the resolution and without what takes longest: axes, and room for labels.

    Args:
        replace: `setattr`, or a monkeypatch's.
    """
    replace(ConstrainedLayoutEngine, "execute", lambda engine, figure: None)
    replace(Axis, "draw", lambda axis, renderer: None)
    replace(Axes, "_update_title_position", lambda axes, renderer: None)
    replace(style, "STYLE", {**style.STYLE, "savefig.dpi": style.STYLE["savefig.dpi"] // 2})
