"""Every example in a docstring shows what is true, and every public function has one."""

import ast
import doctest
import importlib
import pkgutil
import shutil
from pathlib import Path

import pytest
import small_repository
from doctest_exemptions import EXEMPT

import transformer_spectrum

RUN_ELSEWHERE = {f"transformer_spectrum.analysis.{name}" for name in ("api", "loading")}
"""Their examples need trained folders: tests/analysis/test_api.py runs them there."""
MODULES = [
    module.name
    for module in pkgutil.walk_packages(transformer_spectrum.__path__, "transformer_spectrum.")
    if not module.name.endswith("__main__")
]
OF_A_RUN = (
    "transformer_spectrum.analysis.",
    "transformer_spectrum.report.",
    "transformer_spectrum.study.beside_nulls.measured",
    "transformer_spectrum.study.endpoint_paths",
    "transformer_spectrum.study.follow_up.measured",
    "transformer_spectrum.study.running.spectra_rows",
)
"""Beginnings of the names of modules whose examples begin in a repository after a run."""
SOURCE = Path(transformer_spectrum.__path__[0])
ROOMS = sorted({name.split(".")[1] for name in MODULES})
"""All of them, folders and single files."""


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    """A folder with a run, and what examples call by name."""
    root = tmp_path_factory.mktemp("repository")
    small_repository.write_repository(root)
    return root, small_repository.names(root)


@pytest.mark.parametrize("name", [name for name in ("transformer_spectrum", *MODULES) if name not in RUN_ELSEWHERE])
def test_the_examples_show_what_is_true(name, tmp_path, monkeypatch, request):
    names = {}
    if name.startswith(OF_A_RUN):
        root, names = request.getfixturevalue("repository")
        shutil.copytree(root, tmp_path, dirs_exist_ok=True)
    else:
        shutil.copy(Path(__file__).parents[1] / "params.yaml", tmp_path)
    monkeypatch.chdir(tmp_path)
    assert doctest.testmod(importlib.import_module(name), extraglobs=names).failed == 0


def functions(room):
    """Public function of a room, seen from it -> whether its docstring has an example."""
    folder, lone = SOURCE / room, (SOURCE / room).with_suffix(".py")
    files = {file.relative_to(folder).with_suffix("").parts: file for file in sorted(folder.rglob("*.py"))}
    return {
        ".".join([*place, node.name]): ">>>" in (ast.get_docstring(node) or "")
        for place, file in (files or {(): lone}).items()
        for node in ast.parse(file.read_text(encoding="utf-8")).body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and not node.name.startswith("_")
    }


def test_no_exemption_is_of_a_room_that_is_gone():
    assert set(EXEMPT) <= set(ROOMS)
    assert {"losses", "scores", "vocabulary", "weights"} <= set(ROOMS)


@pytest.mark.parametrize("room", ROOMS)
def test_every_public_function_has_an_example_or_is_exempt(room):
    without = {name for name, has_example in functions(room).items() if not has_example}
    assert without == set(EXEMPT.get(room, ()))
