"""The notebook runs on what the pipeline has written, here and from elsewhere, and its outputs stay out of git."""

import json
import os
import subprocess
from pathlib import Path

import nbformat
import numpy as np
import pandas as pd
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).parents[2]
NOTEBOOK = "notebooks/spectra.ipynb"
SHOW = """
tables = {"first": first.to_dict(), "last": last.to_dict(), "family": family}
tables["best"] = best[["step", "validation_mae"]].to_dict("index")
tables["effects"] = effects.astype(float).to_dict("index")
tables["bands"] = tracked[["optimizer", "step", "value", "null_low", "null_high"]].to_dict("records")
print("TABLES", json.dumps(tables))
"""


def executed(path: Path, folder: Path, monkeypatch, **variables: str) -> tuple[str, list[str], dict]:
    """Runs a notebook.

    Returns:
        What it printed, the kinds of its outputs, and the tables that it made.
    """
    for name in ("SPECTRA_REPO", "SPECTRA_REV"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    notebook = nbformat.read(path, as_version=4)
    notebook.cells.append(nbformat.v4.new_code_cell(SHOW))
    NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(folder)}}).execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    printed = "".join(output.text for output in outputs if output.output_type == "stream" and output.name == "stdout")
    kinds = [kind for output in outputs for kind in output.get("data", {})]
    return printed, kinds, json.loads(printed.split("TABLES")[1])


def notebooks() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-co", "--exclude-standard", "*.ipynb"], cwd=ROOT, capture_output=True)
    return [ROOT / name for name in listed.stdout.decode().split()]


def test_notebooks_are_valid_and_have_no_outputs():
    assert ROOT / NOTEBOOK in notebooks()
    for path in notebooks():
        notebook = nbformat.read(path, as_version=4)
        nbformat.validate(notebook)
        for cell in notebook.cells:
            if cell.cell_type == "code":
                assert cell.outputs == [], f"{path.name}: run nbstripout {path.relative_to(ROOT)}"
                assert cell.execution_count is None


def test_nbstripout_has_nothing_to_strip():
    for path in notebooks():
        subprocess.run(["nbstripout", "--verify", str(path)], check=True)


@pytest.mark.slow
def test_the_notebook_draws_the_main_figure_of_this_repository(pipeline, monkeypatch):
    printed, kinds, tables = executed(ROOT / NOTEBOOK, pipeline.root / "notebooks", monkeypatch)
    assert "source of the data: synthetic" in printed
    assert "STAND-IN" not in printed
    assert kinds.count("image/png") == 1
    assert kinds.count("text/html") == 3
    metrics = pipeline.root / "metrics"
    spectra = json.loads((metrics / "spectra.json").read_text())
    for optimizer, families in tables["last"].items():
        for family, value in families.items():
            assert np.isclose(value, spectra[optimizer][family]["stable_rank"], rtol=1e-5), (optimizer, family)
    for family, value in tables["first"].items():
        assert np.isclose(value, spectra["initial"][family]["stable_rank"], rtol=1e-5), family
    history = pd.read_parquet(metrics / "spectra_history.parquet")
    nulls = pd.read_parquet(metrics / "spectra_nulls.parquet")
    for optimizer, best in tables["best"].items():
        scores = json.loads((metrics / optimizer / "scores.json").read_text())
        assert best["step"] == scores["best_step"]
        assert np.isclose(best["validation_mae"], scores["best_validation_mae"], rtol=1e-4)
        rows = history[(history["optimizer"] == optimizer) & (history["step"] == best["step"])]
        mean = rows.loc[rows["family"] == tables["family"], "change_stable_rank"].mean()
        assert np.isclose(tables["effects"][optimizer]["change_stable_rank"], mean, rtol=1e-4), optimizer
    for band in tables["bands"]:
        assert band["null_low"] < band["null_high"]
        steps = nulls.loc[nulls["optimizer"] == band["optimizer"], "step"]
        assert band["step"] in set(steps), band
    assert {band["optimizer"] for band in tables["bands"]} == set(tables["last"])


@pytest.mark.slow
def test_the_notebook_reads_a_git_url_and_says_what_is_a_stand_in(shared_by_folder, tmp_path, monkeypatch):
    path = shared_by_folder.root / "metrics/data.json"
    record = json.loads(path.read_text())
    record["provenance"]["standin"] = True
    path.write_text(json.dumps(record))
    shared_by_folder.run("git", "commit", "--quiet", "--all", "--message=stand-in")
    shared_by_folder.run("git", "tag", "standin")
    shared_by_folder.run("git", "reset", "--quiet", "--hard", "HEAD~1")
    for name in set(os.environ) & {"GIT_DIR", "DVC_ROOT"}:
        monkeypatch.delenv(name)
    source = {"SPECTRA_REPO": shared_by_folder.root.as_uri(), "SPECTRA_REV": "standin"}
    printed, kinds, tables = executed(ROOT / NOTEBOOK, tmp_path, monkeypatch, **source)
    assert "STAND-IN DATA" in printed
    assert kinds.count("image/png") == 1
    assert set(tables["last"]) == {"adam", "es", "ga"}
