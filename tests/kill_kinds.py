"""What `make kills` kills: each kind of work begins in a folder, is killed, goes on, and must end with the same bytes.

Each is a process of its own, forked by the nursery, so that a trial takes seconds. What an undisturbed run leaves is
made once a kind, and how long that takes bounds the moments of the kills.
"""

from __future__ import annotations

import contextlib
import os
import random
import re
import shutil
import signal
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import yaml
from clones import ROOT, Clone, make_clone
from nursery import Child, Nursery
from small_runs import SMALL, write_data
from study_protocol import study_stages, write_claims, write_protocol

from transformer_spectrum.training.records.run_folder import RunFolder

CLI = "from transformer_spectrum.cli.main import main; main()"
TIMED = frozenset({"seconds.tsv", "circumstances.json", "record.json", "scores.json", "log.txt"})
"""Files that hold wall seconds or days, and so differ from run to run."""
DATED = ("out/provenance.json", "out/cells.csv", "runs/killed/*/run.json", "report/index.html", "report/report.md")
"""The same, by their places; the pipeline's report says when and how long the trainings ran."""
LIVE = re.compile(r"(^|/)metrics/(\w+/)?(metrics\.json|plots/metrics/.*\.tsv)$")
"""Files that a training brings up to date at every record, by DVCLive, so that one can watch it."""
RUN = re.compile(r"^(runs/killed/)[^./][^/]*/")
"""The folder of a run, whose name says when it began."""
PATIENCE = 120
"""Seconds that the workers of a killed driver have to end."""


def contents(folder: Path, *ignored: str) -> dict[str, bytes | None]:
    """Every file below a folder, hidden ones too; None in place of the bytes where those hold times.

    Args:
        folder: that is read.
        ignored: names at its top that do not count.
    """
    files: dict[str, bytes | None] = {}
    for inside, folders, names in os.walk(folder):
        if Path(inside) == folder:
            folders[:] = [name for name in folders if name not in ignored]
            names = [name for name in names if name not in ignored]
        for path in (Path(inside) / name for name in names):
            relative = RUN.sub(r"\1*/", str(path.relative_to(folder)))
            timed = path.name in TIMED or "/logs/" in relative or relative in DATED
            with contextlib.suppress(FileNotFoundError):  # a worker that is about to end has removed it
                files[relative] = None if timed else path.read_bytes()
    return files


def first_difference(expected: dict[str, bytes | None], present: dict[str, bytes | None]) -> str:
    """In words; empty where there is none."""
    for name in sorted(expected.keys() | present.keys()):
        if name not in present:
            return f"{name} is missing"
        if name not in expected:
            return f"{name} was left behind"
        if expected[name] != present[name]:
            return f"{name} has other bytes"
    return ""


@dataclass
class Work(ABC):
    """One kind of work that can be killed and called again.

    Attributes:
        nursery: that forks it.
        folder: where the trials of this kind work.
        victims: of a child, those that are killed with one blow.
        goes_on: the call itself survives the blow, and has to end well.
    """

    nursery: Nursery
    folder: Path
    victims: Callable[[Child], list[psutil.Process]]
    goes_on: bool = False
    expected: dict[str, dict[str, bytes | None]] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=lambda: {**os.environ, "OMP_NUM_THREADS": "1"})
    ignored = (".git", ".dvc", "src", "config", "tests")

    def __post_init__(self) -> None:
        """Makes what all trials of a kind share: here the place of its folder."""
        self.folder.parent.mkdir(parents=True, exist_ok=True)

    def names(self) -> list[str]:
        """The pieces of work that a trial chooses from."""
        return ["whole"]

    @abstractmethod
    def begin(self, name: str, chance: random.Random | None) -> None:
        """Puts the folder into the state from which that piece of work begins; without a chance, as it first was."""

    @abstractmethod
    def command(self, name: str) -> list[str]:
        """What begins or goes on with it."""

    def start(self, name: str) -> Child:
        return self.nursery.start(self.command(name), self.folder, self.environment)

    def undisturbed(self, name: str) -> dict[str, bytes | None]:
        """The files that it leaves when nothing kills it."""
        if name not in self.expected:
            self.begin(name, None)
            began = time.monotonic()
            code, printed = self.start(name).wait()
            assert code == 0, printed
            self.seconds[name] = time.monotonic() - began
            self.expected[name] = contents(self.folder, *self.ignored)
        return self.expected[name]

    def trial(self, chance: random.Random) -> tuple[int, str]:
        """Kills it up to three times at random moments, and has the next call end it.

        Returns:
            How many of the kills have met a living process; what went wrong, empty where nothing did.
        """
        name = chance.choice(self.names())
        expected = self.undisturbed(name)
        self.begin(name, chance)
        before = contents(self.folder, *self.ignored)
        kills = 0
        for _ in range(1 if self.goes_on else chance.randint(1, 3)):
            child = self.start(name)
            deadline = time.monotonic() + chance.uniform(0, 1.1 * self.seconds[name])
            while time.monotonic() < deadline and not child.ended():
                time.sleep(0.002)
            victims = [] if child.ended() else self.victims(child)
            relatives = [] if child.ended() else psutil.Process(child.pid).children(recursive=True)
            if child.ended():
                break
            kills += bool(victims)
            for process in victims:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.send_signal(signal.SIGKILL)
            if self.goes_on:
                code, printed = child.wait()
                if code:
                    return kills, f"{name}: exit code {code} though only a worker was killed: {_end_of(printed)}"
                break
            child.wait()
            _, alive = psutil.wait_procs(relatives, timeout=PATIENCE)
            if alive:
                return kills, f"{name}: {len(alive)} processes live on"
            if half := self.half_written(expected, before):
                return kills, f"{name}: after the kill {half}"
        code, printed = self.start(name).wait()  # which has nothing to do where nothing was killed
        if code:
            return kills, f"{name}: the next call ended with code {code}: {_end_of(printed)}"
        difference = first_difference(expected, contents(self.folder, *self.ignored))
        return kills, f"{name}: {difference}" if difference else ""

    def half_written(self, expected: dict[str, bytes | None], before: dict[str, bytes | None]) -> str:
        """The first output that is neither what it was nor what it has to become; hidden files are none."""
        for name, content in contents(self.folder, *self.ignored).items():
            hidden = any(part.startswith(".") for part in Path(name).parts) or "resume/" in name
            if (
                not hidden
                and not LIVE.search(name)
                and name in expected
                and content not in (expected[name], before.get(name))
            ):
                return f"{name} is half-written"
        return ""


def _end_of(printed: str) -> str:
    return " ".join(printed[-400:].split())


class Stages(Work):
    """The pipeline's stages as scripts, in a clone at the smallest scale; their outputs there before, or not."""

    def __post_init__(self) -> None:
        self.clone: Clone = make_clone(self.folder, self.nursery)
        # Upstream must not be asked: these addresses refuse at once, and the stand-in takes their place.
        self.clone.set(data__covid__url="http://127.0.0.1:9/cases.csv", data__rvr__url="http://127.0.0.1:9/rvr.csv")
        self.environment = {**self.clone.environment, "TRANSFORMER_SPECTRUM_MIRROR": ""}
        self.stages = yaml.safe_load((self.folder / "dvc.yaml").read_text())["stages"]
        code, printed = self.nursery.start(["dvc", "repro"], self.folder, self.environment).wait()
        assert code == 0, printed

    def names(self) -> list[str]:
        return list(self.stages)

    def begin(self, name: str, chance: random.Random | None) -> None:
        if chance and chance.random() < 0.5:
            outputs = self.stages[name].get("outs", []) + self.stages[name].get("metrics", [])
            for output in [next(iter(entry)) if isinstance(entry, dict) else entry for entry in outputs]:
                path = self.folder / output
                shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)

    def command(self, name: str) -> list[str]:
        return str(self.stages[name]["cmd"]).split()[2:]


class Training(Work):
    """`train` of the command line, and `train --resume` once it has begun."""

    def begin(self, name: str, chance: random.Random | None) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir()
        write_data(self.folder / "data.npy")

    def command(self, name: str) -> list[str]:
        runs = [path for path in (self.folder / "runs/killed").glob("[!.]*") if path.is_dir()]
        if runs and RunFolder(runs[0]).state == "done":
            return ["-c", "pass"]
        if runs:
            return ["-c", CLI, "train", "--resume", str(runs[0])]
        return ["-c", CLI, "train", "-d", "data.npy", *SMALL, "--epochs", "8", "-n", "killed"]


class Sweep(Work):
    """A study of eight trainings, in ensembles on workers of this machine."""

    members, workers = 1, 2

    def begin(self, name: str, chance: random.Random | None) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        (self.folder / "studies/grids").mkdir(parents=True)
        shutil.copy(ROOT / "params.yaml", self.folder)
        grid = {
            "title": "tiny",
            "optimizers": ["adam", "ga"],
            "set": {"training": {"snapshot_every": 1}, "spectra": {"tracked_every": 1}},
            "datasets": {"narrow": {"data": {"dataset": "synthetic", "synthetic": {"q": 100.0, "series": 30}}}},
            "losses": {"mse": {"loss": {"type": "mse"}}, "sgt_q5": {"loss": {"type": "sgt", "q": 5.0}}},
        }
        (self.folder / "studies/grids/tiny.yaml").write_text(yaml.safe_dump(grid, sort_keys=False))

    def command(self, name: str) -> list[str]:
        size = ["--members", str(self.members), "--workers", str(self.workers), "--figures", "none"]
        overlay = ["--overlay", str(ROOT / "config/overlays/smoke.yaml")]
        return ["-c", CLI, "sweep", "tiny", "--runs", "2", "--out", "out", *overlay, *size]


class Ensembles(Sweep):
    """The same, four trainings at once."""

    members, workers = 4, 1


class Study(Work):
    """The stages of the smallest study, one after another."""

    def names(self) -> list[str]:
        return study_stages()

    def begin(self, name: str, chance: random.Random | None) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        write_protocol(self.folder / "studies")
        write_claims(self.folder / "studies/claims")
        shutil.copy(ROOT / "params.yaml", self.folder)
        for earlier in self.names()[: self.names().index(name)]:
            kept = self.folder.with_name(f"{self.folder.name}-{earlier}")
            if not kept.exists():
                code, printed = self.start(earlier).wait()
                assert code == 0, printed
                shutil.copytree(self.folder, kept)
            else:
                shutil.rmtree(self.folder)
                shutil.copytree(kept, self.folder)

    def command(self, name: str) -> list[str]:
        return [str(ROOT / f"stages/study_{name}.py")]


def everybody(child: Child) -> list[psutil.Process]:
    """The process and all that it has started."""
    process = psutil.Process(child.pid)
    return [process, *process.children(recursive=True)]


def the_call(child: Child) -> list[psutil.Process]:
    """The process alone."""
    return [psutil.Process(child.pid)]


def a_worker(child: Child) -> list[psutil.Process]:
    """A process that computes for it; none while there is none."""
    server_and_workers = psutil.Process(child.pid).children(recursive=True)
    return [process for process in server_and_workers if process.ppid() != child.pid][:1]
