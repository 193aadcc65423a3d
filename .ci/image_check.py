"""Runs what the Dockerfile says, without Docker: `make image-check`, or `python .ci/image_check.py --target pipeline`.

Every RUN, COPY, ENV, WORKDIR and USER of the chosen stage and of those it builds on is carried out in an empty folder,
which stands for the image's file system: absolute paths of the image's own (/app, /opt, /build) become paths in it.
Commands see the Dockerfile's variables and a PATH that has no more than a slim image has. Then ENTRYPOINT runs, as the
Dockerfile's user where this script may change it (as root), with the arguments in TRIED.

What it cannot show: that the base image is what it should be, and what Debian's packages do. `useradd` and `apt-get`
are not run; a package that apt-get would install is taken from this machine.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path

from docker.utils.build import exclude_paths
from dockerfile_parse import DockerfileParser

from transformer_spectrum.runtime.errors import InputError, one_line_errors

SLIM = "sh bash env cat chmod chown cp id install ldconfig ls mkdir mv rm uname".split()  # noqa: SIM905
"""Commands of a slim image that pip, the shell and the stages' `cmd` may call."""

INHERITED = re.compile(r"PIP_|(HTTPS?|NO)_PROXY$|SSL_CERT|REQUESTS_CA|LANG$", re.IGNORECASE)
"""Variables of this machine that a build needs to reach a package index."""

FOLDERS = re.compile(r"(?<![\w./}-])/(app|opt|build)(?=[/\s:\"',\]]|$)")

SMALL = [
    f"--set={parameter}"
    for parameter in (
        *("data.sequence_length=48", "data.output_length=12", "data.synthetic.series=60", "data.synthetic.length=48"),
        *("model.embed_dim=16", "model.heads=2", "model.layers=1", "model.patch_length=4"),
        *("adam.epochs=1", "spectra.bootstrap=0", "spectra.shuffles=3"),
    )
]

TRIED = {
    "cli": [
        [],
        ["train", "--dataset=synthetic", *SMALL],
        # As a pod of k8s/base/sweep.yaml does it.
        ["sweep", "synthetic", "--optimizers=adam", "--runs=1", "--out=runs/synthetic", "--cell=3", *SMALL],
    ],
    "pipeline": [["repro", "--quiet", "synthesize"], ["status", "synthesize"]],
}
"""Target -> arguments of ENTRYPOINT that are tried: none, which means CMD, and the smallest things of use."""


def user_options(user: int) -> dict[str, object]:
    """Options of subprocess.run for another user."""
    return {"user": user, "group": user, "extra_groups": []}


def base_python() -> tuple[str, bool]:
    """The Python to build from, and whether commands can run as the Dockerfile's user: root alone can do that, and
    only with a Python that is not in a folder closed to others."""
    if os.geteuid() == 0:
        for candidate in (sys._base_executable, "/usr/local/bin/python3", "/usr/bin/python3"):
            path = os.path.realpath(candidate)
            can = "import sys, ensurepip; sys.exit(sys.version_info < (3, 11))"
            try:
                if subprocess.run([path, "-c", can], check=False, **user_options(1000)).returncode == 0:
                    return path, True
            except OSError:
                continue
    print("every command runs as you, not as the Dockerfile's user")
    return os.path.realpath(sys._base_executable), False


@dataclass
class Stage:
    """One FROM of a Dockerfile and its instructions."""

    name: str
    base: str
    instructions: list[tuple[str, str]] = field(default_factory=list)


def stages(dockerfile: Path) -> dict[str, Stage]:
    """Reads a Dockerfile whose stages all have names."""
    by_name: dict[str, Stage] = {}
    with dockerfile.open("rb") as file:
        for line in DockerfileParser(fileobj=file, cache_content=True).structure:
            instruction, value = line["instruction"], line["value"]
            if instruction == "FROM":
                base, word, name = value.split()
                if word.upper() != "AS":
                    raise InputError(f"{dockerfile}: FROM {value}: needs AS and a name")
                current = by_name[name] = Stage(name, base)
            elif instruction != "COMMENT":
                current.instructions.append((instruction, value))
    return by_name


@dataclass
class State:
    """What instructions have set, and a stage hands on to those that begin with it."""

    environment: dict[str, str]
    folder: Path
    user: int = 0
    entrypoint: list[str] = field(default_factory=list)
    command: list[str] = field(default_factory=list)


class Image:
    """The folder that stands for an image, and what the instructions have set so far."""

    def __init__(self, work: Path, context: Path, arguments: dict[str, str]):
        self.root, self.snapshots = work / "root", work / "stages"
        self.system = self.root / "system"
        self.context, self.arguments = context, arguments
        self.states: dict[str, State] = {}
        self.python, self.switches_user = base_python()
        self.snapshots.mkdir()
        self.clear()

    def offer(self, command: str) -> None:
        """Puts a command of this machine on the image's PATH."""
        program = shutil.which(command)
        if program is None:
            raise InputError(f"{command}: the image has it, this machine does not")
        (self.system / command).symlink_to(program)

    def clear(self) -> None:
        """Back to an empty image."""
        shutil.rmtree(self.root, ignore_errors=True)
        self.system.mkdir(parents=True)
        for name in SLIM:
            self.offer(name)
        for name in ("python", "python3"):
            (self.system / name).symlink_to(self.python)
        environment = {key: value for key, value in os.environ.items() if INHERITED.search(key)}
        environment |= {"PATH": str(self.system), "HOME": str(self.root / "home"), "PIP_QUIET": "1"}
        (self.root / "home").mkdir(mode=0o777)
        (self.root / "home").chmod(0o777)
        self.state = State(environment, self.root)

    def inside(self, text: str) -> str:
        """The image's own absolute paths as paths of this machine."""
        return FOLDERS.sub(lambda path: f"{self.root}{path[0]}", text)

    def as_user(self) -> dict[str, object]:
        """Options of subprocess.run for the user that the Dockerfile has set."""
        return user_options(self.state.user) if self.switches_user else {}

    def execute(self, words: Sequence[str]) -> None:
        """Runs a command as the image would, with its output in the log."""
        print(f"  $ {shlex.join(words)}".replace(str(self.root), ""), flush=True)
        path = self.state.environment["PATH"]
        program = shutil.which(words[0], path=path)
        if program is None:
            raise InputError(f"{words[0]}: not on the image's PATH, {path}")
        ended = subprocess.run(
            [program, *words[1:]], cwd=self.state.folder, env=self.state.environment, check=False, **self.as_user()
        )
        if ended.returncode:
            raise InputError(f"{shlex.join(words)}: exit code {ended.returncode}; see the log above")

    def build(self, name: str, all_stages: dict[str, Stage]) -> None:
        """Carries out a stage; the folder is then its image."""
        stage = all_stages[name]
        needed = re.findall(r"--from=(\S+)", " ".join(value for _, value in stage.instructions))
        for image in needed:
            if image not in self.states:
                self.build(image, all_stages)
        if stage.base in all_stages:
            if stage.base not in self.states:
                self.build(stage.base, all_stages)
            self.restore(stage.base)
        else:
            self.clear()
        print(f"{name}: from {stage.base}")
        for instruction, value in stage.instructions:
            self.carry_out(instruction, value)
        self.keep(name)

    def keep(self, name: str) -> None:
        """Remembers the image under a stage's name. Files are linked, not copied: nothing writes into old ones."""
        subprocess.run(["cp", "-al", self.root, self.snapshots / name], check=True)
        self.states[name] = deepcopy(self.state)

    def restore(self, name: str) -> None:
        """Begins with the image of another stage."""
        self.clear()
        shutil.rmtree(self.root)
        subprocess.run(["cp", "-al", self.snapshots / name, self.root], check=True)
        self.state = deepcopy(self.states[name])

    def carry_out(self, instruction: str, value: str) -> None:
        """One instruction; one that is not known is an error, because it would be left out."""
        if instruction == "RUN":
            self.run(value)
        elif instruction == "COPY":
            self.copy(value)
        elif instruction == "ENV":
            for word in shlex.split(value):
                key, _, text = word.partition("=")
                self.state.environment[key] = self.inside(text).replace("$PATH", self.state.environment["PATH"])
        elif instruction == "ARG":
            key, _, default = value.partition("=")
            self.state.environment[key] = self.arguments.get(key, default)
        elif instruction == "WORKDIR":
            self.state.folder = Path(self.inside(value))
            self.state.folder.mkdir(parents=True, exist_ok=True)
        elif instruction == "USER":
            self.state.user = int(value.split(":")[0])
        elif instruction == "ENTRYPOINT":
            self.state.entrypoint = json.loads(value)
        elif instruction == "CMD":
            self.state.command = json.loads(value)
        elif instruction == "VOLUME":
            for path in json.loads(value):
                if not Path(self.inside(path)).is_dir():
                    raise InputError(f"VOLUME {path}: no such folder in the image")
        else:
            raise InputError(f"{instruction} {value}: image_check cannot carry this out")

    def run(self, value: str) -> None:
        """A RUN instruction, command by command; what belongs to Debian is left out, and said so."""
        for command in (" ".join(line.split()) for line in value.split("&&")):
            words = command.split()
            if words[:2] == ["apt-get", "install"]:
                for package in (word for word in words[2:] if not word.startswith("-")):
                    self.offer(package)
            if words[0] in ("apt-get", "useradd") or "/var/lib/apt" in command:
                print(f"  - not run here: {command}")
            elif words[0] == "chown" and os.geteuid() != 0:
                print(f"  - not run here, root alone can: {command}")
            else:
                if os.geteuid() != 0:
                    command = re.sub(r" --(owner|group)=\S+", "", command)
                self.execute(["sh", "-c", self.inside(command)])

    def copy(self, value: str) -> None:
        """A COPY instruction: from another stage, or from the context less what .dockerignore names."""
        words = value.split()
        options = dict(word[2:].split("=") for word in words if word.startswith("--"))
        *sources, target = (word for word in words if not word.startswith("--"))
        print(f"  COPY {value}")
        goal = self.state.folder / self.inside(target)
        if "from" in options:
            (source,) = sources
            image = self.snapshots / options["from"]
            goal.parent.mkdir(parents=True, exist_ok=True)
            subprocess.run(["cp", "-al", f"{image}{source}", goal], check=True)
            return
        owner = int(options.get("chown", "0").split(":")[0])
        for source in sources:
            self.copy_from_context(source, goal, owner)

    def copy_from_context(self, source: str, goal: Path, owner: int) -> None:
        ignored = [line for line in (self.context / ".dockerignore").read_text().splitlines() if line.strip()]
        patterns = [line for line in ignored if not line.startswith("#")]
        whole = self.context / source
        copied = 0
        for name in sorted(exclude_paths(str(self.context), patterns)):
            path = self.context / name
            if path.is_file() and path.is_relative_to(whole):
                # A folder's content is copied, not the folder; a file keeps its name.
                place = goal / (path.relative_to(whole) if whole.is_dir() else path.name)
                self.own(place, owner)
                place.unlink(missing_ok=True)  # it may be a link to another stage's
                shutil.copy2(path, place)
                self.own(place, owner)
                copied += 1
        if not copied:
            raise InputError(f"COPY {source}: nothing of that name in the context; see .dockerignore")

    def own(self, place: Path, owner: int) -> None:
        """Makes the folders above a file, and gives them, or the file, to `owner` where that is possible."""
        new = [place] if place.exists() else [folder for folder in reversed(place.parents) if not folder.exists()]
        for path in new:
            if path != place:
                path.mkdir()
            if os.geteuid() == 0:
                os.chown(path, owner, owner)


def check(dockerfile: Path, targets: Sequence[str], arguments: dict[str, str]) -> None:
    """Builds the targets in a temporary folder and runs each one's ENTRYPOINT."""
    all_stages = stages(dockerfile)
    with tempfile.TemporaryDirectory(prefix="image-") as folder:
        Path(folder).chmod(0o755)  # the image's user has to enter it
        image = Image(Path(folder), dockerfile.parent.resolve(), arguments)
        for target in targets:
            image.build(target, all_stages)
            for given in TRIED[target]:
                image.execute([*image.state.entrypoint, *(given or image.state.command)])
            print(f"{target}: the image runs")


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--file", type=Path, default=Path("Dockerfile"))
    words.add_argument("--target", action="append", choices=TRIED, help="default: all")
    words.add_argument("--build-arg", action="append", default=[], metavar="NAME=VALUE", help="as for docker build")
    chosen = words.parse_args()
    with one_line_errors(".ci/image_check.py"):
        arguments = dict(word.split("=", 1) for word in chosen.build_arg)
        check(chosen.file, chosen.target or list(TRIED), arguments)


if __name__ == "__main__":
    main()
