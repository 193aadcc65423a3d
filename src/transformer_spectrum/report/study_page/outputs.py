"""The files of a study's report."""

from __future__ import annotations

from pathlib import Path

from transformer_spectrum.report.pictures.style import save
from transformer_spectrum.report.study_page.markdown import report_text
from transformer_spectrum.report.study_page.page import StudyTables, page
from transformer_spectrum.report.study_page.paper import contrasts_table, latex
from transformer_spectrum.report.study_page.picture import answer_picture
from transformer_spectrum.runtime.files import atomic_path, write_text

__all__ = ["StudyTables", "write_study_report"]


def write_study_report(tables: StudyTables, folder: Path) -> None:
    """Writes index.html, index.md, answer.png, contrasts.csv and contrasts.tex.

    Args:
        tables: of the study.
        folder: where to.
    """
    write_text(folder / "index.html", page(tables))
    write_text(folder / "index.md", report_text(tables))
    contrasts = contrasts_table(tables.verdicts)
    with atomic_path(folder / "contrasts.csv") as temporary:
        contrasts.to_csv(temporary, index=False, float_format="%.6g")
    write_text(folder / "contrasts.tex", latex(contrasts))
    save(answer_picture(tables.verdicts, tables.variance), folder / "answer.png")
