"""The page that `dvc plots` fills: Vega inside, so that it needs no network; light and dark."""

from __future__ import annotations

from importlib.resources import files

from transformer_spectrum.report.page.vega import libraries, licences

LIBRARIES, LICENCES = "/* LIBRARIES */", "/* LICENCES */"


def page() -> str:
    """The HTML template for `dvc config plots.html_template`."""
    skeleton = (files(__package__) / "page.html").read_text(encoding="utf-8")
    return skeleton.replace(LICENCES, licences()).replace(LIBRARIES, libraries())
