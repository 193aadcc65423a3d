"""Licences of what a run installs: `python docs/licences.py` makes docs/reference/licences.md of docs/sbom.cdx.json.

`make sbom` makes the list of components itself, by cyclonedx-py, in an environment of nothing but requirements.lock.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
SBOM = ROOT / "docs/sbom.cdx.json"
PAGE = ROOT / "docs/reference/licences.md"
LONGEST = 60
"""Characters of a licence's name; some packages put the whole text there."""
BEGIN = """\
# Licences

What `requirements.lock` installs, and the licence that each package's own metadata state. Nobody has checked these
statements against the packages' sources. The same as a CycloneDX list, with versions and addresses:
[sbom.cdx.json](../sbom.cdx.json). `make sbom` makes both anew.

| package | version | licence |
|---|---|---|
"""
UNSTATED = "not stated in its metadata"


def licence(component: Mapping[str, Any]) -> str:
    """SPDX's identifier or expression where there is one, else the package's own words."""
    words: dict[str, None] = {}  # a set in order
    for entry in component.get("licenses", ()):
        name = entry.get("expression") or entry["license"].get("id") or entry["license"].get("name", "")
        line = " ".join(name.removeprefix("License :: OSI Approved :: ").split())
        words[line if len(line) <= LONGEST else "its own text"] = None
    return ", ".join(filter(None, words)) or UNSTATED


def page(components: list[dict[str, Any]]) -> str:
    """The whole page."""

    def rows() -> Iterator[str]:
        for component in sorted(components, key=lambda entry: entry["name"].lower()):
            yield f"| {component['name']} | {component['version']} | {licence(component).replace('|', '/')} |\n"

    return BEGIN + "".join(rows())


def stored() -> list[dict[str, Any]]:
    """The components of docs/sbom.cdx.json."""
    return json.loads(SBOM.read_text(encoding="utf-8"))["components"]


if __name__ == "__main__":
    PAGE.write_text(page(stored()), encoding="utf-8")
