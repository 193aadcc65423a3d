"""Any checkpoint -> the spectrum of every matrix beside its null: what `transformer-spectrum analyze` does."""

from __future__ import annotations

import fnmatch
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from transformer_spectrum.analysis.of_checkpoint.layers import layers
from transformer_spectrum.analysis.of_checkpoint.results import Examination, Measured
from transformer_spectrum.runtime.errors import InputError
from transformer_spectrum.runtime.files import sha256
from transformer_spectrum.runtime.progress import Progress
from transformer_spectrum.runtime.provenance import versions
from transformer_spectrum.runtime.seeds import numpy_generator, torch_generator
from transformer_spectrum.spectra import nulls
from transformer_spectrum.spectra.analysis import METRICS, Estimators, analyze
from transformer_spectrum.spectra.weightwatcher import kernel_slices
from transformer_spectrum.weights.anatomy.companions import companions
from transformer_spectrum.weights.anatomy.constructed import constructed
from transformer_spectrum.weights.anatomy.dissection import Anatomy, Skipped, dissect
from transformer_spectrum.weights.anatomy.effective import Weights, effective, is_weight
from transformer_spectrum.weights.anatomy.formed import NotFormedError
from transformer_spectrum.weights.anatomy.fused import key_heads
from transformer_spectrum.weights.files import Checkpoint, open_checkpoint
from transformer_spectrum.weights.matrices.entries import numbers
from transformer_spectrum.weights.matrices.heads import heads
from transformer_spectrum.weights.matrices.large import shuffled_in_pieces, spectrum_in_pieces
from transformer_spectrum.weights.matrices.matrix import Matrix, spectrum

LARGE = 1 << 21  # entries above which one matrix at a time is decomposed in pieces, on the chosen device
RANK_LIMIT = 16_384  # its Gram matrix takes 2 GiB, and the decomposition as much again
NULL_BUDGET = 1 << 36  # products spent on the shuffles of one matrix


@dataclass(frozen=True)
class Settings:
    """What to measure and how.

    Attributes:
        estimators: their settings.
        shuffles: null draws of a matrix; count, >= 3, or 0 for no null. Large matrices get fewer, see `draws_of`.
        seed: of the shuffles.
        heads: of the queries, to measure every head too; None: no heads.
        include, exclude: shell patterns of matrix names; a matrix must match one of the first, if there are any,
            and none of the second.
        min_size: smaller side below which a matrix is left out; count.
        device: where large matrices are decomposed, cpu or cuda.
        key: dotted path of the dictionary in a file that is the model; None: the one that looks like it.
        skip_objects: leave out objects of unknown classes in a pickle instead of refusing the file.
        like: "weightwatcher": its table in the place of ours, for which kernels are cut as it does; or empty.
    """

    estimators: Estimators
    shuffles: int = 20
    seed: int = 0
    heads: int | None = None
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    min_size: int = 8
    device: str = "cpu"
    key: str | None = None
    skip_objects: bool = False
    like: str = ""


def examine(path: str | Path, settings: Settings) -> Examination:
    """Measures every matrix of a checkpoint, one tensor in memory at a time.

    Args:
        path: see `weight_files.open_checkpoint`.
        settings: what to measure and how.
    Raises:
        InputError: no such device, no readable checkpoint, no matrix left to measure, or heads that do not divide a
            matrix. Tensors with weights that are not finite are left out and named in `Examination.not_finite`.
    """
    if settings.device == "cuda" and not torch.cuda.is_available():
        raise InputError("--device cuda: there is no CUDA device; use cpu")
    checkpoint = open_checkpoint(path, settings.key, skip_objects=settings.skip_objects)
    in_use = effective(checkpoint.tensors, checkpoint.read, checkpoint.config, companions(path), checkpoint.metadata)
    stored = in_use.tensors
    floating = {name: tensor.shape for name, tensor in stored.items() if is_weight(tensor)}
    anatomy = dissect(floating, checkpoint.config, checkpoint.metadata)
    anatomy.matrices = in_use.described(anatomy.matrices)
    parts, skipped = _chosen(anatomy, settings, checkpoint)
    skipped += in_use.skipped
    skipped += [
        Skipped(name, tensor.shape, f"{tensor.dtype} entries are no floating-point weights")
        for name, tensor in stored.items()
        if not is_weight(tensor) and len(tensor.shape) >= 2
    ]
    if not parts:
        count = len(checkpoint.tensors)
        tensors = "1 tensor" if count == 1 else f"{count} tensors"
        raise InputError(f"{path}: no matrix to measure of {tensors}; {_why_none(skipped, checkpoint)}")
    not_finite: list[Skipped] = []
    no_weights: list[Skipped] = []
    measured = tuple(_measured(in_use, parts, settings, not_finite, no_weights))
    if not measured:
        raise InputError(f"{path}: no matrix left to measure; {_named(not_finite + no_weights)}")
    skipped += no_weights
    skipped += not_finite
    skipped += [Skipped(beside.name, beside.shape, beside.reason) for beside in checkpoint.beside]
    formed = in_use.formations([matrix.part.tensor for matrix in measured])
    notes = [*checkpoint.notes, *formed, *in_use.notes, *anatomy.notes]
    if any(len(matrix.shuffled) < settings.shuffles for matrix in measured):
        notes.append("large matrices got fewer shuffles: at most 2^36 / (entries x smaller side), at least 3")
    if any(matrix.part.entries > LARGE for matrix in measured):
        notes.append(
            "matrices above 2^21 entries were decomposed by the Gram matrix of their smaller side in float64, "
            "whose rounding is far below what counts as zero"
        )
    if settings.like:
        notes.append(
            f"the table and matrices.csv are {settings.like}'s; the page and summary.json have our metrics with its D "
            "and its smallest tail"
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
        used=len({piece for matrix in measured for piece in in_use.pieces(matrix.part.tensor)}),
        key=checkpoint.key,
        not_finite=tuple(entry.name for entry in not_finite),
    )


def _recorded(settings: Settings) -> dict[str, Any]:
    names = ("seed", "shuffles", "heads", "min_size", "device", "key", "skip_objects", "like")
    patterns = {"include": list(settings.include), "exclude": list(settings.exclude)}
    return {**{name: getattr(settings, name) for name in names}, **patterns}


def _chosen(anatomy: Anatomy, settings: Settings, checkpoint: Checkpoint) -> tuple[list[Matrix], list[Skipped]]:
    """The parts that pass the patterns and the sizes, with heads behind them, and what does not pass."""
    parts = layers(anatomy.matrices) if settings.like else anatomy.matrices
    if settings.heads is not None:
        try:
            every = heads(parts, settings.heads, key_heads(settings.heads, checkpoint.config))
        except ValueError as error:
            raise InputError(f"{checkpoint.path}: {error}") from None
        if not every:
            reason = f"{settings.heads} heads: no queries, keys or values found by their names"
            raise InputError(f"{checkpoint.path}: {reason}")
        of_tensor: dict[str, list[Matrix]] = {}
        for part in (*parts, *every):  # heads beside their matrix: one reading serves both
            of_tensor.setdefault(part.tensor, []).append(part)
        parts = [part for group in of_tensor.values() for part in group]
    chosen, skipped = [], list(anatomy.skipped)
    for part in parts:
        reason = _reason_against(part, settings)
        if reason:
            skipped.append(Skipped(part.name, part.shape, reason))
        else:
            chosen.append(part)
    return chosen, skipped


def _reason_against(part: Matrix, settings: Settings) -> str:
    def matches(patterns: tuple[str, ...]) -> bool:
        return any(fnmatch.fnmatchcase(part.name, pattern) for pattern in patterns)

    if settings.include and not matches(settings.include):
        return "no --include matches"
    if matches(settings.exclude):
        return "an --exclude matches"
    if min(part.shape) < settings.min_size:
        return f"its smaller side is below --min-size {settings.min_size}"
    if min(part.shape) > RANK_LIMIT:
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


def _named(skipped: list[Skipped]) -> str:
    more = f" and {len(skipped) - 3} more" if len(skipped) > 3 else ""
    return "; ".join(f"{entry.name}: {entry.reason}" for entry in skipped[:3]) + more


def _not_finite(tensor: Tensor) -> str:
    """The reason against a tensor with entries that are not finite; empty where there are none."""
    ends = torch.aminmax(torch.view_as_real(tensor) if tensor.is_complex() else tensor)
    if all(torch.isfinite(end) for end in ends):  # a NaN is the least and the largest
        return ""
    count = tensor.numel() - int(torch.isfinite(tensor).sum())
    return f"weights are not finite: {count:,} of {tensor.numel():,} entries are NaN or infinite"


def _measured(
    in_use: Weights, parts: list[Matrix], settings: Settings, not_finite: list[Skipped], no_weights: list[Skipped]
) -> Iterator[Measured]:
    """Every part, those with entries seen before noted with the first of them.

    Adds tensors that are not finite, and those that nobody trained or that cannot be formed, to the lists of these.
    """
    found: dict[str, Measured] = {}
    first: dict[tuple[Any, ...], str] = {}
    reading, reason, tensor, weights = "", "", torch.empty(0), 0
    with Progress("analyze", len(parts)) as progress:
        for i, part in enumerate(parts):
            if part.tensor == reading and reason:
                continue
            if part.tensor != reading:
                tensor = torch.empty(0)  # let go of the last one before the next is read
                reading, reason, no_weight = part.tensor, "", ""
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
                content = hashlib.blake2b(tensor.contiguous().view(torch.uint8).numpy().data).digest()
            key = (content, part.shape, part.index, part.rows, part.groups, part.transposed, part.cut, part.head)
            if key in first:
                twin = found[first[key]]
                found[first[key]] = replace(twin, same=(*twin.same, part.name))
            else:
                first[key] = part.name
                found[part.name] = measure(part, part.within(tensor), settings)
                if settings.like and tensor.ndim == 4 and part.entries == tensor.numel():
                    found[part.name] = _with_slices(found[part.name], tensor)
            weights += part.entries
            progress.update(i + 1, million_weights=weights / 1e6)
    yield from found.values()


def _with_slices(measured: Measured, kernel: Tensor) -> Measured:
    """The matrix of a kernel with the spectra of its positions beside its own."""
    slices = spectrum(kernel_slices(numbers(kernel, measured.part.name)))
    return replace(measured, slices=slices, slice_shape=(kernel.shape[0], kernel.shape[1]))


def measure(part: Matrix, matrix: Tensor, settings: Settings) -> Measured:
    """One matrix and its shuffles.

    Args:
        part: which it is.
        matrix: (rows, columns) finite, on the CPU, any floating or complex type.
        settings: how.
    """
    draws = draws_of(part.shape, settings.shuffles)
    purpose = f"shuffles of {part.name}"
    large = part.entries > LARGE
    values = spectrum_in_pieces(matrix, settings.device) if large else spectrum(numbers(matrix[None], part.name))[0]
    if not draws:
        shuffled = np.empty((0, len(values)))
    elif large:
        shuffled = shuffled_in_pieces(matrix, draws, numpy_generator(settings.seed, purpose), settings.device)
    else:
        shuffled = nulls.shuffled_singular_values(matrix[None], draws, torch_generator(settings.seed, purpose))[:, 0]
    spectra = np.concatenate([values[None], shuffled])[:, None]  # (1 + D, 1, r)
    analysis = analyze(spectra, np.array([part.shape]), settings.estimators)
    own, drawn = ({name: analysis.values[name][rows, 0] for name in METRICS} for rows in (0, slice(1, None)))
    compared = {
        name: nulls.compare(own[name], drawn[name]) if draws else nulls.without_null(own[name]) for name in METRICS
    }
    return Measured(
        part,
        values,
        shuffled.astype(np.float32),
        {name: float(own[name]) for name in METRICS},
        {name: analysis.reason(name, 0, 0) for name in METRICS},
        compared,
    )


def draws_of(shape: tuple[int, int], shuffles: int) -> int:
    """Shuffles of a matrix: as many as asked for, fewer when they would cost above NULL_BUDGET, at least 3 unless 0."""
    if not shuffles:
        return 0
    cost = shape[0] * shape[1] * min(shape)
    return max(nulls.DRAWS_MINIMUM, min(shuffles, NULL_BUDGET // cost))
