"""Who is computed where: members that have left stay until half of them have, so that shapes seldom change."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor


class Slots:
    """The members that are computed together, for each size of batch.

    A CUDA graph is recorded for as many members as there are. One that has ended leaves a slot whose numbers nobody
    reads, until half of the slots are of that kind: so M members are recorded about log2 M times.

    >>> slots, (a, b, c, d) = Slots(), ("ann", "ben", "cat", "dan")
    >>> slots.of([a, b, c, d], 8)[1].tolist()
    [0, 1, 2, 3]
    >>> seated, places = slots.of([a, b, d], 8)  # cat has left
    >>> seated, places.tolist(), slots.first(places).tolist()
    (['ann', 'ben', 'cat', 'dan'], [0, 1, 0, 2], [0, 1, 3])
    >>> slots.of([b, d], 8)[0]
    ['ben', 'dan']
    """

    def __init__(self) -> None:
        self._members: dict[int, list[Any]] = {}

    def of(self, members: Sequence[Any], batch_size: int) -> tuple[list[Any], Tensor]:
        """Whom the slots belong to, and for each slot the place of its member among those given, 0 where it has left.

        Args:
            members: that are still there, none twice.
            batch_size: of their batches.
        """
        slots = self._members.get(batch_size, [])
        present = {id(member): place for place, member in enumerate(members)}
        places = [present.get(id(member)) for member in slots]
        if sum(place is not None for place in places) < len(members) or 2 * len(members) <= len(slots):
            slots = self._members[batch_size] = list(members)
            return slots, torch.arange(len(slots))
        return slots, torch.tensor([place or 0 for place in places])

    @staticmethod
    def first(places: Tensor) -> Tensor:
        """For each member the slot that is its own: the first that has its place; all members have one."""
        slots: dict[int, int] = {}
        for slot, place in enumerate(places.tolist()):
            slots.setdefault(place, slot)
        return torch.tensor([slots[place] for place in range(len(slots))])
