"""What CONTRIBUTING.md and `make help` promise to whoever changes the code."""

import ast
import re
import shutil
import subprocess
import tomllib
from collections import defaultdict
from collections.abc import Iterator
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
    "config.fields",
    "config.load",
    "training.records",
    "weights",
    "analysis",
)
VAGUE = set(
    "one,found,part,about,known,kept,shown,what,other,thing,some,done,made,given,here,there,this".split(",")  # noqa: SIM905
)
"""CONTRIBUTING.md says what to write instead."""
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
        if "corpus" in path.parts:  # files that are wrong on purpose
            continue
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


def bound_names(tree: ast.AST) -> Iterator[str]:
    """Names of variables, loop targets, parameters and attributes that the code binds."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.attr
        elif isinstance(node, ast.arg):
            yield node.arg


def test_names_say_what_they_hold():
    vague: dict[str, list[str]] = {}
    lines = 0
    for path in tracked("src/*.py", "stages/*.py", "benchmarks/*.py", "docs/*.py", ".ci/*.py"):
        text = path.read_text()
        lines += text.count("\n")
        names = [name for name in bound_names(ast.parse(text)) if name in VAGUE]
        if names:
            vague[str(path.relative_to(ROOT))] = names
    per_thousand = 1000 * sum(map(len, vague.values())) / lines
    assert per_thousand < 3, vague


def test_what_counts_as_a_name_is_what_is_bound():
    code = "def f(one, *found):\n    self.part = about = [x for known in y]\n    return kept, what.shown\n"
    assert sorted(set(bound_names(ast.parse(code))) & VAGUE) == ["about", "found", "known", "one", "part"]


def test_no_two_classes_of_the_package_have_one_name():
    places = defaultdict(list)
    for path in tracked("src/*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef):
                places[node.name].append(str(path.relative_to(ROOT)))
    assert {name: paths for name, paths in places.items() if len(paths) > 1} == {}


def test_no_module_prints_to_standard_error_but_the_programs():
    """Library code logs: only a program knows where that should go."""
    programs = ("cli/", "runtime/errors.py", "runtime/log.py", "runtime/progress.py")
    package = ROOT / "src/transformer_spectrum"
    printing = [path for path in tracked("src/*.py") if "file=sys.stderr" in path.read_text()]
    names = [str(path.relative_to(package)) for path in printing]
    assert [name for name in names if not name.startswith(programs) and not name.endswith("__main__.py")] == []
