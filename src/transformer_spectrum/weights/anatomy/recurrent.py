"""Gates of recurrent layers: rows of one tensor that work as matrices of their own."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

from transformer_spectrum.weights.matrices.families import GATES, Family
from transformer_spectrum.weights.matrices.matrix import Cut

GRU = ("reset_gate", "update_gate", "new_gate")
_RECURRENT = re.compile(r"^(?P<cell>(?:.*\.)?)weight_(?P<side>ih|hh)(?P<layer>(?:_l\d+(?:_reverse)?)?)$")
_OURS = re.compile(r"^(?P<cell>.*\.)(?P<side>input|state)\.weight$")


class RecurrentCell(NamedTuple):
    """A tensor of a recurrent layer.

    Attributes:
        label: of the whole tensor, such as "rnn.ih_l0".
        family: of the role recurrent_input or recurrent_state.
        gates: names of the gates, in the order of their rows.
        cuts: rows of each.
    """

    label: str
    family: Family
    gates: tuple[str, ...]
    cuts: tuple[Cut, ...]


def gates_of(name: str, shape: tuple[int, ...], shapes: Mapping[str, tuple[int, ...]]) -> RecurrentCell | None:
    """The gates of torch's LSTM (4) and GRU (3), or of this project's LSTM; None for any other tensor.

    The state's weights are gates * hidden x hidden; with projections, hidden is the projection's columns.

    Args:
        name: of the tensor.
        shape: as stored.
        shapes: of all tensors of the model, by name.

    >>> cell = gates_of("rnn.weight_ih_l0", (16, 3), {"rnn.weight_ih_l0": (16, 3), "rnn.weight_hh_l0": (16, 4)})
    >>> cell.gates[1], cell.cuts[1]
    ('forget_gate', Cut(blocks=1, first=4, last=8))
    """
    recurrent, ours = _RECURRENT.match(name), _OURS.match(name)
    if recurrent:
        state, project = (f"{recurrent['cell']}weight_{side}{recurrent['layer']}" for side in ("hh", "hr"))
        label, side = f"{recurrent['cell']}{recurrent['side']}{recurrent['layer']}", recurrent["side"]
    elif ours and f"{ours['cell']}input.weight" in shapes:
        state, project = f"{ours['cell']}state.weight", ""
        label, side = f"{ours['cell']}{ours['side']}", ours["side"]
    else:
        return None
    if state not in shapes or len(shape) != 2 or len(shapes[state]) != 2:
        return None
    rows, hidden = shapes[state]
    hidden = shapes[project][1] if project in shapes else hidden
    gates = {4: GATES, 3: GRU, 1: ("state",)}.get(rows // hidden if rows % hidden == 0 else 0)
    if gates is None or shape[0] != rows:
        return None
    family = Family("recurrent_input" if side in ("ih", "input") else "recurrent_state")
    return RecurrentCell(label, family, gates, tuple(Cut(1, i * hidden, (i + 1) * hidden) for i in range(len(gates))))
