"""Numbers that stand in a page between two comments: printed, or put there anew."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path


def replaced(text: str, begin: str, numbers: str, end: str) -> str:
    """The page with these numbers between its two comments."""
    before, _, rest = text.partition(begin)
    _, _, after = rest.partition(end)
    return f"{before}{begin}\n\n{numbers}\n\n{end}{after}"


def command(title: str, page: Path, numbers: Callable[[], str], renewed: Callable[[str], str]) -> None:
    """Prints the numbers; with --write puts them into the page."""
    parser = argparse.ArgumentParser(description=f"Print {title} as Markdown.")
    parser.add_argument("--write", action="store_true", help=f"put it into {page.name}")
    if parser.parse_args().write:
        page.write_text(renewed(page.read_text(encoding="utf-8")), encoding="utf-8")
    else:
        print(numbers())
