"""The report as one HTML file that needs nothing else: no network, no server. Its template is page.html.j2."""

from __future__ import annotations

from transformer_spectrum.report.charts.gallery import charts, missing
from transformer_spectrum.report.page.html import render
from transformer_spectrum.report.page.vega import libraries
from transformer_spectrum.report.run import Run
from transformer_spectrum.report.run_page import answer_words, axes, directions, origin, tables
from transformer_spectrum.report.run_page.warnings import NOTHING, warnings
from transformer_spectrum.vocabulary import START_LABEL

COLOPHON = (
    "Made by the stage report of transformer-spectrum from params.yaml, plots/*.csv, metrics/*.json, "
    "metrics/*/scores.json, metrics/*/circumstances.json, metrics/spectra_*.parquet, models/*/run.json and "
    "data/processed/provenance.json. The same files give the same page; dvc repro report makes it again."
)
KEYS = {"null": START_LABEL, "context": "context", "truth": "truth"}
"""What a legend says of what is no optimizer."""


def page(run: Run) -> str:
    """The whole page; the same run gives the same bytes.

    >>> "<title>Weight spectra: sgt (p = 2, q = 5, λ = 0) on synthetic, seed 1</title>" in page(run)
    True
    """
    drawings, lines = charts(run), warnings(run)
    return render(
        "run_page/page.html.j2",
        title=f"Weight spectra: {run.caption.loss} on {run.caption.dataset}, seed {run.caption.seed}",
        theme=True,
        run=run,
        line=answer_words.run_line(run),
        origin={"sentences": origin.sentences(run), "table": origin.table(run)},
        banner=answer_words.banner(run),
        question=answer_words.QUESTION,
        headline=answer_words.headline(run),
        answer=answer_words.answer(run),
        care=f"{answer_words.care(run)} {answer_words.WHAT_IF}",
        answer_tables=[tables.result(run), *axes.tables(run), *tables.shifts(run)],
        charts=drawings,
        keys=KEYS,
        directions=directions.sections(run),
        tails=tables.tails(run),
        warnings=[*lines, *missing(drawings)],
        warning_count=len(lines),
        nothing=NOTHING,
        provenance=tables.provenance(run),
        budget=tables.trainings(run),
        parameters=tables.parameters(run),
        versions=tables.versions(run),
        colophon=COLOPHON,
        embedded={chart.name: {"spec": chart.spec, "parse": chart.parse, "data": chart.data} for chart in drawings},
        libraries=libraries(),
    )
