"""The step of a study that publishes: from tables to the report, as a stage of studies/dvc.yaml."""

from __future__ import annotations

from transformer_spectrum.report.study_page.outputs import StudyTables, write_study_report
from transformer_spectrum.runtime.errors import InputError, shortened
from transformer_spectrum.study.answer.places import HERE, StudyPlaces
from transformer_spectrum.study.answer.stored import CELLS, CURVES, SPECTRA, SUMMARY, stored, stored_verdicts
from transformer_spectrum.study.answer.tuned import with_tuning
from transformer_spectrum.study.beside_nulls.table import read_nulls
from transformer_spectrum.study.conclusions.attributed import SHARES
from transformer_spectrum.study.protocol.model import load_protocol


def report_study(places: StudyPlaces = HERE) -> None:
    """Writes the report from the tables alone.

    Raises:
        InputError: a table is missing or broken, or the verdicts are of another protocol.
    """
    verdicts, protocol = stored_verdicts(places.verdicts), with_tuning(load_protocol(places.protocol), places.tuning)
    if verdicts["protocol"] != protocol.sha256:
        words = f"of protocol {shortened(verdicts['protocol'])[:8]}, and it is {protocol.sha256[:8]} now"
        raise InputError(f"{places.verdicts}: {words}; run the stage study-judge again")
    tables = StudyTables(
        verdicts=verdicts,
        cells=stored(places.cells, CELLS, "study-run"),
        summary=stored(places.summary, SUMMARY, "study-table"),
        curves=stored(places.curves, CURVES, "study-table"),
        spectra=stored(places.spectra, SPECTRA, "study-run", may_be_empty=True),
        variance=stored(places.variance, SHARES, "study-judge", may_be_empty=True),
        nulls=read_nulls(places),
    )
    write_study_report(tables, places.report)
