"""The page that `dvc plots` fills: Vega inside, so that it needs no network; light and dark."""

from __future__ import annotations

from transformer_spectrum.report.page.html import render
from transformer_spectrum.report.page.vega import libraries
from transformer_spectrum.vocabulary import STANDIN, STANDIN_MEANING


def page() -> str:
    """The HTML template for `dvc config plots.html_template`.

    >>> "{plot_divs}" in page()
    True
    """
    return render("dvc_plots/page.html.j2", libraries=libraries(), standin=STANDIN, standin_meaning=STANDIN_MEANING)
