"""What our HTML pages share: the document, its colours in light, dark and print, tables, lists."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from transformer_spectrum.vocabulary import COLOURS, NULL_COLOUR, TRUTH_COLOUR, WARNING_COLOUR

# On dark paper Adam's blue gives way to the other blue of Okabe & Ito, which is light enough to be seen there.
LIGHT = {**COLOURS, "null": NULL_COLOUR, "truth": TRUTH_COLOUR, "warning": WARNING_COLOUR, "context": "#767676"}
DARK = {**COLOURS, "adam": "#56B4E9", "null": "#a8a8a8", "truth": "#f2f2f2", "warning": "#d03030", "context": "#8d8d8d"}
BASE = Path(__file__).with_name("base.css")


@dataclass(frozen=True)
class Table:
    """A table of words.

    Attributes:
        caption: what it shows; a sentence.
        header: column titles.
        rows: cells, as many as the header has; the first one names the row.
        left: columns that hold words and not numbers, by position.
        tall: it has many rows and scrolls in a box of its own.
    """

    caption: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    left: tuple[int, ...] = (0,)
    tall: bool = False

    def html(self) -> str:
        """The table in a box that scrolls sideways where it is too wide, below its caption, which does not."""
        look = [' class="left"' if i in self.left else "" for i in range(len(self.header))]
        head = "".join(f'<th scope="col"{look[i]}>{escape(title)}</th>' for i, title in enumerate(self.header))
        body = "\n".join(
            f'<tr><th scope="row">{escape(first)}</th>'
            + "".join(f"<td{look[i]}>{escape(cell)}</td>" for i, cell in enumerate(others, start=1))
            + "</tr>"
            for first, *others in self.rows
        )
        tall = " tall" if self.tall else ""
        name = "table-" + re.sub(r"\W+", "-", self.caption.lower()).strip("-")
        return (
            f'<p class="caption" id="{name}">{escape(self.caption)}</p>\n<div class="wide{tall}">'
            f'<table aria-labelledby="{name}">\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody></table></div>'
        )

    def markdown(self) -> str:
        """The table as GitHub and GitLab read it."""
        rule = ["---" if i in self.left else "---:" for i in range(len(self.header))]
        lines = [self.header, rule, *self.rows]
        return "\n".join("| " + " | ".join(_cell(cell) for cell in line) + " |" for line in lines)


def _cell(text: str) -> str:
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")


def document(title: str, body: str, *, style: str = "", scripts: Iterable[str] = (), theme: bool = False) -> str:
    """A whole page that needs nothing else; the same arguments give the same text.

    Args:
        title: of the page; plain text.
        body: HTML.
        style: CSS after the common one.
        scripts: whole `<script>` elements for the end of the body.
        theme: the page has a switch of its own between light and dark.
    """
    head = (
        '<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta name="color-scheme" content="light dark"><title>{escape(title)}</title>'
    )
    css = f"{palette(theme)}\n{BASE.read_text(encoding='utf-8')}{style}"
    end = "\n".join(scripts)
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head>{head}\n<style>\n{css}</style></head>\n'
        f"<body>\n{body}\n{end}</body></html>\n"
    )


def palette(theme: bool) -> str:
    """The colours as CSS variables: light; dark where the reader prefers it or has switched to it; light on paper.

    `:root` three times over outweighs the rules of both.
    """
    light, dark = (
        " ".join(f"--{name}: {colour};" for name, colour in colours.items())
        for colours in (
            {
                **LIGHT,
                "paper": "#ffffff",
                "ink": "#1d1d1f",
                "quiet": "#555555",
                "line": "#cccccc",
                "grid": "#e8e8e8",
                "soft": "#f5f6f8",
                "link": "#005a9c",
            },
            {
                **DARK,
                "paper": "#16181c",
                "ink": "#ececec",
                "quiet": "#b4b4b4",
                "line": "#4a4d52",
                "grid": "#2c2f34",
                "soft": "#202328",
                "link": "#7cc0ff",
            },
        )
    )
    chosen = f":root[data-theme=dark] {{ color-scheme: dark; {dark} }}" if theme else ""
    unless = ":not([data-theme=light])" if theme else ""
    return (
        f":root {{ color-scheme: light; {light} }}\n"
        f"@media (prefers-color-scheme: dark) {{ :root{unless} {{ color-scheme: dark; {dark} }} }}\n"
        f"{chosen}\n@media print {{ {':root' * 3} {{ color-scheme: light; {light} }} }}"
    )


def items(sentences: Sequence[str]) -> str:
    """A list."""
    return "<ul>" + "".join(f"<li>{escape(sentence)}</li>" for sentence in sentences) + "</ul>"
