"""Spectra that the memory cannot hold are refused before anything is read, by what to change."""

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from transformer_spectrum.analysis.footprint import check_spectra_fit, spectra_footprint
from transformer_spectrum.report.pictures.outputs import write_outputs
from transformer_spectrum.runtime.errors import InputError
from transformer_spectrum.runtime.memory import Free


def kept(folder: Path, steps: int, weights: int) -> Path:
    folder.mkdir()
    stacks = {"head": np.zeros((steps, weights, 1), np.float32)}
    save_file(stacks, folder / "snapshots.safetensors", {"run": json.dumps({"steps": list(range(steps))})})
    return folder


def test_weights_that_were_kept_at_more_steps_count_for_more(tmp_path):
    few, many = (spectra_footprint({"es": kept(tmp_path / str(steps), steps, 10_000)}) for steps in (5, 50))
    assert [few.weights, many.weights] == pytest.approx([10_000] * 2, rel=0.01)
    kept_few, kept_many = (each.parts["weights that es has kept"].size for each in (few, many))
    assert kept_many == pytest.approx(10 * kept_few, rel=0.01)
    assert kept_many >= 50 * 10_000 * 4


def test_the_trainings_are_counted_together_and_the_line_names_the_largest_share_of_it(tmp_path):
    models = {"adam": kept(tmp_path / "adam", 40, 1000), "ga": kept(tmp_path / "ga", 2, 1000)}
    size = spectra_footprint(models).size
    check_spectra_fit(models, Free(int(size) + 1, "of this machine"))
    with pytest.raises(InputError) as refused:
        check_spectra_fit(models, Free(int(size) - 1, "of this container or job"))
    (line,) = str(refused.value).splitlines()
    assert line.startswith("spectra of adam, ga would take about ")
    assert "free of this container or job" in line
    assert line.endswith("are weights that adam has kept: make training.snapshot_every larger")


@pytest.mark.parametrize("content", [b"", b"\xff" * 100])
def test_snapshots_that_cannot_be_read_are_left_to_who_reads_them(content, tmp_path):
    (tmp_path / "snapshots.safetensors").write_bytes(content)
    check_spectra_fit({"adam": tmp_path}, Free(0, ""))


def test_a_refusal_leaves_what_was_written_before(tmp_path, monkeypatch):
    monkeypatch.setattr("transformer_spectrum.analysis.footprint.free_memory", lambda: Free(10, "under ulimit -v"))
    (tmp_path / "plots").mkdir()
    (tmp_path / "plots" / "before.csv").write_text("1")
    with pytest.raises(InputError, match=r"would take about .* [GM]iB, and \d+ MiB are free under ulimit -v"):
        write_outputs(None, {"adam": kept(tmp_path / "adam", 3, 30)}, None, tmp_path / "plots", tmp_path / "metrics")
    assert [path.name for path in (tmp_path / "plots").iterdir()] == ["before.csv"]
