"""Tensors of a checkpoint -> the matrices to analyse, without reading an entry.

A matrix is outputs x inputs. What a checkpoint stores otherwise is turned: GPT-2's Conv1D (inputs x outputs) is
transposed, a convolution (out, in, ...) is flattened to out x the rest, fused queries, keys and values, gates, experts
and stacked layers are cut apart. Vectors are left out, and so is what a name says to be no weight.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from transformer_spectrum.weights.anatomy.axes import Kind, effective_axes, plain_rows, read
from transformer_spectrum.weights.anatomy.buffers import STATISTICS, buffer_by_name, codebook_note
from transformer_spectrum.weights.anatomy.experts import expert_rows, gate_up
from transformer_spectrum.weights.anatomy.fused import CONV1D, cuts, sections
from transformer_spectrum.weights.anatomy.habits import family_of, fused_kind, is_bias, path_of
from transformer_spectrum.weights.anatomy.layers import unstacked
from transformer_spectrum.weights.anatomy.readings import Left, Stack
from transformer_spectrum.weights.anatomy.recurrent import gates_of
from transformer_spectrum.weights.matrices.families import PROJECTIONS, Family, forecaster_prefix, of_forecaster
from transformer_spectrum.weights.matrices.matrix import Cut, Matrix

_GATED = ("gate", "up")
_CONV1D_NAMES = re.compile(r"(^|\.)(c_attn|c_proj|c_fc|q_attn)\.weight$")


@dataclass(frozen=True)
class Skipped:
    """A tensor that is not analysed, and why.

    Attributes:
        name: as stored, or the matrix's.
        shape: likewise.
        reason: why.
        weights: numbers packed in it where these are others than its entries; None where they are not.
    """

    name: str
    shape: tuple[int, ...]
    reason: str
    weights: int | None = None


@dataclass
class Anatomy:
    """All matrices of a checkpoint.

    Attributes:
        matrices: in the order of the tensors.
        skipped: tensors of two axes or more that are none.
        vectors: how many tensors have fewer than two axes.
        notes: what a reader of results has to know, one sentence each.
        doubts: note of a doubtful reading -> the tensors it is of; `notes` has a sentence on each.
    """

    matrices: list[Matrix] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    vectors: int = 0
    notes: list[str] = field(default_factory=list)
    doubts: dict[str, list[str]] = field(default_factory=dict)


def dissect(
    shapes: Mapping[str, tuple[int, ...]],
    config: Mapping[str, Any],
    metadata: Mapping[str, str] | None = None,
    kinds: Mapping[str, Kind] | None = None,
) -> Anatomy:
    """Finds the matrices.

    Args:
        shapes: tensor name -> shape as stored.
        config: config.json of a Hugging Face model; empty where there is none.
        metadata: of a safetensors file; our own snapshots name their recorded steps there.
        kinds: tensor name -> what the module that holds it says it is; of a live model alone, whose parameters are
            trained whatever their names.

    >>> anatomy = dissect({"attn.in_proj_weight": (12, 4), "attn.in_proj_bias": (12,)}, {})
    >>> [(matrix.name, matrix.family.label, matrix.shape) for matrix in anatomy.matrices][:2]
    [('attn.in_proj.query', 'query', (4, 4)), ('attn.in_proj.key', 'key', (4, 4))]
    """
    anatomy, steps = Anatomy(), recorded_steps(metadata or {})
    conv1d = _is_conv1d(shapes, config)
    if conv1d:
        anatomy.notes.append("GPT-2's Conv1D tensors (inputs x outputs) are transposed")
    apart, origins = unstacked(shapes, config) if steps is None else (dict(shapes), {})
    stacks = {origin.tensor for origin in origins.values()}
    if stacks:
        layers = " or ".join(sorted({str(origin.layers) for origin in origins.values()}))
        anatomy.notes.append(f"{len(stacks)} tensors such as {min(stacks)} hold {layers} layers each, measured apart")
    for name, shape in apart.items():
        if _is_vector(shape):
            anatomy.vectors += 1
            continue
        reason = _no_weight(name, shape, live=kinds is not None)
        if reason:
            anatomy.skipped.append(Skipped(name, shape, reason))
        elif steps is not None and len(shape) == 3 and shape[0] == len(steps):
            recorded = Stack(tuple(f"@{step}" for step in steps), "at a recorded step")
            anatomy.matrices += _stack(name, shape, apart, recorded)
        else:
            kind = None if kinds is None else kinds.get(name)
            matrices = _matrices(name, shape, apart, config, conv1d, kind, anatomy)
            if name in origins:
                origin = origins[name]
                matrices = [
                    replace(matrix, tensor=origin.tensor, index=origin.index + matrix.index) for matrix in matrices
                ]
            anatomy.matrices += matrices
    anatomy.matrices = _with_blocks(anatomy.matrices)
    anatomy.notes += [_doubt(names, note) for note, names in anatomy.doubts.items()]
    return anatomy


def _with_blocks(matrices: Sequence[Matrix]) -> list[Matrix]:
    """Those of a forecaster of this project with the families that its module gives them; any others as they are."""
    paths = [path_of(matrix.tensor) for matrix in matrices]
    prefix = forecaster_prefix(dict.fromkeys(paths))
    if prefix is None:
        return list(matrices)
    families = [of_forecaster(path.removeprefix(prefix)) for path in paths]
    return [
        replace(m, family=family if family.block else m.family) for m, family in zip(matrices, families, strict=True)
    ]


def _doubt(names: Sequence[str], note: str) -> str:
    more = f" and {len(names) - 1} more of this shape" if len(names) > 1 else ""
    return f"{names[0]}{more} may be read wrongly: {note}, taken as one piece"


def _no_weight(name: str, shape: tuple[int, ...], *, live: bool) -> str:
    """Why a tensor is none to measure, as its shape and its name say; empty where they do not."""
    if math.prod(shape) == 0:
        return "it has no entries"
    if is_bias(name):
        return "a bias or a mask by its name"
    reason = buffer_by_name(name)
    return "" if live and reason != STATISTICS else reason


def recorded_steps(metadata: Mapping[str, str]) -> list[int] | None:
    """The steps of the stacks in a snapshots.safetensors of this project; None in any other file.

    >>> recorded_steps({"run": '{"steps": [0, 20]}'}), recorded_steps({"format": "pt"})
    ([0, 20], None)
    """
    try:
        steps = json.loads(metadata.get("run", "{}")).get("steps")
    except (json.JSONDecodeError, AttributeError):
        return None
    return steps if isinstance(steps, list) and all(isinstance(step, int) for step in steps) else None


def _is_vector(shape: tuple[int, ...]) -> bool:
    """Whether at most one axis has more than one entry; (n, 1) stays the matrix of a single input."""
    return effective_axes(shape) < 2 and not (len(shape) == 2 and shape[1] == 1 < shape[0])


def _is_conv1d(shapes: Mapping[str, tuple[int, ...]], config: Mapping[str, Any]) -> bool:
    """Whether c_attn and its kin are inputs x outputs: as config.json says, or as the first c_attn's shape does."""
    attention = [shape for name, shape in shapes.items() if name.endswith("c_attn.weight") and len(shape) == 2]
    if attention:
        return attention[0][1] == 3 * attention[0][0]
    return any(section.get("model_type") in CONV1D for section in sections(config))


def _stack(name: str, shape: tuple[int, ...], shapes: Mapping[str, tuple[int, ...]], stack: Stack) -> list[Matrix]:
    families = stack.families or (family_of(name, shapes),) * len(stack.labels)
    whole = Matrix(path_of(name), Family("other"), name, (shape[1], math.prod(shape[2:])), note=stack.note)
    return [
        replace(whole, name=whole.name + label, family=family, index=(i,))
        for i, (label, family) in enumerate(zip(stack.labels, families, strict=True))
    ]


def _of_many_axes(
    name: str,
    shape: tuple[int, ...],
    shapes: Mapping[str, tuple[int, ...]],
    config: Mapping[str, Any],
    kind: Kind | None,
    anatomy: Anatomy,
) -> list[Matrix] | None:
    """The matrices of a tensor of three or more axes; None where it is one of two behind axes of one entry."""
    reading = read(name, shape, shapes, config, kind)
    if isinstance(reading, Left):
        anatomy.skipped.append(Skipped(name, shape, reading.reason))
        return []
    if isinstance(reading, Stack):
        experts = _stack(name, shape, shapes, reading)
        halves = gate_up(name, shape, shapes, config) if len(shape) == 3 else None
        if halves is None:
            return experts
        turned, *cuts_of = halves
        if turned:
            experts = [replace(expert, transposed=True, shape=expert.shape[::-1]) for expert in experts]
        return [
            _cut(expert, role, Family(f"feed_forward_{role}"), cut, expert.note)
            for expert in experts
            for role, cut in zip(_GATED, cuts_of, strict=True)
        ]
    if not reading.note:
        return None
    axes = shape if reading.groups == 1 else (reading.groups, shape[0] // reading.groups, *shape[1:])
    rows = math.prod(axes[axis] for axis in reading.rows)
    size = (rows, math.prod(shape) // rows)
    family = reading.family or family_of(name, shapes)
    if reading.doubtful:
        anatomy.doubts.setdefault(reading.note, []).append(name)
    note = f"{reading.note}, as {size[0]}x{size[1]}"
    return [Matrix(path_of(name), family, name, size, rows=reading.rows, groups=reading.groups, note=note)]


def _matrices(
    name: str,
    shape: tuple[int, ...],
    shapes: Mapping[str, tuple[int, ...]],
    config: Mapping[str, Any],
    conv1d: bool,
    kind: Kind | None,
    anatomy: Anatomy,
) -> list[Matrix]:
    """The matrices of one tensor."""
    cell = gates_of(name, shape, shapes)
    if cell is not None:
        whole = Matrix(cell.label, cell.family, name, (shape[0], shape[1]))
        if len(cell.gates) == 1:
            return [whole]
        cuts_of = zip(cell.gates, cell.cuts, strict=True)
        return [_cut(whole, gate, cell.family, cut, "one gate") for gate, cut in cuts_of]
    if len(shape) > 2:
        matrices = _of_many_axes(name, shape, shapes, config, kind, anatomy)
        if matrices is not None:
            return matrices
    family, axes = family_of(name, shapes), plain_rows(shape)
    rows = math.prod(shape[axis] for axis in axes)
    columns = math.prod(shape) // rows
    transposed = (conv1d and _CONV1D_NAMES.search(name) is not None) or (name.endswith("kernel") and len(shape) == 2)
    if transposed:
        rows, columns = columns, rows
    whole = Matrix(path_of(name), family, name, (rows, columns), rows=axes, transposed=transposed)
    count = expert_rows(name, shape, config)
    if count is not None:
        note = "rows of one expert, as stored"
        return [
            _cut(whole, f"expert_{i}", family, Cut(1, i * rows // count, (i + 1) * rows // count), note)
            for i in range(count)
        ]
    turned = "transposed" if transposed else ""
    fused = fused_kind(name)
    if fused is not None:
        beside = name.removesuffix("qkv.weight") + "proj.weight"
        thirds = cuts(fused, rows, columns, config, timm=beside in shapes)
        if not isinstance(thirds, str):
            note = f"rows of the fused tensor, {turned}" if turned else "rows of the fused tensor"
            return [
                _cut(whole, *labels, note) for labels in zip(PROJECTIONS, family.projections(), thirds, strict=True)
            ]
        if fused != "in_proj":
            anatomy.notes.append(f"{name} is left in one piece: {thirds}")
    if whole.name.endswith(".gate_up_proj") and rows % 2 == 0:
        halves = Cut(1, 0, rows // 2), Cut(1, rows // 2, rows)
        return [
            _cut(whole, role, Family(f"feed_forward_{role}"), half, "rows of the fused tensor")
            for role, half in zip(_GATED, halves, strict=True)
        ]
    return [replace(whole, note=turned or codebook_note(name, shapes))]


def _cut(whole: Matrix, label: str, family: Family, cut: Cut, note: str) -> Matrix:
    shape = (cut.blocks * (cut.last - cut.first), whole.shape[1])
    return replace(whole, name=f"{whole.name}.{label}", family=family, shape=shape, cut=cut, note=note)
