"""A checkpoint's results as one HTML file that needs nothing else, neither a network nor a script."""

from __future__ import annotations

import base64
import tempfile
from collections.abc import Sequence
from html import escape
from pathlib import Path

from matplotlib.figure import Figure

from transformer_spectrum.progress import Progress
from transformer_spectrum.report.html import Table, document, items
from transformer_spectrum.report.model_figures import (
    COLUMNS,
    overview,
    overview_legend,
    sizes,
    spectrum_figure,
    spectrum_legend,
)
from transformer_spectrum.report.model_results import Examination, Measured
from transformer_spectrum.report.model_tables import ALPHA_WARNING, HEADER, MEANINGS, cells, facts
from transformer_spectrum.report.style import save
from transformer_spectrum.report.summary import evenly

CSS = """
h3 { font: 600 .95rem ui-monospace, monospace; margin-bottom: 0; }
p, ul { max-width: 62rem; }
table { font-size: .8rem; white-space: nowrap; }
th, td { padding: .12rem .5rem; }
.tall thead th { position: sticky; top: 0; }
"""


def page(examination: Examination, figures: int) -> str:
    """The whole page.

    Args:
        examination: what was measured.
        figures: matrices with pictures of their own, chosen evenly when there are more; count, >= 0.
    """
    matrices = examination.matrices
    shown = _evenly(matrices, figures)
    title = escape(examination.name)
    parts = [
        f"<h1>Spectra of {title}</h1>",
        f'<p class="quiet">{_provenance(examination)}</p>',
        *(f"<p>{escape(fact)}</p>" for fact in facts(examination)[:2]),
        "<h2>Along the depth of the model</h2>",
        f'<p class="quiet">{escape(overview_legend())} {escape(_left_out(matrices))}</p>',
        _image(overview(matrices), "metrics against layer, a column for each shape"),
        f"<p>{escape(ALPHA_WARNING)}</p>",
        "<h2>Every matrix</h2>",
        f'<p class="quiet">{escape(MEANINGS)} All metrics are in matrices.csv.</p>',
        _table(matrices),
    ]
    if shown:
        count = (
            f"all {len(matrices)}" if len(shown) == len(matrices) else f"{len(shown)} of {len(matrices)}, evenly chosen"
        )
        parts += [
            f"<h2>Spectra ({count})</h2>",
            _image(spectrum_legend(), "legend"),
            *_spectra(shown, examination),
        ]
    parts += ["<h2>What to know</h2>", _list(facts(examination)[2:]), *_settings(examination)]
    return document(f"Spectra of {examination.name}", "\n".join(parts), style=CSS)


def _evenly(matrices: Sequence[Measured], count: int) -> list[Measured]:
    if count >= 2:
        return [matrices[i] for i in evenly(len(matrices), count)]
    return list(matrices[:count])


def _provenance(examination: Examination) -> str:
    files = "; ".join(f"{escape(file['name'])}, sha256 {file['sha256'][:16]}…" for file in examination.files[:3])
    more = f" and {len(examination.files) - 3} more files" if len(examination.files) > 3 else ""
    kind = f", model type {escape(examination.model_type)}" if examination.model_type else ""
    return f"{files}{more}{kind}"


def _left_out(matrices: Sequence[Measured]) -> str:
    different = len({tuple(sorted(matrix.part.shape)) for matrix in matrices})
    return f"The {COLUMNS} commonest of {different} shapes." if different > len(sizes(matrices)) else ""


def _image(figure: Figure, alternative: str) -> str:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "figure.png"
        save(figure, path)
        data = base64.b64encode(path.read_bytes()).decode("ascii")
    width = round(float(figure.get_size_inches()[0]) * 100)
    return f'<img width="{width}" alt="{escape(alternative)}" src="data:image/png;base64,{data}">'


def _table(matrices: Sequence[Measured]) -> str:
    footnotes: dict[str, int] = {}
    rows = tuple(tuple(cells(matrix, footnotes)) for matrix in matrices)
    table = Table("Metrics of every matrix.", tuple(HEADER), rows, left=(0, 2), tall=True)
    notes = "<br>".join(f"–{number}: {escape(reason)}" for reason, number in footnotes.items())
    return table.html() + (f'<p class="quiet">{notes}</p>' if notes else "")


def _spectra(shown: Sequence[Measured], examination: Examination) -> list[str]:
    parts = []
    with Progress("figures", len(shown)) as progress:
        for i, matrix in enumerate(shown):
            parts.append(_spectrum(matrix, examination))
            progress.update(i + 1)
    return parts


def _spectrum(matrix: Measured, examination: Examination) -> str:
    part = matrix.part
    words = [f"{part.shape[0]}×{part.shape[1]}", part.family.replace("_", " "), *([part.note] if part.note else [])]
    values, null = matrix.values, matrix.nulls["ks_alpha"]
    if matrix.reasons["ks_alpha"]:
        words.append(f"no alpha: {matrix.reasons['ks_alpha']}")
    else:
        words.append(
            f"alpha {values['ks_alpha']:.2f} ± {values['ks_alpha_se']:.2f} (D {values['ks_distance']:.3f}, tail "
            f"{values['ks_tail']:.0f}; null {float(null.null_mean):.2f} ± {float(null.null_sd):.2f})"
        )
    name = escape(part.name)
    image = _image(spectrum_figure(matrix, examination.estimators), f"spectrum of {part.name}")
    return f'<h3>{name}</h3>\n<p class="quiet">{escape("; ".join(words))}</p>\n{image}'


def _list(sentences: Sequence[str]) -> str:
    if not sentences:
        return "<p>Every matrix of the file was measured as stored.</p>"
    return items(sentences)


def _settings(examination: Examination) -> list[str]:
    estimators, settings = examination.estimators, examination.settings
    words = {**settings, **vars(estimators), **examination.versions}
    return ['<p class="quiet">' + escape("; ".join(f"{name}: {value}" for name, value in words.items())) + "</p>"]
