"""`make kills`: SIGKILL of `make repro` and of all that it has started, at seeded moments; then one call without help.

A pipeline of many small stages in a repository of its own, so that most of the time DVC writes files of its own.
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
from pathlib import Path

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


def main() -> int:
    """Kills, calls again, compares with an undisturbed run; exit code 1 where one call needed help or bytes differ."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    environment = {**os.environ, "PYTHONPATH": str(SOURCE), "GIT_CONFIG_GLOBAL": os.devnull}
    tally: collections.Counter[str] = collections.Counter()
    failures, began = 0, time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        root, clean = Path(folder, "killed"), Path(folder, "clean")
        dvc = str(Path(sys.executable).with_name("dvc"))
        for repository in (root, clean):
            repository.mkdir()
            for command in (
                ["git", "init", "--quiet"],
                [dvc, "init", "--quiet"],
                [dvc, "config", "core.analytics", "false"],
            ):
                subprocess.run(command, cwd=repository, env=environment, check=True)
        for trial in range(asked.trials):
            chance = random.Random(f"{asked.seed} {trial}")
            for repository in (root, clean):
                (repository / "dvc.yaml").write_text(pipeline(trial // 2))
            subprocess.run(CALL, cwd=clean, env=environment, check=True, capture_output=True)
            process = subprocess.Popen(
                CALL,
                cwd=root,
                env=environment,
                start_new_session=True,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            time.sleep(chance.uniform(1.0, 6.0))
            ended = process.poll() is not None
            os.killpg(process.pid, signal.SIGKILL) if not ended else None
            process.wait()
            tally["ended before"] += ended
            after = subprocess.run(CALL, cwd=root, env=environment, capture_output=True, text=True)
            for name in ("dvc.lock", ".dvc/tmp/rwlock"):
                tally[f"{name} repaired"] += f"{name}: was half-written" in after.stderr
            if after.returncode or content(root) != content(clean):
                failures += 1
                words = " ".join((after.stdout + after.stderr)[-300:].split())
                print(f"FAILED trial {trial}: exit code {after.returncode}: {words}", flush=True)
                shutil.copytree(root, Path(tempfile.gettempdir(), f"killed-{trial}"), dirs_exist_ok=True)
            print(f"{trial + 1} of {asked.trials} kills, {failures} failed", file=sys.stderr, flush=True)
    spent = time.monotonic() - began
    words = ", ".join(f"{name} {count}" for name, count in sorted(tally.items()))
    print(f"seed {asked.seed}: {asked.trials} kills in {spent:.0f} s, {failures} needed help or differ; {words}")
    return 1 if failures else 0


if __name__ == "__main__":
    raise SystemExit(main())
