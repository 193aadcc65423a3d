"""A bar on a terminal, a line a minute elsewhere."""

import contextlib
import fcntl
import os
import pty
import struct
import sys
import termios
import threading
import time

import pytest

from transformer_spectrum.runtime import progress
from transformer_spectrum.runtime.progress import Progress

VALUES = {"loss": 0.620234, "valid": -0.621543, "stable_rank": 16.93456}


class Terminal:
    """A real one, of a given width, in the place of stderr."""

    def __init__(self, monkeypatch, columns):
        self.master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        self.stream, self.received = os.fdopen(slave, "w"), b""
        self.reader = threading.Thread(target=self._read)  # a terminal holds few bytes that nobody has read
        self.reader.start()
        monkeypatch.setattr(sys, "stderr", self.stream)

    def _read(self):
        with contextlib.suppress(OSError):  # the other end is closed
            while chunk := os.read(self.master, 4096):
                self.received += chunk

    def drawn(self):
        """All states of the line, in order."""
        self.stream.close()
        self.reader.join()
        os.close(self.master)
        return [line.rstrip() for line in self.received.decode().replace("\n", "\r").split("\r")]


@pytest.fixture
def clock(monkeypatch):
    """A clock that the test sets; seconds."""
    now = [1000.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


@pytest.mark.parametrize("columns", [80, 120, 0])
def test_a_terminal_gets_a_bar_with_time_left_and_values_that_fit_on_a_line(monkeypatch, columns):
    terminal = Terminal(monkeypatch, columns)
    with Progress("train adam", 600) as shown:
        shown.update(0, **VALUES)
        time.sleep(0.15)
        shown.update(300, **VALUES)
        time.sleep(0.15)
        shown.update(600, **VALUES)
    lines = terminal.drawn()
    assert max(map(len, lines)) <= (columns or 80)
    last = [line for line in lines if line][-1]
    assert last.startswith("train adam 600/600 █")
    assert last.endswith("ETA 00:00, loss 0.6202, valid -0.6215, stable rank 16.93")
    assert any(line.startswith("train adam 300/600") for line in lines)


def test_elsewhere_the_first_and_the_last_step_are_lines_and_nothing_else_within_a_minute(capsys):
    with Progress("train es", 1000) as shown:
        for step in range(1001):
            shown.update(step, loss=1.0 + step)
    first, last = capsys.readouterr().err.splitlines()
    assert first == "train es: step 0/1000, loss 1"
    assert last == "train es: step 1000/1000, loss 1001"


def test_elsewhere_a_line_comes_every_minute_even_while_one_step_takes_longer(capsys, monkeypatch):
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_LINES", 0.05)
    with Progress("train ga", 4) as shown:
        shown.update(1, **VALUES)
        time.sleep(0.5)
    lines = capsys.readouterr().err.splitlines()
    assert 3 <= len(lines) <= 10
    assert all(line.startswith("train ga: step 1/4, loss 0.6202, valid -0.6215, stable rank") for line in lines)


def test_nothing_is_told_once_it_has_ended(capsys, monkeypatch):
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_LINES", 0.01)
    before = set(threading.enumerate())
    with pytest.raises(RuntimeError), Progress("train ga", 4):
        raise RuntimeError
    time.sleep(0.05)
    capsys.readouterr()
    time.sleep(0.1)
    assert capsys.readouterr().err == ""
    assert set(threading.enumerate()) <= before


def test_the_time_left_is_judged_by_the_steps_of_this_process(capsys, clock):
    with Progress("train es", 600) as shown:
        for step in range(301):  # an earlier process did these
            shown.resume(step)
        clock[0] += 20
        shown.update(310)
        shown._print()
    assert capsys.readouterr().err == "train es: step 310/600, 09:40 left at most\n"  # 2 s a step, 290 steps


def test_a_resumed_bar_does_not_take_the_earlier_steps_for_fast_ones(monkeypatch):
    terminal = Terminal(monkeypatch, 80)
    with Progress("train es", 1000) as shown:
        shown.resume(900)
        for step in range(901, 905):
            time.sleep(0.12)
            shown.update(step)
    left = [line for line in terminal.drawn() if line][-1].split("ETA ")[-1]
    assert "00:11" <= left < "01:00"  # 96 steps of .12 s, on a busy machine more; with the earlier ones it were 00:00


def test_bytes_are_shown_in_their_units_and_without_a_total_where_none_is_known(capsys):
    for total, expected in ((3_900_000, "x.csv: 1.31MB/3.90MB"), (0, "x.csv: 1.31MB")):
        with Progress("x.csv", total, unit="B", ends=False) as shown:
            shown.update(1_310_000)
            shown.update(total)
            assert capsys.readouterr().err == ""  # quick ones say nothing
            shown.update(1_310_000)
            shown._print()
        assert capsys.readouterr().err.startswith(expected)


def test_trainings_that_share_a_count_tell_its_ends_once(capsys):
    with Progress("train 2 x adam", 4) as progress:
        for step in (0, 0, 2, 4, 4):
            progress.update(step)
    assert capsys.readouterr().err.splitlines() == ["train 2 x adam: step 0/4", "train 2 x adam: step 4/4"]
