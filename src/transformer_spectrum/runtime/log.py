"""Where the package's log goes. Library code logs; only the command line, the stages and a sweep's processes decide."""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import Iterator

from transformer_spectrum.runtime.errors import InputError, printable

PACKAGE = "transformer_spectrum"


class _StandardError(logging.Handler):
    """The bare message, a line each, on what is standard error when it comes, or once `begin` is called."""

    def __init__(self, *, waits: bool) -> None:
        super().__init__()
        self.waiting: list[logging.LogRecord] | None = [] if waits else None

    def emit(self, record: logging.LogRecord) -> None:
        if self.waiting is not None:
            self.waiting.append(record)
            return
        with contextlib.suppress(OSError):  # a training does not end because nobody reads its log
            print(printable(self.format(record)), file=sys.stderr, flush=True)

    def begin(self) -> None:
        waiting, self.waiting = self.waiting, None
        for record in waiting or []:
            self.emit(record)


@contextlib.contextmanager
def to_stderr(*, once_begun: bool = False) -> Iterator[None]:
    """Inside, what the package logs, from INFO upwards, appears on standard error, and nowhere else.

    Other libraries' handlers, such as those that alembic gives the root, would show each line once more.

    Args:
        once_begun: whether lines wait until `work_begins`, or the end: what was filled in and taken for what is of
            interest where something is made of it, and bad input is told by the error's line alone.

    >>> with contextlib.redirect_stderr(sys.stdout), to_stderr():
    ...     logging.getLogger(f"{PACKAGE}.training").info("adam: epoch 3")
    ...     logging.getLogger("alembic").info("upgrading")
    adam: epoch 3
    """
    logger = logging.getLogger(PACKAGE)
    level, propagate, handlers = logger.level, logger.propagate, logger.handlers
    logger.setLevel(logging.INFO)
    handler = _StandardError(waits=once_begun)
    logger.propagate, logger.handlers = False, [handler]
    try:
        yield
    except (InputError, OSError):
        raise
    except BaseException:
        handler.begin()
        raise
    else:
        handler.begin()
    finally:
        logger.setLevel(level)
        logger.propagate, logger.handlers = propagate, handlers


def work_begins() -> None:
    """Lets the lines appear that have waited; from here on each does at once.

    >>> with contextlib.redirect_stderr(sys.stdout), to_stderr(once_begun=True):
    ...     logging.getLogger(f"{PACKAGE}.config").info("model.patch_length = 4 instead of 12")
    ...     print("the windows are made")
    ...     work_begins()
    the windows are made
    model.patch_length = 4 instead of 12
    """
    for handler in logging.getLogger(PACKAGE).handlers:
        if isinstance(handler, _StandardError):
            handler.begin()
