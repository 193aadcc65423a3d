"""Weights at the tracked steps: what is missing or does not fit ends in one line."""

import json

import numpy as np
import pytest
from safetensors.numpy import save_file

from transformer_spectrum.analysis.of_training.tracked_steps import entries
from transformer_spectrum.runtime.errors import InputError
from transformer_spectrum.training.records.snapshots import Snapshots
from transformer_spectrum.weights.matrices.families import Family
from transformer_spectrum.weights.matrices.matrix import Cut, Matrix

X = Family("x")
WEIGHTS = {"a": np.arange(12, dtype=np.float32).reshape(2, 3, 2), "b": np.ones((2, 4, 4), np.float32)}


def written(path, weights=WEIGHTS, steps=(0, 5)):
    save_file(weights, path, metadata={"run": json.dumps({"steps": list(steps)})})
    return path


def test_snapshots_come_back_by_step(tmp_path):
    kept = Snapshots.load(written(tmp_path / "s.safetensors"))
    assert kept.steps == (0, 5)
    rows = Matrix("a.bottom", X, "a", (2, 2), cut=Cut(1, 1, 3))
    np.testing.assert_array_equal(entries(kept, 5, [rows])[0], WEIGHTS["a"][1, 1:3])


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda path: path.unlink(), "no such file"),
        (lambda path: path.write_bytes(b"nothing"), "not the snapshots of a training"),
        (lambda path: save_file(WEIGHTS, path), "not the snapshots of a training"),
        (lambda path: written(path, steps=(0, 1, 2)), "and there are 3 steps"),
    ],
)
def test_a_file_that_is_no_snapshot_is_refused(tmp_path, spoil, words):
    path = written(tmp_path / "s.safetensors")
    spoil(path)
    with pytest.raises(InputError, match=words):
        Snapshots.load(path)


def test_entries_that_do_not_fit_are_named():
    kept = Snapshots((0, 5), {**WEIGHTS, "c": np.full((2, 2, 2), np.nan, np.float32)})
    with pytest.raises(InputError, match="d: not among the kept weights"):
        entries(kept, 0, [Matrix("d", X, "d", (1, 1))])
    with pytest.raises(InputError, match=r"a: kept weights of shape \(3, 2\), expected \(9, 9\)"):
        entries(kept, 0, [Matrix("a", X, "a", (9, 9))])
    with pytest.raises(InputError, match="c: weights at step 5 are not finite"):
        entries(kept, 5, [Matrix("c", X, "c", (2, 2))])
