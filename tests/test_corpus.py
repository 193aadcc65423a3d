"""Small files that readers have once fallen over: each is read, or refused in one line that names it, in bounds."""

from __future__ import annotations

from pathlib import Path

import pytest
from readers import READERS, judged

CORPUS = Path(__file__).parent / "corpus"
FILES = sorted(path for path in CORPUS.rglob("*") if path.is_file())


@pytest.mark.parametrize("path", FILES, ids=[str(path.relative_to(CORPUS)) for path in FILES])
def test_a_file_that_readers_fell_over_is_refused_in_one_line(path):
    for read in READERS[path.parent.name]:
        assert judged(read, path)


def test_every_kind_of_reader_has_such_files():
    assert {path.parent.name for path in FILES} == set(READERS)
