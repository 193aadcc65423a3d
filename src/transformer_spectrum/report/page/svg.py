"""Small plots as SVG elements for HTML pages: the browser draws them from numbers, without a script or a library.

Colours, strokes and fonts are the page's: every mark has a class, and svg.css says what the parts of a panel look like.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from html import escape

import numpy as np
from markupsafe import Markup

WIDTH, HEIGHT = 340, 214
LEFT, RIGHT, TOP, BOTTOM = 56, 8, 24, 38
INNER_WIDTH, INNER_HEIGHT = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM
MARKERS = {
    "circle": "M-3.2,0a3.2,3.2 0 1,0 6.4,0a3.2,3.2 0 1,0 -6.4,0",
    "square": "M-3,-3h6v6h-6z",
    "up": "M0,-4l3.9,6.8h-7.8z",
    "diamond": "M0,-4.2l4.2,4.2l-4.2,4.2l-4.2,-4.2z",
    "down": "M0,4l3.9,-6.8h-7.8z",
    "plus": "M-1.4,-4h2.8v2.6h2.6v2.8h-2.6v2.6h-2.8v-2.6h-2.6v-2.8h2.6z",
    "bar": "M-4,-0.7h8v1.4h-8z",
}


@dataclass(frozen=True)
class Axis:
    """A range of values.

    Attributes:
        low, high: its ends; low < high, and > 0 where it is logarithmic.
        log: logarithmic.
        whole: ticks at whole numbers alone.
        bare: no ticks.
    """

    low: float
    high: float
    log: bool = False
    whole: bool = False
    bare: bool = False

    @staticmethod
    def around(values: np.ndarray, *, log: bool = False, whole: bool = False, margin: float = 0.07) -> Axis:
        """The range of the finite values (those > 0 on a logarithmic axis) and a margin; of any values at all.

        >>> Axis.around(np.array([0.0, 10.0, np.nan]), margin=0.1)
        Axis(low=-1.0, high=11.0, log=False, whole=False, bare=False)
        """
        values = np.asarray(values, dtype=np.float64)
        values = values[np.isfinite(values) & (values > 0)] if log else values[np.isfinite(values)]
        if not len(values):
            return Axis(1.0, 10.0, True) if log else Axis(0.0, 1.0)
        low, high = float(values.min()), float(values.max())
        if log:
            spread = max(high / low, 1.5) ** margin
            return Axis(low / spread, high * spread, True)
        spread = high - low if high > low else (2.0 if whole else max(abs(high), 1e-12))
        return Axis(low - margin * spread, high + margin * spread, whole=whole)

    def share(self, values: np.ndarray | float) -> np.ndarray:
        """Where values lie, 0 at the low end and 1 at the high one; NaN for what a logarithmic axis cannot show.

        >>> Axis(1.0, 100.0, log=True).share(10.0).round(6).item(), Axis(0.0, 4.0).share(1.0).item()
        (0.5, 0.25)
        """
        values = np.asarray(values, dtype=np.float64)
        if not self.log:
            return (values - self.low) / (self.high - self.low)
        logs = np.log(values, out=np.full(values.shape, np.nan), where=values > 0)
        return (logs - math.log(self.low)) / (math.log(self.high) - math.log(self.low))

    def ticks(self, most: int = 5) -> list[float]:
        """At most about `most` round values.

        >>> Axis(0.0, 10.0).ticks(), Axis(1.0, 1000.0, log=True).ticks()
        ([0.0, 2.0, 4.0, 6.0, 8.0, 10.0], [1.0, 10.0, 100.0, 1000.0])
        """
        if self.bare:
            return []
        if self.log:
            decades = math.log10(self.high / self.low)
            digits = (1,) if decades >= 2 else (1, 2, 5) if decades >= 0.8 else ()
            if digits:
                first, last = math.floor(math.log10(self.low)), math.ceil(math.log10(self.high))
                every = max(1, math.ceil(decades / most))
                powers = [power for power in range(first, last + 1) if power % every == 0]
                values = [digit * 10.0**power for power in powers for digit in digits]
                return [value for value in values if self.low <= value <= self.high]
        rough = (self.high - self.low) / most
        power = 10.0 ** math.floor(math.log10(rough))
        step = next(digit * power for digit in (1, 2, 5, 10) if digit * power >= rough)
        step = max(1.0, round(step)) if self.whole else step
        return [float(f"{n * step:.12g}") for n in range(math.ceil(self.low / step), math.floor(self.high / step) + 1)]


@dataclass
class Panel:
    """One plot; its methods add marks, the later ones on top.

    Attributes:
        title: above it.
        x, y: its axes.
        x_label: below it.
        y_label: left of the title, in its line.
        marks: SVG elements inside the frame.
    """

    title: str
    x: Axis
    y: Axis
    x_label: str = ""
    y_label: str = ""
    marks: list[str] = field(default_factory=list)

    def line(self, x: np.ndarray, y: np.ndarray, look: str) -> None:
        """A line through the points, broken where one is missing.

        >>> panel = Panel("a line", Axis(0.0, 1.0), Axis(0.0, 1.0))
        >>> panel.line(np.array([0.0, 1.0]), np.array([0.0, 1.0]), "own")
        >>> panel.marks
        ['<path class="line own" d="M0.0,152.0L276.0,0.0"/>']
        """
        self._path(self._places(x, y), f"line {look}")

    def band(self, x: np.ndarray, low: np.ndarray, high: np.ndarray, look: str) -> None:
        """The area between two lines.

        >>> panel = Panel("a band", Axis(0.0, 1.0), Axis(0.0, 1.0))
        >>> panel.band(np.array([0.0, 1.0]), np.zeros(2), np.ones(2), "null")
        >>> panel.marks[0].startswith('<path class="area null" d="M0.0,0.0')
        True
        """
        upper, lower = self._places(x, high), self._places(x, low)
        inside = np.isfinite(upper).all(axis=1) & np.isfinite(lower).all(axis=1)
        self._path(np.concatenate([upper[inside], lower[inside][::-1]]), f"area {look}")

    def stairs(self, edges: np.ndarray, heights: np.ndarray, look: str, *, filled: bool = False) -> None:
        """A histogram's outline, or its area; bins without anything touch the bottom.

        >>> panel = Panel("a histogram", Axis(0.0, 1.0), Axis(0.0, 1.0))
        >>> panel.stairs(np.array([0.0, 1.0]), np.array([1.0]), "own")
        >>> panel.marks
        ['<path class="line own" d="M0.0,152.0L0.0,0.0L276.0,0.0L276.0,152.0"/>']
        """
        floor = self.y.low
        heights = np.maximum(np.where(np.isfinite(heights), heights, floor), floor)
        x, y = np.repeat(edges, 2), np.concatenate([[floor], np.repeat(heights, 2), [floor]])
        self._path(self._places(x, y), f"area {look}" if filled else f"line {look}")

    def vertical(self, x: float, look: str) -> None:
        """A dotted line from the bottom to the top.

        >>> panel = Panel("a bound", Axis(0.0, 1.0), Axis(0.0, 1.0))
        >>> panel.vertical(0.5, "fit")
        >>> panel.marks
        ['<path class="dotted fit" d="M138.0,0V152"/>']
        """
        place = self._places(np.array([x]), np.array([self.y.low]))[0, 0]
        if np.isfinite(place):
            self.marks.append(f'<path class="dotted {look}" d="M{place:.1f},0V{INNER_HEIGHT}"/>')

    def errors(self, x: np.ndarray, low: np.ndarray, high: np.ndarray, look: str) -> None:
        """A vertical bar at each point.

        >>> panel = Panel("an error", Axis(0.0, 1.0), Axis(0.0, 1.0))
        >>> panel.errors(np.array([0.5]), np.array([0.0]), np.array([1.0]), "fit")
        >>> panel.marks
        ['<path class="thin fit" d="M138.0,152.0V0.0"/>']
        """
        lower, upper = self._places(x, low), self._places(x, high)
        bars = [
            f"M{a[0]:.1f},{a[1]:.1f}V{b[1]:.1f}" for a, b in zip(lower, upper, strict=True) if np.isfinite([a, b]).all()
        ]
        if bars:
            self.marks.append(f'<path class="thin {look}" d="{"".join(bars)}"/>')

    def points(self, x: np.ndarray, y: np.ndarray, look: str, marker: str, titles: Iterable[str] = ()) -> None:
        """A marker at each point, with a text that the browser shows when it is pointed at.

        >>> panel = Panel("a point", Axis(0.0, 1.0), Axis(0.0, 1.0))
        >>> panel.points(np.array([0.5, np.nan]), np.array([0.5, 0.5]), "own", "up", ["a < b", "not drawn"])
        >>> len(panel.marks), "<title>a &lt; b</title>" in panel.marks[0]
        (1, True)
        """
        places, texts = self._places(x, y), list(titles) or [""] * len(x)
        for (across, down), text in zip(places, texts, strict=True):
            if np.isfinite([across, down]).all():
                words = f"<title>{escape(text)}</title>" if text else ""
                at = f'transform="translate({across:.1f},{down:.1f})"'
                self.marks.append(f'<path class="{look}" d="{MARKERS[marker]}" {at}>{words}</path>')

    def note(self, text: str, *, middle: bool = False) -> None:
        """Words in the upper right corner, or in the middle.

        >>> panel = Panel("nothing", Axis(0.0, 1.0), Axis(0.0, 1.0))
        >>> panel.note("no value", middle=True)
        >>> panel.marks
        ['<text x="138" y="76" text-anchor="middle">no value</text>']
        """
        x, y, anchor = (INNER_WIDTH / 2, INNER_HEIGHT / 2, "middle") if middle else (INNER_WIDTH - 4, 13, "end")
        self.marks.append(f'<text x="{x:.0f}" y="{y:.0f}" text-anchor="{anchor}">{escape(text)}</text>')

    def svg(self, description: str) -> Markup:
        """The element.

        Args:
            description: what it shows, for those who cannot see it.

        >>> drawing = Panel("a & b", Axis(0.0, 1.0), Axis(0.0, 1.0)).svg("an empty panel")
        >>> 'aria-label="an empty panel"' in drawing, ">a &amp; b</text>" in drawing
        (True, True)
        """
        return Markup(
            f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" role="img" aria-label="{escape(description)}">'
            f'<text class="title" x="{LEFT}" y="14">{escape(self.title)}</text>'
            f'<text x="{WIDTH - RIGHT}" y="14" text-anchor="end">{escape(self.y_label)}</text>'
            f'<text x="{LEFT + INNER_WIDTH / 2:.0f}" y="{HEIGHT - 5}" text-anchor="middle">'
            f"{escape(self.x_label)}</text>"
            f"{self._ticks()}"
            f'<svg x="{LEFT}" y="{TOP}" width="{INNER_WIDTH}" height="{INNER_HEIGHT}">{"".join(self.marks)}</svg>'
            f'<rect class="frame" x="{LEFT}" y="{TOP}" width="{INNER_WIDTH}" height="{INNER_HEIGHT}"/></svg>'
        )

    def _ticks(self) -> str:
        lines, labels = [], []
        for value in self.x.ticks():
            place = LEFT + float(self.x.share(value)) * INNER_WIDTH
            lines.append(f"M{place:.1f},{TOP}v{INNER_HEIGHT}")
            labels.append(f'<text x="{place:.1f}" y="{HEIGHT - BOTTOM + 14}" text-anchor="middle">{value:.6g}</text>')
        for value in self.y.ticks(4):
            place = TOP + (1 - float(self.y.share(value))) * INNER_HEIGHT
            lines.append(f"M{LEFT},{place:.1f}h{INNER_WIDTH}")
            labels.append(f'<text x="{LEFT - 5}" y="{place + 4:.1f}" text-anchor="end">{value:.6g}</text>')
        return f'<path class="grid" d="{"".join(lines)}"/>{"".join(labels)}'

    def _places(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """(n, 2) inside the frame, kept near it so that no number gets long."""
        across, down = self.x.share(x) * INNER_WIDTH, (1 - self.y.share(y)) * INNER_HEIGHT
        across, down = np.broadcast_arrays(across, down)
        return np.stack([np.clip(across, -99, INNER_WIDTH + 99), np.clip(down, -99, INNER_HEIGHT + 99)], axis=1)

    def _path(self, places: np.ndarray, look: str) -> None:
        words: list[str] = []
        pen = "M"
        for across, down in places.tolist():
            if math.isfinite(across) and math.isfinite(down):
                words.append(f"{pen}{across:.1f},{down:.1f}")
                pen = "L"
            else:
                pen = "M"
        if words:
            self.marks.append(f'<path class="{look}" d="{"".join(words)}"/>')
