"""The step of a study that judges: from files to files, as a stage of studies/dvc.yaml."""

from __future__ import annotations

from transformer_spectrum.runtime.files import write_json
from transformer_spectrum.study.answer.places import HERE, StudyPlaces
from transformer_spectrum.study.answer.stored import (
    CELLS,
    ENDPOINTS,
    PATHS,
    stored,
    write_csv_table,
)
from transformer_spectrum.study.answer.tuned import with_tuning
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
    endpoints = stored(places.endpoints, ENDPOINTS, "study-table")
    at_ends = []
    if any(claim.groups for claim in claims.values()):
        cells, paths = stored(places.cells, CELLS, "study-run"), stored(places.paths, PATHS, "study-run")
        at_ends.append(rank_correlations(claims, cells, paths))
    if any(is_followed(claim.endpoint) for claim in claims.values()):
        at_ends.append(read_followed(places))
    write_json(places.verdicts, judgement(protocol, endpoints, claims, at_ends))
    write_csv_table(places.variance, shares_table(protocol, endpoints))
