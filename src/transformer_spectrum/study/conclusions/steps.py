"""The steps of a study that judge and publish, each from files to files, see studies/dvc.yaml."""

from __future__ import annotations

import pandas as pd

from transformer_spectrum.report.study_page.outputs import StudyTables, write_study_report
from transformer_spectrum.runtime.files import read_json, read_table, write_json
from transformer_spectrum.study.answer.places import StudyPlaces
from transformer_spectrum.study.answer.steps import HERE, write_csv_table
from transformer_spectrum.study.answer.tuned import with_tuning
from transformer_spectrum.study.beside_nulls.table import read_nulls
from transformer_spectrum.study.claims import load_claims
from transformer_spectrum.study.conclusions.attributed import shares_table
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
    endpoints = read_table(places.endpoints)
    at_ends = []
    if any(claim.groups for claim in claims.values()):
        at_ends.append(rank_correlations(claims, pd.read_csv(places.cells), read_table(places.paths)))
    if any(is_followed(claim.endpoint) for claim in claims.values()):
        at_ends.append(read_followed(places))
    write_json(places.verdicts, judgement(protocol, endpoints, claims, at_ends))
    write_csv_table(places.variance, shares_table(protocol, endpoints))


def report_study(places: StudyPlaces = HERE) -> None:
    """Writes the report from the tables alone.

    Raises:
        InputError: a table is missing or broken.
    """
    tables = StudyTables(
        verdicts=read_json(places.verdicts),
        cells=pd.read_csv(places.cells),
        summary=pd.read_csv(places.summary),
        curves=pd.read_csv(places.curves),
        spectra=read_table(places.spectra),
        variance=pd.read_csv(places.variance),
        nulls=read_nulls(places),
    )
    write_study_report(tables, places.report)
