"""SIGINT and SIGTERM, heeded between two steps of a training instead of inside one."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType, TracebackType
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM)


Handler = Callable[[int, FrameType | None], Any] | int | None


class Interrupted(KeyboardInterrupt):
    """A signal ends the work; `number` is the signal's, and 128 + number the exit code that belongs to it."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


class Interruption:
    """While entered, the two signals raise `Interrupted`: at once, or inside `deferred` when `check` is called.

    A second signal never waits. A signal that the process was started to ignore, such as SIGINT in a shell's
    background job, stays ignored. Outside the main thread nothing is installed.
    """

    def __init__(self) -> None:
        self.number = 0
        self._deferring = False
        self._before: dict[int, Handler] = {}

    def __enter__(self) -> Interruption:
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                if signal.getsignal(number) not in (signal.SIG_IGN, None):
                    self._before[number] = signal.signal(number, self._receive)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before.clear()

    def _receive(self, number: int, frame: FrameType | None) -> None:
        waits = self._deferring and not self.number
        self.number = number
        if not waits:
            raise Interrupted(number)

    def check(self) -> None:
        """Raises what was deferred.

        Raises:
            Interrupted: a signal has come.
        """
        if self.number:
            raise Interrupted(self.number)

    @contextlib.contextmanager
    def deferred(self) -> Iterator[None]:
        """Inside, a first signal waits for `check`, which also ends the block."""
        self._deferring = True
        try:
            yield
        finally:
            self._deferring = False
        self.check()
