"""The report as Markdown, for comments in pull and merge requests."""

from __future__ import annotations

from collections.abc import Mapping

from transformer_spectrum.report.run_page import axes as page_axes
from transformer_spectrum.report.run_page import origin as page_origin
from transformer_spectrum.report.run_page import tables as page_tables
from transformer_spectrum.report.run_page import text as page_text
from transformer_spectrum.report.run_page.inputs import Run

PICTURES: Mapping[str, str] = {
    "overview": "One start: validation loss, stable ranks, singular values",
    "loss": "Training and validation loss against steps and evaluations",
    "spectra_evolution": "How the spectra evolve, family by family, beside their nulls",
    "esd": "Empirical spectral densities at the tracked steps",
    "singular_values": "Singular values at the tracked steps",
    "heatmap": "Where the spectra change, matrix by matrix",
    "forecasts": "Forecasts against truth",
}
"""Names of the PNG files in plots/, and what they show; the first stays open."""


def markdown(run: Run, plots: str = "../plots") -> str:
    """The answer, the tables, the warnings and the pictures.

    Args:
        run: what the pipeline has written.
        plots: where the pictures lie, seen from the file's folder.
    """
    warnings = [f"- {_plain(one)}" for one in page_text.warnings(run)]
    (first, title), *others = PICTURES.items()
    parts = [
        f"## {page_text.QUESTION}",
        _plain(page_text.about(run)),
        " ".join(_plain(sentence) for sentence in page_origin.sentences(run)),
        *(f"> **{_plain(line)}**" for line in page_text.banner(run)),
        f"**{_plain(page_text.headline(run))}**",
        " ".join(_plain(sentence) for sentence in page_axes.answer(run)),
        page_tables.result(run).markdown(),
        f"![{title}]({plots}/{first}.png)",
        f"<sub>{_plain(page_text.care(run))} {_plain(page_text.WHAT_IF)}</sub>",
        *([equal.markdown()] if (equal := page_axes.table(run)) else []),
        page_tables.shifts(run).markdown(),
        f"### Warnings ({len(warnings)})",
        "\n".join(warnings) or "Every score and every fit has a value.",
        "<details><summary>Figures</summary>",
        *(f"**{words}**\n\n![{words}]({plots}/{name}.png)" for name, words in others),
        "</details>",
        "<details><summary>Power laws, budget, provenance, versions</summary>",
        *(
            f"**{_plain(table.caption)}**\n\n{table.markdown()}"
            for table in (
                page_tables.tails(run),
                page_tables.trainings(run),
                page_origin.table(run),
                page_tables.provenance(run),
                page_tables.versions(run),
            )
        ),
        "</details>",
    ]
    return "\n\n".join(parts) + "\n"


def _plain(text: str) -> str:
    """Text whose signs Markdown must not read as its own."""
    for sign in ("\\", "*", "_", "`", "[", "]"):
        text = text.replace(sign, f"\\{sign}")
    return text.replace("<", "&lt;")
