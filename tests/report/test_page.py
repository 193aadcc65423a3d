"""The report's page as a file: self-contained, reproducible, well-formed; and its stage, as DVC runs it."""

import csv
import json
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path

import pytest
import yaml

from transformer_spectrum.analysis.of_training import plot_tables
from transformer_spectrum.config.load import load_params
from transformer_spectrum.report.charts.gallery import charts
from transformer_spectrum.report.page.html import Table
from transformer_spectrum.report.run import read_run, read_table
from transformer_spectrum.report.run_page.page import page
from transformer_spectrum.runtime.errors import InputError
from transformer_spectrum.runtime.files import write_json

MOST = 5_000_000


class Outline(HTMLParser):
    """Elements and their attributes; checks that what opens also closes."""

    EMPTY = ("meta", "link", "br", "img", "input")

    def __init__(self, text):
        super().__init__()
        self.elements, self.open = [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in self.EMPTY:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def all(self, *tags):
        return [attributes for tag, attributes in self.elements if tag in tags]


@pytest.fixture(scope="module")
def text(run):
    return page(run)


@pytest.fixture(scope="module")
def outline(text):
    return Outline(text)


def test_the_same_run_gives_the_same_bytes(run, text):
    assert page(run) == text


def test_the_page_is_small_enough_to_send_also_at_the_most_rows_that_the_tables_have(text, run):
    growing = [one for one in charts(run) if one.name != "moved"]  # that has a row for each family
    longest = [max(map(len, one.data.splitlines())) + 2 for one in growing]
    assert len(text.encode()) + plot_tables.ROWS_AT_MOST * sum(longest) < MOST


def test_the_page_asks_for_nothing(outline, text):
    for _, attributes in outline.elements:
        for name in ("src", "href", "srcset", "action", "data"):
            assert attributes.get(name, "#").startswith("#")
    style = text.split("<style>")[1].split("</style>")[0]
    assert "url(" not in style
    assert "@import" not in style


def test_every_element_is_closed_every_name_unique_and_every_link_leads_somewhere(outline):
    assert outline.open == []
    names = Counter(attributes["id"] for _, attributes in outline.elements if "id" in attributes)
    assert [name for name, count in names.items() if count > 1] == []
    links = [attributes["href"].removeprefix("#") for attributes in outline.all("a")]
    assert len(links) > 12
    assert set(links) <= set(names)
    for _, attributes in outline.elements:
        for name in filter(None, [attributes.get("aria-labelledby")]):
            assert name in names


def test_headings_tables_and_figures_speak_to_screen_readers(outline):
    headings = [tag for tag, _ in outline.elements if tag in ("h1", "h2", "h3", "h4")]
    assert headings.count("h1") == 1
    assert headings[0] == "h1"
    assert "h4" not in headings
    assert outline.all("html")[0]["lang"] == "en"
    cells = outline.all("th")
    assert len(cells) > 50
    assert {one.get("scope") for one in cells} == {"col", "row"}
    figures = [one for one in outline.all("div") if one.get("role") == "img"]
    assert len(figures) == 7
    assert all(one["aria-label"] for one in figures)
    assert outline.all("a")[0]["href"] == "#answer"


def test_hostile_names_stay_text(run_folder, tmp_path):
    root = shutil.copytree(run_folder, tmp_path / "run")
    evil = "</script><script>window.evil = 1</script><img src=x onerror=alert(1)>"
    table = read_table(root / "plots/forecasts.csv").assign(entity=evil)
    table.to_csv(root / "plots/forecasts.csv", index=False)
    scores = json.loads((root / "metrics/ga/scores.json").read_text())
    write_json(root / "metrics/ga/scores.json", {**scores, "stop_reason": evil})
    made = page(read_run(load_params(root / "params.yaml"), root))
    outline = Outline(made)
    assert outline.open == []
    assert outline.all("img") == []
    assert len(outline.all("script")) == 4
    embedded = made.split('<script type="application/json" id="figures">')[1].split("</script>")[0]
    assert evil in json.loads(embedded)["forecasts"]["data"]


def test_every_figure_has_all_its_rows(run):
    curves = {"loss": "loss", "evolution": "spectra_evolution", "esd": "esd", "layers": "heatmap"}
    figures = {one.name: one for one in charts(run)}
    for name, curve in curves.items():
        lines = figures[name].data.splitlines()
        assert len(lines) - 1 == len(run.curves[curve])
        for column in figures[name].parse:
            assert column in lines[0].split(",")
    first = figures["loss"].data.splitlines()[1].split(",")
    assert float(first[4]) == pytest.approx(run.curves["loss"]["loss"].iloc[0], rel=1e-4)
    assert sum(line.endswith(",1") for line in figures["loss"].data.splitlines()) == len(run.trainings)


def test_a_table_for_markdown_keeps_its_columns_whatever_its_words():
    table = Table("Words.", ("a", "b"), (("x|y", "<b>\n"),))
    assert table.markdown() == "| a | b |\n| --- | ---: |\n| x\\|y | &lt;b>  |"


@pytest.mark.parametrize(
    ("spoil", "names"),
    [
        (lambda root: (root / "metrics/es/scores.json").unlink(), "metrics/es/scores.json: no such file"),
        (lambda root: write_json(root / "metrics/es/scores.json", {}), "scores.json: lacks best_step"),
        (lambda root: (root / "plots/esd.csv").unlink(), "plots/esd.csv: no such file"),
        (lambda root: (root / "plots/esd.csv").write_text("a,b\n"), "plots/esd.csv: lacks the column optimizer"),
        (lambda root: (root / "plots/esd.csv").write_text("\n"), "plots/esd.csv: has no rows"),
        (lambda root: (root / "plots/loss.csv").write_text("optimizer,step\n"), "plots/loss.csv: has no rows"),
        (lambda root: (root / "plots/esd.csv").write_bytes(b"\xff\xfe\x00"), "plots/esd.csv: not a readable table"),
        (lambda root: (root / "models/ga/run.json").write_text("{"), "models/ga/run.json: not valid JSON"),
    ],
)
def test_a_missing_or_corrupt_input_is_named(run_folder, tmp_path, spoil, names):
    root = shutil.copytree(run_folder, tmp_path / "run")
    spoil(root)
    with pytest.raises(InputError, match=re.escape(names)):
        read_run(load_params(root / "params.yaml"), root)


def run_stage(folder, root, code="import runpy, sys; runpy.run_path(sys.argv[1], run_name='__main__')"):
    environment = {**os.environ, "PYTHONPATH": str(root / "src"), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", code, str(root / "stages/report.py")]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120)


@pytest.mark.slow
def test_the_stage_writes_both_files_without_torch_and_keeps_them_when_an_input_is_bad(
    run_folder, tmp_path, text, pytestconfig
):
    folder = shutil.copytree(run_folder, tmp_path / "run")
    code = (
        "import runpy, sys; runpy.run_path(sys.argv[1], run_name='__main__'); "
        "assert not {'torch', 'dvc', 'dvclive'} & set(sys.modules)"
    )
    done = run_stage(folder, pytestconfig.rootpath, code)
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in (folder / "report").iterdir()) == ["index.html", "report.md"]
    assert (folder / "report/index.html").read_text() == text
    parameters = {
        row["parameter"]: row["value"]
        for row in csv.DictReader((folder / "metrics/parameters.csv").open(encoding="utf-8"))
    }
    chosen = yaml.safe_load((folder / "params.yaml").read_text())
    assert parameters["adam.epochs"] == str(chosen["adam"]["epochs"])
    assert parameters["adam.learning_rate"] == "null"
    assert parameters["data.dataset"] == chosen["data"]["dataset"]
    assert not [name for name in parameters if "mirror" in name or "mlflow" in name]  # of one machine
    (folder / "plots/loss.csv").unlink()
    failed = run_stage(folder, pytestconfig.rootpath)
    assert failed.returncode == 2
    assert failed.stderr == "report: error: plots/loss.csv: no such file; run the stage that writes it (dvc repro)\n"
    assert (folder / "report/index.html").read_text() == text


BELOW = ("config", "runtime", "tracking")
"""Rooms without numbers, words or pictures of their own: no stage's outputs depend on them, but for the seeds."""


STAGES = ("fetch_covid", "fetch_rvr", "synthesize", "prepare", "report", "spectra")
LISTING = """
import os, runpy, sys
import matplotlib.figure, pandas, pyarrow, scipy.stats, torch  # once for all stages
for stage in sys.argv[1:]:
    if not os.fork():
        runpy.run_path(f"stages/{stage}.py")
        files = (module.__file__ for name, module in sys.modules.items() if name.startswith("transformer_spectrum."))
        print(stage, *files, flush=True)
        os._exit(0)
    os.wait()
"""


@pytest.fixture(scope="module")
def loaded(pytestconfig) -> dict[str, list[str]]:
    """Stage -> the files of this package that it loads."""
    command, environment = [sys.executable, "-c", LISTING, *STAGES], {**os.environ, "PYTHONPATH": "src"}
    done = subprocess.run(command, cwd=pytestconfig.rootpath, env=environment, capture_output=True, text=True)
    lines = [line.split() for line in done.stdout.splitlines()]
    assert [stage for stage, *_ in lines] == list(STAGES), done.stderr
    return {stage: files for stage, *files in lines}


@pytest.mark.slow
@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_depends_on_all_that_it_loads_of_this_package(stage, loaded, pytestconfig):
    root, package = pytestconfig.rootpath, "src/transformer_spectrum/"
    deps = yaml.safe_load((root / "dvc.yaml").read_text())["stages"][stage.replace("_", "-")]["deps"]
    named = [dep.removeprefix(package) for dep in deps if dep.startswith(package)]
    assert all((root / package / name).exists() for name in named)
    files = {str(Path(name).relative_to(root / package)) for name in loaded[stage]}
    needed = {name for name in files if not name.endswith("__init__.py") and not name.startswith(BELOW)}
    assert needed
    assert {name for name in needed if not any(name == dep or name.startswith(f"{dep}/") for dep in named)} == set()
