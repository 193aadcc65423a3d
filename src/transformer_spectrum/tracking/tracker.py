"""What a training is reported to beside its own folder: one interface, whatever stands behind it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol


class Tracker(Protocol):
    """Takes what a training reports. Its failures end nothing; they are remarks for scores.json.

    Attributes:
        unsent: what scores.json says from the result on until `finish` has been through.
    """

    unsent: Mapping[str, str]

    def step(self, index: int, scalars: Mapping[str, float], *, final: bool = False) -> None:
        """Takes the scalars of a step; `final` ones come with the result."""

    def finish(self, models: Path) -> Mapping[str, Any]:
        """Takes the training's files; what scores.json has to say then, nothing where all was sent."""

    def fail(self, *, interrupted: bool) -> None:
        """The training has ended without a result, by a signal or by an error."""


class NoTracker:
    """Nobody is told."""

    unsent: Mapping[str, str] = {}

    def step(self, index: int, scalars: Mapping[str, float], *, final: bool = False) -> None:
        pass

    def finish(self, models: Path) -> Mapping[str, Any]:
        return {}

    def fail(self, *, interrupted: bool) -> None:
        pass
