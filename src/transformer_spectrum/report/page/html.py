"""What our HTML pages share: templates that escape what they are given, colours in light, dark and print, tables."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from transformer_spectrum.vocabulary import SHADES, Shade

FOLDER = Path(__file__).parents[1]
PAPER: Mapping[str, Shade] = {
    "paper": Shade("#ffffff", "#16181c"),
    "ink": Shade("#1d1d1f", "#ececec"),
    "quiet": Shade("#555555", "#b4b4b4"),
    "line": Shade("#cccccc", "#4a4d52"),
    "grid": Shade("#e8e8e8", "#2c2f34"),
    "soft": Shade("#f5f6f8", "#202328"),
    "link": Shade("#005a9c", "#7cc0ff"),
}
"""Colours of a page beside those of what it shows; names of CSS variables."""


@dataclass(frozen=True)
class Table:
    """A table of words; the templates make HTML of it.

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

    @property
    def name(self) -> str:
        """Of its anchor.

        >>> Table("Losses, nats.", ("step", "loss"), ()).name
        'table-losses-nats'
        """
        return "table-" + re.sub(r"\W+", "-", self.caption.lower()).strip("-")

    def markdown(self) -> str:
        """The table as GitHub and GitLab read it.

        >>> print(Table("Losses.", ("step", "loss"), (("3", "0.5"),)).markdown())
        | step | loss |
        | --- | ---: |
        | 3 | 0.5 |
        """
        rule = ["---" if i in self.left else "---:" for i in range(len(self.header))]
        lines = [self.header, rule, *self.rows]
        return "\n".join("| " + " | ".join(_cell(cell) for cell in line) + " |" for line in lines)


def _cell(text: str) -> str:
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")


def verbatim(name: str) -> Markup:
    """A file of ours as it is, for styles and scripts.

    Args:
        name: below `report`.

    >>> str(verbatim("page/base.css")).splitlines()[0]
    '* { box-sizing: border-box; }'
    """
    return Markup((FOLDER / name).read_text(encoding="utf-8"))


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.globals.update(shades={**SHADES, **PAPER}, verbatim=verbatim)
    environment.policies["json.dumps_kwargs"] = {
        "ensure_ascii": False,
        "allow_nan": False,
        "separators": (",", ":"),
    }
    return environment


def render(template: str, **values: Any) -> str:
    """A whole page that needs nothing else; the same arguments give the same text.

    Args:
        template: its file, below `report`; `page/base.html.j2` says what all have.
        values: what it is given; text is escaped, `Markup` is not.
    Raises:
        jinja2.UndefinedError: the template asks for a value that is not given.

    >>> "<title>A &amp; B</title>" in render("page/base.html.j2", title="A & B")
    True
    """
    return _environment().get_template(template).render(**values)
