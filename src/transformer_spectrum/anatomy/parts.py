"""Tensors of a checkpoint -> the matrices to analyse, without reading an entry.

A matrix is outputs x inputs. What a checkpoint stores otherwise is turned: GPT-2's Conv1D (inputs x outputs) is
transposed, a convolution (out, in, ...) is flattened to out x the rest, fused queries, keys and values, gates and
experts are cut apart. Vectors are left out.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from torch import Tensor

from transformer_spectrum.anatomy.families import family_of, fused_kind, is_bias, path_of
from transformer_spectrum.anatomy.fused import CONV1D, ROLES, Cut, cuts, heads_of, sections

LSTM = ("input_gate", "forget_gate", "cell_gate", "output_gate")  # rows in torch.nn.LSTM's order
GRU = ("reset_gate", "update_gate", "new_gate")
_RECURRENT = re.compile(r"^(?P<cell>(?:.*\.)?)weight_(?P<side>ih|hh)(?P<layer>(?:_l\d+(?:_reverse)?)?)$")
_OURS = re.compile(r"^(?P<cell>.*\.)(?P<side>input|state)\.weight$")
_CONV1D_NAMES = re.compile(r"(^|\.)(c_attn|c_proj|c_fc|q_attn)\.weight$")


@dataclass(frozen=True)
class Part:
    """One matrix.

    Attributes:
        name: the tensor's, without ".weight", and what was cut out of it: "h.0.attn.c_attn.query".
        family: what it is for, see `families.family_of`.
        tensor: the checkpoint's name of the tensor that holds it.
        shape: rows (outputs) and columns (inputs).
        index: of the leading axis, for experts and recorded steps.
        transposed: stored as inputs x outputs.
        cut: rows of the whole; None for all.
        head: (first, last) rows of what is left, for a single attention head.
        note: how it was taken from the tensor, empty when as stored.
    """

    name: str
    family: str
    tensor: str
    shape: tuple[int, int]
    index: int | None = None
    transposed: bool = False
    cut: Cut | None = None
    head: tuple[int, int] | None = None
    note: str = ""

    @property
    def entries(self) -> int:
        """Rows times columns."""
        return self.shape[0] * self.shape[1]

    def of(self, tensor: Tensor) -> Tensor:
        """The matrix itself, (rows, columns); a view where the layout allows it."""
        whole = tensor if self.index is None else tensor[self.index]
        whole = whole.reshape(_flat(tuple(whole.shape)))
        whole = whole.T if self.transposed else whole
        if self.cut is not None:
            blocks, first, last = self.cut
            whole = whole.unflatten(0, (blocks, -1))[:, first:last].flatten(0, 1)
        return whole if self.head is None else whole[self.head[0] : self.head[1]]


@dataclass(frozen=True)
class Skipped:
    """A tensor that is not analysed, and why."""

    name: str
    shape: tuple[int, ...]
    reason: str


@dataclass
class Anatomy:
    """All matrices of a checkpoint.

    Attributes:
        parts: in the order of the tensors.
        skipped: tensors of two axes or more that are none.
        vectors: how many tensors have fewer than two axes.
        notes: what a reader of results has to know, one sentence each.
    """

    parts: list[Part] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    vectors: int = 0
    notes: list[str] = field(default_factory=list)


def dissect(
    shapes: Mapping[str, tuple[int, ...]], config: Mapping[str, Any], metadata: Mapping[str, str] | None = None
) -> Anatomy:
    """Finds the matrices.

    Args:
        shapes: tensor name -> shape as stored.
        config: config.json of a Hugging Face model; empty where there is none.
        metadata: of a safetensors file; our own snapshots name their recorded steps there.
    """
    anatomy, steps = Anatomy(), recorded_steps(metadata or {})
    conv1d = _is_conv1d(shapes, config)
    if conv1d:
        anatomy.notes.append("GPT-2's Conv1D tensors (inputs x outputs) are transposed")
    for name, shape in shapes.items():
        squeezed = _squeezed(shape)
        if len(squeezed) < 2:
            anatomy.vectors += 1
        elif math.prod(shape) == 0:
            anatomy.skipped.append(Skipped(name, shape, "it has no entries"))
        elif is_bias(name):
            anatomy.skipped.append(Skipped(name, shape, "a bias or a mask by its name"))
        elif steps is not None and len(shape) == 3 and shape[0] == len(steps):
            family = family_of(name, 2, shapes)
            labels = [f"@{step}" for step in steps]
            anatomy.parts += _stack(name, family, shape, labels, "at a recorded step")
        elif len(shape) == 3 and re.search(r"(^|\.)experts?\.", name):
            family = family_of(name, 3, shapes)
            labels = [f".expert_{i}" for i in range(shape[0])]
            anatomy.parts += _stack(name, family, shape, labels, "one expert of a stack, rows and columns as stored")
        else:
            anatomy.parts += _matrices(name, shape, shapes, config, conv1d, anatomy.notes)
    return anatomy


def recorded_steps(metadata: Mapping[str, str]) -> list[int] | None:
    """The steps of the stacks in a snapshots.safetensors of this project; None in any other file."""
    try:
        steps = json.loads(metadata.get("run", "{}")).get("steps")
    except (json.JSONDecodeError, AttributeError):
        return None
    return steps if isinstance(steps, list) and all(isinstance(step, int) for step in steps) else None


def _squeezed(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Without leading axes of one entry in front of a matrix or a vector: (1, 197, 768) is a matrix."""
    while shape and shape[0] == 1 and len(shape) != 4:
        shape = shape[1:]
    return shape


def _flat(shape: tuple[int, ...]) -> tuple[int, int]:
    shape = _squeezed(shape) if len(_squeezed(shape)) >= 2 else shape
    return shape[0], math.prod(shape[1:])


def _is_conv1d(shapes: Mapping[str, tuple[int, ...]], config: Mapping[str, Any]) -> bool:
    """Whether c_attn and its kin are inputs x outputs: as config.json says, or as the first c_attn's shape does."""
    attention = [shape for name, shape in shapes.items() if name.endswith("c_attn.weight") and len(shape) == 2]
    if attention:
        return attention[0][1] == 3 * attention[0][0]
    return any(section.get("model_type") in CONV1D for section in sections(config))


def _stack(name: str, family: str, shape: tuple[int, ...], labels: Sequence[str], note: str) -> list[Part]:
    whole = Part(path_of(name), family, name, (shape[1], shape[2]), note=note)
    return [replace(whole, name=whole.name + label, index=i) for i, label in enumerate(labels)]


def _matrices(
    name: str,
    shape: tuple[int, ...],
    shapes: Mapping[str, tuple[int, ...]],
    config: Mapping[str, Any],
    conv1d: bool,
    notes: list[str],
) -> list[Part]:
    """The matrices of one tensor."""
    gates = _gates(name, shape, shapes)
    if gates is not None:
        return gates
    squeezed = _squeezed(shape)
    family = family_of(name, len(squeezed), shapes)
    transposed = conv1d and len(squeezed) == 2 and _CONV1D_NAMES.search(name) is not None
    rows, columns = _flat(shape)[::-1] if transposed else _flat(shape)
    whole = Part(path_of(name), family, name, (rows, columns), transposed=transposed)
    if len(squeezed) > 2:
        return [replace(whole, note=f"{'x'.join(map(str, squeezed))} flattened to {rows}x{columns}")]
    turned = "transposed" if transposed else ""
    kind = fused_kind(name)
    if kind is not None:
        beside = name.removesuffix("qkv.weight") + "proj.weight"
        found = cuts(kind, rows, columns, config, timm=beside in shapes)
        if not isinstance(found, str):
            note = f"rows of the fused tensor, {turned}" if turned else "rows of the fused tensor"
            families = [f"cross_{role}" if family.startswith("cross_") else role for role in ROLES]
            return [_cut(whole, *labels, note) for labels in zip(ROLES, families, found, strict=True)]
        if kind != "in_proj":
            notes.append(f"{name} is left in one piece: {found}")
    if whole.name.endswith(".gate_up_proj") and rows % 2 == 0:
        halves = Cut(1, 0, rows // 2), Cut(1, rows // 2, rows)
        roles = "gate", "up"
        return [
            _cut(whole, role, f"feed_forward_{role}", half, "rows of the fused tensor")
            for role, half in zip(roles, halves, strict=True)
        ]
    return [replace(whole, note=turned)]


def _cut(whole: Part, label: str, family: str, cut: Cut, note: str) -> Part:
    shape = (cut.blocks * (cut.last - cut.first), whole.shape[1])
    return replace(whole, name=f"{whole.name}.{label}", family=family, shape=shape, cut=cut, note=note)


def _gates(name: str, shape: tuple[int, ...], shapes: Mapping[str, tuple[int, ...]]) -> list[Part] | None:
    """The gates of torch's LSTM (4) and GRU (3), or of this project's LSTM; None for any other tensor.

    The state's weights are gates * hidden x hidden; with projections, hidden is the projection's columns.
    """
    found = _RECURRENT.match(name)
    if found:
        state, project = (f"{found['cell']}weight_{side}{found['layer']}" for side in ("hh", "hr"))
        label, family = f"{found['cell']}{found['side']}{found['layer']}", found["side"]
    elif found := _OURS.match(name):
        state, project = f"{found['cell']}state.weight", ""
        label, family = f"{found['cell']}{found['side']}", found["side"]
        if f"{found['cell']}input.weight" not in shapes:
            return None
    if not found or state not in shapes or len(shape) != 2 or len(shapes[state]) != 2:
        return None
    rows, hidden = shapes[state]
    hidden = shapes[project][1] if project in shapes else hidden
    names = {4: LSTM, 3: GRU, 1: ("state",)}.get(rows // hidden if rows % hidden == 0 else 0)
    if names is None or shape[0] != rows:
        return None
    family = "recurrent_input" if family in ("ih", "input") else "recurrent_state"
    whole = Part(label, family, name, shape)
    if len(names) == 1:
        return [whole]
    return [_cut(whole, gate, family, Cut(1, i * hidden, (i + 1) * hidden), "one gate") for i, gate in enumerate(names)]


def heads(parts: Sequence[Part], queries: int, config: Mapping[str, Any]) -> list[Part]:
    """Every attention head of the queries, keys and values as a matrix of its own, width x inputs.

    Args:
        parts: of a whole model.
        queries: heads of the queries; keys and values have fewer where config.json says so.
        config: config.json; empty where there is none.
    Raises:
        ValueError: config.json states other numbers, the rows of a matrix are no multiple of its heads, or there
            are no queries, keys or values.
    """
    stated = [found for found in map(heads_of, sections(config)) if found is not None]
    fitting = [found for found in stated if found.queries == queries]
    if stated and not fitting:
        raise ValueError(f"{queries} heads: config.json says {stated[0].queries}")
    keys = fitting[0].keys if fitting else queries
    found = []
    for part in parts:
        role = part.family.removeprefix("cross_")
        if role not in ROLES:
            continue
        number = queries if role == "query" else keys
        width, rest = divmod(part.shape[0], number)
        if rest:
            raise ValueError(f"{queries} heads: {part.name} has {part.shape[0]} rows, no multiple of {number}")
        whole = replace(part, family=f"{part.family}_head", shape=(width, part.shape[1]))
        found += [
            replace(whole, name=f"{part.name}.head_{i}", head=(i * width, (i + 1) * width)) for i in range(number)
        ]
    if not found:
        raise ValueError(f"{queries} heads: no queries, keys or values found by their names")
    return found
