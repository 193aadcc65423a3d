"""How trainings that run side by side show themselves: one count of epochs or generations for all of them."""

from __future__ import annotations

from types import TracebackType

from transformer_spectrum.runtime.progress import Progress


class Display:
    """A progress bar, or lines, for some trainings; a context manager.

    Args:
        optimizer: theirs.
        trainings: how many.

    >>> with Display("ga", 2) as display:
    ...     lines = [display.line(4), display.line(6)]
    ...     lines[1].update(3, loss=0.5)
    ...     display.progress.total, display.progress.step
    (10, 3)
    """

    def __init__(self, optimizer: str, trainings: int) -> None:
        alone = trainings == 1
        self.progress = Progress(f"train {optimizer}" if alone else f"train {trainings} x {optimizer}", 0)
        self.alone, self.begun = alone, False
        self._lines: list[Part] = []

    def __enter__(self) -> Display:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.begun:
            self.progress.__exit__(kind, error, trace)

    def line(self, rounds: int) -> Part:
        """A training's share, of at most so many epochs or generations."""
        self.progress.total += rounds
        self._lines.append(Part(self))
        return self._lines[-1]

    @property
    def done(self) -> int:
        """Epochs or generations of all trainings."""
        return sum(line.rounds for line in self._lines)


class Part:
    """One training's share of a display."""

    def __init__(self, display: Display) -> None:
        self.display, self.rounds = display, 0

    def _progress(self) -> Progress:
        progress = self.display.progress
        if not self.display.begun:
            self.display.begun = True
            progress.__enter__()
        return progress

    def resume(self, rounds: int) -> None:
        """An earlier process has done so many."""
        self.rounds = rounds
        self._progress().resume(self.display.done)

    def update(self, rounds: int, **values: float) -> None:
        """So many are done; values are shown where no other training runs."""
        self.rounds = rounds
        self._progress().update(self.display.done, **(values if self.display.alone else {}))
