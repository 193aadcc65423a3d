"""The report as Markdown, for comments in pull and merge requests."""

from __future__ import annotations

from collections.abc import Mapping

from transformer_spectrum.report.figures import esd, evolution, forecasts, heatmap, loss, singular_values
from transformer_spectrum.report.run import Run
from transformer_spectrum.report.run_page import answer_words, axes, directions, origin, tables
from transformer_spectrum.report.run_page.warnings import NOTHING, warnings

PICTURES: Mapping[str, str] = {
    "overview": "One start: validation MAE, stable ranks of the change, singular values",
    "loss": f"{loss.TITLE} against steps and evaluations",
    "spectra_evolution": f"{evolution.TITLE}, family by family, beside their nulls",
    "esd": f"{esd.TITLE} at the tracked steps",
    "singular_values": f"{singular_values.TITLE} at the tracked steps",
    "heatmap": f"{heatmap.TITLE}, matrix by matrix",
    "forecasts": forecasts.TITLE,
}
"""Names of the PNG files in plots/, and what they show; the first stays open."""


def markdown(run: Run, plots: str = "../plots") -> str:
    """The answer, the tables, the warnings and the pictures.

    Args:
        run: what the pipeline has written.
        plots: where the pictures lie, seen from the file's folder.

    >>> markdown(run).splitlines()[0]
    '## How do the loss and the optimizer shape the weight spectra?'
    >>> markdown(run, plots="figures").count("](figures/")
    7
    """
    lines = [f"- {_plain(warning)}" for warning in warnings(run)]
    (first, title), *further = PICTURES.items()
    blocks = [
        f"## {answer_words.QUESTION}",
        _plain(answer_words.run_line(run)),
        " ".join(map(_plain, origin.sentences(run))),
        *(f"> **{_plain(line)}**" for line in answer_words.banner(run)),
        f"**{_plain(answer_words.headline(run))}**",
        "\n".join(f"- {_plain(sentence)}" for sentence in answer_words.answer(run)),
        tables.result(run).markdown(),
        f"![{title}]({plots}/{first}.png)",
        f"<sub>{_plain(answer_words.care(run))} {_plain(answer_words.WHAT_IF)}</sub>",
        *(f"{_plain(table.caption)}\n\n{table.markdown()}" for table in (*axes.tables(run), *tables.shifts(run))),
        f"### Warnings ({len(lines)})",
        "\n".join(lines) or NOTHING,
        "<details><summary>Figures</summary>",
        *(f"**{words}**\n\n![{words}]({plots}/{name}.png)" for name, words in further),
        "</details>",
        "<details><summary>Circuits, directions, spikes</summary>",
        *(f"**{section.title}.** {_numbers(section)}" for section in directions.sections(run)),
        "</details>",
        "<details><summary>Power laws, budget, provenance, versions</summary>",
        *(
            f"**{_plain(table.caption)}**\n\n{table.markdown()}"
            for table in (
                tables.tails(run),
                tables.trainings(run),
                origin.table(run),
                tables.provenance(run),
                tables.versions(run),
            )
        ),
        "</details>",
    ]
    return "\n\n".join(blocks) + "\n"


def _numbers(section: directions.DirectionSection) -> str:
    table = section.table
    return section.lacking if table is None else f"{_plain(table.caption)}\n\n{table.markdown()}"


def _plain(words: str) -> str:
    """Text whose signs Markdown must not read as its own."""
    for sign in ("\\", "*", "_", "`", "[", "]"):
        words = words.replace(sign, f"\\{sign}")
    return words.replace("<", "&lt;")
