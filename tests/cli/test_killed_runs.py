"""A run that dies at any operation on a file goes on to the same outputs, and `runs` says how far it is."""

import os
import shutil
import signal
import sys
from functools import partial
from pathlib import Path

import pytest
from small_runs import SMALL, write_data

import transformer_spectrum.training.train  # noqa: F401  before any fork
from transformer_spectrum.analysis.loading import load_run
from transformer_spectrum.cli.main import main
from transformer_spectrum.runtime import replacement
from transformer_spectrum.runtime.errors import InputError
from transformer_spectrum.runtime.files import read_json, write_json, write_text
from transformer_spectrum.runtime.replacement import atomic_together
from transformer_spectrum.study import single_run
from transformer_spectrum.training.records.run_folder import RunFolder

ARGUMENTS = ("train", "-d", "data.npy", *SMALL, "--epochs", "1", "--set", "budget.evaluations=1")
OPERATIONS = ((replacement, "_exchange"), (os, "rename"), (os, "replace"), (os, "unlink"), (os, "rmdir"))


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty folder to be in, with data.npy; figures, which take seconds, are two small files."""

    def write(params, models, caption, plots, metrics):
        with atomic_together(metrics / "spectra.json", folders=[plots]) as (spectra, figures):
            write_json(spectra, 1)
            write_text(figures / "loss.png", caption.line())

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(single_run, "write_outputs", write)
    write_data(tmp_path / "data.npy")
    return tmp_path


def child(*arguments, before=lambda: None):
    """Exit code of the command in a forked process, minus the signal's number when it was killed."""
    sys.stdout.flush()
    pid = os.fork()
    if pid:
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    code = 1
    try:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 1)
        os.dup2(nowhere, 2)
        before()
        main(list(arguments))
        code = 0
    except SystemExit as ended:
        code = ended.code or 0
    finally:
        os._exit(code)


def die_at(number, how):
    """Sends this process the signal at its so-manyth operation that changes what is on the disk."""
    left = [number]

    def dying(*given, original, **named):
        left[0] -= 1
        if not left[0]:
            os.kill(os.getpid(), how)
        return original(*given, **named)

    for owner, name in OPERATIONS:
        setattr(owner, name, partial(dying, original=getattr(owner, name)))


def outputs(run):
    return {str(path.relative_to(run)) for path in run.rglob("*") if path.is_file()}


def assert_done(run, expected):
    assert RunFolder(run).state == "done"
    assert outputs(run) == expected
    assert read_json(run / "run.json")["ended"]
    record = load_run(run)
    assert record.scores["free_running"]["mae"] == read_json(run / "metrics/metrics.json")["test_mae"]
    assert record.scores["stop_reason"] == "budget.evaluations = 1 spent"
    assert (run / "metrics/plots/metrics/train_loss.tsv").read_text().count("\n") == 2


@pytest.fixture
def whole(folder):
    """The files of a run that nothing has disturbed."""
    assert child(*ARGUMENTS, "-n", "whole") == 0
    (run,) = Path("runs/whole").iterdir()
    return outputs(run)


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_a_run_that_is_stopped_at_every_operation_in_turn_is_gone_on_with_to_the_end(how, whole):
    """Each process goes on with what the one before has left, and is stopped one operation later."""
    states = []
    assert child(*ARGUMENTS, "-n", "stopped", before=lambda: die_at(20, how)) in (-signal.SIGKILL, 130)
    (run,) = Path("runs/stopped").iterdir()
    for number in range(1, 100, 2):
        states.append(RunFolder(run).state)
        code = child("train", "--resume", str(run), before=lambda: die_at(number, how))  # noqa: B023
        if code == 0:
            break
        assert code in (-signal.SIGKILL, 130)
        if RunFolder(run).state == "done":  # stopped between the last step and the end of the process
            break
    assert {"interrupted", "trained"} <= set(states)
    assert states == sorted(states)  # it never falls back
    assert_done(run, whole)


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_a_run_that_is_stopped_before_it_began_leaves_none(how, folder):
    for number in (1, 4, 7):
        code = child(*ARGUMENTS, "-n", "early", before=lambda: die_at(number, how))  # noqa: B023
        assert code in (-signal.SIGKILL, 130)
        assert [path.name for path in Path("runs").glob("early/[!.]*")] == []
    assert child(*ARGUMENTS, "-n", "early") == 0
    assert len(os.listdir("runs/early")) == 1  # and nothing that is hidden


@pytest.mark.slow
def test_what_an_earlier_version_has_broken_is_trained_again(whole, capsys):
    """With a model and without metrics, as a stop at the end used to leave it."""
    (run,) = Path("runs/whole").iterdir()
    about = read_json(run / "run.json")
    del about["ended"]
    write_json(run / "run.json", about)
    assert RunFolder(run).state == "done"
    for name in ("metrics", "figures"):
        shutil.rmtree(run / name)
    assert RunFolder(run).state == "interrupted"
    main(["train", "--resume", str(run)])
    assert_done(run, whole)


@pytest.mark.slow
def test_windows_that_are_not_those_of_the_beginning_are_refused_and_lose_nothing(whole, capsys):
    (run,) = Path("runs/whole").iterdir()
    shutil.rmtree(run / "metrics")
    windows = (run / "data/windows.npz").read_bytes()
    (run / "data/windows.npz").write_bytes(windows[:-1])
    before = outputs(run)
    with pytest.raises(SystemExit) as ended:
        main(["train", "--resume", str(run)])
    assert ended.value.code == 2
    assert f"{run}/data/windows.npz: not the windows that the run began with" in capsys.readouterr().err
    assert outputs(run) == before
    (run / "data/windows.npz").write_bytes(windows)
    main(["train", "--resume", str(run)])
    assert_done(run, whole)


def test_two_processes_do_not_go_on_with_the_same_run(whole):
    (run,) = Path("runs/whole").iterdir()
    shutil.rmtree(run / "figures")
    with RunFolder(run).at_work():
        assert RunFolder(run).state == "running"
        with pytest.raises(InputError, match="another process is at work in it"), RunFolder(run).at_work():
            pass
    assert RunFolder(run).state == "trained"
