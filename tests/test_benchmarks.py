"""The benchmarks that compare ensembles run, and what they time is the package's training."""

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
import torch

from transformer_spectrum.optimizers.gradient.adam import Adam
from transformer_spectrum.optimizers.gradient.descent import Descent
from transformer_spectrum.training.loop import fit

ROOT = Path(__file__).parents[1]
BARE = ("torch", "torchgen", "functorch", "numpy", "numpy.libs", "scipy", "scipy.libs", "safetensors")
OF_TORCH = ("typing_extensions.py", "sympy", "mpmath", "networkx", "jinja2", "markupsafe", "fsspec", "filelock")
"""What torch requires itself."""


@pytest.fixture(autouse=True)
def _in_benchmarks(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    mode, threads = torch.get_deterministic_debug_mode(), torch.get_num_threads()
    yield
    torch.set_deterministic_debug_mode(mode)
    torch.set_num_threads(threads)


@pytest.mark.slow
def test_all_of_the_gpu_benchmark_runs_where_there_is_nothing_but_torch_numpy_scipy_and_safetensors(tmp_path):
    site = Path(sysconfig.get_paths()["purelib"])
    for name in (*BARE, *OF_TORCH):
        if (site / name).exists():
            (tmp_path / name).symlink_to(site / name)
    command = [sys.executable, "-S", str(ROOT / "benchmarks/gpu.py"), "--rehearse"]
    places = os.pathsep.join((str(ROOT / "src"), str(tmp_path)))
    ran = subprocess.run(command, env={**os.environ, "PYTHONPATH": places}, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in ran.stdout.splitlines() if line[:2] == "| "]
    table = {row[0]: row[1:] for row in cells if len(row) == 4}
    checks = ("losses, relative", "gradients, relative", "a population's losses, relative", "the same training twice")
    for check in checks:  # a tape computes what a graph would: anything else than equality is a fault
        assert [met for name, (_, _, met) in table.items() if name.startswith(check)] == ["met"], check
    with_goal = {name: met for name, (_, goal, met) in table.items() if goal[:1].isdigit() and name != "scoring, x JAX"}
    assert len(with_goal) >= 10
    assert set(with_goal.values()) <= {"met", "missed"}
    pieces = [row for row in cells if len(row) == 5 and row[0] in ("adam", "es", "ga")]
    assert {(row[0], row[1]) for row in pieces} == {
        (kind, str(n)) for kind in ("adam", "es", "ga") for n in range(1, 5)
    }
    assert "No module named" not in ran.stderr


def test_without_a_gpu_the_gpu_benchmark_says_so_in_one_line(monkeypatch, capsys):
    import gpu

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(sys, "argv", ["gpu.py"])
    gpu.main()
    assert capsys.readouterr().out.count("\n") == 1


@pytest.mark.parametrize(("per_round", "count"), [(0.1, 1), (1.0, 1), (7.0, 5), (100.0, 60)])
def test_a_plan_leaves_no_round_out_and_no_piece_is_too_long(per_round, count):
    from gpu_plan import plan

    pieces = plan("adam", 160, 60, per_round, 2.0, 10, 20.0, 120.0)
    assert len(pieces) == 4 * count
    for data_set in range(1, 5):
        own = [piece for piece in pieces if piece.data_set == data_set]
        assert [number for piece in own for number in range(piece.first, piece.last + 1)] == list(range(1, 61))
        assert sum(piece.seconds for piece in own) == pytest.approx(60 * per_round + 6 * 2.0 + 20.0 * count)
        assert max(piece.seconds for piece in own) <= max(120.0, 20.0 + per_round + 0.2)


def test_what_is_timed_round_by_round_is_what_a_training_does():
    from contest import TINY
    from members import Rounds, members, study_losses

    kinds = list(study_losses().values())
    search = Descent(Adam(), 2, 1e-3)
    rounds = Rounds(members(TINY, 8, search, kinds))
    for _ in range(2):
        rounds.advance()
    rounds.measure()
    results = fit(members(TINY, 8, search, kinds))
    for step, result in zip(rounds.steps, results, strict=True):
        assert torch.equal(step.weights, result.last)
    mean = sum(result.history.validation_loss[-1] for result in results) / 8
    assert rounds.validate() == pytest.approx(mean, rel=1e-12)


def test_both_ways_that_are_timed_learn():
    import ensembles_ours
    from contest import TINY, plain_epochs
    from members import Rounds, members, searcher

    rounds = Rounds(members(TINY, 2, searcher("adam")))
    before = rounds.validate()
    for _ in range(5):
        rounds.advance()
    assert rounds.validate() < before
    sample, _ = ensembles_ours.ours(TINY, 1, 2, True)
    assert sample() == 2
    sample, _ = ensembles_ours.plain(TINY, 1)
    assert [sample(), plain_epochs(TINY, 8, clip=1.0)()] == [1, 1]


@pytest.mark.parametrize("group", [1, 2])
def test_whole_trainings_are_those_of_the_package(group, tmp_path):
    from contest import TINY
    from ensembles_whole import ours, trainings_of, write_windows

    write_windows(TINY, tmp_path)
    trainings = trainings_of(TINY, 1, group, Path(__file__).parents[1], tmp_path)
    assert ours(trainings) > 0
    assert all((training["models"] / "history.npz").is_file() for training in trainings)


def test_a_sparse_checkpoint_is_a_checkpoint_whose_first_rows_hold_numbers(tmp_path):
    from large_checkpoint import write_sparse
    from safetensors.torch import load_file

    path = tmp_path / "sparse.safetensors"
    assert write_sparse(path, {"a.weight": (3000, 400), "b.weight": (20, 10)}) == 3000 * 400 + 20 * 10
    tensors = load_file(path)
    assert {name: tuple(tensor.shape) for name, tensor in tensors.items()} == {
        "a.weight": (3000, 400),
        "b.weight": (20, 10),
    }
    for tensor in tensors.values():
        assert tensor.dtype == torch.bfloat16
        assert (tensor[0] != 0).float().mean() > 0.9
        assert not tensor[1:].any()
    assert path.stat().st_blocks * 512 < path.stat().st_size / 20
