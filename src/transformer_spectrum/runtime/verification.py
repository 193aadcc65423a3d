"""`make verify`: the committed run made anew in a folder of its own, and held against what is committed.

On the kind of machine that made the committed run the bytes have to be the same. On another, products are summed in
another order, last bits differ, and a training doubles such a difference again and again; a selection that falls the
other way (GA, ranks of an evolution strategy) starts another path at once. So there the run has to begin alike, to
`AT_FIRST`, and to end alike, to `AT_LAST`; what does not is a fault and no rounding. Measured with the committed
parameters: 4e-6 and .065 at most, between an EPYC with AVX512, which had made the committed run of that day, and a Xeon
with AVX512 or told to use AVX2 (docs/reliability.md). The bounds are 25 and 3 times that.
"""

from __future__ import annotations

import json
import logging
import math
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from transformer_spectrum.runtime.circumstances import CIRCUMSTANCES_FILE, DECIDING, machine
from transformer_spectrum.runtime.errors import InputError, one_line_errors
from transformer_spectrum.runtime.log import to_stderr
from transformer_spectrum.runtime.parsing import parsing
from transformer_spectrum.runtime.reproduction import stages_of

logger = logging.getLogger("transformer_spectrum.runtime.verification")  # its own name is __main__ where it runs

FOLDERS = ("metrics", "plots")
DATA = "metrics/data.json"
DIFFERS_ALWAYS = (CIRCUMSTANCES_FILE, "seconds.tsv")  # when, from which commit, how fast
TELL_WHEN = ("run.json", "provenance.json")
"""Outputs in DVC's cache that hold days and places beside numbers."""
MACHINE = ("processor", "architecture", "capability", "accelerator")
"""What of a machine may change last digits."""
CURVES = ("train_loss", "validation_mae", "distance", "stable_rank", "change_stable_rank", "spectral_entropy")
FIRST_STEPS = 4
AT_FIRST = 1e-4
"""Largest relative difference of the curves up to step `FIRST_STEPS`, on another kind of machine."""
AT_LAST = 0.2
"""Largest relative difference of `ENDS` and of the curves' last records, on another kind of machine."""
ENDS = ("best_validation_mae", "teacher_forced.mae", "evaluations")
Verdict = Literal["identical", "rounding", "fault"]


@dataclass
class Likeness:
    """What a run made anew has in common with the committed one."""

    same: int = 0
    """Files of the same bytes."""
    different: list[str] = field(default_factory=list)
    """Others."""
    faults: list[str] = field(default_factory=list)
    """Differences that rounding does not explain, a sentence each."""
    at_first: float = 0.0
    """Largest relative difference of the curves up to step `FIRST_STEPS`."""
    at_last: float = 0.0
    """Largest relative difference of where the trainings end."""

    @property
    def verdict(self) -> Verdict:
        """A file that differs is rounding where no fault was found."""
        if self.faults:
            return "fault"
        return "rounding" if self.different else "identical"


def relative(first: float, second: float) -> float:
    """|a - b| / max(|a|, |b|); 0 where both are the same or no number, infinite where one alone is.

    >>> relative(2.0, 1.0), relative(0.0, 0.0), relative(math.nan, math.nan), relative(math.nan, 1.0)
    (0.5, 0.0, 0.0, inf)
    """
    if first == second or (math.isnan(first) and math.isnan(second)):
        return 0.0
    difference = abs(first - second) / max(abs(first), abs(second))
    return difference if math.isfinite(difference) else math.inf


def _leaves(tree: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(tree, Mapping | list):
        items = tree.items() if isinstance(tree, Mapping) else enumerate(tree)
        for key, value in items:
            yield from _leaves(value, f"{name}.{key}" if name else str(key))
    else:
        yield name, tree


def _cells(path: Path) -> dict[str, Any]:
    """Name of each value of a JSON, or place of each cell of a table -> the value; no cells of another file."""
    with parsing(path, "readable"):
        text = path.read_text(encoding="utf-8") if path.suffix in (".json", ".csv", ".tsv") else ""
        if path.suffix == ".json":
            return dict(_leaves(json.loads(text)))
        separator = "\t" if path.suffix == ".tsv" else ","
        rows = [line.split(separator) for line in text.splitlines()]
        return {f"{row}.{column}": cell for row, cells in enumerate(rows) for column, cell in enumerate(cells)}


def _number(value: Any) -> float | None:
    try:
        return None if isinstance(value, bool) or value is None else float(value)
    except ValueError:
        return None


def difference(committed: Path, anew: Path) -> float:
    """The largest relative difference of two files' numbers; infinite where they have other names, words or lengths.

    >>> _ = Path("a.json").write_text('{"mae": 1.0, "q": "inf"}'), Path("b.json").write_text('{"mae": 1.1, "q": "inf"}')
    >>> round(difference(Path("a.json"), Path("b.json")), 3)
    0.091
    """
    before, after = _cells(committed), _cells(anew)
    if before.keys() != after.keys() or not before:
        return math.inf
    largest = 0.0
    for name, value in before.items():
        numbers = _number(value), _number(after[name])
        if numbers[0] is not None and numbers[1] is not None:
            largest = max(largest, relative(numbers[0], numbers[1]))
        elif value != after[name]:
            return math.inf
    return largest


def _curve(path: Path) -> dict[int, float]:
    """Step -> value."""
    with parsing(path, "a curve"):
        rows = [line.split("\t") for line in path.read_text(encoding="utf-8").splitlines()[1:]]
        return {int(row[0]): float(row[1]) if row[1] else math.nan for row in rows}


def _compare_training(name: str, committed: Path, anew: Path, likeness: Likeness) -> None:
    """How alike two trainings begin, and end."""

    def hold(label: str, apart: float, limit: float, where: str) -> float:
        if apart > limit:
            likeness.faults.append(f"{label}: {apart:.2g} apart {where}; rounding allows {limit:g}")
        return apart

    for curve in CURVES:
        place = Path("metrics", name, "plots/metrics", f"{curve}.tsv")
        if not (committed / place).exists() or not (anew / place).exists():
            continue  # of a file that was not made, a fault is told already
        before, after = _curve(committed / place), _curve(anew / place)
        early = [relative(before[step], after[step]) for step in before.keys() & after.keys() if step <= FIRST_STEPS]
        first = hold(str(place), max(early, default=math.inf), AT_FIRST, f"by step {FIRST_STEPS}")
        ends = [values[max(values)] if values else math.nan for values in (before, after)]
        last = hold(str(place), relative(*ends), AT_LAST, "at its end")
        likeness.at_first, likeness.at_last = max(likeness.at_first, first), max(likeness.at_last, last)
    place = Path("metrics", name, "scores.json")
    scores = _cells(committed / place), _cells(anew / place)
    for end in ENDS:
        values = [_number(cells.get(end)) for cells in scores]
        if values[0] is not None or values[1] is not None:
            apart = relative(*(math.nan if value is None else value for value in values))
            likeness.at_last = max(likeness.at_last, hold(f"{place}: {end}", apart, AT_LAST, "at its best step"))


def compare(committed: Path, anew: Path, names: Sequence[str], *, same_kind: bool) -> Likeness:
    """Two folders of results, each with its dvc.lock.

    Args:
        committed: the repository's.
        anew: where the pipeline has run again.
        names: the files that count, from either folder's root.
        same_kind: the machine is of the kind that made the committed results, so every difference is a fault.
    Raises:
        InputError: a file cannot be read.

    >>> for folder in ("one", "other"):
    ...     Path(folder, "metrics").mkdir(parents=True)
    ...     _ = Path(folder, "metrics/data.json").write_text('{"windows": 700}')
    ...     _ = Path(folder, "dvc.lock").write_text("schema: '2.0'\\nstages: {}\\n")
    >>> compare(Path("one"), Path("other"), ["metrics/data.json"], same_kind=True).verdict
    'identical'
    """
    likeness = Likeness()
    for name in names:
        if Path(name).name in DIFFERS_ALWAYS:
            continue
        if not (anew / name).is_file():
            likeness.faults.append(f"{name}: was not made")
        elif (committed / name).read_bytes() == (anew / name).read_bytes():
            likeness.same += 1
        else:
            likeness.different.append(name)
    if DATA in likeness.different and difference(committed / DATA, anew / DATA) > AT_FIRST:
        likeness.faults.append(f"{DATA}: other data")
    cached = [_cached(folder / "dvc.lock", names) for folder in (committed, anew)]
    other = [name for name, digest in cached[0].items() if cached[1].get(name) != digest]
    likeness.same += len(cached[0]) - len(other)
    likeness.different += other
    if same_kind:
        likeness.faults += [f"{name}: other bytes on the same kind of machine" for name in likeness.different]
    for place in map(Path, names):
        if place.name == "scores.json" and (anew / place).is_file():
            _compare_training(place.parent.name, committed, anew, likeness)
    return likeness


def _git(*words: str) -> str:
    process = subprocess.run(["git", *words], capture_output=True, text=True, check=False)
    if process.returncode:
        raise InputError(f"git {words[0]}: {process.stderr.strip() or 'failed'}")
    return process.stdout


def _cached(path: Path, tracked: Sequence[str]) -> dict[str, str]:
    """Output in DVC's cache -> its digest; not what is fetched, tells when it was made, or has `tracked` files."""
    stages = stages_of(path)
    if stages is None:
        raise InputError(f"{path}: is missing, or not whole")
    return {
        out["path"]: out["md5"]
        for name, stage in stages.items()
        if not name.startswith("fetch-") and name != "report"
        for out in stage.get("outs") or ()
        if Path(out["path"]).name not in TELL_WHEN
        and not any(file == out["path"] or file.startswith(out["path"] + "/") for file in tracked)
    }


def same_kind(committed: Path) -> bool:
    """Whether this machine is of the kind that made the committed trainings."""
    here, paths = machine(), sorted(committed.glob(f"metrics/*/{CIRCUMSTANCES_FILE}"))
    for path in paths:
        with parsing(path, "valid JSON"):
            there = json.loads(path.read_text(encoding="utf-8"))["machine"]
            if any(there[part] != here[part] for part in MACHINE):
                return False
    return bool(paths)  # of another kind, as far as anybody knows, where none says it


def verify() -> int:
    """Makes the commit of the current folder's repository anew; 0 where it is the same or rounding tells it apart.

    Raises:
        InputError: no repository's root, or what decides a result is not as the commit has it.
    """
    root = Path.cwd()
    if not (root / ".dvc").is_dir():
        raise InputError(f"{root}: is not the root of a DVC repository")
    if changed := _git("status", "--porcelain", "--", *DECIDING, "dvc.lock", *FOLDERS).split("\n")[0]:
        raise InputError(f"{changed[3:]}: is not as the commit has it; what is verified is a commit")
    alike = same_kind(root)
    with tempfile.TemporaryDirectory(prefix="verify-") as temporary:
        anew = Path(temporary) / "repository"
        _git("clone", "--quiet", str(root), str(anew))
        names = _git("ls-files", *FOLDERS).splitlines()
        for name in names:  # what counts is what is made
            (anew / name).unlink()
        environment = {**os.environ, "PYTHONPATH": "src"}
        command = [sys.executable, "-m", "transformer_spectrum.runtime.reproduction", "report"]
        code = subprocess.run(command, cwd=anew, env=environment, check=False).returncode
        if code:
            _tell(["the pipeline did not run to its end"])
            return code
        likeness = compare(root, anew, names, same_kind=alike)
    _tell(sentences(likeness, alike))
    return 1 if likeness.faults else 0


def sentences(likeness: Likeness, alike: bool) -> list[str]:
    """What came out, a line each.

    >>> sentences(Likeness(same=81), True)
    ['81 files have the bytes of the commit', 'verdict: identical']
    """
    lines = [f"{likeness.same} files have the bytes of the commit"]
    if likeness.different:
        kind = "the same kind of machine" if alike else "another kind of machine"
        lines.append(
            f"{len(likeness.different)} have others, on {kind}: the trainings are {likeness.at_first:.2g} apart by "
            f"step {FIRST_STEPS}, and {likeness.at_last:.2g} at their ends"
        )
    return [*lines, *(f"fault: {fault}" for fault in likeness.faults), f"verdict: {likeness.verdict}"]


def _tell(lines: Sequence[str]) -> None:
    for line in lines:
        logger.info(f"verify: {line}")


if __name__ == "__main__":
    with one_line_errors("verify"), to_stderr():
        raise SystemExit(verify())
