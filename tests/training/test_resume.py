"""A stopped training goes on to the same bits, whatever instant it was stopped at."""

import dataclasses
import errno
import itertools
import math
import shutil
import signal
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from transformer_spectrum.config.load import load_params, parse_params
from transformer_spectrum.models.forecaster import Layout
from transformer_spectrum.optimizers.contract import Searcher, Step
from transformer_spectrum.runtime import replacement
from transformer_spectrum.runtime.deciding_code import PACKAGE
from transformer_spectrum.runtime.files import sha256
from transformer_spectrum.runtime.interruption import Interrupted, Interruption
from transformer_spectrum.training import resume as module
from transformer_spectrum.training.evaluation import Validation
from transformer_spectrum.training.fingerprint import fingerprint
from transformer_spectrum.training.loop import Member, fit
from transformer_spectrum.training.measuring import Start
from transformer_spectrum.training.recording import Budget, Recording
from transformer_spectrum.training.resume import ResumeFiles, difference
from transformer_spectrum.training.state import StepRecord, TrainingState
from transformer_spectrum.weights.matrices.families import Family
from transformer_spectrum.weights.matrices.matrix import Matrix

LAYOUT = Layout(torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Linear(4, 2)))
MATRICES = [
    Matrix("first", Family("up"), "0.weight", (4, 3)),
    Matrix("second", Family("down"), "1.weight", (2, 4)),
]
WEIGHTS = torch.linspace(-1, 1, LAYOUT.size)
STEPS = 9


class Killed(BaseException):
    """Stands for SIGKILL: nothing of ours catches it."""


class Wanderer(Searcher):
    """A random walk with momentum; it draws from its generator."""

    def __init__(self, killed_at=None, steps=STEPS, interrupts=None):
        self.killed_at, self.last, self.interrupts = killed_at, steps, interrupts

    def search(self, batches, weights, generator, state=None):
        if state is None:
            index, position, speed = 0, weights.clone(), torch.zeros_like(weights)
            yield self.step(index, position, speed, None)
        else:
            index, position, speed = int(state["index"]), state["position"], state["speed"]
        while index < self.last:
            index += 1
            if index == self.killed_at:
                raise Killed
            if index == self.interrupts:
                signal.raise_signal(signal.SIGTERM)
            speed = 0.9 * speed + 0.01 * torch.randn(len(weights), generator=generator) * torch.rand(
                len(weights), generator=generator
            )
            position = position + speed
            yield self.step(index, position, speed, position.flip(0))

    def step(self, index, position, speed, candidate):
        state = {"index": torch.tensor(index), "position": position, "speed": speed}
        loss = float((position**2).sum())
        scalars = {"speed": float(speed.norm()), "gone": math.nan, "wide": math.inf}
        offered = {} if candidate is None else {"candidate": candidate, "candidate_loss": float(candidate[0])}
        return Step(index, 2 * index, loss, position, scalars, state=lambda: state, **offered)


def run(folder=None, said=None, fingerprint=None, searcher=None, patience=None, interruption=None, **changes):
    resume_files = folder and ResumeFiles(
        folder, fingerprint or {"loss": {"q": 5.0}}, [].append if said is None else said.append
    )
    member = Member(
        searcher or Wanderer(),
        None,
        Wavy(),
        Start(WEIGHTS, LAYOUT, MATRICES),
        Recording(snapshot_every=3, step_spectra=True, patience=patience),
        torch.Generator().manual_seed(3),
        resume_files=resume_files,
        **changes,
    )
    (result,) = fit([member], interruption)
    return result


class Wavy:
    """A validation that goes up and down."""

    def validation(self, weights):
        return Validation(*[float(torch.sin(9 * weights).sum())] * 2, 0.5, math.nan)


def assert_same(one, other):
    for field in dataclasses.fields(one.history):
        if field.name != "seconds":
            expected, found = getattr(one.history, field.name), getattr(other.history, field.name)
            assert np.asarray(expected).tobytes() == np.asarray(found).tobytes(), field.name
    assert torch.equal(one.best, other.best)
    assert torch.equal(one.last, other.last)
    assert list(one.snapshots) == list(other.snapshots)
    assert all(torch.equal(one.snapshots[step], other.snapshots[step]) for step in one.snapshots)
    assert torch.equal(one.candidate.weights, other.candidate.weights)
    assert dataclasses.replace(one.candidate, weights=None) == dataclasses.replace(other.candidate, weights=None)
    assert (one.stop_cause, one.stop_reason) == (other.stop_cause, other.stop_reason)


@pytest.fixture(scope="module")
def whole():
    return run()


@pytest.fixture
def every_step(monkeypatch):
    monkeypatch.setattr(module, "SHARE", math.inf)
    monkeypatch.setattr("os.fsync", lambda descriptor: None)  # slow, and no matter to a process that is killed


def stop(folder, at, **changes):
    with pytest.raises(Killed):
        run(folder, searcher=Wanderer(killed_at=at), **changes)


def test_keeping_a_training_changes_nothing_of_it(tmp_path, whole, every_step):
    assert_same(whole, run(tmp_path / "resume"))


@pytest.mark.parametrize("kills", [(1,), (5,), (9,), (2, 3, 8), (1, 2, 3, 4, 5, 6, 7, 8, 9), (4, 4, 4)])
def test_a_training_that_was_killed_goes_on_to_the_same_bits(tmp_path, whole, every_step, kills):
    for at in kills:
        stop(tmp_path / "resume", at)
    result = run(tmp_path / "resume")
    assert_same(whole, result)
    assert result.resumed_at == sorted({at - 1 for at in kills})


def disk(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()} if folder.exists() else {}


def test_a_kill_between_any_two_lines_leaves_files_to_go_on_from(tmp_path, whole, every_step):
    seen = []

    def trace(frame, event, argument):
        if frame.f_code.co_filename not in (module.__file__, replacement.__file__):
            return None
        if event != "call" and (found := disk(tmp_path / "traced")) not in seen[-1:]:
            seen.append(found)
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        run(tmp_path / "traced")
    finally:
        sys.settrace(before)
    assert len(seen) > 4 * STEPS  # a save changes the folder several times
    behind = set()
    for number, found in enumerate(seen):
        folder = tmp_path / str(number)
        folder.mkdir()
        for name, content in found.items():
            (folder / name).write_bytes(content)
        said = []
        result = run(folder, said)
        assert_same(whole, result)
        assert not [line for line in said if "damaged" in line]
        assert not [name for name in disk(folder) if name.startswith(".")]
        behind |= set(result.resumed_at)
    assert behind == set(range(STEPS + 1))


def test_a_folder_that_vanishes_is_written_anew_in_full_and_says_so(tmp_path, whole, every_step):
    said, folder = [], tmp_path / "resume"

    class Vanishing(Wanderer):
        def search(self, *given):
            for step in super().search(*given):
                if step.index in (4, 6):
                    shutil.rmtree(folder)
                yield step

    with pytest.raises(Killed):
        run(folder, said, searcher=Vanishing(killed_at=8))
    assert said == [f"{folder}: vanished while it was being written; all of it is written anew"] * 2
    said.clear()
    assert_same(whole, run(folder, said))
    assert said == ["going on behind step 7"]


def test_what_was_not_saved_is_computed_again_to_the_same_bits(tmp_path, whole, monkeypatch):
    monkeypatch.setattr(module, "SHARE", 1e-9)  # after step 0 it is never time again
    stop(tmp_path / "resume", 7)
    result = run(tmp_path / "resume")
    assert result.resumed_at == [0]
    assert_same(whole, result)


@pytest.mark.parametrize(("cost", "saves"), [(0.01, 41), (0.0625, 14), (0.9, 2)])
def test_saving_takes_no_more_than_its_share_of_the_time(tmp_path, monkeypatch, cost, saves):
    now, done = [0.0], []

    def write(self, training, state, generator):
        now[0] += cost
        done.append(now[0])

    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(ResumeFiles, "_write", write)
    resume_files = ResumeFiles(tmp_path, {})
    for _ in range(41):
        resume_files.save(None, dict, None)
        now[0] += 0.5  # a step
    assert len(done) == saves
    assert (len(done) - 1) * cost <= module.SHARE * now[0]  # the first is what finds out the cost


def test_seconds_go_on_where_they_were_and_leave_the_time_between_out(tmp_path, every_step, monkeypatch):
    ticks = itertools.count()
    monkeypatch.setattr("transformer_spectrum.training.loop.time.monotonic", lambda: float(next(ticks)))
    stop(tmp_path / "resume", 4, budget=Budget(seconds=1000.0))
    for _ in range(500):
        next(ticks)
    seconds = run(tmp_path / "resume").history.seconds
    assert (np.diff(seconds) > 0).all()
    assert seconds[-1] < 100


def test_a_budget_of_seconds_counts_those_of_before(tmp_path, every_step):
    stop(tmp_path / "resume", 4)
    spent = run(tmp_path / "resume", searcher=Wanderer(steps=3)).history.seconds[-1]
    result = run(tmp_path / "resume", budget=Budget(seconds=spent))
    assert result.history.steps[-1] == 4
    assert result.stop_reason == f"budget.seconds = {spent:g} spent"


def test_a_training_that_had_ended_ends_again_at_once(tmp_path, every_step):
    ended = run(tmp_path / "resume", patience=1)
    assert ended.stop_reason == "no better validation MAE for 1 epochs or generations"
    again = run(tmp_path / "resume", patience=1, searcher=Wanderer(killed_at=int(ended.history.steps[-1]) + 1))
    assert_same(ended, again)


def test_all_steps_are_shown_again_after_a_resume(tmp_path, every_step):
    stop(tmp_path / "resume", 6)
    rows = []
    run(tmp_path / "resume", observe=rows.append)
    assert [row.step for row in rows] == list(range(STEPS + 1))
    assert math.isnan(rows[2].scalars["gone"])
    assert rows[2].scalars["wide"] == math.inf


@pytest.mark.parametrize("first", [3, 1])
def test_a_signal_waits_for_the_step_and_for_its_saving(tmp_path, whole, monkeypatch, first):
    monkeypatch.setattr(module, "SHARE", 1e-9)  # nothing but the signal makes it save
    interruption = Interruption()
    with pytest.raises(Interrupted) as stopped, interruption, interruption.deferred():
        run(tmp_path / "resume", searcher=Wanderer(interrupts=first), interruption=interruption)
    assert stopped.value.number == signal.SIGTERM
    result = run(tmp_path / "resume")
    assert result.resumed_at == [first]
    assert_same(whole, result)


def test_a_second_signal_does_not_wait():
    interruption = Interruption()
    with pytest.raises(Interrupted), interruption, interruption.deferred():
        signal.raise_signal(signal.SIGTERM)
        waited = True
        signal.raise_signal(signal.SIGTERM)
        pytest.fail("went on")
    assert waited


def test_a_signal_outside_the_training_does_not_wait():
    with pytest.raises(Interrupted), Interruption():
        signal.raise_signal(signal.SIGTERM)
        pytest.fail("went on")


def test_a_signal_that_the_process_ignores_stays_ignored():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with Interruption() as interruption:
            signal.raise_signal(signal.SIGINT)
        assert interruption.number == 0
    finally:
        signal.signal(signal.SIGINT, before)


def test_files_of_another_training_are_not_used_and_the_difference_is_named(tmp_path, every_step):
    stop(tmp_path / "resume", 5)
    said = []
    result = run(tmp_path / "resume", said, fingerprint={"loss": {"q": 3.0}})
    assert result.resumed_at == []
    assert said == [f"{tmp_path / 'resume'} is of another training (loss.q was 5.0, is 3.0), so training starts anew"]


def test_the_difference_is_the_first_leaf():
    assert difference({"a": 1, "b": {"c": 2, "d": 3}}, {"a": 1, "b": {"c": 2, "d": 4}}) == "b.d was 3, is 4"
    assert difference({"a": 1}, {"a": 1, "b": 2}) == "b was None, is 2"


@pytest.mark.parametrize("name", ["state.safetensors", "rows.jsonl", "snapshots.bin"])
@pytest.mark.parametrize("damage", ["missing", "short", "empty"])
def test_damaged_files_are_said_so_and_training_starts_anew(tmp_path, whole, every_step, name, damage):
    stop(tmp_path / "resume", 7)
    path = tmp_path / "resume" / name
    content = path.read_bytes()
    path.unlink()
    if damage != "missing":
        path.write_bytes(content[: len(content) // 2] if damage == "short" else b"")
    said = []
    result = run(tmp_path / "resume", said)
    assert result.resumed_at == []
    assert len(said) == (0 if (name, damage) == ("state.safetensors", "missing") else 1)
    assert all("damaged" in line and "\n" not in line for line in said)
    assert_same(whole, result)


@pytest.mark.parametrize("name", ["state.safetensors", "rows.jsonl", "snapshots.bin"])
def test_a_single_bit_that_a_disk_has_lost_is_not_gone_on_with(tmp_path, whole, every_step, name):
    stop(tmp_path / "resume", 7)
    path = tmp_path / "resume" / name
    content = path.read_bytes()
    for place in range(0, len(content), max(1, len(content) // 150)):
        damaged = bytearray(content)
        damaged[place] ^= 1 << place % 8
        shutil.copytree(tmp_path / "resume", tmp_path / "damaged")
        (tmp_path / "damaged" / name).write_bytes(damaged)
        said = []
        files = ResumeFiles(tmp_path / "damaged", {"loss": {"q": 5.0}}, said.append)
        assert files.load(WEIGHTS, torch.Generator()) is None, place
        assert len(said) == 1, place
        assert any(reason in said[0] for reason in ("damaged", "of another training")), said
        assert not (tmp_path / "damaged").exists()
    said = []
    assert_same(whole, run(tmp_path / "resume", said))
    assert said == ["going on behind step 6"]


def test_rows_out_of_their_places_are_not_gone_on_with(tmp_path, whole, every_step):
    stop(tmp_path / "resume", 7)
    path = tmp_path / "resume/rows.jsonl"
    rows = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([rows[1], rows[0], *rows[2:]]))
    said = []
    assert_same(whole, run(tmp_path / "resume", said))
    assert len(said) == 1
    assert "its checksum is that of other bytes" in said[0]


def test_a_disk_that_takes_nothing_is_said_once_and_ends_nothing(tmp_path, whole, every_step, monkeypatch):
    def full(path):
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr(module, "atomic_path", full)
    said = []
    assert_same(whole, run(tmp_path / "resume", said))
    assert len(said) == 1
    assert "No space left on device" in said[0]


def test_a_disk_that_was_full_for_a_while_spoils_nothing(tmp_path, whole, every_step, monkeypatch):
    calls, real = itertools.count(), replacement.atomic_path

    def sometimes(path):
        if next(calls) in (2, 3, 6):
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        return real(path)

    monkeypatch.setattr(module, "atomic_path", sometimes)
    stop(tmp_path / "resume", 8)
    result = run(tmp_path / "resume")
    assert result.resumed_at == [7]
    assert_same(whole, result)


def test_a_state_comes_back_exactly_whatever_its_tensors_are(tmp_path):
    storage = torch.arange(24.0)
    state = {
        "one": storage,
        "view": storage[2:5],
        "again": storage,
        "sparse": storage.reshape(4, 6).T,
        "scalar": torch.tensor(0.1, dtype=torch.float64),
        "bits": torch.arange(5, dtype=torch.uint8),
        "flags": torch.tensor([True, False]),
        "half": torch.tensor([1.5, -0.0, math.nan], dtype=torch.bfloat16),
        "none": torch.empty(0, 7),
    }
    numbers = np.arange(6, dtype=np.float32)
    training = TrainingState(WEIGHTS, WEIGHTS)
    validation, spectra = Validation(0.3, 0.3, 0.3, 1.0), numbers.reshape(2, 3)
    row = StepRecord(0, 0, 1, 0.1, 0.2, validation, 0.0, {}, numbers[:2], spectra, spectra)
    training.add(row, WEIGHTS, snapshot=True)
    resume_files = ResumeFiles(tmp_path / "resume", {})
    resume_files.save(training, lambda: state, torch.Generator())
    _, again = ResumeFiles(tmp_path / "resume", {}).load(WEIGHTS, torch.Generator())
    assert again.keys() == state.keys()
    for name, value in state.items():
        assert again[name].dtype == value.dtype
        assert again[name].shape == value.shape
        found, expected = (one.reshape(-1).view(torch.uint8) for one in (again[name], value))
        assert torch.equal(found, expected)


def test_nothing_is_left_when_the_files_are_removed(tmp_path, every_step):
    for name in ("adam", "es"):
        stop(tmp_path / ".resume" / name, 3)
    ResumeFiles(tmp_path / ".resume/adam", {}).remove()
    assert [path.name for path in (tmp_path / ".resume").iterdir()] == ["es"]
    ResumeFiles(tmp_path / ".resume/es", {}).remove()
    assert list(tmp_path.iterdir()) == []


ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("section", "name", "value", "decides"),
    [
        ("loss", "q", math.inf, True),
        ("adam", "learning_rate", 0.5, True),
        ("training", "batch_size", 7, True),
        ("training", "workers", 7, False),
        ("training", "memory_mib", 7, False),
        ("es", "sigma", 0.5, False),
        ("spectra", "min_tail", 9, False),
    ],
)
def test_the_fingerprint_holds_the_parameters_that_decide_a_training(tmp_path, section, name, value, decides):
    data = tmp_path / "windows.npz"
    data.write_bytes(b"windows")
    tree = load_params(ROOT / "params.yaml").model_dump()
    before = fingerprint(parse_params(tree), "adam", data, torch.device("cpu"))
    old = tree[section][name]
    tree[section][name] = value
    after = fingerprint(parse_params(tree), "adam", data, torch.device("cpu"))
    assert (before != after) == decides
    if decides:
        assert difference(before, after) == f"params.{section}.{name} was {old}, is {value}"


def test_the_fingerprint_holds_the_data(tmp_path):
    data, found = tmp_path / "windows.npz", []
    for content in (b"one", b"another"):
        data.write_bytes(content)
        found.append(fingerprint(load_params(ROOT / "params.yaml"), "adam", data, torch.device("cpu")))
    assert difference(*found).startswith("data was ")


def test_the_fingerprint_holds_the_code_that_a_training_stage_depends_on(tmp_path):
    (tmp_path / "windows.npz").write_bytes(b"")
    package = "src/transformer_spectrum/"
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
    for optimizer in ("adam", "es", "ga"):
        params = load_params(ROOT / "params.yaml")
        held = fingerprint(params, optimizer, tmp_path / "windows.npz", torch.device("cpu"))["code"]
        named = [dep.removeprefix(package) for dep in stages[f"train-{optimizer}"]["deps"] if dep.startswith(package)]
        paths = [path for name in named for path in (PACKAGE / name, *(PACKAGE / name).rglob("*.py")) if path.is_file()]
        assert held == {str(path.relative_to(PACKAGE)): sha256(path)[:12] for path in paths}


def test_a_signal_that_comes_while_a_step_is_saved_waits_for_the_next(tmp_path, every_step, monkeypatch):
    interruption, saved, save = Interruption(), [], ResumeFiles.save

    def disturbed(files, training, *rest, **options):
        save(files, training, *rest, **options)
        saved.append(training.rows[-1].step)
        interruption.number = signal.SIGTERM

    monkeypatch.setattr(ResumeFiles, "save", disturbed)
    with pytest.raises(Interrupted):
        run(tmp_path / "resume", interruption=interruption)
    assert saved == [0, 1]
