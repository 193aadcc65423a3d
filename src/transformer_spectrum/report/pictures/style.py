"""How every figure looks: the settings, the frame, and PNG files whose bytes depend on nothing else."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import matplotlib.style
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator
from PIL import Image

from transformer_spectrum.report.figures.caption import Caption
from transformer_spectrum.runtime.files import atomic_path
from transformer_spectrum.vocabulary import (
    BAND_LABEL,
    NULL_COLOUR,
    STANDIN,
    STANDIN_MEANING,
    START_LABEL,
    WARNING_COLOUR,
    colour_of,
)

ROUNDING = 1e-12
"""No metric lies in so short a range but by rounding."""
BAND_ALPHA = 0.13
"""Of a null's band: those of three optimizers are told apart where they lie on each other."""

STYLE = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],  # carried by matplotlib itself
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.labelsize": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#888888",
    "axes.linewidth": 0.8,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e6e6e6",
    "grid.linewidth": 0.6,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "xtick.color": "#555555",
    "ytick.color": "#555555",
    "legend.frameon": False,
    "legend.fontsize": 9,
    "lines.linewidth": 1.5,
    "savefig.dpi": 130,
}


@contextlib.contextmanager
def house_style() -> Iterator[None]:
    """Our settings and matplotlib's defaults, whatever the user's matplotlibrc says.

    >>> with house_style():
    ...     matplotlib.rcParams["font.size"]
    9.0
    """
    with matplotlib.style.context(["default", STYLE]):
        yield


def new_figure(width: float, height: float) -> Figure:
    """An empty figure of its own, in inches, that no global state knows of.

    >>> new_figure(4, 3).get_size_inches().tolist()
    [4.0, 3.0]
    """
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def finish(figure: Figure, title: str, caption: Caption, note: str = "") -> Figure:
    """Writes the title on top and, at the bottom, the note and the caption, with the stand-in's warning in red.

    >>> caption = Caption("covid", "cases", "mae", "", "scaled units", 1, standin=True)
    >>> [text.get_text() for text in finish(new_figure(4, 3), "A title", caption).texts][-1]
    'STAND-IN DATA: simulated, no real series'
    """
    width, height = figure.get_size_inches()
    lines = note.count("\n") + 1 if note else 0
    bottom, top = (0.30 + 0.19 * lines) / height, 0.34 / height
    figure.get_layout_engine().set(rect=(0, bottom, 1, 1 - bottom - top), w_pad=0.05, h_pad=0.05)
    left, right = 0.1 / width, 1 - 0.1 / width
    small = {"fontsize": 8.5, "va": "bottom"}
    figure.text(left, 1 - 0.1 / height, title, ha="left", va="top", fontsize=12, fontweight="bold")
    figure.text(left, 0.28 / height, note, ha="left", color="#444444", linespacing=1.4, **small)
    figure.text(left, 0.08 / height, caption.line(), ha="left", color="#444444", **small)
    if caption.standin:
        loud = {"ha": "right", "color": WARNING_COLOUR, "fontweight": "bold"}
        figure.text(right, 1 - 0.1 / height, STANDIN, va="top", fontsize=12, **loud)
        figure.text(right, 0.08 / height, f"{STANDIN}: {STANDIN_MEANING}", **small, **loud)
    return figure


def save(figure: Figure, path: str | Path) -> None:
    """Writes a PNG atomically; the same figure gives the same bytes.

    192 colours are enough for lines on white and make the file three times smaller.

    >>> save(new_figure(2, 1), "empty.png")
    >>> Image.open("empty.png").size
    (260, 130)
    """
    canvas, dpi = figure.canvas, STYLE["savefig.dpi"]
    with house_style():
        figure.set_dpi(dpi)
        canvas.draw()  # once, where `savefig` draws all twice, and reads what it has written
    image = Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3])
    few = image.quantize(192, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    with atomic_path(path) as temporary:
        few.save(temporary, format="PNG", optimize=True, dpi=(dpi, dpi))


def start_line() -> dict[str, Any]:
    """The look of the initial weights: nothing else is dashed.

    >>> start_line()["linestyle"]
    (0, (4, 2.5))
    """
    return {"color": NULL_COLOUR, "linestyle": (0, (4, 2.5)), "linewidth": 1.1}


def start_handle() -> Line2D:
    """The legend's entry of the initial weights.

    >>> start_handle().get_label()
    'initial weights'
    """
    return Line2D([], [], label=START_LABEL, **start_line())


def null_curve(colour: str) -> dict[str, Any]:
    """The look of a null's mean beside a curve of the same colour: broad and pale, never dashed.

    >>> null_curve("black")["linewidth"]
    5.0
    """
    return {"color": colour, "alpha": 2 * BAND_ALPHA, "linewidth": 5.0, "zorder": 1, "solid_capstyle": "butt"}


def best_dot(colour: str) -> dict[str, Any]:
    """The look of the best step's dot.

    >>> best_dot("black")["markersize"]
    7
    """
    return {"markersize": 7, "color": colour, "markeredgecolor": "white", "zorder": 5}


def band_handle(label: str = BAND_LABEL) -> Patch:
    """The legend's entry of the null's band.

    >>> band_handle().get_label()
    'null: W0 + shuffled change, ± 2 sd'
    """
    return Patch(color=NULL_COLOUR, alpha=2 * BAND_ALPHA, linewidth=0, label=label)


def legend_above(figure: Figure, names: Mapping[str, str], *extra: Artist) -> None:
    """One legend for the whole figure, in the title's line.

    Args:
        figure: it is drawn on.
        names: optimizer -> its name, see `Caption.names_of`.
        extra: entries behind them.

    >>> figure = new_figure(6, 3)
    >>> legend_above(figure, {"adam": "Muon", "es": "ES"}, start_handle())
    >>> [text.get_text() for text in figure.legends[0].get_texts()]
    ['Muon', 'ES', 'initial weights']
    """
    width, height = figure.get_size_inches()
    handles = [Line2D([], [], label=name, linewidth=2.2, color=colour_of(key)) for key, name in names.items()]
    figure.legend(
        handles=[*handles, *extra],
        loc="upper right",
        bbox_to_anchor=(1 - 1.6 / width, 1 - 0.02 / height),
        ncols=len(handles) + len(extra),
        handlelength=2.0,
    ).set_in_layout(False)


def draw_curve(axes: Axes, x: np.ndarray, y: np.ndarray, **look: Any) -> None:
    """A line, and a dot where a value has no neighbour, so that a history of one step is seen too.

    >>> axes = new_figure(4, 3).subplots()
    >>> draw_curve(axes, np.array([0.0, 1.0, 2.0, 3.0]), np.array([1.0, np.nan, 2.0, 2.5]))
    >>> [line.get_xdata().tolist() for line in axes.lines]
    [[0.0, 1.0, 2.0, 3.0], [0.0]]
    """
    drawn = np.isfinite(x) & np.isfinite(y)
    alone = drawn & ~np.append(drawn[1:], False) & ~np.append(False, drawn[:-1])
    axes.plot(x, y, **look)
    if alone.any():
        axes.plot(
            np.asarray(x)[alone], np.asarray(y)[alone], **{**look, "linestyle": "", "marker": ".", "markersize": 7}
        )


def draw_band(axes: Axes, x: np.ndarray, low: np.ndarray, high: np.ndarray, colour: str) -> None:
    """A null's band between the places where it has ends, pale.

    >>> axes = new_figure(4, 3).subplots()
    >>> draw_band(axes, np.arange(3.0), np.array([0.0, np.nan, 1.0]), np.array([2.0, np.nan, 4.0]), "black")
    >>> axes.collections[0].get_paths()[0].get_extents().get_points().tolist()
    [[0.0, 0.0], [2.0, 4.0]]
    """
    ends = np.isfinite(x) & np.isfinite(low) & np.isfinite(high)
    axes.fill_between(x[ends], low[ends], high[ends], color=colour, alpha=BAND_ALPHA, linewidth=0, zorder=0)


def show_constants(axes: Axes) -> None:
    """Widens a vertical axis that would show nothing but rounding.

    >>> axes = new_figure(4, 3).subplots()
    >>> axes.set_ylim(3.0, 3.0 + 1e-9) and show_constants(axes)
    >>> tuple(round(float(limit), 6) for limit in axes.get_ylim())
    (1.5, 4.5)
    >>> axes.set_ylim(0.0, 6e-17) and show_constants(axes)  # counts that are all zero
    >>> tuple(round(float(limit), 6) for limit in axes.get_ylim())
    (-0.5, 0.5)
    """
    low, high = axes.get_ylim()
    if high - low < max(1e-6 * max(abs(low), abs(high)), ROUNDING):
        axes.set_ylim(low - 0.5 * max(1.0, abs(low)), high + 0.5 * max(1.0, abs(high)))


def log_axes(axes: Axes, which: str = "xy") -> None:
    """Logarithmic axes with at least three plain labels, few powers of ten over long ranges; an axis's label says so.

    An axis on which nothing is positive stays linear.

    >>> axes = new_figure(4, 3).subplots()
    >>> _ = axes.plot([1, 100], [0, 1]), axes.set_xlabel("evaluations")
    >>> log_axes(axes, "x")
    >>> axes.get_xscale(), axes.get_xlabel()
    ('log', 'evaluations (log)')
    """
    for name in which:
        axis = getattr(axes, f"{name}axis")
        siblings = getattr(axes, f"get_shared_{name}_axes")().get_siblings(axes)
        if not np.isfinite(min(getattr(panel, f"{name}axis").get_minpos() for panel in siblings)):
            continue
        axes.set(**{f"{name}scale": "log"})
        axis.set_minor_locator(NullLocator())
        low, high = axis.get_view_interval()
        ticks = log_ticks(low, high)
        if ticks is None:
            axis.get_major_locator().set_params(numticks=5)
        else:
            axis.set_major_locator(FixedLocator(ticks))
            axis.set_major_formatter(FuncFormatter(lambda value, _, span=high / low: log_label(value, span)))
        if axis.get_label_text() and "log" not in axis.get_label_text():
            axis.set_label_text(f"{axis.get_label_text()} (log)")


MANTISSAS = ((1,), (1, 3), (1, 2, 5), (1, 1.5, 2, 3, 5, 7), (1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 7, 8, 9))
"""Of ticks, the coarsest first."""


def log_ticks(low: float, high: float) -> np.ndarray | None:
    """Three round numbers or more between the two, both positive; None where powers of ten are enough.

    >>> log_ticks(1.0, 12.0).tolist(), log_ticks(1.0, 1e6)
    ([1.0, 3.0, 10.0], None)
    """
    if np.log10(high / low) >= 3:
        return None
    powers = 10.0 ** np.arange(np.floor(np.log10(low)), np.ceil(np.log10(high)) + 1)
    for mantissas in MANTISSAS:
        ticks = np.outer(powers, mantissas).ravel()
        ticks = ticks[(ticks >= low) & (ticks <= high)]
        if len(ticks) >= 3:
            return ticks
    ticks = MaxNLocator(nbins=4, steps=[1, 2, 5, 10], min_n_ticks=3).tick_values(low, high)
    return ticks[(ticks >= low) & (ticks <= high)]


def log_label(value: float, span: float) -> str:
    """A number on a logarithmic axis, with the digits that tell it from its neighbours.

    Args:
        value: positive.
        span: the largest number on the axis over the smallest, > 1.

    >>> log_label(3.0, 10.0), log_label(3e6, 100.0)
    ('3', '$3\\\\times10^{6}$')
    """
    digits = max(2, int(np.ceil(-np.log10(max(span - 1, 1e-12)))) + 3)
    if 1e-4 <= value < 1e5 or digits > 4:
        return f"{value:.{max(digits, 6)}g}"
    power = int(np.floor(np.log10(value) + 1e-9))
    mantissa = f"{value / 10.0**power:.{digits}g}"
    return f"$10^{{{power}}}$" if mantissa == "1" else rf"${mantissa}\times10^{{{power}}}$"
