"""The documentation site covers the package; whether it builds without warnings, `make docs` says."""

import re
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[1]
SETTINGS = yaml.safe_load((ROOT / "mkdocs.yml").read_text())
PAGES = {path: path.read_text() for path in sorted((ROOT / "docs").rglob("*.md"))}
SHOWN = re.findall(r"^::: (transformer_spectrum\.[\w.]+)$", "\n".join(PAGES.values()), re.MULTILINE)


def listed(entries):
    for entry in entries:
        (where,) = entry.values()
        yield from listed(where) if isinstance(where, list) else (where,)


def test_every_module_is_on_exactly_one_page():
    for path in (ROOT / "src").rglob("*.py"):
        name = ".".join(path.relative_to(ROOT / "src").with_suffix("").parts).removesuffix(".__init__")
        if name != "transformer_spectrum" and not name.endswith("__main__"):
            assert sum(f"{name}.".startswith(f"{page}.") for page in SHOWN) == 1, name


def test_every_module_that_is_shown_is_there():
    for name in SHOWN:
        place = (ROOT / "src").joinpath(*name.split("."))
        assert place.is_dir() or place.with_suffix(".py").is_file(), name


def test_every_page_is_in_the_menu():
    assert {str(path.relative_to(ROOT / "docs")) for path in PAGES} == set(listed(SETTINGS["nav"]))


def test_fonts_are_not_fetched_and_warnings_are_errors():
    assert SETTINGS["theme"]["font"] is False
    assert SETTINGS["strict"] is True
