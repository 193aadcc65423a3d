"""README.md tells the truth where a machine can check it."""

import json
import re
from pathlib import Path

import pytest

from transformer_spectrum.cli.main import main
from transformer_spectrum.cli.overrides import overrides
from transformer_spectrum.cli.parameters import parameter_table
from transformer_spectrum.config.load import PARAMETERS
from transformer_spectrum.runtime.errors import InputError

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def test_the_table_has_every_parameter_with_its_committed_value(monkeypatch):
    monkeypatch.chdir(ROOT)
    assert parameter_table() in README


def test_every_file_named_in_the_tree_is_there():
    tree = README.split("## The tree")[1].split("```")[1]
    folder = ROOT
    for line in filter(str.strip, tree.splitlines()):
        name = line.split()[0]
        if line.startswith("  "):
            assert (folder / name).exists(), line
        else:
            folder = ROOT / name
            assert folder.exists(), line


def test_every_room_and_stage_is_in_the_tree():
    tree = README.split("## The tree")[1].split("```")[1]
    for folder in ("src/transformer_spectrum", "stages"):
        for path in (ROOT / folder).iterdir():
            if path.is_dir() or path.suffix == ".py":
                if path.name.startswith("__"):
                    continue
                name = str(path.relative_to(ROOT / folder))
                assert re.search(rf"(^|\s){re.escape(name)}\s", tree), name


def test_every_stage_is_in_the_graph():
    graph = README.split("```mermaid")[1].split("```")[0]
    for stage in re.findall(r"^  ([a-z-]+):\n    desc", (ROOT / "dvc.yaml").read_text(), re.MULTILINE):
        assert stage in graph


@pytest.mark.parametrize("name", ["smoke", "seed_size"])
def test_the_overlays_name_parameters(name, monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    main(["overrides", f"config/overlays/{name}.yaml"])
    printed = capsys.readouterr().out
    assert set(re.findall(r"-S '?([\w.]+)=", printed)) <= set(PARAMETERS)
    assert printed.startswith("-S ")


def test_an_overlay_that_names_no_parameter_is_an_error():
    with pytest.raises(InputError, match=r"loss\.qq: unknown parameter"):
        list(overrides({"loss": {"qq": 1}}))
    assert list(overrides({"data": {"mirror": None}, "loss": {"q": 3}})) == ["data.mirror=null", "loss.q=3"]


@pytest.mark.parametrize("content", [None, "a: [", "- 1"])
def test_an_overlay_that_cannot_be_read_is_one_line_and_exit_code_2(content, tmp_path, capsys):
    path = tmp_path / "o.yaml"
    if content is not None:
        path.write_text(content)
    with pytest.raises(SystemExit) as ended:
        main(["overrides", str(path)])
    assert ended.value.code == 2
    assert "o.yaml" in capsys.readouterr().err


def test_the_result_is_that_of_the_committed_metrics():
    table = README.split("| initial weights |")[1].split("MAE is in scaled units")[0]
    for name in ("adam", "es", "ga"):
        metrics = json.loads((ROOT / f"metrics/{name}/scores.json").read_text())
        for value in (metrics["best_validation_loss"], metrics["free_running"]["mae"]):
            assert f"{value:.3f}" in table
    baselines = json.loads((ROOT / "metrics/data.json").read_text())["baselines"]
    for one in baselines.values():
        assert f"{one['mae']:.3f}" in table


def test_adam_beats_persistence_free_running_in_the_committed_run():
    metrics = json.loads((ROOT / "metrics/adam/scores.json").read_text())
    baselines = json.loads((ROOT / "metrics/data.json").read_text())["baselines"]
    assert metrics["free_running"]["mae"] < 0.8 * baselines["persistence"]["mae"]
    assert metrics["free_running"]["mae"] < baselines["context_mean"]["mae"]
