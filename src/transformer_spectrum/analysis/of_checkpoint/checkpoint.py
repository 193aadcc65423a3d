"""Any checkpoint -> the spectrum of every matrix beside its null: what `transformer-spectrum analyze` does."""

from __future__ import annotations

import fnmatch
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from transformer_spectrum.analysis.of_checkpoint import measuring
from transformer_spectrum.analysis.of_checkpoint.circuits import AttentionCircuits, checkpoint_circuits
from transformer_spectrum.analysis.of_checkpoint.layers import layers
from transformer_spectrum.analysis.of_checkpoint.results import Examination, MeasuredMatrix
from transformer_spectrum.analysis.of_checkpoint.settings import ExaminationSettings
from transformer_spectrum.runtime.errors import InputError
from transformer_spectrum.runtime.files import sha256
from transformer_spectrum.runtime.progress import Progress
from transformer_spectrum.runtime.provenance import versions
from transformer_spectrum.spectra import nulls
from transformer_spectrum.weights.anatomy.companions import companions
from transformer_spectrum.weights.anatomy.constructed import constructed
from transformer_spectrum.weights.anatomy.dissection import Anatomy, Skipped, dissect
from transformer_spectrum.weights.anatomy.effective import Weights, effective, is_weight
from transformer_spectrum.weights.anatomy.formed import NotFormedError
from transformer_spectrum.weights.anatomy.fused import key_heads
from transformer_spectrum.weights.files import Checkpoint, open_checkpoint
from transformer_spectrum.weights.matrices.heads import heads
from transformer_spectrum.weights.matrices.matrix import Matrix

RANK_LIMIT = 16_384  # its Gram matrix takes 2 GiB, and the decomposition as much again


def examine(path: str | Path, settings: ExaminationSettings) -> Examination:
    """Measures every matrix of a checkpoint, one tensor in memory at a time.

    Args:
        path: see `weights.files.open_checkpoint`.
        settings: what to measure and how.
    Raises:
        InputError: no such device, no readable checkpoint, no matrix left to measure, or heads that do not divide a
            matrix. Tensors with weights that are not finite are left out and named in `Examination.not_finite`.

    >>> from transformer_spectrum.spectra.analysis import Estimators
    >>> settings = ExaminationSettings(Estimators(), shuffles=0, include=("readout",))
    >>> examination = examine("models/es/best.safetensors", settings)
    >>> [measured.matrix.shape for measured in examination.matrices], examination.skipped[0].reason
    ([(12, 16)], 'no --include matches')
    """
    if settings.device == "cuda" and not torch.cuda.is_available():
        raise InputError("--device cuda: there is no CUDA device; use cpu")
    checkpoint = open_checkpoint(path, settings.key, skip_objects=settings.skip_objects)
    in_use = effective(checkpoint.tensors, checkpoint.read, checkpoint.config, companions(path), checkpoint.metadata)
    stored = in_use.tensors
    floating = {name: tensor.shape for name, tensor in stored.items() if is_weight(tensor)}
    anatomy = dissect(floating, checkpoint.config, checkpoint.metadata)
    anatomy.matrices = in_use.described(anatomy.matrices)
    matrices, skipped = _chosen(anatomy, settings, checkpoint)
    skipped += in_use.skipped
    skipped += [
        Skipped(name, tensor.shape, f"{tensor.dtype} entries are no floating-point weights")
        for name, tensor in stored.items()
        if not is_weight(tensor) and len(tensor.shape) >= 2
    ]
    if not matrices:
        count = len(checkpoint.tensors)
        tensors = "1 tensor" if count == 1 else f"{count} tensors"
        raise InputError(f"{path}: no matrix to measure of {tensors}; {_why_none(skipped, checkpoint)}")
    not_finite: list[Skipped] = []
    no_weights: list[Skipped] = []
    measured = tuple(_measured(in_use, matrices, settings, not_finite, no_weights))
    if not measured:
        raise InputError(f"{path}: no matrix left to measure; {_named(not_finite + no_weights)}")
    skipped += no_weights
    skipped += not_finite
    skipped += [Skipped(beside.name, beside.shape, beside.reason) for beside in checkpoint.beside]
    notes = _notes(checkpoint, in_use, anatomy, measured, settings)
    circuits: list[AttentionCircuits] = []
    without: list[Skipped] = []
    if settings.circuits:
        circuits, without = checkpoint_circuits(
            anatomy.matrices, in_use.read, stored, checkpoint.config, settings.heads
        )
    return Examination(
        name=checkpoint.path.resolve().name,
        files=tuple(
            {"name": file.path.name, "sha256": sha256(file.path), "bytes": file.path.stat().st_size}
            for file in checkpoint.files
        ),
        model_type=str(checkpoint.config.get("model_type", "")),
        settings=_recorded(settings),
        estimators=settings.estimators,
        versions=versions(),
        matrices=measured,
        skipped=tuple(skipped),
        vectors=anatomy.vectors + sum(len(t.shape) < 2 for t in stored.values() if not is_weight(t)),
        weights=sum(map(in_use.numbers, floating)) + in_use.left_out_weights,
        notes=tuple(notes),
        tensors=len(checkpoint.tensors),
        used=len({piece for matrix in measured for piece in in_use.pieces(matrix.matrix.tensor)}),
        key=checkpoint.key,
        not_finite=tuple(entry.name for entry in not_finite),
        circuits=tuple(circuits),
        without_circuits=tuple(without),
    )


def _notes(
    checkpoint: Checkpoint,
    in_use: Weights,
    anatomy: Anatomy,
    measured: Sequence[MeasuredMatrix],
    settings: ExaminationSettings,
) -> list[str]:
    """What a reader of the numbers should know."""
    formed = in_use.formations([matrix.matrix.tensor for matrix in measured])
    notes = [*checkpoint.notes, *formed, *in_use.notes, *anatomy.notes]
    if any(len(matrix.shuffled) < settings.shuffles for matrix in measured):
        notes.append(
            f"large matrices got fewer shuffles: at most {_power(measuring.NULL_BUDGET)} / (entries x smaller side), "
            f"at least {nulls.DRAWS_MINIMUM}"
        )
    if any(matrix.matrix.entries > measuring.LARGE for matrix in measured):
        notes.append(
            f"matrices above {_power(measuring.LARGE)} entries were decomposed by the Gram matrix of their smaller "
            "side in float64; singular values that its rounding could have made count as zero"
        )
    if settings.like:
        notes.append(
            f"the table and matrices.csv are {settings.like}'s; the page and summary.json have our metrics with its D "
            "and its smallest tail"
        )
    return notes


def _recorded(settings: ExaminationSettings) -> dict[str, Any]:
    names = ("seed", "shuffles", "heads", "min_size", "device", "key", "skip_objects", "circuits", "like")
    patterns = {"include": list(settings.include), "exclude": list(settings.exclude)}
    return {**{name: getattr(settings, name) for name in names}, **patterns}


def _chosen(
    anatomy: Anatomy, settings: ExaminationSettings, checkpoint: Checkpoint
) -> tuple[list[Matrix], list[Skipped]]:
    """The parts that pass the patterns and the sizes, with heads behind them, and what does not pass."""
    matrices = layers(anatomy.matrices) if settings.like else anatomy.matrices
    if settings.heads is not None:
        try:
            every = heads(matrices, settings.heads, key_heads(settings.heads, checkpoint.config))
        except ValueError as error:
            raise InputError(f"{checkpoint.path}: {error}") from None
        if not every:
            reason = f"{settings.heads} heads: no queries, keys or values found by their names"
            raise InputError(f"{checkpoint.path}: {reason}")
        of_tensor: dict[str, list[Matrix]] = {}
        for matrix in (*matrices, *every):  # heads beside their matrix: one reading serves both
            of_tensor.setdefault(matrix.tensor, []).append(matrix)
        matrices = [matrix for group in of_tensor.values() for matrix in group]
    chosen, skipped = [], list(anatomy.skipped)
    for matrix in matrices:
        reason = _reason_against(matrix, settings)
        if reason:
            skipped.append(Skipped(matrix.name, matrix.shape, reason))
        else:
            chosen.append(matrix)
    return chosen, skipped


def _reason_against(matrix: Matrix, settings: ExaminationSettings) -> str:
    def matches(patterns: tuple[str, ...]) -> bool:
        return any(fnmatch.fnmatchcase(matrix.name, pattern) for pattern in patterns)

    if settings.include and not matches(settings.include):
        return "no --include matches"
    if matches(settings.exclude):
        return "an --exclude matches"
    if min(matrix.shape) < settings.min_size:
        return f"its smaller side is below --min-size {settings.min_size}"
    if min(matrix.shape) > RANK_LIMIT:
        return f"its smaller side is above {RANK_LIMIT}"
    return ""


def _why_none(skipped: list[Skipped], checkpoint: Checkpoint) -> str:
    reasons = {skip.reason for skip in skipped}
    reason = f"left out: {'; '.join(sorted(reasons))}" if reasons else "none has two axes"
    others = [beside.name for beside in checkpoint.beside]
    taken = f'; these are the tensors under "{checkpoint.key}"' if checkpoint.key else ""
    if not others:
        return reason + taken
    more = f" and {len(others) - 8} more" if len(others) > 8 else ""
    return f"{reason}{taken}; beside them: {', '.join(others[:8])}{more}; --key takes another"


def _power(number: int) -> str:
    """A power of two as 2^n, any other number written out."""
    return f"2^{number.bit_length() - 1}" if number.bit_count() == 1 else f"{number:,}"


def _named(skipped: list[Skipped]) -> str:
    more = f" and {len(skipped) - 3} more" if len(skipped) > 3 else ""
    return "; ".join(f"{entry.name}: {entry.reason}" for entry in skipped[:3]) + more


LARGEST = 1e70
"""Size of a weight; fourth powers, which metrics take, are finite and not 0. Only float64 has larger ones."""


def _not_finite(tensor: Tensor) -> str:
    """The reason against a tensor with entries that are not finite, or whose powers are not; empty where none is."""
    ends = torch.aminmax(torch.view_as_real(tensor) if tensor.is_complex() else tensor)
    if all(torch.isfinite(end) for end in ends):  # a NaN is the least and the largest
        largest = max(abs(float(end)) for end in ends)
        if largest == 0 or 1 / LARGEST <= largest <= LARGEST:
            return ""
        return (
            f"weights are out of range: the largest is {largest:.3g} in size; must be within 1e-70 and 1e70 (float64)"
        )
    count = tensor.numel() - int(torch.isfinite(tensor).sum())
    return f"weights are not finite: {count:,} of {tensor.numel():,} entries are NaN or infinite"


def _measured(
    in_use: Weights,
    matrices: list[Matrix],
    settings: ExaminationSettings,
    not_finite: list[Skipped],
    no_weights: list[Skipped],
) -> Iterator[MeasuredMatrix]:
    """Every matrix, those with entries seen before noted with the first of them.

    Adds tensors that are not finite, and those that nobody trained or that cannot be formed, to the lists of these.
    """
    measured: dict[str, MeasuredMatrix] = {}
    first: dict[tuple[Any, ...], str] = {}
    reading: str | None = None  # a name may be empty
    reason, tensor, weights = "", torch.empty(0), 0
    with Progress("analyze", len(matrices)) as progress:
        for i, matrix in enumerate(matrices):
            if matrix.tensor == reading and reason:
                continue
            if matrix.tensor != reading:
                tensor = torch.empty(0)  # let go of the last one before the next is read
                reading, reason, no_weight = matrix.tensor, "", ""
                try:
                    tensor = in_use.read(reading)
                    no_weight = constructed(reading, tensor)
                except NotFormedError as error:
                    no_weight = str(error)
                reason = no_weight or _not_finite(tensor)
                if reason:
                    shape = in_use.tensors[reading].shape
                    (no_weights if no_weight else not_finite).append(Skipped(reading, shape, reason))
                    continue
                content = hashlib.blake2b(tensor.reshape(-1).view(torch.uint8).numpy().data).digest()
            key = (
                content,
                matrix.shape,
                matrix.index,
                matrix.rows,
                matrix.groups,
                matrix.transposed,
                matrix.cut,
                matrix.head,
            )
            if key in first:
                twin = measured[first[key]]
                measured[first[key]] = replace(twin, same=(*twin.same, matrix.name))
            else:
                first[key] = matrix.name
                measured[matrix.name] = measuring.measure(matrix, matrix.within(tensor), settings)
                if settings.like and tensor.ndim == 4 and matrix.entries == tensor.numel():
                    measured[matrix.name] = measuring.with_slices(measured[matrix.name], tensor)
            weights += matrix.entries
            progress.update(i + 1, million_weights=weights / 1e6)
    yield from measured.values()
