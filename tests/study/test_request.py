"""Requests: whatever decides a result is in them, and what does not is not."""

import ast
import dataclasses
from pathlib import Path

import grimp
import pytest
import yaml

from transformer_spectrum.config.load import parse_params
from transformer_spectrum.runtime import deciding_code
from transformer_spectrum.study.running import grid as grids
from transformer_spectrum.study.running import request

PACKAGE = "transformer_spectrum"
ROOT, SOURCE = Path(__file__).parents[2], "src/transformer_spectrum/"
HARMLESS = {
    "config.aliases",
    "config.fields",
    "config.help",
    "config.load",
    "config.wheel_files",
    "config.resolve",
    "config.schema",
    "runtime.addresses",
    "runtime.deciding_code",
    "runtime.errors",
    "runtime.files",
    "runtime.interruption",
    "runtime.memory",
    "runtime.ownership",
    "runtime.parsing",
    "runtime.progress",
    "runtime.provenance",
    "runtime.replacement",
    "study.running.grid",
    "tracking.delivery",
    "tracking.folders",
    "tracking.mlflow_run",
    "tracking.recorder",
    "vocabulary",
}
"""What they compute is in a request as parameters, or is no number at all."""
WHERE_IT_RUNS = {
    *("study.running.cluster", "study.running.engine", "study.running.ensembles", "study.running.execution"),
    *("study.running.files", "study.running.request", "study.running.security", "study.running.store"),
    "study.running.worker",
}
"""Whichever of a study's trainings runs where and beside which others, its bits are the same (test_ensembles.py)."""
OF_RULES = {
    f"study.inference.{name}" for name in ("equivalence", "estimates", "power", "robustness", "signflip", "signs")
}
"""What a protocol is checked against, and warned of, where it is read."""
OF_STUDY = {
    "study-tuning": WHERE_IT_RUNS | OF_RULES | {"study.running.spectra_rows"},  # a sweep's
    "study-run": WHERE_IT_RUNS | OF_RULES | {"study.running.spectra_rows", "study.inference.matching"},
    "study-follow": WHERE_IT_RUNS
    | OF_RULES
    | {"study.running.spectra_rows", "study.inference.matching", "study.inference.discovery"},  # of the answers
    "study-nulls": WHERE_IT_RUNS | OF_RULES | {"study.running.spectra_rows"},
    "study-table": OF_RULES | {"runtime.seeds"},  # of what these draw
    "study-judge": {"runtime.seeds", "study.answer.places"},
    # It reads the verdicts that the others have made, and of the protocol its checksum; of the attribution its columns.
    "study-report": OF_RULES
    | {f"analysis.comparison.{name}" for name in ("arrival", "held_equal", "trajectory", "verdict")}
    | {f"study.protocol.{name}" for name in ("cells", "model", "sections", "tuning")}
    | {f"study.inference.{name}" for name in ("endpoints", "matching", "variance")}
    | {"runtime.seeds", "study.answer.matched", "study.answer.places", "study.answer.tuned"}
    | {"study.beside_nulls.quantities", "study.conclusions.attributed"},
}
"""Stage of studies/dvc.yaml -> what it imports beside the harmless and does not compute with."""
OF_MEMORY = ("analysis/footprint.py",)  # refuses what would not fit
OF_PICTURES = ("report/figures", "report/pictures", "vocabulary.py")
EVERY_TRAINING = [name for optimizer in deciding_code.OPTIMIZERS for name in deciding_code.of_training(optimizer)]


@pytest.fixture(scope="module")
def graph():
    """What imports what, but for the harmless modules and what only these import."""
    graph = grimp.build_graph(PACKAGE)
    for name in HARMLESS:
        graph.remove_module(f"{PACKAGE}.{name}")
    return graph


@pytest.fixture
def cell(write_grid, base):
    return grids.cells(grids.load_grid(str(write_grid())), base, runs=1)[1]


@pytest.mark.parametrize(
    ("entries", "sources", "harmless"),
    [
        (("data.fetch.exports", "data.synthesis.drawing", "data.prepare"), deciding_code.WINDOWS, set()),
        (
            ("training.train",),
            EVERY_TRAINING,
            {"data.series.entity_series"},
        ),
        (("study.running.spectra_rows", "study.endpoint_paths"), (*deciding_code.SPECTRA, *request.ROWS), set()),
    ],
)
def test_every_module_that_decides_a_result_is_in_its_fingerprint(graph, entries, sources, harmless):
    assert beside(graph, entries, sources) <= harmless
    assert len(deciding_code.checksums(sources)) >= 5


def beside(graph, entries, sources):
    """Modules that the entries need and the sources do not hold."""
    needed = set()
    for entry in entries:
        needed |= {f"{PACKAGE}.{entry}", *graph.find_upstream_modules(f"{PACKAGE}.{entry}")}
    packages = {
        name for name in needed if (deciding_code.PACKAGE / name[len(PACKAGE) + 1 :].replace(".", "/")).is_dir()
    }
    covered = deciding_code.checksums(sources)
    files = {name: f"{name[len(PACKAGE) + 1 :].replace('.', '/')}.py" for name in needed - packages - {PACKAGE}}
    return {name[len(PACKAGE) + 1 :] for name, file in files.items() if file not in covered}


@pytest.mark.parametrize("stage", deciding_code.STUDY)
def test_every_module_that_decides_a_table_of_the_study_is_a_dependency_of_its_stage(graph, stage):
    script = ast.parse((ROOT / f"stages/{stage.replace('-', '_')}.py").read_text())
    imported = {node.module for node in ast.walk(script) if isinstance(node, ast.ImportFrom)}
    entries = [name[len(PACKAGE) + 1 :] for name in imported if name in graph.modules]
    assert beside(graph, entries, deciding_code.STUDY[stage]) - {"config.tree", "runtime.log"} == OF_STUDY[stage]


def test_the_stages_of_the_study_depend_on_these_lists_and_on_no_other_code():
    stages = yaml.safe_load((ROOT / "studies/dvc.yaml").read_text())["stages"]
    named = {
        stage: sorted(dep.removeprefix(SOURCE) for dep in content["deps"] if dep.startswith(SOURCE))
        for stage, content in stages.items()
    }
    assert named == {stage: sorted(code) for stage, code in deciding_code.STUDY.items()}


def changed(cell, **values):
    tree = cell.params.model_dump()
    for name, value in values.items():
        *path, last = name.split("__")
        block = tree
        for part in path:
            block = block[part]
        block[last] = value
    return dataclasses.replace(cell, params=parse_params(tree))


@pytest.mark.parametrize(
    ("values", "windows", "training"),
    [
        ({"loss__q": 6.0}, False, True),
        ({"adam__epochs": 7}, False, True),
        ({"es__popsize": 10}, False, False),
        ({"data__synthetic__q": 3.0}, True, False),
        ({"data__covid__smoothing_days": 3}, False, False),
        ({"data__stride": 10}, True, False),
        ({"seed": 8}, True, True),
        ({"model__layers": 1}, False, True),
        ({"spectra__hill_fraction": 0.5}, False, False),
        ({"spectra__tracked_at_most": 9}, False, True),
    ],
)
def test_a_parameter_changes_the_requests_of_what_it_decides(cell, values, windows, training):
    """By Adam on synthetic data; a training knows its windows by their checksums."""
    other = changed(cell, **values)
    assert (request.windows_request(cell.params, {}) != request.windows_request(other.params, {})) == windows
    assert (request.training_request(cell, {}) != request.training_request(other, {})) == training


def test_the_stages_of_dvc_yaml_depend_on_these_lists_and_on_no_other_code():
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
    lists = {"prepare": deciding_code.WINDOWS, "spectra": (*deciding_code.SPECTRA, *OF_MEMORY, *OF_PICTURES)}
    lists |= {f"train-{optimizer}": deciding_code.of_training(optimizer) for optimizer in deciding_code.OPTIMIZERS}
    for stage, expected in lists.items():
        named = [dep.removeprefix(SOURCE) for dep in stages[stage]["deps"] if dep.startswith(SOURCE)]
        assert sorted(named) == sorted(expected), stage
