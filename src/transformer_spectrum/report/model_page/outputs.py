"""The folder that `analyze --out` writes: whether it may be written, and its table, its page and its summary."""

from __future__ import annotations

import os
from pathlib import Path

from transformer_spectrum.analysis.of_checkpoint.results import MADE_BY, Examination
from transformer_spectrum.report.model_page import circuits, exports, weightwatcher
from transformer_spectrum.report.model_page.page import page
from transformer_spectrum.runtime.errors import InputError
from transformer_spectrum.runtime.files import atomic_folder, write_csv, write_json, write_text
from transformer_spectrum.runtime.ownership import (
    RECORD,
    check_no_input,
    check_no_stage,
    is_own,
    read_record,
    write_record,
)


def check_out(out: str | Path, of: str | Path | None = None, *, force: bool = False) -> None:
    """Refuses a folder that `write` could not write, or where it would cost the user something.

    Args:
        out: the folder.
        of: the checkpoint that is examined.
        force: whatever else the folder holds may be lost.
    Raises:
        InputError: the path is a file, a folder that holds anything but an analysis as it was written, or the
            checkpoint, or a DVC stage's output, or in one that cannot be written to.

    >>> check_out("spectra")
    >>> check_out("params.yaml")
    Traceback (most recent call last):
        ...
    transformer_spectrum.runtime.errors.InputError: --out params.yaml: is no folder
    """
    out = Path(out)
    check_no_stage(f"--out {out}", out)
    if out.is_dir():
        strange = [path for path in sorted(out.rglob("*")) if not path.is_dir() and not _is_ours(path, out)]
        if strange and not force:
            words = f"holds other files, such as {strange[0].relative_to(out)}, or they were changed since an analysis"
            raise InputError(
                f"--out {out}: {words} wrote them, which would be lost; name a new folder, or pass --force"
            )
        check_no_input(f"--out {out}", out, [] if of is None else [Path(of)])
        return
    if out.exists() or out.is_symlink():
        raise InputError(f"--out {out}: is no folder")
    above = next(folder for folder in out.resolve().parents if folder.exists())
    if not above.is_dir() or not os.access(above, os.W_OK):
        raise InputError(f"--out {out}: {above} is no folder that can be written to")


def _is_ours(path: Path, out: Path) -> bool:
    record = out / RECORD
    return read_record(record) is not None if path == record else is_own(path, record)


def write(examination: Examination, out: str | Path, figures: int, *, force: bool = False) -> None:
    """Writes matrices.csv, summary.json and index.html into a folder, circuits.csv where asked for, all or nothing.

    Args:
        examination: what was measured.
        out: the folder; replaced as a whole.
        figures: matrices that get pictures of their own in index.html, chosen evenly; count, >= 0.
        force: see `check_out`.

    >>> write(examination, "spectra", figures=1)
    >>> sorted(path.name for path in Path("spectra").glob("*.*"))
    ['index.html', 'matrices.csv', 'provenance.json', 'summary.json']
    """
    check_out(out, force=force)
    with atomic_folder(out) as folder:
        table = weightwatcher if examination.settings["like"] else exports
        write_csv(folder / "matrices.csv", table.csv_header(examination), table.csv_rows(examination))
        if examination.settings["circuits"]:
            write_csv(folder / "circuits.csv", circuits.HEADER, circuits.rows(examination))
        write_json(folder / "summary.json", exports.json_tree(examination))
        write_text(folder / "index.html", page(examination, figures))
        write_record(folder / RECORD, {"made_by": MADE_BY}, sorted(folder.iterdir()))
