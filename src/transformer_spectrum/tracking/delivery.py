"""Sends what a training reports to a server that may be slow or dead, and never keeps the training waiting.

MLflow's own asynchronous logging (3.17, `log_batch(..., synchronous=False)`) was tried in its place, with 40 batches at
a server that refuses and at one that never answers. What it does not do: a batch that fails is logged as an error and
dropped, not tried again; what is still queued when the process ends is lost ("cannot schedule new futures after
interpreter shutdown": 36 of the 40); ten threads send at once, in no order; making a run and sending a file wait for
the server all the same; and a flush waits without a limit.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

SECONDS_BETWEEN_SENDINGS = 5.0
SECONDS_BETWEEN_TRIES = 30.0  # after one that has failed
LAST_TRIES, SECONDS_BETWEEN_LAST_TRIES = 3, 1.0
SECONDS_OF_SILENCE = 2.0  # at the end, before somebody who waits is told so


class Delivery:
    """A thread that sends every few seconds, and tries again what has failed.

    Args:
        send: sends all that waits; yields behind each part, and when called again goes on where it has failed.
        failures: what it raises when the server does not answer or refuses.
        tell: takes the reason of the first failure.
        wait: is told once when the end takes long: for how many seconds nothing may come through before it is given up.

    >>> queue, sent = ["loss", "weights"], []
    >>> def send():
    ...     while queue:
    ...         sent.append(queue.pop(0))
    ...         yield
    >>> Delivery(send, (OSError,), print).finish(patience=5.0), sent
    ('', ['loss', 'weights'])
    """

    def __init__(
        self,
        send: Callable[[], Iterator[None]],
        failures: tuple[type[Exception], ...],
        tell: Callable[[str], None],
        wait: Callable[[float], None] = lambda patience: None,
    ) -> None:
        self._send, self._failures, self._tell, self._wait = send, failures, tell, wait
        self._reason, self._told, self._alive = "", False, time.monotonic()
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._work, daemon=True)  # one that hangs does not hold the process
        self._thread.start()

    def _try(self) -> bool:
        self._reason = "not all was sent"
        try:
            for _ in self._send():
                self._alive = time.monotonic()
        except self._failures as error:
            self._reason = _reason(error)
            if not self._told:
                self._tell(self._reason)
            self._told = True
            return False
        self._reason = ""
        return True

    def _work(self) -> None:
        pause = 0.0
        while not self._ending.wait(pause):
            pause = SECONDS_BETWEEN_SENDINGS if self._try() else SECONDS_BETWEEN_TRIES
        # A database may be busy with another training; who has not answered all the while is asked once more.
        for left in reversed(range(1 if self._reason else LAST_TRIES)):
            if self._try() or not left:
                break
            time.sleep(SECONDS_BETWEEN_LAST_TRIES)

    def finish(self, patience: float) -> str:
        """Sends what still waits.

        Args:
            patience: how long no part may come through before it is given up; seconds.
        Returns:
            Why something was not sent; empty when all was.
        """
        self._ending.set()
        began, told = time.monotonic(), False
        while self._thread.is_alive():
            self._thread.join(0.1)
            if not told and time.monotonic() - began > SECONDS_OF_SILENCE:
                self._wait(patience)
                told = True
            if time.monotonic() - max(self._alive, began) > patience:
                return f"nothing came through for {patience:g} s"
        return self._reason


def _reason(error: Exception) -> str:
    """A few words; of a chain of errors, as HTTP clients make them, those of the first."""
    words = " ".join(str(error).split())
    if "Caused by" in words:
        words = words.rpartition(": ")[2].strip("\"')")
    return words[:160] or type(error).__name__
