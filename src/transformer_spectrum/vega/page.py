"""The page that `dvc plots` fills: Vega inside, so that it needs no network; light and dark."""

from __future__ import annotations

from importlib.resources import files

LIBRARIES, LICENCES = "/* LIBRARIES */", "/* LICENCES */"


def libraries() -> str:
    """Vega, Vega-Lite and Vega-Embed as one script; it sets window.vega, vegaLite and vegaEmbed.

    Raises:
        ModuleNotFoundError: vl-convert-python is not installed.
    """
    import vl_convert

    return vl_convert.javascript_bundle()


def licences() -> str:
    """The licences of these libraries, which every copy must carry."""
    return (files(__package__) / "licenses.txt").read_text(encoding="utf-8")


def page() -> str:
    """The HTML template for `dvc config plots.html_template`."""
    skeleton = (files(__package__) / "page.html").read_text(encoding="utf-8")
    return skeleton.replace(LICENCES, licences()).replace(LIBRARIES, libraries())
