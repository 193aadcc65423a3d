"""What continuous integration says of a change: one experiment, compared with a base, as Markdown with pictures.

The workflows of GitHub and GitLab run this through `make ci-report`, and so can you. It makes `ci-report/comment.md`
and the pictures beside it, which `cml comment create ci-report/comment.md` posts. Nothing here needs a write token.
"""

from __future__ import annotations

import argparse
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from transformer_spectrum.config.load import PARAMETERS
from transformer_spectrum.runtime.errors import InputError, one_line_errors
from transformer_spectrum.runtime.ownership import RECORD, is_own, write_record

FOLDER = Path("ci-report")
REPORT = Path("report/report.md")
LIMIT = 60_000
"""Characters of a comment; GitHub takes 65,536, and CML adds links and a mark of its own."""

IMAGE = re.compile(r"!\[(?P<alt>[^\]]*)\]\((?P<path>[^)\s]+)\)")


def overrides(text: str) -> list[str]:
    """Splits "loss.q=3 es.popsize=8" into values for `dvc exp run --set-param`; `-S` between them may stay.

    The text comes from whoever started the workflow, so it is taken apart without a shell, and only a parameter of
    params.yaml may be set: Hydra's grammar would else add, delete, or change another file.

    Raises:
        InputError: a word is not `parameter=value`, or there is no such parameter.
    """
    try:
        words = [word for word in shlex.split(text) if word not in ("-S", "--set-param")]
    except ValueError as error:
        raise InputError(f"OVERRIDES = {text!r}: {error}") from None
    for word in words:
        name, equals, _ = word.partition("=")
        if not equals:
            raise InputError(f"OVERRIDES: {word!r} is not parameter=value")
        if name not in PARAMETERS:
            raise InputError(f"OVERRIDES: {name!r} is no parameter of params.yaml")
    return words


def run(*command: str, code: int | None = 0, logged: bool = False) -> subprocess.CompletedProcess[str]:
    """Runs a command; its output is returned, or goes to the log when `logged`. `code` None allows any exit code."""
    print(f"$ {shlex.join(command)}", flush=True)
    output = None if logged else subprocess.PIPE
    ended = subprocess.run(command, stdout=output, stderr=output, text=True, check=False)
    if code is not None and ended.returncode != code:
        reason = "see the log above" if logged else (ended.stderr or ended.stdout).strip()
        raise InputError(f"{shlex.join(command)}: exit code {ended.returncode}: {reason}")
    return ended


def dvc(*arguments: str, code: int | None = 0, logged: bool = False) -> subprocess.CompletedProcess[str]:
    """Runs DVC of this environment."""
    return run(sys.executable, "-m", "dvc", *arguments, code=code, logged=logged)


def base_revision(branch: str) -> str:
    """Fetches `branch` of origin, where there is one, and returns the revision to compare with.

    A workflow's clone has one commit alone; then one commit of the branch is fetched too. A whole clone must not be
    fetched with a depth: that would cut its history.

    Raises:
        InputError: neither origin nor this repository has the branch.
    """
    if "origin" in run("git", "remote").stdout.split():
        shallow = run("git", "rev-parse", "--is-shallow-repository").stdout.strip() == "true"
        depth = ["--depth=1"] if shallow else []
        run("git", "fetch", "--quiet", *depth, "origin", f"+refs/heads/{branch}:refs/remotes/origin/{branch}")
        return f"origin/{branch}"
    run("git", "rev-parse", "--quiet", "--verify", f"{branch}^{{commit}}")
    return branch


def pull() -> str:
    """Takes what the remote has of the results, where a default remote is configured; returns what came of it.

    A pull request from a fork has no credentials for it, and a branch may not have been pushed; then all is computed.
    """
    remote = dvc("config", "core.remote", code=None).stdout.strip()
    if not remote:
        return "No DVC remote is configured: what is not in git was computed here."
    code = dvc("pull", "--run-cache", "--allow-missing", code=None, logged=True).returncode
    if code:
        return f"`dvc pull` from {remote} failed (exit code {code}): what is not in git was computed here."
    return f"`dvc pull` from {remote} went first."


def pictures(base: str, folder: Path) -> tuple[list[Path], list[str]]:
    """Draws `dvc plots diff` of the base and the workspace as PNG files; returns them and what could not be drawn."""
    from transformer_spectrum.report.dvc_plots.pictures import write_pngs

    return write_pngs(folder, [base, "workspace"])


def with_pictures_beside(markdown: str, source: Path, folder: Path) -> str:
    """Copies the local images of `markdown`, a text that lies in `source`, into `folder`, and points at the copies."""

    def moved(image: re.Match[str]) -> str:
        path = image["path"]
        if re.match(r"[a-z]+:", path):
            return image[0]
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy2(source / path, folder / Path(path).name)
        return f"![{image['alt']}]({folder.name}/{Path(path).name})"

    return IMAGE.sub(moved, markdown)


@dataclass(frozen=True)
class Comment:
    """The parts of a comment."""

    title: str
    facts: str
    metrics: str
    params: str
    pictures: Sequence[Path]
    missing: Sequence[str]
    report: str

    def whole(self) -> str:
        """All of it as Markdown."""
        drawn = "\n".join(f"![{path.stem.replace('_', ' ')}](plots/{path.name})" for path in self.pictures)
        return "\n\n".join(
            [
                f"## {self.title}",
                self.facts,
                "### Metrics",
                self.metrics or "No metric differs.",
                "### Parameters",
                self.params or "No parameter differs.",
                "### Plots",
                drawn,
                *(f"- {line}" for line in self.missing),
                f"<details><summary>The report</summary>\n\n{self.report}\n\n</details>\n",
            ]
        )

    def short(self) -> str:
        """What fits into a comment: the longest parts make room, and say so, until it does."""
        comment = self
        for section in sorted(("report", "params", "metrics"), key=lambda section: -len(getattr(self, section))):
            if len(comment.whole()) <= LIMIT:
                break
            comment = replace(comment, **{section: "Too long for a comment: see whole.md in the artifact ci-report."})
        return comment.whole()

    def without_images(self) -> str:
        """For a place that shows none."""
        report = IMAGE.sub("", self.report)
        words = "The pictures are in the artifact ci-report."
        return replace(self, report=report, pictures=[], missing=[words, *self.missing]).short()


def compose(base: str, changes: Sequence[str], pulled: str) -> Comment:
    """Compares the workspace with the base and collects the report."""
    if not REPORT.is_file():
        raise InputError(f"{REPORT}: the pipeline has not written it")
    commits = [run("git", "rev-parse", "--short", revision).stdout.strip() for revision in ("HEAD", base)]
    drawn, missing = pictures(base, FOLDER / "plots")
    change_words = ", ".join(f"`{change}`" for change in changes) or "the parameters as committed"
    return Comment(
        title=f"Experiment: {change_words}",
        facts=f"Commit {commits[0]} against {base} ({commits[1]}). {pulled}",
        metrics=dvc("metrics", "diff", "--md", base).stdout.strip(),
        params=dvc("params", "diff", "--md", base).stdout.strip(),
        pictures=drawn,
        missing=missing,
        report=with_pictures_beside(REPORT.read_text(encoding="utf-8"), REPORT.parent, FOLDER / "report"),
    )


def written() -> list[Path]:
    """The files in the folder, but its record."""
    return [path for path in sorted(FOLDER.rglob("*")) if path.is_file() and path != FOLDER / RECORD]


def check_folder() -> None:
    """Raises InputError where the folder, which is replaced, holds what this program has not written."""
    for path in written():
        if not is_own(path, FOLDER / RECORD):
            raise InputError(f"{path}: was not written by .ci/report.py, or was changed since; move it away")


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--base", default="main", help="branch to compare with (default: %(default)s)")
    arguments.add_argument(
        "--overrides",
        default=os.environ.get("OVERRIDES", ""),
        help='what the experiment changes, such as "loss.q=3 es.popsize=8" (default: the variable OVERRIDES)',
    )
    chosen = arguments.parse_args()
    with one_line_errors(".ci/report.py"):
        changes = overrides(chosen.overrides)
        check_folder()
        # Stages call `python`.
        os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        base = base_revision(chosen.base)
        pulled = pull()
        dvc("exp", "run", *(f"--set-param={change}" for change in changes), logged=True)
        shutil.rmtree(FOLDER, ignore_errors=True)
        comment = compose(base, changes, pulled)
        (FOLDER / "whole.md").write_text(comment.whole(), encoding="utf-8")
        (FOLDER / "comment.md").write_text(comment.short(), encoding="utf-8")
        write_record(FOLDER / RECORD, {"made_by": ".ci/report.py"}, written())
        if summary := os.environ.get("GITHUB_STEP_SUMMARY"):
            with open(summary, "a", encoding="utf-8") as page:
                page.write(comment.without_images())
        print(f"{FOLDER / 'comment.md'}: written")


if __name__ == "__main__":
    main()
