"""A report that cannot fit is refused before its tables are read, by what to change."""

import pandas as pd
import pytest

from transformer_spectrum.report import footprint
from transformer_spectrum.report.run import CURVES, LONG_TABLES
from transformer_spectrum.runtime.errors import InputError
from transformer_spectrum.runtime.files import write_table
from transformer_spectrum.runtime.memory import Free

MIB = 2**20


@pytest.fixture
def root(tmp_path):
    (tmp_path / "plots").mkdir()
    (tmp_path / "metrics").mkdir()
    for name in CURVES:
        (tmp_path / f"plots/{name}.csv").write_bytes(b"1,2\n" * 2**16)
    for name in LONG_TABLES:
        write_table(tmp_path / f"metrics/{name}.parquet", pd.DataFrame({"step": range(1000), "alpha": 2.5}))
    return tmp_path


def test_it_follows_from_the_bytes_of_the_curves_and_the_cells_of_the_long_tables(root):
    parts = footprint.report_footprint(root).parts
    assert parts["curves"].size == footprint.OF_BYTE * len(CURVES) * 2**18
    assert parts["long tables"].size == footprint.OF_CELL * len(LONG_TABLES) * 2000


def test_what_does_not_fit_says_what_to_change(root):
    footprint.check_report_fits(root, Free(200 * MIB, "of this machine"))
    with open(root / "plots/validation.csv", "r+b") as file:
        file.truncate(100 * MIB)  # a sparse file, of which nothing is read
    with pytest.raises(InputError, match=r"the report would take about 1\.\d GiB, and 200 MiB are free") as refused:
        footprint.check_report_fits(root, Free(200 * MIB, "of this machine"))
    assert "are curves: make training.record_every larger" in str(refused.value)


def test_a_table_that_is_missing_or_broken_is_left_to_who_reads_it(root):
    (root / "plots/loss.csv").unlink()
    (root / "metrics/spectra_tails.parquet").write_bytes(b"nothing")
    footprint.check_report_fits(root, Free(200 * MIB, "of this machine"))
