"""A checkpoint's results as one HTML file that needs nothing else, neither a network nor a script."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import numpy as np

from transformer_spectrum.analysis.of_checkpoint.results import Examination, Measured
from transformer_spectrum.report.model_page.figures import (
    SHAPES,
    by_size,
    colour,
    depth_panels,
    lines,
    marker,
    spectrum_panels,
)
from transformer_spectrum.report.model_page.tables import cells, facts, footnote_lines, header, meanings, warning
from transformer_spectrum.report.page.html import Table, document, items
from transformer_spectrum.report.page.svg import MARKERS, STYLE, panels

# Okabe & Ito (2008), ordered so that neighbours differ in lightness too; the marker tells them apart in grey.
LIGHT = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#56B4E9", "#CC79A7", "#1d1d1f")
DARK = ("#56B4E9", "#E69F00", "#00B386", "#F08A4B", "#A6D4F2", "#E3A3C6", "#f2f2f2")
CSS = """
h3 { font: 600 .95rem ui-monospace, monospace; margin-bottom: 0; }
p, ul { max-width: 62rem; }
table { font-size: .8rem; white-space: nowrap; }
th, td { padding: .12rem .5rem; }
.tall thead th { position: sticky; top: 0; }
.key { display: flex; flex-wrap: wrap; gap: .1rem 1.1rem; font-size: .85rem; color: var(--ink); margin: .3rem 0; }
.key span { display: inline-flex; align-items: center; gap: .35rem; }
.key svg { flex: none; }
"""


def _palette() -> str:
    """Colours of lines and of the parts of a spectrum, in light, dark and print."""
    light, dark = (" ".join(f"--c{i}: {tone};" for i, tone in enumerate(tones)) for tones in (LIGHT, DARK))
    looks = {**{f"c{i}": f"c{i}" for i in range(len(LIGHT))}, "own": "adam", "fit": "es", "bulk": "truth"}
    classes = "\n".join(f"svg .{name} {{ color: var(--{tone}); }}" for name, tone in {**looks, "null": "null"}.items())
    return (
        f":root {{ {light} }}\n@media (prefers-color-scheme: dark) {{ :root {{ {dark} }} }}\n"
        f"@media print {{ {':root' * 3} {{ {light} }} }}\n{classes}\n"
    )


def page(examination: Examination, figures: int) -> str:
    """The whole page.

    Args:
        examination: what was measured.
        figures: matrices with pictures of their own, chosen evenly when there are more; count, >= 0.
    """
    matrices = examination.matrices
    drawn = _evenly(matrices, figures)
    title = escape(examination.name)
    parts = [
        f"<h1>Spectra of {title}</h1>",
        f'<p class="quiet">{_provenance(examination)}</p>',
        *(f"<p>{escape(fact)}</p>" for fact in facts(examination)[:2]),
        "<h2>Along the depth of the model</h2>",
        f'<p class="quiet">{escape(_depth_words(examination))}</p>',
        *_depth(examination),
        f"<p>{escape(warning(examination))}</p>",
        "<h2>Every matrix</h2>",
        f'<p class="quiet">{escape(meanings(examination))} All metrics are in matrices.csv.</p>',
        _table(examination),
    ]
    if drawn:
        some = f"{len(drawn)} of {len(matrices)}, evenly chosen"
        parts += [
            f"<h2>Spectra ({some if len(drawn) < len(matrices) else f'all {len(matrices)}'})</h2>",
            _spectrum_key(examination),
            *(_spectrum(matrix, examination) for matrix in drawn),
        ]
    parts += ["<h2>What to know</h2>", _list(facts(examination)[2:]), *_settings(examination)]
    return document(f"Spectra of {examination.name}", "\n".join(parts), style=_palette() + STYLE + CSS)


def _evenly(matrices: Sequence[Measured], count: int) -> list[Measured]:
    """At most `count` of them, the first and the last included where there are two and more."""
    if count < 2:
        return list(matrices[:count])
    places = np.unique(np.linspace(0, len(matrices) - 1, min(len(matrices), count)).round().astype(int))
    return [matrices[i] for i in places]


def _provenance(examination: Examination) -> str:
    files = "; ".join(f"{escape(file['name'])}, sha256 {file['sha256'][:16]}…" for file in examination.files[:3])
    more = f" and {len(examination.files) - 3} more files" if len(examination.files) > 3 else ""
    kind = f", model type {escape(examination.model_type)}" if examination.model_type else ""
    return f"{files}{more}{kind}"


def _depth_words(examination: Examination) -> str:
    """What the marks of the overview mean."""
    null = " Grey: the mean ± standard deviation over shuffles of the same entries, the null." * examination.has_null
    different = len({tuple(sorted(matrix.part.shape)) for matrix in examination.matrices})
    left_out = f" The {SHAPES} commonest of {different} shapes." * (different > SHAPES)
    return (
        f"Colour: the matrices, alpha with its standard error; point at one for its name and value.{null} A hollow "
        "triangle: at least so many, see the table. Layers count from 0 as in the names; families are set slightly "
        f"apart.{left_out}"
    )


def _depth(examination: Examination) -> list[str]:
    """Panels and a key for each shape."""
    parts = []
    for size, inside in by_size(examination.matrices):
        found = lines(inside)
        count = f"{len(inside)} {'matrix' if len(inside) == 1 else 'matrices'}"
        keys = [(f"{colour(i)} dot", marker(i), line.label) for i, line in enumerate(found)]
        parts += [f"<h3>{size[0]}×{size[1]}, {count}</h3>", _key(keys)]
        parts += [panels(depth_panels(found, examination.estimators))]
    return parts


def _key(entries: Sequence[tuple[str, str, str]]) -> str:
    """Class and marker (or SVG path) of each mark, and what it stands for."""
    return (
        '<div class="key">'
        + "".join(
            f'<span><svg width="22" height="12" viewBox="-11 -6 22 12" aria-hidden="true"><path class="{look}" '
            f'd="{MARKERS.get(shape, shape)}"/></svg>{escape(label)}</span>'
            for look, shape, label in entries
        )
        + "</div>"
    )


def _spectrum_key(examination: Examination) -> str:
    """One key for the panels of all matrices."""
    stroke, box = "M-10,0h20", "M-10,-5h20v10h-20z"
    shuffled = [("area null", box, "shuffled entries (null)")] if examination.has_null else []
    return _key(
        [
            ("line own", stroke, "this matrix; dotted: Hill's k"),
            *shuffled,
            ("line bulk", stroke, "Marchenko-Pastur, where there is a bulk; dotted: Tracy-Widom edge"),
            ("line fit", stroke, "power-law fit; dotted: xmin; dot: KS alpha ± se, hollow at the shortest tail"),
        ]
    )


def _table(examination: Examination) -> str:
    footnotes: dict[str, int] = {}
    rows = tuple(cells(matrix, examination, footnotes) for matrix in examination.matrices)
    table = Table("Metrics of every matrix.", header(examination), rows, left=(0, 2), tall=True)
    notes = "<br>".join(map(escape, footnote_lines(footnotes)))
    return table.html() + (f'<p class="quiet">{notes}</p>' if notes else "")


def _spectrum(matrix: Measured, examination: Examination) -> str:
    part = matrix.part
    words = [
        f"{part.shape[0]}×{part.shape[1]}",
        part.family.label.replace("_", " "),
        *([part.note] if part.note else []),
    ]
    values, null = matrix.values, matrix.nulls["ks_alpha"]
    if matrix.reasons["ks_alpha"]:
        words.append(f"no alpha: {matrix.reasons['ks_alpha']}")
    else:
        tail = matrix.bounds(examination.estimators).get("ks_tail", f"{values['ks_tail']:.0f}")
        beside = f"; null {float(null.null_mean):.2f} ± {float(null.null_sd):.2f}" if examination.has_null else ""
        words.append(
            f"alpha {values['ks_alpha']:.2f} ± {values['ks_alpha_se']:.2f} "
            f"(D {values['ks_distance']:.3f}, tail {tail}{beside})"
        )
    if matrix.reasons["mp_spikes"]:
        words.append(f"no bulk: {matrix.reasons['mp_spikes']}")
    drawing = panels(spectrum_panels(matrix, examination.estimators))
    return f'<h3>{escape(part.name)}</h3>\n<p class="quiet">{escape("; ".join(words))}</p>\n{drawing}'


def _list(sentences: Sequence[str]) -> str:
    if not sentences:
        return "<p>Every matrix of the file was measured as stored.</p>"
    return items(sentences)


def _settings(examination: Examination) -> list[str]:
    estimators, settings = examination.estimators, examination.settings
    words = {**settings, **vars(estimators), **examination.versions}
    return ['<p class="quiet">' + escape("; ".join(f"{name}: {value}" for name, value in words.items())) + "</p>"]
