"""The report as one HTML file that needs nothing else: no network, no server."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from html import escape
from pathlib import Path

from transformer_spectrum.report.page.html import document, items
from transformer_spectrum.report.page.vega import libraries, licences
from transformer_spectrum.report.run_page import axes as page_axes
from transformer_spectrum.report.run_page import origin as page_origin
from transformer_spectrum.report.run_page import tables as page_tables
from transformer_spectrum.report.run_page import text as page_text
from transformer_spectrum.report.run_page.figures import Figure, figures, missing
from transformer_spectrum.report.run_page.inputs import Run
from transformer_spectrum.vocabulary import display_name

HERE = Path(__file__).parent
MADE = (
    "Made by the stage report of transformer-spectrum from params.yaml, plots/*.csv, metrics/*.json, "
    "metrics/*/scores.json, metrics/*/circumstances.json, metrics/spectra_tails.parquet, models/*/run.json and "
    "data/processed/provenance.json. The same files give the same "
    "page; dvc repro report makes it again."
)
NO_SCRIPT = "The figures need JavaScript; all else, and their numbers as tables, is here without it."


def page(run: Run) -> str:
    """The whole page; the same run gives the same bytes."""
    drawn = figures(run)
    counts = {"warnings": f" ({len(page_text.warnings(run))})"}
    sections = [
        *((one.name, one.title) for one in drawn),
        *((name, title + counts.get(name, "")) for name, title in REST),
    ]
    parts = [
        '<a class="skip" href="#answer">Skip to the answer</a>',
        f'<header class="top"><p>{escape(page_text.about(run))}</p>',
        '<button type="button" id="theme" hidden>Dark</button></header>',
        f'<p class="quiet origin">{escape(" ".join(page_origin.sentences(run)))}</p>',
        *_banner(run),
        '<main><section id="answer" aria-labelledby="question">',
        f'<h1 id="question">{escape(page_text.QUESTION)}</h1>',
        f'<p class="headline">{escape(page_text.headline(run))}</p>',
        '<div class="answer">' + "".join(f"<p>{escape(one)}</p>" for one in page_axes.answer(run)) + "</div>",
        f'<p class="quiet">{escape(page_text.care(run))} {escape(page_text.WHAT_IF)}</p>',
        page_tables.result(run).html(),
        equal.html() if (equal := page_axes.table(run)) else "",
        page_tables.shifts(run).html(),
        "</section>",
        '<nav aria-label="Contents"><ul>',
        *(f'<li><a href="#{name}">{escape(title)}</a></li>' for name, title in sections),
        "</ul></nav>",
        f'<p id="no-script">{escape(NO_SCRIPT)}</p>',
        *(_figure(one, run) for one in drawn),
        *_rest(run),
        "</main>",
        f'<footer><p class="quiet">{escape(MADE)}</p></footer>',
    ]
    title = f"Weight spectra: {run.caption.loss} on {run.caption.dataset}, seed {run.caption.seed}"
    style = (HERE / "page.css").read_text(encoding="utf-8")
    return document(title, "\n".join(parts), style=style, scripts=_scripts(drawn), theme=True)


def _banner(run: Run) -> Iterator[str]:
    if lines := page_text.banner(run):
        paragraphs = "".join(f"<p>{escape(line)}</p>" for line in lines)
        yield f'<aside class="banner" id="standin" aria-label="Warning">{paragraphs}</aside>'


def _figure(one: Figure, run: Run) -> str:
    """Heading, explanation, legend, the place to draw in, and the numbers."""
    table = one.numbers.html()
    return f"""<section id="{one.name}" aria-labelledby="{one.name}-title">
<h2 id="{one.name}-title">{escape(one.title)}</h2>
<p>{escape(one.text)}</p>
<figure>
<div class="bar">{_legend(run, one)}<div class="controls" id="{one.name}-controls"></div></div>
<div class="figure" id="{one.name}-figure" role="img" aria-label="{escape(one.alternative)}"></div>
</figure>
<div class="under"><details><summary>The figure in numbers</summary>{table}</details>
<button type="button" class="save" data-figure="{one.name}" hidden>Save its data as CSV</button></div>
</section>"""


KEYS = {"null": "null: initial weights", "context": "context", "truth": "truth"}
"""What a legend says of what is no optimizer."""


def _legend(run: Run, one: Figure) -> str:
    """Colours of the optimizers, as buttons that mute them in all figures, and of what else there is."""
    if not one.optimizers:
        return ""
    keys = "".join(
        f'<button type="button" class="key" aria-pressed="true" data-optimizer="{escape(name)}" disabled>'
        f'<span class="swatch" style="color: var(--{name})"></span>{display_name(name)}</button>'
        for name in run.trainings
    )
    others = "".join(f'<span><span class="swatch {name}"></span>{KEYS[name]}</span>' for name in one.legend)
    return f'<div class="legend" role="group" aria-label="Optimizers shown">{keys}{others}</div>'


REST = (
    ("tails", "Power laws"),
    ("warnings", "Warnings"),
    ("provenance", "Provenance"),
    ("budget", "Budget"),
    ("parameters", "Parameters"),
    ("versions", "Versions"),
)
"""Anchors and titles of the sections after the figures."""


def _rest(run: Run) -> Iterator[str]:
    found = [*page_text.warnings(run), *missing(run)]
    contents = {
        "tails": page_tables.tails(run).html(),
        "warnings": items(found) if found else "<p>Every score and every fit has a value.</p>",
        "provenance": page_origin.table(run).html() + page_tables.provenance(run).html(),
        "budget": page_tables.trainings(run).html(),
        "parameters": '<div class="columns">'
        + "".join(f'<div class="together">{table.html()}</div>' for table in page_tables.parameters(run))
        + "</div>",
        "versions": page_tables.versions(run).html(),
    }
    for name, title in REST:
        heading = f'<h2 id="{name}-title">{title}</h2>'
        yield f'<section id="{name}" aria-labelledby="{name}-title">{heading}{contents[name]}</section>'


def _scripts(drawn: list[Figure]) -> Iterator[str]:
    contents = {one.name: {"spec": one.spec, "parse": one.parse, "data": one.data} for one in drawn}
    yield f'<script type="application/json" id="figures">{_embedded(contents)}</script>'
    yield f'<script type="text/plain" id="licences">\n{licences()}</script>'
    # In a function, because the libraries' one-letter names would else be everyone's.
    bundle = libraries().replace("</script", "<\\/script")
    yield f"<script>(() => {{\n{bundle}\n}})();</script>"
    yield f"<script>\n{(HERE / 'page.js').read_text(encoding='utf-8')}</script>"


def _embedded(contents: Mapping[str, object]) -> str:
    """JSON that cannot end the element it stands in."""
    return json.dumps(contents, ensure_ascii=False, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")
