"""What CONTRIBUTING.md and `make help` promise to whoever changes the code."""

import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
CORE = (
    "optimizers",
    "models",
    "losses",
    "scores",
    "spectra",
    "distributions",
    "data.windows",
    "config.schema",
    "config.load",
    "training.records",
    "weights",
    "analysis",
)
HOOKS = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())


def tracked(*patterns: str) -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z", *patterns], cwd=ROOT, capture_output=True, text=True, check=True)
    return [path for name in filter(None, listed.stdout.split("\0")) if (path := ROOT / name).is_file()]


def test_make_help_lists_what_is_daily_needed():
    printed = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    listed = {line.split()[0] for line in printed.splitlines()}
    assert {"setup", "repro", "test", "lint", "format", "typecheck", "docs", "bench", "clean"} <= listed


def test_types_are_checked_strictly_on_the_core_and_ignored_nowhere_in_it():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["mypy"]
    assert settings["strict"] is True
    checked = {path for pattern in settings["files"] for path in ROOT.glob(pattern)}
    for name in CORE:
        place = (ROOT / "src/transformer_spectrum").joinpath(*name.split("."))
        assert {place, place.with_suffix(".py"), place.parent} & checked, name
    assert not any("ignore_errors" in override for override in settings["overrides"])
    ignored = [path for path in tracked("src/*.py") if "type: ignore" in path.read_text()]
    assert [path.name for path in ignored] == ["cma_es.py"]  # pycma has no types


def test_hooks_need_no_network():
    assert {repository["repo"] for repository in HOOKS["repos"]} == {"local"}
    hooks = [hook for repository in HOOKS["repos"] for hook in repository["hooks"]]
    assert {hook["language"] for hook in hooks} == {"system"}
    for hook in hooks:
        runner, tool, *_ = hook["entry"].split()
        assert runner == ".ci/tool"
        assert shutil.which(tool), hook["id"]


@pytest.mark.parametrize("script", ["lint", "typecheck", "docs", "test"])
def test_ci_runs_what_a_developer_runs(script):
    assert re.search(rf"^make {script}$", (ROOT / ".ci/run").read_text(), re.MULTILINE)


def test_text_files_are_as_editorconfig_says():
    for path in tracked("*.py", "*.yaml", "*.yml", "*.toml", "Makefile", "*.md"):
        content = path.read_bytes()
        assert b"\r" not in content, path
        assert content.endswith(b"\n") or not content, path
        if path.suffix != ".md":
            assert not re.search(rb"[ \t]\n", content), path


def test_contributing_names_what_is_there():
    text = (ROOT / "CONTRIBUTING.md").read_text()
    package = ROOT / "src/transformer_spectrum"
    for name in re.findall(r"`([\w/.-]+\.(?:py|yaml|md))`", text):
        assert "NAME" in name or any((folder / name).exists() for folder in (ROOT, package)), name
    tests = "\n".join(path.read_text() for path in tracked("tests/*.py"))
    for name in re.findall(r"`(test_\w+)`", text):
        assert f"def {name}(" in tests, name
