"""Where the package's log goes. Library code logs; only the command line, the stages and a sweep's processes decide."""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import Iterator
from typing import TextIO

PACKAGE = "transformer_spectrum"


class _StandardError(logging.StreamHandler[TextIO]):
    """The bare message, a line each, on what is standard error when it comes."""

    def __init__(self) -> None:
        logging.Handler.__init__(self, logging.INFO)  # not StreamHandler's, which would keep today's stream

    @property
    def stream(self) -> TextIO:  # type: ignore[override]
        return sys.stderr


@contextlib.contextmanager
def to_stderr() -> Iterator[None]:
    """Inside, what the package logs, from INFO upwards, appears on standard error, and nowhere else.

    Other libraries' handlers, such as those that alembic gives the root, would show each line once more.
    """
    logger = logging.getLogger(PACKAGE)
    before = logger.level, logger.propagate, logger.handlers[:]
    logger.setLevel(logging.INFO)
    logger.propagate = False
    logger.handlers = [_StandardError()]
    try:
        yield
    finally:
        logger.setLevel(before[0])
        logger.propagate, logger.handlers = before[1:]
