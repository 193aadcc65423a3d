"""Files that nobody should write, through every reader: a right result or a line that names the file, in bounds.

`make chaos` runs thousands of them; what it finds is kept in tests/corpus.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from chaos import made
from fuzzing import CANARY, KINDS
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from readers import FUZZED, judged


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_whatever_a_file_holds_it_is_read_or_refused_in_one_line(kind, tmp_path_factory):
    folder = tmp_path_factory.mktemp(kind)

    @settings(max_examples=25, derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(st.integers(0, 2**32))
    def holds(number: int) -> None:
        path = made(kind, seed=1, trial=number, folder=folder)
        judged(FUZZED[kind], path)
        path.unlink()

    holds()
    assert not Path(CANARY).exists()


def test_every_kind_of_file_has_a_reader_and_a_trial_is_a_function_of_its_number(tmp_path):
    assert FUZZED.keys() == KINDS.keys()
    for kind in KINDS:
        contents = {made(kind, 0, trial, tmp_path).read_bytes() for trial in range(8)}
        assert contents == {made(kind, 0, trial, tmp_path).read_bytes() for trial in range(8)}
        assert len(contents) > 4
