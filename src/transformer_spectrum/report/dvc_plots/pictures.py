"""`dvc plots diff` as PNG files, for comments and documents that show no HTML."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from transformer_spectrum.runtime.errors import InputError
from transformer_spectrum.runtime.files import atomic_path


def write_pngs(
    folder: str | Path,
    revisions: Sequence[str],
    *,
    targets: Sequence[str] = (),
    repository: str | Path = ".",
    scale: float = 1.0,
) -> tuple[list[Path], list[str]]:
    """Draws the plots of dvc.yaml for one or more revisions, one file a plot, on white.

    Args:
        folder: of the PNG files; made where it is missing. "spectra against steps" becomes spectra_against_steps.png.
        revisions: commits, branches, experiments or "workspace": two or more, whose plots are laid over each other
            (colours mean revisions), or "workspace" alone, as `dvc plots show` has it (colours mean optimizers).
        targets: names of plots in dvc.yaml; all when empty.
        repository: of DVC and git.
        scale: PNG pixels for each pixel of the plot.
    Returns:
        The files in the order of dvc.yaml, and a line for each plot that a revision lacks.
    Raises:
        InputError: DVC refuses the revisions or targets, or vl-convert-python is not installed.
    """
    try:
        import vl_convert
    except ModuleNotFoundError:
        raise InputError(
            "PNG files of plots need the package vl-convert-python: pip install vl-convert-python"
        ) from None
    if len(revisions) < 2 and list(revisions) != ["workspace"]:
        raise InputError(f"revisions {list(revisions)}: two or more, or the workspace alone")
    answer = _plots(revisions, targets, repository)
    files = []
    for name, entries in answer.get("data", {}).items():
        for entry in entries:
            if entry["type"] == "vega":
                path = Path(folder) / f"{re.sub(r'[^a-z0-9]+', '_', name.lower()).strip('_')}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                with atomic_path(path) as temporary:
                    Path(temporary).write_bytes(vl_convert.vegalite_to_png(entry["content"], scale=scale))
                files.append(path)
    problems = [f"{error.get('name', 'plots')} of {error['rev']}: {error['msg']}" for error in answer.get("errors", [])]
    if not files:
        raise InputError("; ".join(problems) or f"no plot to draw of {', '.join(revisions)}")
    return files, problems


def _plots(revisions: Sequence[str], targets: Sequence[str], repository: str | Path) -> dict[str, Any]:
    """What `dvc plots` has to say, filled templates among it."""
    verb = ["show"] if list(revisions) == ["workspace"] else ["diff", *revisions]
    chosen = ["--targets", *targets] if targets and verb[0] == "diff" else [*targets]
    with tempfile.TemporaryDirectory() as static:
        command = [sys.executable, "-m", "dvc", "plots", *verb, "--json", "--out", static, *chosen]
        ended = subprocess.run(command, cwd=repository, capture_output=True, text=True, check=False)
    if ended.returncode:
        complaints = [line for line in ended.stderr.splitlines() if line.startswith("ERROR")] or [ended.stderr.strip()]
        raise InputError(f"dvc plots: {complaints[0].removeprefix('ERROR: ')}")
    return json.loads(ended.stdout)
