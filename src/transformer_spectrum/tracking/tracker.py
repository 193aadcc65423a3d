"""What a training is reported to: one interface, whatever stands behind it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol


class Tracker(Protocol):
    """Takes what a training reports: `step` by step, then its `result`, and `finish` once its files are in place.

    One on this machine raises OSError where it cannot keep what it takes, and that ends the training. One elsewhere
    keeps no training waiting and ends none: what it could not take are remarks for scores.json.

    Attributes:
        unsent: what scores.json says from the result on until `finish` has been through.
    """

    @property
    def unsent(self) -> Mapping[str, str]: ...

    def step(self, index: int, scalars: Mapping[str, float]) -> None:
        """Takes the scalars of a step."""

    def result(self, headline: Mapping[str, float], scores: Mapping[str, Any]) -> None:
        """Takes what the training came to: the last values of some scalars, and all there is to say."""

    def finish(self, models: Path) -> Mapping[str, Any]:
        """Takes the training's files; what scores.json has to say then, nothing where all was taken."""

    def fail(self, *, interrupted: bool) -> None:
        """The training has ended without a result, by a signal or by an error."""
