"""A sample of mutants, one small change of the numeric code each, and which of them the quick tests catch.

    make mutants SAMPLE=200        python tests/mutants.py --sample 200 --elsewhere 60 --seed 0

mutmut (its settings are in pyproject.toml) makes every mutant, finds the tests that run the function it lies in, and
runs those; this script draws the sample, asks for no more than that, and prints the score of each room and the
survivors' changes. What became of the last sample is in docs/mutants.md.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import random
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

from mutmut.__main__ import copy_also_copy_files, copy_src_dir, create_mutants, walk_mutatable_files
from mutmut.mutation.data import SourceFileMutationData
from mutmut.mutation.trampoline import set_mutant_under_test
from mutmut.stats import status_by_exit_code

CORE = ("losses", "scores", "distributions", "optimizers", "spectra", "training")
NUMBERS_OF_CHARTS = ("numbers", "ends_by_family", "progress")
CAUGHT = ("killed", "timeout", "segfault", "caught by type check")


def room(name: str) -> str:
    """The room of a mutant such as transformer_spectrum.spectra.metrics.x_alpha__mutmut_1."""
    return name.split(".")[1]


def generated(processes: int) -> list[str]:
    """Writes mutants/, where it is older than the source or its settings, and returns the names of all in it."""
    set_mutant_under_test("mutant_generation")
    folder = Path("mutants")
    if folder.is_dir() and folder.stat().st_ctime < Path("pyproject.toml").stat().st_mtime:
        shutil.rmtree(folder)
    folder.mkdir(exist_ok=True)
    with contextlib.redirect_stdout(io.StringIO()):
        copy_src_dir()
        copy_also_copy_files()
        create_mutants(processes)
    return sorted(name for name in statuses() if room(name) != "report" or makes_numbers(name))


def makes_numbers(name: str) -> bool:
    """Whether it lies in the report's numbers, and not in how its figures look."""
    return ".page.numbers." in name or any(f".x_{function}__" in name for function in NUMBERS_OF_CHARTS)


def statuses() -> dict[str, str]:
    """Name -> what became of it."""
    found: dict[str, str] = {}
    for path in walk_mutatable_files():
        data = SourceFileMutationData(path=path)
        data.load()
        found |= {name: status_by_exit_code[code] for name, code in data.exit_code_by_key.items()}
    return found


def draw(names: list[str], core: int, elsewhere: int, seed: int) -> list[str]:
    """Names at random, the same for the same names and seed."""
    generator = random.Random(seed)
    groups = [name for name in names if room(name) in CORE], [name for name in names if room(name) not in CORE]
    sizes = core, elsewhere
    return [
        name
        for group, size in zip(groups, sizes, strict=True)
        for name in sorted(generator.sample(group, min(size, len(group))))
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sample", type=int, default=150, help=f"mutants of {', '.join(CORE)}")
    parser.add_argument("--elsewhere", type=int, default=60, help="mutants of the other rooms")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--dry-run", action="store_true", help="say which mutants are drawn, and run none")
    options = parser.parse_args()
    names = generated(options.processes)
    drawn = draw(names, options.sample, options.elsewhere, options.seed)
    print(f"{len(names)} mutants, of which {len(drawn)} are drawn by seed {options.seed}", flush=True)
    if options.dry_run:
        print("\n".join(drawn))
        return
    command = ["mutmut", "run", "--max-children", str(options.processes), *drawn]
    if code := subprocess.run(command, check=False).returncode:
        sys.exit(code)
    now = statuses()
    for name in sorted({room(name) for name in drawn}):
        counts = Counter(now[mutant] for mutant in drawn if room(mutant) == name)
        caught = sum(counts[status] for status in CAUGHT)
        print(f"{name}: {caught} of {counts.total()} caught = {caught / counts.total():.0%} {dict(counts)}")
    for name in drawn:
        if now[name] not in CAUGHT:
            print(f"\n# {now[name]}", flush=True)
            subprocess.run(["mutmut", "show", name], check=False)


if __name__ == "__main__":
    main()
