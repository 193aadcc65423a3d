"""What mkdocs makes while it builds the site: tables from the code, pictures of the committed run, pages from outside.

A page says `<!-- generated: NAME -->` where the text of `GENERATED[NAME]` shall stand.
"""

from __future__ import annotations

import ast
import os
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cost_model import cost_table
from mkdocs.structure.files import File, Files

from transformer_spectrum.cli.main import COMMANDS, PROG, parser
from transformer_spectrum.cli.parameters import parameter_table

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src/transformer_spectrum"
MARK = re.compile(r"<!-- generated: (\w+) -->")
WIDTH = "96"
"""Columns of the commands' help."""
IMAGE = re.compile(r"!\[[^\]]*\]\(([^)]+)\)")

OUTSIDE = {"CONTRIBUTING.md": "contributing.md", "benchmarks/RESULTS.md": "benchmarks.md"}
"""Page of the repository -> its name in the site; links to it are turned."""


def on_files(files: Files, config: Any) -> Files:
    """Adds pictures of the committed run and of the study, its page, and the pages that lie outside of docs/."""
    for folder in ("plots", "studies/report"):
        for path in sorted([*(ROOT / folder).glob("*.png"), *(ROOT / folder).glob("*.html")]):
            files.append(File.generated(config, f"{folder}/{path.name}", abs_src_path=str(path)))
    for source, name in OUTSIDE.items():
        files.append(File.generated(config, name, content=(ROOT / source).read_text(encoding="utf-8")))
    return files


def on_page_markdown(markdown: str, page: Any, **kwargs: Any) -> str:
    """Fills in what is generated, turns links that leave docs/, and lets each picture be opened by itself."""
    if page.file.src_uri.startswith("api/"):
        page.meta.setdefault("search", {"boost": 0.5})  # what a reader looks for stands before what a module says
    markdown = MARK.sub(lambda mark: GENERATED[mark[1]](), markdown)
    up = "../" * page.file.src_uri.count("/")
    for source, name in OUTSIDE.items():
        markdown = markdown.replace(f"]({up}../{source}", f"]({up}{name}")
    for folder in ("plots", "studies/report"):
        markdown = markdown.replace(f"]({up}../{folder}/", f"]({up}{folder}/")
    markdown = markdown.replace("studies/report/index.md)", "studies/report/index.html)")
    return IMAGE.sub(r"[\g<0>](\1)", markdown)


def readme_part(name: str) -> str:
    """What stands in README.md between `<!-- NAME -->` and `<!-- end of NAME -->`, with links as from docs/."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    shared = text.split(f"<!-- {name} -->\n")[1].split(f"<!-- end of {name} -->")[0]
    return re.sub(r"\]\((?=(benchmarks|plots|studies)/)", "](../", shared).replace("](docs/", "](")


def commands() -> str:
    """The help of every command, as the terminal shows it."""
    columns, os.environ["COLUMNS"] = os.environ.get("COLUMNS"), WIDTH
    try:
        whole = parser(*COMMANDS)
        (action,) = (action for action in whole._actions if hasattr(action, "choices") and action.dest == "command")
        pages = {name: action.choices[name].format_help() for name in COMMANDS}
    finally:
        del os.environ["COLUMNS"]
        if columns is not None:
            os.environ["COLUMNS"] = columns
    return "\n\n".join(f"## {name}\n\n```text\n$ {PROG} {name} --help\n{text}```" for name, text in pages.items())


def summary(path: Path) -> str:
    """The first sentence of a module's docstring."""
    paragraph = (ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "").split("\n\n")[0]
    return re.split(r"(?<=\.)\s", " ".join(paragraph.split()))[0]


def modules(folder: Path) -> Iterator[tuple[Path, Path]]:
    """Entry of a folder -> the file whose docstring says what it is; no file that begins with an underscore."""
    for path in sorted(folder.iterdir()):
        home = path / "__init__.py" if path.is_dir() else path
        if home.suffix == ".py" and home.exists() and not path.name.startswith("__"):
            yield path, home


def rooms() -> str:
    """Every room with its modules and subrooms, in the order of the import layers."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"][
        "contracts"
    ]
    layers = next(contract["layers"] for contract in contracts if contract["type"] == "layers")
    entries = {path.stem: (path, home) for path, home in modules(PACKAGE)}
    lines = []
    for room in [name.strip() for layer in layers for name in layer.split("|")]:
        path, home = entries.pop(room)
        lines.append(f"\n## {path.name}\n\n{summary(home)}\n")
        if path.is_dir():
            lines += ["| module | what is in it |", "|---|---|"]
            lines += [f"| `{inner.name}{'/' * inner.is_dir()}` | {summary(text)} |" for inner, text in modules(path)]
    if entries:
        raise SystemExit(f"pyproject.toml: no layer for the rooms {', '.join(entries)}")
    return "\n".join(lines)


def stages() -> str:
    """Every script of a DVC stage."""
    rows = [f"| `stages/{path.name}` | {summary(home)} |" for path, home in modules(ROOT / "stages")]
    return "\n".join(["| script | what it does |", "|---|---|", *rows])


GENERATED = {
    "costs": cost_table,
    "parameters": parameter_table,
    "commands": commands,
    "rooms": rooms,
    "stages": stages,
    "question": lambda: readme_part("the question"),
    "answer": lambda: readme_part("the answer"),
}
