"""`make kills`: SIGKILL at seeded moments of all that works here; then one call without help, and the same bytes.

    python tests/kills.py --trials 240 --seed 0
    python tests/kills.py --seed 0 --trial 17

Trials take turns among the kinds of work: `make repro` in a pipeline of many small stages, where DVC mostly writes
files of its own; each stage of the pipeline; a training of the command line; ensembles; a sweep whose driver, or one of
whose workers, dies; the stages of a study.
"""

from __future__ import annotations

import argparse
import collections
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path

from kill_kinds import Ensembles, Stages, Study, Sweep, Training, Work, a_worker, everybody, the_call
from nursery import Nursery

STAGES = 8
SOURCE = Path(__file__).parents[1] / "src"
CALL = [sys.executable, "-m", "transformer_spectrum.runtime.reproduction"]


def pipeline(version: int) -> str:
    """dvc.yaml: a chain of stages, all of which run again for another version."""
    lines = ["stages:"]
    for i in range(STAGES):
        needed = f"    deps: [out-{i - 1}.txt]\n" if i else ""
        source = f"cat out-{i - 1}.txt" if i else "true"
        many = "".join(f"      - extra-{i}-{j}.txt\n" for j in range(20))  # a long dvc.lock takes long to write
        command = (
            f"({source}; echo {version} {i}) > out-{i}.txt; for j in $(seq 0 19); do echo $j > extra-{i}-$j.txt; done"
        )
        lines.append(f"  stage-{i}:\n    cmd: {command}\n{needed}    outs:\n      - out-{i}.txt\n{many}")
    return "\n".join(lines)


def content(root: Path) -> dict[str, bytes]:
    """The outputs and the lock file."""
    names = [f"out-{i}.txt" for i in range(STAGES)] + ["dvc.lock"]
    return {name: (root / name).read_bytes() for name in names if (root / name).exists()}


class Reproductions:
    """`make repro` and all that it has started, killed with one blow."""

    def __init__(self, folder: Path) -> None:
        self.killed, self.clean = folder / "killed", folder / "clean"
        self.environment = {**os.environ, "PYTHONPATH": str(SOURCE), "GIT_CONFIG_GLOBAL": os.devnull}
        self.repaired = 0
        dvc = str(Path(sys.executable).with_name("dvc"))
        for repository in (self.killed, self.clean):
            repository.mkdir(parents=True)
            for command in (
                ["git", "init", "--quiet"],
                [dvc, "init", "--quiet"],
                [dvc, "config", "core.analytics", "false"],
            ):
                subprocess.run(command, cwd=repository, env=self.environment, check=True)

    def trial(self, chance: random.Random) -> tuple[int, str]:
        """As `Work.trial`."""
        version = chance.randrange(10**6)
        for repository in (self.killed, self.clean):
            (repository / "dvc.yaml").write_text(pipeline(version))
        process = subprocess.Popen(
            CALL,
            cwd=self.killed,
            env=self.environment,
            start_new_session=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        time.sleep(chance.uniform(1.0, 6.0))
        living = process.poll() is None
        if living:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        subprocess.run(CALL, cwd=self.clean, env=self.environment, check=True, capture_output=True)
        after = subprocess.run(CALL, cwd=self.killed, env=self.environment, capture_output=True, text=True)
        self.repaired += "was half-written" in after.stderr
        if after.returncode or content(self.killed) != content(self.clean):
            words = " ".join((after.stdout + after.stderr)[-400:].split())
            return int(living), f"exit code {after.returncode}: {words}"
        return int(living), ""


def kinds(nursery: Nursery, folder: Path) -> dict[str, Callable[[], Reproductions | Work]]:
    """Makers of the kinds of work."""
    return {
        "repro": lambda: Reproductions(folder / "repro"),
        "stage": lambda: Stages(nursery, folder / "stage", everybody),
        "training": lambda: Training(nursery, folder / "training", everybody),
        "ensemble": lambda: Ensembles(nursery, folder / "ensemble", everybody),
        "driver": lambda: Sweep(nursery, folder / "driver", the_call),
        "worker": lambda: Sweep(nursery, folder / "worker", a_worker, goes_on=True),
        "study": lambda: Study(nursery, folder / "study", everybody),
    }


def main() -> int:
    """Exit code 1 where a call needed help or bytes differ."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=240)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--trial", type=int, help="this one alone")
    parser.add_argument("--kinds", help="some of repro,stage,training,ensemble,driver,worker,study")
    asked = parser.parse_args()
    trials: collections.Counter[str] = collections.Counter()
    kills: collections.Counter[str] = collections.Counter()
    failures, began = 0, time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "printed").mkdir()
        nursery = Nursery(Path(folder) / "printed")
        makers, made = kinds(nursery, Path(folder)), {}
        names = asked.kinds.split(",") if asked.kinds else list(makers)
        for trial in range(asked.trials) if asked.trial is None else [asked.trial]:
            kind = names[trial % len(names)]
            try:
                if kind not in made:
                    made[kind] = makers[kind]()
                met, complaint = made[kind].trial(random.Random(f"{asked.seed} {trial}"))
            except Exception:  # whatever it is, this trial has failed, and the next ones go on
                met, complaint = 0, " ".join(traceback.format_exc()[-1500:].split())
            trials[kind] += 1
            kills[kind] += met
            if complaint:
                failures += 1
                print(f"FAILED trial {trial} {kind}: {complaint}", flush=True)
                if kind in made and isinstance(made[kind], Work):
                    kept = Path(tempfile.gettempdir(), f"killed-{kind}-{trial}")
                    shutil.copytree(made[kind].folder, kept, dirs_exist_ok=True, symlinks=True)
                    shutil.rmtree(made.pop(kind).folder)
            print(f"{trial + 1} of {asked.trials} trials, {failures} failed", file=sys.stderr, flush=True)
        nursery.close()
    spent = time.monotonic() - began
    words = ", ".join(f"{name} {kills[name]} in {trials[name]}" for name in trials)
    repaired = made["repro"].repaired if "repro" in made else 0
    print(f"seed {asked.seed}: {sum(kills.values())} kills in {spent:.0f} s, {failures} needed help or differ")
    print(f"kills in trials: {words}; files of DVC's put back {repaired} times")
    return 1 if failures else 0


if __name__ == "__main__":
    raise SystemExit(main())
