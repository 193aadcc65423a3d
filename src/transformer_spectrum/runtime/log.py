"""Where the package's log goes. Library code logs; only the command line, the stages and a sweep's processes decide."""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import Iterator

PACKAGE = "transformer_spectrum"


class _StandardError(logging.Handler):
    """The bare message, a line each, on what is standard error when it comes."""

    def emit(self, record: logging.LogRecord) -> None:
        with contextlib.suppress(OSError):  # a training does not end because nobody reads its log
            print(self.format(record), file=sys.stderr, flush=True)


@contextlib.contextmanager
def to_stderr() -> Iterator[None]:
    """Inside, what the package logs, from INFO upwards, appears on standard error, and nowhere else.

    Other libraries' handlers, such as those that alembic gives the root, would show each line once more.

    >>> with contextlib.redirect_stderr(sys.stdout), to_stderr():
    ...     logging.getLogger(f"{PACKAGE}.training").info("adam: epoch 3")
    ...     logging.getLogger("alembic").info("upgrading")
    adam: epoch 3
    """
    logger = logging.getLogger(PACKAGE)
    level, propagate, handlers = logger.level, logger.propagate, logger.handlers
    logger.setLevel(logging.INFO)
    logger.propagate, logger.handlers = False, [_StandardError()]
    try:
        yield
    finally:
        logger.setLevel(level)
        logger.propagate, logger.handlers = propagate, handlers
