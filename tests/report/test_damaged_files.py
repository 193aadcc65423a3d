"""Files of a run that are damaged: the report names the file in one line; and it needs little address space."""

import json
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from transformer_spectrum.config.load import load_params
from transformer_spectrum.report.run import CURVES, read_run
from transformer_spectrum.report.run_page.markdown import markdown
from transformer_spectrum.report.run_page.page import page
from transformer_spectrum.runtime.errors import InputError

pytestmark = pytest.mark.slow
STAGE = Path(__file__).parents[2] / "stages/report.py"


@pytest.fixture
def damaged(run_folder, tmp_path):
    return shutil.copytree(run_folder, tmp_path / "run")


def complaint(root):
    with pytest.raises(InputError) as caught:
        run = read_run(load_params(root / "params.yaml"), root)
        markdown(run)
        page(run)
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


@pytest.mark.parametrize("name", CURVES)
def test_a_curve_without_a_column_or_with_words_for_numbers_is_named(name, damaged):
    path = damaged / f"plots/{name}.csv"
    header, *rows = path.read_text().splitlines()
    for column in CURVES[name]:
        path.write_text("\n".join([header.replace(column, "x", 1), *rows]))
        assert f"{path}: lacks the column {column}" in complaint(damaged)
    number = header.split(",").index(CURVES[name][1] if name != "forecasts" else "time")
    cells = rows[0].split(",")
    cells[number] = "abc"
    path.write_text("\n".join([header, ",".join(cells), *rows[1:]]))
    assert f"{path}: the column {header.split(',')[number]} must hold numbers" in complaint(damaged)
    path.write_bytes(b"\xff\x00" * 50)
    assert f"{path}: not a readable table" in complaint(damaged)


@pytest.mark.parametrize(
    "name", ["metrics/adam/scores.json", "metrics/data.json", "metrics/spectra.json", "metrics/comparison.json"]
)
def test_an_object_that_lacks_what_is_asked_for_or_is_none_is_named(name, damaged):
    path = damaged / name
    whole = json.loads(path.read_text())
    for content in ([], 5, "text", {}):
        path.write_text(json.dumps(content))
        if name in ("metrics/spectra.json", "metrics/comparison.json") and content == {}:
            continue
        assert str(path) in complaint(damaged)
    for key in whole:
        path.write_text(json.dumps({name: value for name, value in whole.items() if name != key}))
        try:
            page(read_run(load_params(damaged / "params.yaml"), damaged))
        except InputError as error:
            assert f"{path}: lacks {key}" in str(error)


def test_a_best_step_that_is_no_number_is_named(damaged):
    path = damaged / "metrics/es/scores.json"
    scores = json.loads(path.read_text())
    for best in ("last", None, [1], 10**30):
        path.write_text(json.dumps({**scores, "best_step": best}))
        assert "best_step" in (words := complaint(damaged)) or "has no step" in words


@pytest.mark.slow
def test_the_report_is_made_in_two_gibibytes_of_address_space(run_folder, tmp_path):
    root = shutil.copytree(run_folder, tmp_path / "run")
    ended = subprocess.run(
        [sys.executable, STAGE],
        cwd=root,
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (2**31, 2**31)),
    )
    assert ended.returncode == 0, ended.stderr
    assert "vegaEmbed" in (root / "report/index.html").read_text()
