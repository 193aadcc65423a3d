"""What tests of several processes wait for."""

import contextlib
import time

import psutil

PATIENCE = 180.0
"""Seconds; on a busy machine everything takes long."""


def wait_for(happened, words, seconds=PATIENCE):
    """What it returned, once that counts as true; `words` say what is the case else."""
    deadline = time.monotonic() + seconds
    while not (value := happened()):
        assert time.monotonic() < deadline, f"{words}, after {seconds:g} s"
        time.sleep(0.01)
    return value


def ended(process):
    """Whether a process (psutil) has ended, waited for or not."""
    with contextlib.suppress(psutil.NoSuchProcess):
        return process.status() == psutil.STATUS_ZOMBIE
    return True
