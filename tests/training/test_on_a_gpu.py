"""What `device: cuda` does, on a GPU that is pretended: see tests/pretend_gpu.py."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from small_members import METHODS

pytestmark = pytest.mark.slow

TESTS = Path(__file__).parents[1]
WITHOUT_DETERMINISTIC_KERNEL = {
    *("AvgPool3d", "adaptive_avg_pool2d", "adaptive_max_pool2d", "fractional_max_pool2d", "fractional_max_pool3d"),
    *("max_unpool2d", "max_unpool3d", "upsample_linear1d", "upsample_bilinear2d", "upsample_bicubic2d"),
    *("upsample_trilinear3d", "reflection_pad1d", "reflection_pad2d", "reflection_pad3d", "nll_loss_forward"),
    *("_ctc_loss", "_embedding_bag", "put_", "histc", "bincount", "median", "median.dim", "kthvalue"),
    *("grid_sampler_2d", "grid_sampler_3d", "cumsum", "scatter_reduce"),
}
"""Of floating-point numbers on CUDA, as torch documents of `use_deterministic_algorithms`."""
NAMES = ["-".join([optimizer, *map(str, shared.values())]) for optimizer, shared in METHODS]


@pytest.fixture(scope="module")
def answers():
    command = [sys.executable, str(TESTS / "pretended_trainings.py")]
    environment = {**os.environ, "PYTHONPATH": str(TESTS.parent / "src")}
    process = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=900)
    assert process.returncode == 0, process.stderr
    return json.loads(process.stdout)


def test_the_pretence_refuses_what_a_gpu_refuses(answers):
    assert answers["refused"].startswith("add: expected all tensors to be on the same device")


@pytest.mark.parametrize("name", NAMES)
def test_trainings_are_those_of_the_cpu(name, answers):
    answer = answers["methods"][name]
    assert answer["on_gpu"]
    assert all(answer["stops"])
    # SOAP's eigenvectors of gradients that span few directions: one digit in the last place does as much on a CPU.
    assert answer["validation"] < (0.1 if "soap" in name else 1e-5)
    if name.split("-")[0] != "adam" or "sgd" in name:  # methods that do not divide by gradients of almost zero
        assert answer["weights"] < 1e-5


def test_no_operation_is_one_that_cuda_computes_otherwise_each_time(answers):
    """For then `training.setup.make_deterministic` would let it end in an error."""
    operations = {name.removesuffix(".default") for name in answers["operations"]}
    assert {"bmm", "baddbmm", "linalg_vector_norm"} & operations
    assert not operations & WITHOUT_DETERMINISTIC_KERNEL


@pytest.mark.parametrize("name", NAMES)
def test_no_update_and_no_candidate_takes_a_transfer_of_its_own(name, answers):
    answer = answers["methods"][name]
    assert answer["transfers"] == answer["transfers of more"]
    assert max(answer["transfers"].values()) <= 50  # in two epochs or generations of three members


def test_a_training_that_was_killed_goes_on_to_the_same_bits(answers):
    assert answers["resumed"] == {"adam": True, "es": True, "ga": True}


def test_files_are_written_and_say_where_it_was_computed(answers):
    files = answers["files"]
    assert files["reasons"] == [""] * 6
    assert files["weights"] < 1e-5
    assert files["devices"] == ["pretended:0"] * 3
