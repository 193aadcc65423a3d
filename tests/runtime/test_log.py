"""The package's log on standard error: its lines are what users see, and only programs ask for it."""

import logging
import sys

import pytest

from transformer_spectrum.runtime.errors import InputError
from transformer_spectrum.runtime.log import to_stderr, work_begins

LOGGER = logging.getLogger("transformer_spectrum.some.module")


def test_inside_a_message_is_a_bare_line_on_standard_error_once(capsys):
    root = logging.StreamHandler(sys.stderr)  # as alembic gives one
    logging.getLogger().addHandler(root)
    try:
        with to_stderr():
            LOGGER.info("device = auto: 100% of %s on cpu")
            LOGGER.warning("it has fallen back")
            LOGGER.debug("not for users")
            logging.getLogger("another.library").info("not ours")
    finally:
        logging.getLogger().removeHandler(root)
    said = capsys.readouterr()
    assert said.err == "device = auto: 100% of %s on cpu\nit has fallen back\n"
    assert not said.out


def test_it_follows_standard_error_where_that_is_redirected(capfd, monkeypatch, tmp_path):
    with to_stderr(), (tmp_path / "log.txt").open("w") as stream:
        monkeypatch.setattr(sys, "stderr", stream)
        LOGGER.info("aside")
        monkeypatch.undo()
    assert (tmp_path / "log.txt").read_text() == "aside\n"
    assert capfd.readouterr().err == ""


def test_outside_a_user_of_the_library_decides(caplog, capsys):
    with to_stderr():
        pass
    with caplog.at_level(logging.INFO, "transformer_spectrum"):
        LOGGER.info("for whoever listens")
    assert caplog.messages == ["for whoever listens"]
    assert capsys.readouterr().err == ""
    assert not logging.getLogger("transformer_spectrum").handlers


def test_lines_wait_until_work_begins(capsys):
    with to_stderr(once_begun=True):
        LOGGER.info("first")
        assert capsys.readouterr().err == ""
        work_begins()
        assert capsys.readouterr().err == "first\n"
        LOGGER.info("second")
        assert capsys.readouterr().err == "second\n"


def test_lines_that_wait_are_said_at_the_end(capsys):
    with to_stderr(once_begun=True):
        LOGGER.info("filled in")
    assert capsys.readouterr().err == "filled in\n"


@pytest.mark.parametrize("error", [InputError("bad"), OSError("full")])
def test_of_bad_input_only_the_error_is_said(error, capsys):
    with pytest.raises(type(error)), to_stderr(once_begun=True):
        LOGGER.info("filled in")
        raise error
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(1), ZeroDivisionError()])
def test_what_ends_otherwise_loses_no_line(error, capsys):
    with pytest.raises(type(error)), to_stderr(once_begun=True):
        LOGGER.info("filled in")
        raise error
    assert capsys.readouterr().err == "filled in\n"
