"""What SECURITY.md promises: no parameter reaches a shell, and no file that is read runs anything."""

import importlib
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from transformer_spectrum.config import tree
from transformer_spectrum.config.load import PARAMETERS, parse_params
from transformer_spectrum.config.resolve import Asked, resolve
from transformer_spectrum.runtime.errors import InputError

ROOT = Path(__file__).parents[1]
HOSTILE = ("x; touch run", "$(touch run)", "`touch run`", "x' ; touch run; '", 'x"; touch run; "', "x\ntouch run", "-x")


def test_no_parameter_is_part_of_a_command_that_dvc_gives_to_a_shell():
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
    assert stages
    for stage in stages.values():
        assert re.fullmatch(r"PYTHONPATH=src python stages/\w+\.py( (adam|es|ga))?", stage["cmd"]), stage["cmd"]


@pytest.mark.parametrize("value", HOSTILE)
def test_a_data_set_with_a_shell_in_its_name_is_refused_before_anything_runs(value):
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    tree.put(params, "data.dataset", value)
    with pytest.raises(InputError, match=r"^data\.dataset = "):
        parse_params(params)
    with pytest.raises(InputError, match=r"data\.dataset = "):
        resolve(Asked({}, (f"data.dataset={value!r}",)))


def test_every_text_parameter_that_is_no_choice_is_a_name_a_url_or_a_path_that_no_shell_sees():
    """One that is added has to be thought of here."""
    free = {
        name for name, field in PARAMETERS.items() if "str" in str(field.annotation) and "Literal" not in str(field)
    }
    assert free == {
        "data.mirror",
        "data.covid.url",
        "data.covid.countries",
        "data.rvr.url",
        "data.file.time_column",
        "data.file.entity_column",
        "data.file.value_columns",
        "tracking.mlflow",
    }


@pytest.mark.slow
@pytest.mark.parametrize("value", HOSTILE)
def test_an_overlay_that_goes_through_make_experiment_runs_nothing_but_dvc(value, tmp_path):
    """The recipe of the Makefile, in a shell, with another program in the place of dvc."""
    (tmp_path / "overlay.yaml").write_text(yaml.safe_dump({"loss": {"type": value}, "data": {"mirror": value}}))
    dvc = tmp_path / "dvc"
    dvc.write_text(f"#!{sys.executable}\nimport json, sys\njson.dump(sys.argv[1:], open('arguments', 'w'))\n")
    dvc.chmod(0o755)
    (recipe,) = re.findall(r"^\tset -o pipefail; (options=.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    recipe = recipe.replace("$$", "$").replace("$(OVERLAY)", "overlay.yaml").replace("python", sys.executable)
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin", "PYTHONPATH": str(ROOT / "src")}
    command = ["bash", "-c", recipe.replace("PYTHONPATH=src ", "")]
    ended = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    assert not (tmp_path / "run").exists()
    arguments = yaml.safe_load((tmp_path / "arguments").read_text())
    assert arguments[:3] == ["exp", "run", "--temp"]
    assert len(arguments) == 7
    assert arguments[3::2] == ["-S", "-S"]


def test_the_workflows_have_no_more_rights_than_they_need_and_name_every_action_by_its_content():
    for path in (ROOT / ".github/workflows").glob("*.yaml"):
        workflow = yaml.safe_load(path.read_text())
        assert workflow["permissions"] == {}, path  # nothing but what a job names
        for job in workflow["jobs"].values():
            assert job["permissions"] in ({"contents": "read"}, {"contents": "read", "pull-requests": "write"}), path
        for action in re.findall(r"uses: (\S+)", path.read_text()):
            assert re.search(r"@[0-9a-f]{40}$", action) or action.startswith("./"), action
        assert "pull_request_target" not in path.read_text(), path


def canonical(name):
    """As pip compares names."""
    return re.sub(r"[-_.]+", "-", name).lower()


def test_the_list_of_components_is_that_of_the_lock_file_and_names_no_machine():
    text = (ROOT / "docs/sbom.cdx.json").read_text()
    listed = {(canonical(entry["name"]), entry["version"]) for entry in json.loads(text)["components"]}
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    pinned = {(canonical(name), version) for name, _, version in (line.partition("==") for line in lines) if version}
    assert listed == pinned
    assert "file:" not in text


def test_the_page_of_licences_is_that_list(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "docs")
    licences = importlib.import_module("licences")
    assert licences.PAGE.read_text() == licences.page(licences.stored())
    several = {
        "licenses": [{"license": {"id": "MIT"}}, {"license": {"name": "License :: OSI Approved :: MIT License"}}]
    }
    assert licences.licence(several) == "MIT, MIT License"
    assert licences.licence({"licenses": [{"expression": "MIT OR Apache-2.0"}]}) == "MIT OR Apache-2.0"
    assert licences.licence({"licenses": [{"license": {"name": "All rights " * 20}}]}) == "its own text"
    assert licences.licence({}) == "not stated in its metadata"
