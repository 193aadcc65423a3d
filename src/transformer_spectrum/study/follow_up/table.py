"""The table of what was followed up."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from transformer_spectrum.study.answer.places import StudyPlaces
from transformer_spectrum.study.answer.stored import stored
from transformer_spectrum.study.inference.matching import COLUMNS as MATCHED

COLUMNS = ("block", "protocol", *MATCHED)
"""As `claims.answer` takes them: `axis` is end, `target` empty, `updates` those of the whole training."""


def followed_table(places: StudyPlaces) -> Path:
    """Where it goes: a row a training and endpoint, as `claims.answer` takes them.

    >>> followed_table(StudyPlaces(Path("studies"))).as_posix()
    'studies/tables/followed.csv'
    """
    return places.cells.with_name("followed.csv")


def read_followed(places: StudyPlaces) -> pd.DataFrame:
    """The table, as the stage study-follow has written it.

    Raises:
        InputError: there is none, or it is no such table.

    >>> read_followed(StudyPlaces(Path("none")))
    Traceback (most recent call last):
    transformer_spectrum.runtime.errors.InputError: none/tables/followed.csv: no such file; run the stage study-follow
    """
    path = followed_table(places)
    return stored(path, COLUMNS, "study-follow", may_be_empty=True)
