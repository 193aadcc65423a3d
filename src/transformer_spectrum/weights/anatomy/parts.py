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

from torch import Tensor

from transformer_spectrum.weights.anatomy.axes import Kind, effective_axes, plain_rows, read
from transformer_spectrum.weights.anatomy.buffers import STATISTICS, buffer_by_name, codebook_note
from transformer_spectrum.weights.anatomy.experts import expert_rows, gate_up
from transformer_spectrum.weights.anatomy.families import family_of, fused_kind, is_bias, path_of
from transformer_spectrum.weights.anatomy.fused import CONV1D, ROLES, Cut, cuts, sections
from transformer_spectrum.weights.anatomy.layers import unstacked
from transformer_spectrum.weights.anatomy.readings import Left, Stack
from transformer_spectrum.weights.anatomy.recurrent import gates_of

_CONV1D_NAMES = re.compile(r"(^|\.)(c_attn|c_proj|c_fc|q_attn)\.weight$")


@dataclass(frozen=True)
class Part:
    """One matrix.

    Attributes:
        name: the tensor's, without ".weight", and what was cut out of it: "h.0.attn.c_attn.query".
        family: what it is for, see `families.family_of`.
        tensor: the checkpoint's name of the tensor that holds it.
        shape: rows (outputs) and columns (inputs).
        index: of the leading axes, for experts, layers and recorded steps; empty: the whole tensor.
        rows: axes, behind those of `index`, that are the matrix's rows; the others are its columns.
        groups: blocks of the first of these axes, which are an axis before it; count, 1 for none.
        transposed: stored as inputs x outputs.
        cut: rows of the whole; None for all.
        head: (first, last) rows of what is left, for a single attention head.
        note: how it was taken from the tensor, empty when as stored.
        weights: numbers in the file that it stands for where these are fewer than its entries.
    """

    name: str
    family: str
    tensor: str
    shape: tuple[int, int]
    index: tuple[int | slice, ...] = ()
    rows: tuple[int, ...] = (0,)
    groups: int = 1
    transposed: bool = False
    cut: Cut | None = None
    head: tuple[int, int] | None = None
    note: str = ""
    weights: int | None = None

    @property
    def numbers(self) -> int:
        """In the file that it stands for: its entries, or those of the factors it is the product of."""
        return self.entries if self.weights is None else self.weights

    @property
    def entries(self) -> int:
        """Rows times columns."""
        return self.shape[0] * self.shape[1]

    def of(self, tensor: Tensor) -> Tensor:
        """The matrix itself, (rows, columns); a view where the layout allows it."""
        whole = tensor[self.index]
        whole = whole if self.groups == 1 else whole.unflatten(0, (self.groups, -1))
        columns = [axis for axis in range(whole.ndim) if axis not in self.rows]
        whole = whole.permute(*self.rows, *columns).reshape(math.prod(whole.shape[axis] for axis in self.rows), -1)
        whole = whole.T if self.transposed else whole
        if self.cut is not None:
            blocks, first, last = self.cut
            whole = whole.unflatten(0, (blocks, -1))[:, first:last].flatten(0, 1)
        return whole if self.head is None else whole[self.head[0] : self.head[1]]


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
        parts: in the order of the tensors.
        skipped: tensors of two axes or more that are none.
        vectors: how many tensors have fewer than two axes.
        notes: what a reader of results has to know, one sentence each.
        doubts: note of a doubtful reading -> the tensors it is of; `notes` has a sentence on each.
    """

    parts: list[Part] = field(default_factory=list)
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
            anatomy.parts += _stack(name, shape, apart, recorded)
        else:
            kind = None if kinds is None else kinds.get(name)
            parts = _matrices(name, shape, apart, config, conv1d, kind, anatomy)
            if name in origins:
                origin = origins[name]
                parts = [replace(part, tensor=origin.tensor, index=origin.index + part.index) for part in parts]
            anatomy.parts += parts
    anatomy.notes += [_doubt(names, note) for note, names in anatomy.doubts.items()]
    return anatomy


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
    """The steps of the stacks in a snapshots.safetensors of this project; None in any other file."""
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


def _stack(name: str, shape: tuple[int, ...], shapes: Mapping[str, tuple[int, ...]], stack: Stack) -> list[Part]:
    families = stack.families or (family_of(name, shapes),) * len(stack.labels)
    whole = Part(path_of(name), "", name, (shape[1], math.prod(shape[2:])), note=stack.note)
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
) -> list[Part] | None:
    """The matrices of a tensor of three or more axes; None where it is one of two behind axes of one entry."""
    reading = read(name, shape, shapes, config, kind)
    if isinstance(reading, Left):
        anatomy.skipped.append(Skipped(name, shape, reading.reason))
        return []
    if isinstance(reading, Stack):
        parts = _stack(name, shape, shapes, reading)
        halves = gate_up(name, shape, shapes, config) if len(shape) == 3 else None
        if halves is None:
            return parts
        turned, gate, up = halves
        parts = [replace(part, transposed=turned, shape=part.shape[::-1] if turned else part.shape) for part in parts]
        roles = {"gate": gate, "up": up}
        return [
            _cut(part, role, f"feed_forward_{role}", cut, part.note) for part in parts for role, cut in roles.items()
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
    return [Part(path_of(name), family, name, size, rows=reading.rows, groups=reading.groups, note=note)]


def _matrices(
    name: str,
    shape: tuple[int, ...],
    shapes: Mapping[str, tuple[int, ...]],
    config: Mapping[str, Any],
    conv1d: bool,
    kind: Kind | None,
    anatomy: Anatomy,
) -> list[Part]:
    """The matrices of one tensor."""
    cell = gates_of(name, shape, shapes)
    if cell is not None:
        whole = Part(cell.label, cell.family, name, (shape[0], shape[1]))
        if len(cell.gates) == 1:
            return [whole]
        cuts_of = zip(cell.gates, cell.cuts, strict=True)
        return [_cut(whole, gate, cell.family, cut, "one gate") for gate, cut in cuts_of]
    if len(shape) > 2:
        parts = _of_many_axes(name, shape, shapes, config, kind, anatomy)
        if parts is not None:
            return parts
    family, axes = family_of(name, shapes), plain_rows(shape)
    rows = math.prod(shape[axis] for axis in axes)
    columns = math.prod(shape) // rows
    transposed = (conv1d and _CONV1D_NAMES.search(name) is not None) or (name.endswith("kernel") and len(shape) == 2)
    if transposed:
        rows, columns = columns, rows
    whole = Part(path_of(name), family, name, (rows, columns), rows=axes, transposed=transposed)
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
        found = cuts(fused, rows, columns, config, timm=beside in shapes)
        if not isinstance(found, str):
            note = f"rows of the fused tensor, {turned}" if turned else "rows of the fused tensor"
            families = [f"cross_{role}" if family.startswith("cross_") else role for role in ROLES]
            return [_cut(whole, *labels, note) for labels in zip(ROLES, families, found, strict=True)]
        if fused != "in_proj":
            anatomy.notes.append(f"{name} is left in one piece: {found}")
    if whole.name.endswith(".gate_up_proj") and rows % 2 == 0:
        halves = Cut(1, 0, rows // 2), Cut(1, rows // 2, rows)
        roles = "gate", "up"
        return [
            _cut(whole, role, f"feed_forward_{role}", half, "rows of the fused tensor")
            for role, half in zip(roles, halves, strict=True)
        ]
    return [replace(whole, note=turned or codebook_note(name, shapes))]


def _cut(whole: Part, label: str, family: str, cut: Cut, note: str) -> Part:
    shape = (cut.blocks * (cut.last - cut.first), whole.shape[1])
    return replace(whole, name=f"{whole.name}.{label}", family=family, shape=shape, cut=cut, note=note)
