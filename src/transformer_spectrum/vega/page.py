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


def page() -> str:
    """The HTML template for `dvc config plots.html_template`."""
    folder = files(__package__)
    skeleton, licences = ((folder / name).read_text(encoding="utf-8") for name in ("page.html", "licenses.txt"))
    return skeleton.replace(LICENCES, licences).replace(LIBRARIES, libraries())
