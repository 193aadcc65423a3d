"""`make soak`: the same small work again and again, and what of it stays: files, cache, memory, handles, threads.

    python tests/soak.py [--rounds 10] [--trainings 60]

First repros, experiments, sweeps and studies in a clone, round after round with the same few parameters: from the
second round on nothing may be more than after the first one, but for what git keeps of experiments (its own
objects), Python's compiled files, and DVC's books, which no command of its removes: a file for each run of a stage
whose outputs it has not seen yet (they bear times here), and two for each experiment. Then trainings in one process,
all optimizers in turn, with spectra and figures: its memory, open files and threads are read after each, and memory
may not grow by more than a megabyte a training.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import statistics
import sys
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path

import psutil
from clones import Clone, make_clone
from nursery import Nursery
from study_protocol import study_stages, write_claims, write_protocol

MIB = 2**20
GROWTH = 1.0
"""MiB a training, at most, in a process that trains on and on."""
UNWATCHED = (".git", "__pycache__")


def sizes(folder: Path, *books: str) -> tuple[int, int]:
    """Files and bytes in it, but for those whose path from it matches one of `books`."""
    files = [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
    counted = [path for path in files if not any(path.relative_to(folder).match(pattern) for pattern in books)]
    return len(counted), sum(path.stat().st_size for path in counted)


def leftovers(clone: Clone, temporary: Path) -> dict[str, tuple[int, int]]:
    """What there is, by place: files and bytes."""
    root = clone.root
    outside = [path for path in root.rglob("*") if path.is_file() and not {*UNWATCHED, ".dvc"} & {*path.parts}]
    return {
        "the cache": sizes(root / ".dvc/cache/files"),
        "DVC's own folder": sizes(root / ".dvc/tmp", "*.run"),
        "the working tree": (len(outside), 0),
        "the temporary folder": sizes(temporary),
    }


def one_round(clone: Clone) -> None:
    """Two repros, an experiment, a sweep and a study, with the same parameters each time."""
    for q in (2.5, 3.5):
        clone.set(loss__q=q)
        clone.run("dvc", "repro")
    clone.run("dvc", "exp", "run", "--temp", "--name", "soak", "--force", "-S", "loss.q=4.5", "train-adam")
    clone.run("dvc", "exp", "remove", "soak")
    words = ["sweep", "small.yaml", "--overlay", "config/overlays/smoke.yaml", "--runs", "1", "--force"]
    clone.run(sys.executable, "-m", "transformer_spectrum.cli", *words, "--workers", "1")
    for stage in study_stages():
        clone.run(sys.executable, f"stages/study_{stage}.py", "small/protocol.yaml")
    clone.run("dvc", "gc", "--workspace", "--force")


def rounds(count: int) -> Iterator[str]:
    """What has grown, in lines."""
    with tempfile.TemporaryDirectory() as name:
        folder, temporary = Path(name), Path(name) / "temporary"
        temporary.mkdir()
        (folder / "printed").mkdir()
        nursery = Nursery(folder / "printed")
        clone = make_clone(folder / "clone", nursery)
        clone.set(data__covid__url="http://127.0.0.1:9/cases.csv", data__rvr__url="http://127.0.0.1:9/rvr.csv")
        write_protocol(clone.root / "small")
        write_claims(clone.root / "small/claims")
        (clone.root / "small.yaml").write_text(
            "title: small\noptimizers: [adam, ga]\nset: {adam: {epochs: 1}, ga: {generations: 2}}\n"
            "datasets: {narrow: {data: {dataset: synthetic}}}\nlosses: {mse: {loss: {type: mse}}}\n"
        )
        clone.run("git", "add", "--all")
        clone.run("git", "commit", "--quiet", "--message=begin")
        clone.environment.update(TMPDIR=str(temporary), TRANSFORMER_SPECTRUM_MIRROR="", OMP_NUM_THREADS="1")
        settled: Mapping[str, tuple[int, int]] = {}
        for number in range(count):
            one_round(clone)
            after = leftovers(clone, temporary)
            words = ", ".join(f"{place} {files} files, {size / MIB:.1f} MiB" for place, (files, size) in after.items())
            print(f"round {number + 1}: {words}", flush=True)
            settled = settled if number > 0 else after  # once there is everything once
            for place, (files, size) in after.items():
                if files > settled[place][0] or size > settled[place][1] + MIB:
                    yield f"round {number + 1}: {place} has grown from {settled[place]} to {(files, size)}"
        nursery.close()


def trainings(count: int) -> Iterator[str]:
    """What has grown in a process that trains on and on, in lines."""
    from transformer_spectrum.cli.main import main as command

    methods = [["train"], ["train", "--set", "adam.algorithm=muon"], ["train-es"], ["train-ga"]]
    methods.append(["train-es", "--set", "es.algorithm=sep_cma"])
    common = ["--set", "data.synthetic.series=40", "--set", "adam.epochs=2", "--set", "es.generations=3"]
    common += ["--set", "ga.generations=3", "--set", "device=cpu"]
    this = psutil.Process()
    memory: list[float] = []
    handles: list[tuple[int, int]] = []
    with tempfile.TemporaryDirectory() as name, contextlib.chdir(name):
        for number in range(count):
            words = methods[number % len(methods)]
            said = io.StringIO()
            try:
                with contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
                    command([*words, *common, "--name", f"soak_{number}"])
            except SystemExit:
                raise RuntimeError(said.getvalue()[-1500:]) from None
            memory.append(this.memory_info().rss / MIB)
            handles.append((this.num_fds(), this.num_threads()))
            if number % len(methods) == len(methods) - 1:
                print(f"training {number + 1}: {memory[-1]:.0f} MiB, files and threads {handles[-1]}", flush=True)
    settled = count // 3  # caches and allocators fill first, and Python collects its cycles now and then
    middle, last = (statistics.median(part) for part in (memory[settled : 2 * settled], memory[2 * settled :]))
    growth = (last - middle) / settled
    print(f"{growth:+.2f} MiB a training between the second third and the last")
    if growth > GROWTH:
        yield f"memory grows by {growth:.2f} MiB a training"
    earlier, later = (tuple(map(max, zip(*part, strict=True))) for part in (handles[:settled], handles[-settled:]))
    if any(after > before for before, after in zip(earlier, later, strict=True)):
        yield f"open files and threads have grown from {earlier} to {later}"


def main() -> int:
    """Prints what there is after each round; exit code 1 where anything has grown."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--trainings", type=int, default=60)
    asked = parser.parse_args()
    if 0 < asked.trainings < 15 or asked.rounds == 1:
        parser.error("needs two rounds and 15 trainings, or none of them, to tell growth from settling")
    warnings.simplefilter("ignore")
    os.environ.pop("TRANSFORMER_SPECTRUM_MIRROR", None)
    grown = [*(rounds(asked.rounds) if asked.rounds else ()), *(trainings(asked.trainings) if asked.trainings else ())]
    for line in grown:
        print(f"GROWN: {line}")
    return 1 if grown else 0


if __name__ == "__main__":
    raise SystemExit(main())
