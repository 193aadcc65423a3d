"""The table of what was followed up."""

from __future__ import annotations

from pathlib import Path

from transformer_spectrum.study.answer.places import StudyPlaces

COLUMNS = ("block", "protocol", "dataset", "axis", "target", "arm", "seed", "crossing", "updates", "endpoint", "value")
"""As `claims.answer` takes them: `axis` is end, `target` empty, `updates` those of the whole training."""


def followed_table(places: StudyPlaces) -> Path:
    """Where it goes: a row a training and endpoint, as `claims.answer` takes them.

    >>> followed_table(StudyPlaces(Path("studies"))).as_posix()
    'studies/tables/followed.csv'
    """
    return places.cells.with_name("followed.csv")
