"""A checkpoint's results as one HTML file that needs nothing else, neither a network nor a script.

Its template is page.html.j2.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from transformer_spectrum.analysis.of_checkpoint.results import Examination, MeasuredMatrix
from transformer_spectrum.report.model_page.depth import SHAPES, by_size, colour, depth_panels, lines, marker
from transformer_spectrum.report.model_page.figures import spectrum_panels
from transformer_spectrum.report.model_page.tables import (
    cells,
    facts,
    footnote_lines,
    header,
    meanings,
    tail_words,
    warning,
)
from transformer_spectrum.report.page.html import Table, render
from transformer_spectrum.report.page.svg import MARKERS
from transformer_spectrum.vocabulary import LINE_SHADES, family_words

LINES = {f"c{i}": shade for i, shade in enumerate(LINE_SHADES)}
"""Class of a line -> its colours."""
LOOKS = {"own": "adam", "fit": "es", "bulk": "truth", "null": "null"}
"""Class of a part of a spectrum -> the CSS variable of its colour."""
STROKE, BOX = "M-10,0h20", "M-10,-5h20v10h-20z"
FILES = 3
"""Files of a checkpoint that are named before they are counted."""


class Key(NamedTuple):
    """One mark, and what it stands for.

    Attributes:
        look: its class.
        path: its shape; an SVG path.
        label: text.
    """

    look: str
    path: str
    label: str


def page(examination: Examination, figures: int) -> str:
    """The whole page.

    Args:
        examination: what was measured.
        figures: matrices with pictures of their own, chosen evenly when there are more; count, >= 0.

    >>> html = page(examination, figures=2)
    >>> "<title>Spectra of best.safetensors</title>" in html, "2 of 9, evenly chosen" in html
    (True, True)
    """
    matrices = examination.matrices
    chosen = _evenly(matrices, figures)
    footnotes: dict[str, int] = {}
    rows = tuple(cells(matrix, examination, footnotes) for matrix in matrices)
    return render(
        "model_page/page.html.j2",
        title=f"Spectra of {examination.name}",
        lines=LINES,
        looks=LOOKS,
        name=examination.name,
        provenance=_provenance(examination),
        facts=facts(examination),
        depth_words=_depth_words(examination),
        depth=list(_depth(examination)),
        warning=warning(examination),
        meanings=meanings(examination),
        table=Table("Metrics of every matrix.", header(examination), rows, left=(0, 2), tall=True),
        footnotes=footnote_lines(footnotes),
        spectra=[_spectrum(matrix, examination) for matrix in chosen],
        spectra_count=(
            f"{len(chosen)} of {len(matrices)}, evenly chosen"
            if len(chosen) < len(matrices)
            else f"all {len(matrices)}"
        ),
        spectrum_key=_spectrum_key(examination),
        settings=_settings(examination),
    )


def _evenly(matrices: Sequence[MeasuredMatrix], count: int) -> list[MeasuredMatrix]:
    """At most `count` of them, the first and the last included where there are two and more."""
    if count < 2:
        return list(matrices[:count])
    places = np.unique(np.linspace(0, len(matrices) - 1, min(len(matrices), count)).round().astype(int))
    return [matrices[i] for i in places]


def _provenance(examination: Examination) -> str:
    files = "; ".join(f"{file['name']}, sha256 {file['sha256'][:16]}…" for file in examination.files[:FILES])
    more = f" and {len(examination.files) - FILES} more files" if len(examination.files) > FILES else ""
    kind = f", model type {examination.model_type}" if examination.model_type else ""
    return f"{files}{more}{kind}"


def _depth_words(examination: Examination) -> str:
    """What the marks of the overview mean."""
    null = " Grey: the mean ± standard deviation over shuffles of the same entries, the null." * examination.has_null
    different = len({tuple(sorted(matrix.matrix.shape)) for matrix in examination.matrices})
    left_out = f" The {SHAPES} commonest of {different} shapes." * (different > SHAPES)
    return (
        f"Colour: the matrices, alpha with its standard error; point at one for its name and value.{null} A hollow "
        "triangle: at least so many, see the table. Layers count from 0 as in the names; families are set slightly "
        f"apart.{left_out}"
    )


def _depth(examination: Examination) -> Iterator[dict[str, Any]]:
    """Title, key and panels of each shape."""
    for size, inside in by_size(examination.matrices):
        families = lines(inside)
        yield {
            "title": f"{size[0]}×{size[1]}, {len(inside)} {'matrix' if len(inside) == 1 else 'matrices'}",
            "key": [Key(f"{colour(i)} dot", MARKERS[marker(i)], line.label) for i, line in enumerate(families)],
            "panels": depth_panels(families, examination.estimators),
        }


def _spectrum_key(examination: Examination) -> list[Key]:
    """One key for the panels of all matrices."""
    shuffled = [Key("area null", BOX, "shuffled entries (null)")] if examination.has_null else []
    return [
        Key("line own", STROKE, "this matrix; dotted: Hill's k"),
        *shuffled,
        Key("line bulk", STROKE, "Marchenko-Pastur, where there is a bulk; dotted: Tracy-Widom edge"),
        Key("line fit", STROKE, "power-law fit; dotted: xmin; dot: KS alpha ± se, hollow at the shortest tail"),
    ]


def _spectrum(matrix: MeasuredMatrix, examination: Examination) -> dict[str, Any]:
    """Name, facts and panels of one matrix."""
    place, values, null = matrix.matrix, matrix.values, matrix.nulls["ks_alpha"]
    words = [
        f"{place.shape[0]}×{place.shape[1]}",
        family_words(place.family.label),
        *([place.note] if place.note else []),
    ]
    if matrix.reasons["ks_alpha"]:
        words.append(f"no alpha: {matrix.reasons['ks_alpha']}")
    else:
        tail = matrix.bounds(examination.estimators).get("ks_tail", f"{values['ks_tail']:.0f}")
        beside = f"; null {float(null.null_mean):.2f} ± {float(null.null_sd):.2f}" if examination.has_null else ""
        words.append(
            f"alpha {values['ks_alpha']:.2f} ± {values['ks_alpha_se']:.2f} "
            f"(D {values['ks_distance']:.3f}, tail {tail}{beside})"
        )
    if not matrix.tail.reason:
        words.append(f"{tail_words(matrix.tail)}: p {matrix.tail.p_value:.3f} of noise with spikes")
    if matrix.reasons["mp_spikes"]:
        words.append(f"no bulk: {matrix.reasons['mp_spikes']}")
    return {"name": place.name, "facts": words, "panels": spectrum_panels(matrix, examination.estimators)}


def _settings(examination: Examination) -> list[str]:
    settings = {**examination.settings, **vars(examination.estimators), **examination.versions}
    return [f"{name}: {value}" for name, value in settings.items()]
