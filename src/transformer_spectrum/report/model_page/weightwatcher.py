"""One checkpoint's matrices in WeightWatcher's table: its conventions and column names, for `--like weightwatcher`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from transformer_spectrum.analysis.of_checkpoint.results import Examination
from transformer_spectrum.analysis.of_checkpoint.weightwatcher import NULL, details
from transformer_spectrum.report.model_page.exports import grouped
from transformer_spectrum.report.model_page.tables import aligned, below, footnote_lines
from transformer_spectrum.spectra.weightwatcher import COLUMNS

OURS = ("family", "same_entries_as")
DIGITS = {
    "N": "d",
    "M": "d",
    "alpha": ".3f",
    "sigma": ".2f",
    "D": ".3f",
    "num_pl_spikes": "d",
    "alpha_weighted": ".3f",
    "log_alpha_norm": ".3f",
    "log_norm": ".3f",
    "log_spectral_norm": ".3f",
    "stable_rank": ".2f",
    "entropy": ".3f",
    "rank_loss": "d",
}
"""Columns on the terminal; the file has all."""
NULL_DIGITS = {"alpha_null": ".3f", "alpha_null_sd": ".2f", "alpha_difference": "+.3f"}
MEANINGS = (
    "WeightWatcher 0.7.7's names and conventions: spectral_norm is the largest eigenvalue and norm their sum, D counts "
    "left limits alone, sigma is alpha's standard error, num_pl_spikes the size of the tail (2 and more; another "
    "estimator below 20 eigenvalues), rank_loss counts the rounding of float32. warning: alpha < 2 or > 6, without a "
    "null; 79 % of untrained Gaussian 64 x 64 matrices have none."
)


def csv_header(examination: Examination) -> tuple[str, ...]:
    """Names of the columns of the file: WeightWatcher's in its order, then ours.

    >>> csv_header(examination)[:4], csv_header(examination)[-1]
    (('layer_id', 'name', 'D', 'M'), 'reasons')
    """
    return ("layer_id", "name", *COLUMNS, *OURS, *(NULL if examination.has_null else ()), "reasons")


def csv_rows(examination: Examination) -> Iterator[tuple[Any, ...]]:
    """A row a matrix under `csv_header`; an empty cell has its reason in "reasons".

    >>> [row[:2] for row in csv_rows(examination)][-1]
    (9, 'readout')
    """
    names = csv_header(examination)[:-1]
    for values, reasons in details(examination):
        yield (*(_full(values.get(name, "")) for name in names), grouped(reasons))


def _full(value: Any) -> Any:
    """Twelve digits of a number, where our own tables have seven: it is there to be compared."""
    return f"{value:.12g}" if isinstance(value, float) else value


def text_report(examination: Examination, width: int) -> str:
    """The main columns as an aligned table, and below it what they mean, what was measured, what was not, and why.

    >>> text_report(examination, 80).split()[:6]
    ['name', 'N', 'M', 'alpha', 'sigma', 'D']
    """
    footnotes: dict[str, int] = {}
    digits = {**DIGITS, **(NULL_DIGITS if examination.has_null else {})}
    rows = []
    for values, reasons in details(examination):
        cells = [
            f"{values[name]:{form}}"
            if name in values
            else f"–{footnotes.setdefault(reasons[name], len(footnotes) + 1)}"
            for name, form in digits.items()
        ]
        rows.append((values["name"], *cells, values["warning"]))
    lines = aligned(("name", *digits, "warning"), rows, width, words=("name", "warning"), spare="log_norm")
    return "\n".join([*lines, *footnote_lines(footnotes), below(examination, MEANINGS, width)])
