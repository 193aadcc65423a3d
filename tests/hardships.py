"""`make hardships`: the smallest pipeline where something is missing, closed, full, slow or in the way.

    python tests/hardships.py [--only NAME]

Each hardship has a copy of a finished pipeline and runs two of its stages anew, by `make repro`'s program or as
scripts, in processes that nothing has prepared. It must end with the bytes of an undisturbed run, or with one line and
code 2 (255 where DVC has run the stage) and every earlier output as it was; the next call without the hardship must
end well.
"""

from __future__ import annotations

import argparse
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from clones import Clone, make_clone
from kill_kinds import contents, first_difference
from nursery import Nursery

REPRO = ("-m", "transformer_spectrum.runtime.reproduction", "--force", "--single-item", "train-adam", "spectra")
STAGES = ("stages/train.py adam", "stages/spectra.py")
IGNORED = (".git", ".dvc", "src", "config", "tests", "dvc.lock")
LEAPS = """
import random, time
honest, chance = time.time, random.Random(0)
time.time = lambda: honest() + chance.uniform(-1e6, 1e6)
"""
"""A clock that jumps by up to eleven days at each look; what measures spans must not use it."""
GIB = 2**30


@dataclass(frozen=True)
class Hardship:
    """What is hard, and what may come of it.

    Attributes:
        environment: variables that differ; None = unset.
        limits: of `resource`.
        closed: of standard input, output and error, those that are closed.
        read_only: folders of the clone that nobody may write.
        stopped: seconds that the process and its children stand still in the middle.
        twice: a second call begins beside the first.
        code: plain Python that runs before the program.
        command: arguments of Python; several calls one after another where they are scripts.
        may_refuse: an error in one line is as good as a right result.
    """

    environment: Mapping[str, str | None] = field(default_factory=dict)
    limits: Mapping[int, int] = field(default_factory=dict)
    closed: tuple[int, ...] = ()
    read_only: tuple[str, ...] = ()
    stopped: float = 0.0
    twice: bool = False
    code: str = ""
    command: tuple[str, ...] = REPRO
    may_refuse: bool = False


HARDSHIPS: dict[str, Hardship] = {
    "no HOME": Hardship({"HOME": None, "XDG_CACHE_HOME": None, "XDG_CONFIG_HOME": None}),
    "a HOME that does not exist": Hardship({"HOME": "/nowhere/at/all"}),
    "a HOME nobody may write": Hardship({"HOME": "home"}, read_only=("home",)),
    "no identity for git": Hardship({**dict.fromkeys(("GIT_AUTHOR_NAME", "GIT_AUTHOR_EMAIL"), None), "HOME": "home"}),
    "no git": Hardship({"PATH": "python alone"}),
    "a temporary folder that does not exist": Hardship({"TMPDIR": "/nowhere/at/all"}),
    "a temporary folder nobody may write": Hardship({"TMPDIR": "temporary"}, read_only=("temporary",)),
    "models/ read-only": Hardship(read_only=("models", "models/adam"), command=STAGES, may_refuse=True),
    "plots/ read-only": Hardship(read_only=("plots", "."), command=STAGES, may_refuse=True),
    ".dvc/cache read-only": Hardship(read_only=(".dvc/cache/files/md5",), may_refuse=True),
    "64 open files": Hardship(limits={resource.RLIMIT_NOFILE: 64}),
    "16 open files": Hardship(limits={resource.RLIMIT_NOFILE: 16}, command=STAGES, may_refuse=True),
    "4 GiB of addresses": Hardship(limits={resource.RLIMIT_AS: 4 * GIB}, command=STAGES),
    "1 GiB of addresses": Hardship(limits={resource.RLIMIT_AS: GIB}, command=STAGES, may_refuse=True),
    "files of at most 10 kB": Hardship(limits={resource.RLIMIT_FSIZE: 10_000}, command=STAGES, may_refuse=True),
    "standing still for 20 s": Hardship(stopped=20.0),
    "closed standard input": Hardship(closed=(0,)),
    "closed standard output": Hardship(closed=(1,), command=STAGES, may_refuse=True),
    "all three closed": Hardship(closed=(0, 1, 2), command=STAGES, may_refuse=True),
    "a clock that jumps": Hardship(code=LEAPS, command=STAGES),
    "two calls at once": Hardship(twice=True),
}


class Trial:
    """A clone of the finished pipeline under one hardship."""

    def __init__(self, pristine: Clone, folder: Path, hardship: Hardship) -> None:
        shutil.copytree(pristine.root, folder, symlinks=True)
        self.folder, self.hardship = folder, hardship
        environment = {**pristine.environment, "OMP_NUM_THREADS": "1", "PATH": os.environ["PATH"]}
        self.plain = environment | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"}
        for name in ("home", "temporary"):
            (folder / ".dvc/tmp" / name).mkdir(parents=True)
        self.hard = {**self.plain, **{name: self._placed(value) for name, value in hardship.environment.items()}}
        self.hard = {name: value for name, value in self.hard.items() if value is not None}
        if hardship.code:
            (folder / ".dvc/tmp/home/sitecustomize.py").write_text(hardship.code)
            self.hard["PYTHONPATH"] = f"src{os.pathsep}{folder / '.dvc/tmp/home'}"

    def _placed(self, value: str | None) -> str | None:
        if value == "python alone":
            return str(Path(sys.executable).parent)  # of the environment, which has no git
        return str(self.folder / ".dvc/tmp" / value) if value in ("home", "temporary") else value

    def commands(self) -> list[list[str]]:
        """Each a program and its arguments."""
        words = self.hardship.command
        return [word.split() for word in words] if words[0].startswith("stages/") else [[*words]]

    def run(self, *, hard: bool) -> list[tuple[int, str]]:
        """Exit code and output of each command."""
        return [self._one(command, hard) for command in self.commands()]

    def _one(self, command: list[str], hard: bool) -> tuple[int, str]:
        hardship = self.hardship if hard else Hardship()

        def prepare() -> None:
            for number, limit in hardship.limits.items():
                resource.setrlimit(number, (limit, limit))
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            for number in hardship.closed:
                os.close(number)

        words = [sys.executable, *command]
        if hardship.read_only:  # for root a folder is never read-only, unless root gives that up
            words = ["setpriv", "--bounding-set", "-dac_override,-dac_read_search", "--inh-caps", "-all", *words]
        with tempfile.TemporaryFile("w+") as printed:

            def start() -> subprocess.Popen:
                return subprocess.Popen(
                    words,
                    cwd=self.folder,
                    env=self.hard if hard else self.plain,
                    stdout=printed,
                    stderr=printed,
                    preexec_fn=prepare,
                    start_new_session=True,
                )

            process = start()
            second = start() if hardship.twice else None
            if hardship.stopped:
                time.sleep(6)
                os.killpg(process.pid, signal.SIGSTOP)
                time.sleep(hardship.stopped)
                os.killpg(process.pid, signal.SIGCONT)
            code = process.wait(600)
            if second is not None:
                codes = {code, second.wait(600)}
                code = 0 if codes in ({0, 2}, {0}) else max(codes)
            printed.seek(0)
            return code, printed.read()

    def lock_folders(self, mode: int) -> None:
        """Sets the mode of the read-only folders."""
        for name in self.hardship.read_only:
            folder = self.folder / (f".dvc/tmp/{name}" if name in ("home", "temporary") else name)
            folder.chmod(mode)

    def complaint(self, expected: dict[str, bytes | None], before: dict[str, bytes | None]) -> tuple[str, str]:
        """What came of it in words, and what is wrong with that; empty where nothing is."""
        self.lock_folders(0o555)
        try:
            results = self.run(hard=True)
        finally:
            self.lock_folders(0o755)
        after = contents(self.folder, *IGNORED)
        if all(code == 0 for code, _ in results):
            outcome, wrong = "the same bytes", first_difference(expected, after)
        else:
            code, printed = next(result for result in results if result[0])
            lines = [line for line in printed.splitlines() if ": error: " in line or line.startswith("ERROR: ")]
            outcome = f"code {code}: {lines[-1] if lines else '(nothing is said)'}"
            wrong = "" if self.hardship.may_refuse and code in (2, 255) else f"code {code}: {printed[-600:]}"
            if "Traceback" in printed:
                wrong = f"a traceback: {printed[-600:]}"
            changed = [name for name in before if after.get(name) not in (before[name], expected.get(name))]
            wrong = wrong or (f"{changed[0]} is lost or half-written" if changed else "")
        again = self.run(hard=False)
        if not wrong and any(code for code, _ in again):
            wrong = f"the next call ends with {[code for code, _ in again]}: {again[-1][1][-400:]}"
        if not wrong:
            wrong = first_difference(expected, contents(self.folder, *IGNORED))
        return outcome, wrong


def main() -> int:
    """Prints a line for each hardship; exit code 1 where one ended badly."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", help="those in whose name this regular expression is found")
    asked = parser.parse_args()
    failures = 0
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        (folder / "printed").mkdir()
        nursery = Nursery(folder / "printed")
        pristine = make_clone(folder / "pristine", nursery)
        pristine.set(data__covid__url="http://127.0.0.1:9/cases.csv", data__rvr__url="http://127.0.0.1:9/rvr.csv")
        pristine.environment["TRANSFORMER_SPECTRUM_MIRROR"] = ""
        pristine.run("dvc", "repro")
        pristine.run("git", "add", "--all")
        pristine.run("git", "commit", "--quiet", "--message=reproduced")
        nursery.close()
        undisturbed = Trial(pristine, folder / "undisturbed", Hardship())
        before = contents(undisturbed.folder, *IGNORED)
        results = undisturbed.run(hard=False)
        assert results[0][0] == 0, results
        expected = contents(undisturbed.folder, *IGNORED)
        names = [name for name in HARDSHIPS if not asked.only or re.search(asked.only, name)]
        for number, name in enumerate(names):
            trial = Trial(pristine, folder / f"trial-{number}", HARDSHIPS[name])
            outcome, wrong = trial.complaint(expected, before)
            failures += bool(wrong)
            print(f"{name}: {outcome}" + (f"\n    FAILED: {' '.join(wrong.split())}" if wrong else ""), flush=True)
            shutil.rmtree(trial.folder)
    print(f"{len(names)} hardships, {failures} ended badly")
    return 1 if failures else 0


if __name__ == "__main__":
    raise SystemExit(main())
