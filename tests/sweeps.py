"""Calls of `sweep tiny` in this process, and what they have left in `out`."""

import csv
from pathlib import Path

import pytest

from transformer_spectrum.cli.main import main


def call_sweep(*options, code=0):
    """`code` is the exit code that the command has to end with."""
    arguments = ["sweep", "tiny", *map(str, options)]
    if code == 0:
        main(arguments)
        return
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == code


def rows_of(path):
    """Of a CSV file."""
    with Path(path).open(newline="") as stream:
        return list(csv.DictReader(stream))


def records():
    """Training -> inode and time of its record: others where it was trained again (a number alone may come again)."""
    paths = Path("out/trainings").rglob("record.json")
    return {
        str(path.parent.relative_to("out/trainings")): (path.stat().st_ino, path.stat().st_mtime_ns) for path in paths
    }
