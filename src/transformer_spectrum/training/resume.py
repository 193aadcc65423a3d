"""Resume files: another process goes on behind the last saved step of a killed training, to the same bits.

A folder holds three files:

    state.safetensors   the searcher's state, the random generator's, the last and best weights, the best candidate;
                        its metadata has the rest, and says how much of the other two files counts
    rows.jsonl          a line a step, appended
    snapshots.bin       the snapshots' weights, one behind the other, appended

Only the first is ever replaced, atomically and last. So a process that is killed at any instant leaves the old state
or the new one, and what it has appended behind the part that counts is overwritten by the next. The metadata holds a
checksum of all that counts, the other two files included: what differs from it by a bit is not gone on with.

A save that took c seconds is followed by the next one no sooner than c / `SHARE` seconds later: where saving is cheap
every step is saved, and nowhere does it cost more than that share of the time. What is lost between two saves is
computed again, to the same bits.
"""

from __future__ import annotations

import base64
import errno
import hashlib
import json
import math
import os
import shutil
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from transformer_spectrum.optimizers.contract import State, StopCause
from transformer_spectrum.runtime.files import atomic_path
from transformer_spectrum.training.evaluation import Validation
from transformer_spectrum.training.state import Candidate, StepRecord, TrainingState

SHARE = 0.05
NOTHING = {"rows": 0, "bytes": 0, "snapshots": 0}
"""How much of the appended files counts before anything is."""
ARRAYS = ("distances", "singular_values", "change_singular_values", "step_singular_values")
"""Fields of a row that are no numbers but arrays, the distances first."""


class ResumeFiles:
    """The resume files of one training.

    Args:
        folder: nothing else may be in it.
        fingerprint: JSON-able tree of all that decides the training's bits; files with another are not used.
        say: takes one line for the user: what was found and not used, or cannot be written.

    >>> import tempfile
    >>> weights, generator, spectrum = torch.zeros(2), torch.Generator(), np.ones((1, 1), np.float32)
    >>> training = TrainingState(weights, weights)
    >>> validation = Validation(loss=0.9, mae=0.8, residual_mad=0.7, influence_cosine=1.0)
    >>> row = StepRecord(0, 0, 1, 0.5, 0.9, validation, 0.0, {}, spectrum[0], spectrum, 0 * spectrum)
    >>> training.add(row, weights, snapshot=True)
    >>> with tempfile.TemporaryDirectory() as scratch:
    ...     ResumeFiles(f"{scratch}/adam", {"seed": 1}).save(training, dict, generator)
    ...     resumed, state = ResumeFiles(f"{scratch}/adam", {"seed": 1}, print).load(weights, generator)
    ...     ResumeFiles("adam", {"seed": 2}).load(weights, generator) is None
    going on behind step 0
    True
    >>> resumed.rows[0].loss, resumed.resumed_at
    (0.9, [0])
    """

    def __init__(
        self, folder: str | Path, fingerprint: Mapping[str, Any], say: Callable[[str], None] = lambda line: None
    ) -> None:
        self.folder = Path(folder)
        self.state, self.rows, self.snapshots = (
            self.folder / name for name in ("state.safetensors", "rows.jsonl", "snapshots.bin")
        )
        self.fingerprint = json.loads(json.dumps(fingerprint))
        self.say = say
        self.saved: int | None = None
        """The step behind which another process would go on."""
        self._counts = dict(NOTHING)
        self._appended = _Digests()
        self._ended, self._cost = -math.inf, 0.0
        self._failed = False

    def load(self, weights: Tensor, generator: torch.Generator) -> tuple[TrainingState, State] | None:
        """What was saved last, with the random generator set back to it; None where there is nothing to go on from.

        Args:
            weights: (n,) the initial ones, on the device that computes.
            generator: the search's.
        """
        if not self.state.exists():
            self.remove()
            return None
        try:
            with safe_open(self.state, framework="pt") as file:
                about = file.metadata()["about"]
                progress = json.loads(about)
                if progress["fingerprint"] != self.fingerprint:
                    changed = difference(progress["fingerprint"], self.fingerprint)
                    self.say(f"{self.folder} is of another training ({changed}), so training starts anew")
                    self.remove()
                    return None
                # Cloned, because kernels may round otherwise in memory that is aligned otherwise.
                tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
                checksum = file.metadata().get("checksum")
            training, appended = self._training(progress, tensors, weights)
            if checksum != _checksum(about, tensors, appended):
                raise ValueError("its checksum is that of other bytes")
        except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
            self.say(f"{self.folder} is damaged ({' '.join(str(error).split())}), so training starts anew")
            self.remove()
            return None
        for leftover in self.folder.glob(f".{self.state.name}.*"):
            leftover.unlink()
        self._counts, self._appended, self.saved = progress["counts"], appended, training.rows[-1].step
        training.resumed_at.append(self.saved)
        self.say(f"going on behind step {self.saved}")
        generator.set_state(tensors["random"])
        return training, {name: tensors[f"state.{name}"].to(device) for name, device in progress["devices"].items()}

    def _training(
        self, progress: Mapping[str, Any], tensors: Mapping[str, Tensor], weights: Tensor
    ) -> tuple[TrainingState, _Digests]:
        """And the digests of what counts of the appended files."""
        counts, appended = progress["counts"], _Digests()
        with self.rows.open("rb") as stream:
            lines = stream.read(counts["bytes"])
        appended.rows.update(lines)
        rows = [_row(line) for line in lines.splitlines()]
        if len(rows) != counts["rows"]:
            raise ValueError(f"{len(rows)} of {counts['rows']} rows")
        snapshot_steps = progress["snapshots"]
        flat = torch.empty(len(snapshot_steps), len(weights), dtype=weights.dtype)
        if snapshot_steps:
            with self.snapshots.open("rb") as stream:
                if stream.readinto(flat.numpy().data) != flat.nbytes:
                    raise ValueError(f"fewer than {len(snapshot_steps)} snapshots")
            appended.snapshots.update(flat.numpy().data)
        candidate = progress["candidate"]
        last = tensors["last"].to(weights)
        training = TrainingState(
            last=last,
            best=tensors["best"].to(weights) if "best" in tensors else last,
            select=progress["select"],
            best_step=progress["best_step"],
            loss_mad=progress["loss_mad"],
            candidate=candidate and Candidate(tensors["candidate"].to(weights), **candidate),
            rows=rows,
            snapshots={step: values.to(weights) for step, values in zip(snapshot_steps, flat, strict=True)},
            stop_reason=progress["stop_reason"],
            stop_cause=progress["stop_cause"] and StopCause(progress["stop_cause"]),
            resumed_at=progress["resumed_at"],
        )
        return training, appended

    def save(
        self, training: TrainingState, state: Callable[[], State], generator: torch.Generator, *, always: bool = False
    ) -> None:
        """Saves the training's last step, when it is time to; see the module.

        A disk that does not take it is reported once and ends nothing.

        Args:
            training: with at least one row.
            state: gives the searcher's after that step.
            generator: the search's, as it is after that step.
            always: whatever it costs.
        """
        began = time.monotonic()
        if not always and began - self._ended < self._cost / SHARE:
            return
        try:
            self._write(training, state(), generator)
        except OSError as error:
            if not self._failed:
                self.say(f"{self.folder} cannot be written ({error.strerror}): a stop would lose what is not in it")
            self._failed = True
        self._ended = time.monotonic()
        self._cost = self._ended - began

    def _write(self, training: TrainingState, state: State, generator: torch.Generator) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        if not self._is_there(training.last.nbytes):
            self.say(f"{self.folder}: vanished while it was being written; all of it is written anew")
            self._counts, self._appended = dict(NOTHING), _Digests()
        counts, appended = dict(self._counts), self._appended.copy()
        lines = b"".join(_line(row) for row in training.rows[counts["rows"] :])
        _append(self.rows, counts["bytes"], [lines], appended.rows)
        counts["rows"], counts["bytes"] = len(training.rows), counts["bytes"] + len(lines)
        snapshots = list(training.snapshots.values())
        if len(snapshots) > counts["snapshots"]:
            size = training.last.nbytes
            added = (weights.cpu().numpy().data for weights in snapshots[counts["snapshots"] :])
            _append(self.snapshots, counts["snapshots"] * size, added, appended.snapshots)
            counts["snapshots"] = len(snapshots)

        tensors = {f"state.{name}": value for name, value in state.items()}
        tensors |= {"random": generator.get_state(), "last": training.last}
        if training.best_step != training.rows[-1].step:
            tensors["best"] = training.best
        candidate = training.candidate
        if candidate is not None:
            tensors["candidate"] = candidate.weights
        progress = {
            "fingerprint": self.fingerprint,
            "counts": counts,
            "snapshots": list(training.snapshots),
            "select": training.select,
            "best_step": training.best_step,
            "loss_mad": training.loss_mad,
            "candidate": candidate and {"step": candidate.step, "loss": candidate.loss, "mad": candidate.mad},
            "stop_reason": training.stop_reason,
            "stop_cause": training.stop_cause,
            "resumed_at": training.resumed_at,
            "devices": {name: str(value.device) for name, value in state.items()},
        }
        saved, about = _apart(tensors), json.dumps(progress)
        with atomic_path(self.state) as temporary:
            try:
                save_file(saved, temporary, {"about": about, "checksum": _checksum(about, saved, appended)})
            except SafetensorError as error:
                raise OSError(errno.EIO, str(error), str(self.state)) from error
        self._counts, self._appended, self.saved = counts, appended, training.rows[-1].step

    def _is_there(self, snapshot: int) -> bool:
        """Whether what was appended so far still is, of which a snapshot takes so many bytes."""
        expected = {self.rows: self._counts["bytes"], self.snapshots: self._counts["snapshots"] * snapshot}
        return all(not size or (path.exists() and path.stat().st_size >= size) for path, size in expected.items())

    def remove(self) -> None:
        """Deletes the files; their folder's parent too, when nothing else is in it."""
        self.state.unlink(missing_ok=True)  # first: without it the others mean nothing
        shutil.rmtree(self.folder, ignore_errors=True)
        with suppress(OSError):
            self.folder.parent.rmdir()


def difference(old: Any, new: Any, name: str = "") -> str:
    """The first leaf in which two trees differ.

    >>> difference({"loss": {"p": 2.0, "q": 5.0}}, {"loss": {"p": 2.0, "q": 3.0}})
    'loss.q was 5.0, is 3.0'
    """
    if isinstance(old, dict) and isinstance(new, dict):
        for key in sorted(old.keys() | new.keys()):
            if old.get(key) != new.get(key):
                return difference(old.get(key), new.get(key), f"{name}.{key}" if name else key)
    return f"{name} was {old}, is {new}"


class _Digests:
    """Of what counts of the two appended files, so far."""

    def __init__(self) -> None:
        self.rows, self.snapshots = hashlib.sha256(), hashlib.sha256()

    def copy(self) -> _Digests:
        """One that goes on by itself."""
        copied = _Digests()
        copied.rows, copied.snapshots = self.rows.copy(), self.snapshots.copy()
        return copied


def _checksum(about: str, tensors: Mapping[str, Tensor], appended: _Digests) -> str:
    """Of all that a training goes on from; hexadecimal."""
    digest = hashlib.sha256(about.encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    for appended_file in (appended.rows, appended.snapshots):
        digest.update(appended_file.digest())
    return digest.hexdigest()


def _append(path: Path, at: int, parts: Iterable[bytes | memoryview], digest: Any) -> None:
    """Writes behind the first `at` bytes, over whatever is there, and has the digest go on over it."""
    with path.open("r+b" if path.exists() else "wb") as stream:
        stream.seek(at)
        for piece in parts:
            stream.write(piece)
            digest.update(piece)
        stream.truncate()
        stream.flush()
        os.fsync(stream.fileno())


def _line(row: StepRecord) -> bytes:
    fields = asdict(row)
    for name in ARRAYS:
        if fields[name] is not None:
            fields[name] = base64.b64encode(fields[name].astype("<f4").tobytes()).decode()
    return json.dumps(fields).encode() + b"\n"  # repr of a float is exact


def _row(line: bytes) -> StepRecord:
    fields = json.loads(line)
    for name in ARRAYS:
        if fields[name] is not None:
            values = np.frombuffer(base64.b64decode(fields[name]), "<f4").astype(np.float32)
            fields[name] = values if name == "distances" else values.reshape(len(fields["distances"]), -1)
    return StepRecord(**{**fields, "validation": Validation(*fields["validation"])})


def _apart(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """On the CPU, dense, and no two in one storage, which safetensors refuses."""
    apart: dict[str, Tensor] = {}
    seen: set[int] = set()
    for name, tensor in tensors.items():
        plain = tensor.detach().cpu().contiguous()
        pointer = plain.untyped_storage().data_ptr()
        apart[name] = plain.clone() if pointer in seen else plain
        seen.add(pointer)
    return apart
