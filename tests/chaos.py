"""`make chaos`: the long run of the fuzzers, seeded, each trial with its number, so that one of them can be run again.

    python tests/chaos.py --cases 12000 --seed 0
    python tests/chaos.py --seed 0 --trial 4711 --show

A batch of trials is a process of its own, so that one that dies of a signal or of memory is a failure and no end.
"""

from __future__ import annotations

import argparse
import collections
import random
import resource
import signal
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from pathlib import Path
from typing import Any

BATCH = 400
ADDRESS_SPACE = 12 * 2**30  # bytes; torch alone maps four of them


def made(kind: str, seed: int, trial: int, folder: Path) -> Path:
    """The file of a trial, a function of its numbers alone."""
    from fuzzing import KINDS

    make, suffix = KINDS[kind]
    path = folder / f"trial_{trial}.{suffix}"  # a grid's name has no dash
    path.write_bytes(make(random.Random(f"{seed} {trial}")))
    return path


def failure(kind: str, path: Path) -> str:
    """What went wrong, empty where nothing did."""
    from readers import FUZZED, SECONDS, judged

    def too_long(*_: Any) -> None:
        raise TimeoutError(f"took more than {2 * SECONDS:g} s")

    signal.signal(signal.SIGALRM, too_long)
    signal.alarm(int(2 * SECONDS))
    try:
        judged(FUZZED[kind], path)
    except BaseException as error:
        place = traceback.extract_tb(error.__traceback__)[-1]
        return f"{type(error).__name__}: {str(error)[:200]!r} in {Path(place.filename).name}:{place.lineno}"
    finally:
        signal.alarm(0)
    return ""


def batch(seed: int, trials: range) -> None:
    """Runs trials and prints a line for each failure, and one for the count of each kind."""
    from fuzzing import CANARY, KINDS

    warnings.simplefilter("ignore")
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE, ADDRESS_SPACE))
    kinds = list(KINDS)
    counts: collections.Counter[str] = collections.Counter()
    with tempfile.TemporaryDirectory() as folder:
        for trial in trials:
            kind = kinds[trial % len(kinds)]
            print(f"at {trial} {kind}", flush=True)
            path = made(kind, seed, trial, Path(folder))
            complaint = failure(kind, path)
            if Path(CANARY).exists():
                Path(CANARY).unlink()
                complaint = "code of the file was run"
            counts[kind] += 1
            if complaint:
                print(f"FAILED {trial} {kind}: {' '.join(complaint.split())}", flush=True)
            path.unlink()
    print("counts " + " ".join(f"{kind}={count}" for kind, count in counts.items()), flush=True)


def main() -> int:
    """Runs all batches; exit code 1 where a trial failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, default=12_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0, help="trial to begin with")
    parser.add_argument("--trial", type=int, help="this one alone")
    parser.add_argument("--keep", type=Path, help="with --trial: write its file into this folder")
    parser.add_argument("--batch", nargs=2, type=int, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.batch:
        batch(asked.seed, range(*asked.batch))
        return 0
    if asked.trial is not None:
        if asked.keep:
            from fuzzing import KINDS

            print(made(list(KINDS)[asked.trial % len(KINDS)], asked.seed, asked.trial, asked.keep))
        asked.first, asked.cases = asked.trial, 1
    began, failures = time.monotonic(), []
    counts: collections.Counter[str] = collections.Counter()
    end, position = asked.first + asked.cases, asked.first
    while position < end:
        stop = min(position + BATCH, end)
        command = [sys.executable, __file__, "--seed", str(asked.seed), "--batch", str(position), str(stop)]
        process = subprocess.run(command, capture_output=True, text=True)
        lines = process.stdout.splitlines()
        failed = [line for line in lines if line.startswith("FAILED")]
        for line in lines:
            if line.startswith("counts"):
                counts.update({kind: int(count) for kind, count in (word.split("=") for word in line.split()[1:])})
        if process.returncode:
            _, trial, kind = [line for line in lines if line.startswith("at ")][-1].split()
            words = " ".join(process.stderr[-300:].split())
            failed.append(f"FAILED {trial} {kind}: the process ended with {process.returncode}: {words}")
            stop = int(trial) + 1
        failures += failed
        for line in failed:
            print(line, flush=True)
        position = stop
        print(f"{position - asked.first} of {asked.cases} trials, {len(failures)} failed", file=sys.stderr, flush=True)
    spent = time.monotonic() - began
    print(f"seed {asked.seed}: {end - asked.first} trials in {spent:.0f} s, {len(failures)} failed")
    print(", ".join(f"{kind} {count}" for kind, count in sorted(counts.items())))
    return 1 if failures else 0


if __name__ == "__main__":
    raise SystemExit(main())
