"""How long work shows itself: a bar with ETA on a terminal, a plain line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from types import TracebackType

from tqdm import tqdm

SECONDS_BETWEEN_LINES = 60.0


class Progress:
    """Counts steps towards `total`.

    Args:
        title: what is going on.
        total: steps, when nothing ends it early.
    """

    def __init__(self, title: str, total: int) -> None:
        self.title, self.total = title, total
        self.started = self.printed = time.monotonic()
        self.bar = tqdm(total=total, desc=title, unit="step", dynamic_ncols=True) if sys.stderr.isatty() else None

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.bar is not None:
            self.bar.close()

    def update(self, step: int, **values: float) -> None:
        """Reports that `step` of `total` is done; `values` are shown beside it."""
        if self.bar is not None:
            self.bar.set_postfix({name: f"{value:.4g}" for name, value in values.items()}, refresh=False)
            self.bar.update(step - self.bar.n)
            return
        now = time.monotonic()
        if step not in (0, self.total) and now - self.printed < SECONDS_BETWEEN_LINES:
            return
        self.printed = now
        left = (now - self.started) / step * (self.total - step) if step else float("nan")
        words = " ".join(f"{name} {value:.4g}" for name, value in values.items())
        eta = f", {left:.0f} s left at most" if 0 < step < self.total else ""
        print(f"{self.title}: step {step}/{self.total}{', ' if words else ''}{words}{eta}", file=sys.stderr, flush=True)
