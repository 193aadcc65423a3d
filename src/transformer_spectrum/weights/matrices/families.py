"""What a matrix of weights is for: the one vocabulary, for models of this project and for those of others.

A family has a role, what the matrix does where it stands ("query", "feed_forward_up"), and, in the forecasters of this
project, a block, where it stands ("encoder_self_attention"). Trainings are averaged over blocks; models of others have
roles alone, which `anatomy.habits` reads from the names of their tensors.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

BLOCKS = (
    "encoder_self_attention",
    "decoder_self_attention",
    "decoder_cross_attention",
    "feed_forward",
    "encoder_gates",
    "decoder_gates",
    "embedding",
    "readout",
)
"""Blocks of the forecasters, from the input to the output."""
PROJECTIONS = ("query", "key", "value")
MOVING = (("feed_forward",), ("encoder_gates", "decoder_gates"))
"""Blocks whose matrices move most: of a transformer, of an LSTM."""
GATES = ("input_gate", "forget_gate", "cell_gate", "output_gate")
"""Of an LSTM, in the order of their rows in torch.nn.LSTM."""

_CROSS = "cross_"
_OF_FORECASTERS = re.compile(
    r"(?P<side>encoder|decoder)\.\d+\."
    rf"(?:(?P<attention>self_attention|cross_attention)\.(?P<projection>{'|'.join(PROJECTIONS)}|output)"
    rf"|feed_forward\.(?P<feed>expand|contract)|(?P<recurrent>input|state)(?:\.(?:{'|'.join(GATES)}))?)"
    r"|(?:context|target)_embedding|readout"
)


@dataclass(frozen=True)
class Family:
    """What a matrix is for.

    Attributes:
        role: what it does, such as "query", "cross_key" (of an attention whose keys come from elsewhere),
            "attention_output", "feed_forward_up", "recurrent_state"; "other" where nothing tells.
        block: where it stands, one of BLOCKS; empty in models that are no forecasters of this project.
        piece: "head" for the rows of one attention head, "update" for what an adapter adds; empty for the whole.
    """

    role: str
    block: str = ""
    piece: str = ""

    @property
    def label(self) -> str:
        """The family in tables: its block, or its role where it has none.

        >>> Family("query", "encoder_self_attention").label, Family("query", piece="head").label
        ('encoder_self_attention', 'query_head')
        """
        return self._with_piece(self.block or self.role)

    @property
    def task(self) -> str:
        """Its role in words that tell a piece from the whole, whatever its block.

        >>> Family("query", "encoder_self_attention", "head").task
        'query_head'
        """
        return self._with_piece(self.role)

    def _with_piece(self, name: str) -> str:
        return f"{name}_{self.piece}" if self.piece else name

    @property
    def projection(self) -> str:
        """Which of PROJECTIONS it is, by itself or across; empty where it is none, or a piece of one.

        >>> Family("cross_key").projection, Family("key", piece="update").projection
        ('key', '')
        """
        role = self.role.removeprefix(_CROSS)
        return role if role in PROJECTIONS and not self.piece else ""

    def projections(self) -> tuple[Family, ...]:
        """Those of PROJECTIONS that a tensor of this family holds together.

        >>> [family.role for family in Family("cross_query_key_value").projections()]
        ['cross_query', 'cross_key', 'cross_value']
        """
        crossing = _CROSS if self.role.startswith(_CROSS) else ""
        return tuple(Family(crossing + projection, self.block) for projection in PROJECTIONS)


def of_forecaster(name: str) -> Family:
    """The family of a matrix of this project's forecasters; "other" without a block for any other name.

    Args:
        name: of the matrix, which is its parameter's without ".weight".

    >>> of_forecaster("decoder.1.cross_attention.query")
    Family(role='cross_query', block='decoder_cross_attention', piece='')
    >>> of_forecaster("encoder.0.state.forget_gate").label
    'encoder_gates'
    """
    match = _OF_FORECASTERS.fullmatch(name)
    if match is None:
        return Family("other")
    if match["attention"]:
        role = "attention_output" if match["projection"] == "output" else match["projection"]
        crossing = _CROSS if match["attention"] == "cross_attention" else ""
        return Family(crossing + role, f"{match['side']}_{match['attention']}")
    if match["feed"]:
        return Family({"expand": "feed_forward_up", "contract": "feed_forward_down"}[match["feed"]], "feed_forward")
    if match["recurrent"]:
        return Family(f"recurrent_{match['recurrent']}", f"{match['side']}_gates")
    return Family("readout", "readout") if name == "readout" else Family("embedding", "embedding")


def moving_families(labels: Iterable[str]) -> list[str]:
    """The families that move most while training: feed-forward, of an LSTM its gates; all where none is known to.

    Args:
        labels: of families, in the order of `shapes.shape_classes`.

    >>> moving_families(["encoder_gates_16x16", "encoder_gates_16x4", "decoder_gates", "embedding"])
    ['encoder_gates_16x16', 'encoder_gates_16x4', 'decoder_gates']
    """
    labels = list(labels)
    for blocks in MOVING:
        moving = [label for block in blocks for label in labels if label.startswith(block)]
        if moving:
            return moving
    return labels


def moving_family(labels: Iterable[str]) -> str:
    """The one that stands for them in answers, comparisons and while a training runs: the first of `moving_families`.

    Of a family with several shapes that is the one with the largest matrices, as `shapes.shape_classes` sorts them.

    Raises:
        ValueError: there are no labels.

    >>> moving_family(["encoder_self_attention", "feed_forward", "readout"])
    'feed_forward'
    """
    for label in moving_families(labels):
        return label
    raise ValueError("no families")


def forecaster_prefix(names: Iterable[str]) -> str | None:
    """What stands before the names of a forecaster of this project, such as "module."; None of any other model.

    A forecaster has a readout, and an encoder and a decoder with matrices of the names that `of_forecaster` knows.

    Args:
        names: of all matrices of a model.

    >>> forecaster_prefix(["module.encoder.0.state", "module.decoder.0.state", "module.readout"])
    'module.'
    >>> forecaster_prefix(["readout", "encoder.layers.0.linear1"]) is None
    True
    """
    names = list(names)
    for prefix in (name.removesuffix("readout") for name in names if re.search(r"(^|\.)readout$", name)):
        inside = [name.removeprefix(prefix) for name in names if name.startswith(prefix)]
        blocks = {name.split(".")[0] for name in inside if of_forecaster(name).block}
        if {"encoder", "decoder"} <= blocks:
            return prefix
    return None
