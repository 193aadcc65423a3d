"""Vega for pages that work offline: its libraries, made once by `make templates`, and their licences.

What would make them at every report is vl-convert's V8, for two seconds; page/vega.js is what it makes.
"""

from __future__ import annotations

from markupsafe import Markup

from transformer_spectrum.report.page.html import FOLDER, verbatim

BUNDLE = FOLDER / "page" / "vega.js"


def bundle() -> str:
    """Vega, Vega-Lite and Vega-Embed as one script, made anew; it sets window.vega, vegaLite and vegaEmbed.

    Raises:
        ModuleNotFoundError: vl-convert-python is not installed.
    """
    import vl_convert

    return vl_convert.javascript_bundle().replace("</script", "<\\/script")


def libraries() -> Markup:
    """That script, as it was made, for a `<script>` element.

    >>> "vegaEmbed" in libraries(), "</script" in libraries()
    (True, False)
    """
    return verbatim("page/vega.js")
