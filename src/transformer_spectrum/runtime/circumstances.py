"""From which commit, in which experiment, when, and on what kind of machine something was made."""

from __future__ import annotations

import os
import platform
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

DECIDING = ("src", "stages", "params.yaml", "dvc.yaml", "pyproject.toml")
"""What a result rests on, seen from the repository's root. All else that a pipeline changes are its outputs."""
CIRCUMSTANCES_FILE = "circumstances.json"
"""Beside a training's scores: what `circumstances` gives."""
EXPERIMENT = "DVC_EXP_NAME"
"""DVC tells the stages of an experiment its name by this variable."""


def circumstances(code: Path = Path(__file__).parent) -> dict[str, Any]:
    """What is known of here and now, for people: it decides no number. It names no host, user or folder.

    Args:
        code: folder of the code that is running; its repository is the one that counts, not that of the data.
    Returns:
        A JSON-able record: "begun" (UTC), "commit" (null where there is none), "changed" (paths that decide a result
        and are not as the commit has them), "experiment" (of DVC; null outside of one), "machine", and "unknown", name
        -> reason for what is null though it might be known.

    >>> sorted(circumstances())
    ['begun', 'changed', 'commit', 'experiment', 'machine', 'unknown']
    """
    commit, changed, reason = _revision(code)
    return {
        "begun": datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
        "commit": commit,
        "changed": changed,
        "experiment": os.environ.get(EXPERIMENT) or None,
        "machine": machine(),
        "unknown": {"commit": reason} if reason else {},
    }


def machine() -> dict[str, Any]:
    """The kind of machine: what may change last digits and wall time.

    >>> sorted(machine())
    ['accelerator', 'architecture', 'capability', 'cores', 'processor', 'system']
    """
    import torch

    capability = torch.backends.cpu.get_cpu_capability()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "processor": _processor(),
        "architecture": platform.machine(),
        "capability": None if capability in ("DEFAULT", "NO AVX") else capability,
        "cores": cores,
        "system": platform.system(),
        "accelerator": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
    }


def _processor() -> str | None:
    """The processor's name; None where the system does not tell it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next((name for name in names if name), platform.processor() or None)


def _revision(code: Path) -> tuple[str | None, list[str], str]:
    """Commit of the code's repository, changed paths that decide a result, and why there is no commit."""
    try:
        _git(code, "ls-files", "--error-unmatch", "__init__.py")  # an installed package may lie inside a repository
        commit, root = _git(code, "rev-parse", "HEAD", "--show-toplevel").splitlines()
        status = _git(Path(root), "status", "--porcelain", "-z", "--no-renames", "--", *DECIDING)
    except FileNotFoundError:
        return None, [], "git is not installed"
    except subprocess.TimeoutExpired:
        return None, [], "git did not answer"
    except subprocess.CalledProcessError as error:
        return None, [], _why(error.stderr)
    return commit, [entry[3:] for entry in status.split("\0") if entry], ""


def _why(complaint: str) -> str:
    if "not a git repository" in complaint or "did not match any file" in complaint:
        return "the code lies in no git repository"
    if "dubious ownership" in complaint:
        return "git does not trust the folder's owner"
    if "ambiguous argument 'HEAD'" in complaint or "unknown revision" in complaint:
        return "the git repository has no commit"
    return "git has failed"  # its own words name folders


def _git(folder: Path, *arguments: str) -> str:
    # A hook's GIT_DIR means another repository; LC_ALL, because complaints are compared.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    environment |= {"LC_ALL": "C", "GIT_OPTIONAL_LOCKS": "0"}
    command = ["git", "-C", str(folder), *arguments]
    return subprocess.run(
        command, env=environment, capture_output=True, text=True, errors="replace", check=True, timeout=20
    ).stdout
