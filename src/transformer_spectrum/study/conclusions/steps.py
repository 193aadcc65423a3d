"""The steps of a study that judge and publish, each from files to files, see studies/dvc.yaml."""

from __future__ import annotations

from transformer_spectrum.report.study_page.outputs import StudyTables, write_study_report
from transformer_spectrum.runtime.errors import InputError, shortened
from transformer_spectrum.runtime.files import write_json
from transformer_spectrum.study.answer.places import StudyPlaces
from transformer_spectrum.study.answer.steps import HERE, write_csv_table
from transformer_spectrum.study.answer.stored import (
    CELLS,
    CURVES,
    ENDPOINTS,
    PATHS,
    SPECTRA,
    SUMMARY,
    stored,
    stored_verdicts,
)
from transformer_spectrum.study.answer.tuned import with_tuning
from transformer_spectrum.study.beside_nulls.table import read_nulls
from transformer_spectrum.study.claims import load_claims
from transformer_spectrum.study.conclusions.attributed import SHARES, shares_table
from transformer_spectrum.study.conclusions.judged import judgement
from transformer_spectrum.study.conclusions.predictions import rank_correlations
from transformer_spectrum.study.follow_up.endpoints import is_followed
from transformer_spectrum.study.follow_up.table import read_followed
from transformer_spectrum.study.protocol.model import load_protocol


def judge_whole_study(places: StudyPlaces = HERE) -> None:
    """Writes the verdicts with the answers to the claims in the study's folder, and the shares of variance.

    Raises:
        InputError: a file is missing or broken, or tuning has not run.
    """
    protocol = with_tuning(load_protocol(places.protocol), places.tuning)
    claims = load_claims(places.claims) if places.claims.is_dir() else {}
    endpoints = stored(places.endpoints, ENDPOINTS, "study-table")
    at_ends = []
    if any(claim.groups for claim in claims.values()):
        cells, paths = stored(places.cells, CELLS, "study-run"), stored(places.paths, PATHS, "study-run")
        at_ends.append(rank_correlations(claims, cells, paths))
    if any(is_followed(claim.endpoint) for claim in claims.values()):
        at_ends.append(read_followed(places))
    write_json(places.verdicts, judgement(protocol, endpoints, claims, at_ends))
    write_csv_table(places.variance, shares_table(protocol, endpoints))


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
