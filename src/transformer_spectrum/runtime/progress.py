"""How long work shows itself: a bar with ETA on a terminal, one line a minute elsewhere."""

from __future__ import annotations

import os
import sys
import threading
import time
from types import TracebackType
from typing import NoReturn

from tqdm import tqdm

from transformer_spectrum.runtime.log import work_begins

SECONDS_BETWEEN_LINES = 60.0
BAR = "{desc} {n_fmt}/{total_fmt} {bar} ETA {remaining}{postfix}"
"""Short, so that the values fit on a line of 80 characters; the bar takes what is left."""
COLUMNS = 80  # where a terminal does not say, as some containers' do not


class Progress:
    """Counts steps towards `total`; a context manager.

    Args:
        title: what is going on.
        total: steps, when nothing ends it early; 0 = not known.
        unit: of what is counted, as a word; "B" counts bytes, shown as kB, MB and so on.
        ends: without a terminal, tell step 0 and the last one too, not only where they fall on a minute.
    """

    def __init__(self, title: str, total: int, unit: str = "step", *, ends: bool = True) -> None:
        self.title, self.total, self.unit, self.ends = title, total, unit, ends
        self.step = self.first = 0
        self.words = ""
        self.started = time.monotonic()
        self.bar: tqdm[NoReturn] | None = None
        self._ended = threading.Event()
        self._told: int | None = None

    def __enter__(self) -> Progress:
        work_begins()
        self.started = time.monotonic()
        if sys.stderr.isatty():
            style = {"unit_scale": True} if self.unit == "B" else {"bar_format": BAR}
            width = {"dynamic_ncols": True} if _columns() else {"ncols": COLUMNS}
            self.bar = tqdm(total=self.total or None, desc=self.title, unit=self.unit, miniters=1, **style, **width)
        else:
            # A thread of its own, because one step may take many minutes.
            threading.Thread(target=self._tell, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        if self.bar is not None:
            self.bar.close()

    def resume(self, step: int) -> None:
        """Says that an earlier process has done `step` steps: they count, but say nothing of the time left."""
        self.step = self.first = step
        self.started = time.monotonic()
        if self.bar is not None:
            self.bar.initial = self.bar.n = self.bar.last_print_n = step
            self.bar.start_t = self.bar.last_print_t = time.time()

    def update(self, step: int, **values: float) -> None:
        """Reports that `step` of `total` is done; `values` are shown beside it."""
        self.step = step
        self.words = ", ".join(f"{name.replace('_', ' ')} {value:.4g}" for name, value in values.items())
        if self.bar is not None:
            self.bar.set_postfix_str(self.words, refresh=False)
            self.bar.update(step - self.bar.n)
        elif self.ends and step in (0, self.total) and step != self._told:
            self._told = step  # once, however many trainings share the count
            self._print()

    def _tell(self) -> None:
        while not self._ended.wait(SECONDS_BETWEEN_LINES):
            self._print()

    def _print(self) -> None:
        step = self.step
        counts = [step, self.total] if self.total else [step]
        if self.unit == "B":
            count = "/".join(tqdm.format_sizeof(number, "B") for number in counts)
        else:
            count = f"{self.unit} {'/'.join(map(str, counts))}"
        left = ""
        if self.first < step < self.total:
            seconds = (time.monotonic() - self.started) / (step - self.first) * (self.total - step)
            left = f"{tqdm.format_interval(seconds)} left at most"
        line = ", ".join(filter(None, (count, self.words, left)))
        print(f"{self.title}: {line}", file=sys.stderr, flush=True)


def _columns() -> int:
    """Of the terminal; 0 where it does not say."""
    try:
        return os.get_terminal_size(sys.stderr.fileno()).columns
    except OSError:  # what claims to be a terminal has no file behind it
        return 0
