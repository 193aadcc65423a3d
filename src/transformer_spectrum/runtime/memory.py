"""How much memory this process may still take, and whether an error says that there was none."""

from __future__ import annotations

import resource
from dataclasses import dataclass
from pathlib import Path

import psutil

GIB = 2**30
CGROUP = Path("/sys/fs/cgroup")
"""Of Linux, version 2: the limit that a container or a batch system has set."""
NEXT_TO_NOTHING = 256 * 2**20
"""Bytes that are left when an extension that could not get memory is believed to have failed for that."""


@dataclass(frozen=True)
class Free:
    """Memory that is left.

    Attributes:
        size: bytes.
        under: what sets it.
    """

    size: int
    under: str


def free_memory(cgroup: Path = CGROUP) -> Free:
    """The least of what the machine has left, what the process's control group does, and its limit of addresses.

    Args:
        cgroup: the folder of the control group's files; without them it sets no limit.

    >>> free = free_memory()
    >>> free.size > 0, free.under in ("of this machine", "of this container", "under ulimit -v")
    (True, True)
    """
    left = [Free(psutil.virtual_memory().available, "of this machine")]
    try:
        limit, taken = ((cgroup / name).read_text().strip() for name in ("memory.max", "memory.current"))
        if limit != "max":
            left.append(Free(max(0, int(limit) - int(taken)), "of this container"))
    except (OSError, ValueError):  # no such file, or of another kind
        pass
    limited, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limited != resource.RLIM_INFINITY:
        left.append(Free(max(0, limited - psutil.Process().memory_info().vms), "under ulimit -v"))
    return min(left, key=lambda each: each.size)


def ran_out(error: BaseException) -> bool:
    """Whether an error says that there was not enough memory.

    Python and numpy have a class for it; torch has one on accelerators only, and says it in words on a CPU; of an
    extension that returns nothing and says nothing (a SystemError) it is believed where next to nothing is left.

    >>> ran_out(MemoryError()), ran_out(RuntimeError("DefaultCPUAllocator: can't allocate memory")), ran_out(KeyError())
    (True, True, False)
    """
    if isinstance(error, MemoryError):
        return True
    if isinstance(error, SystemError):
        return free_memory().size < NEXT_TO_NOTHING
    return isinstance(error, RuntimeError) and any(
        words in str(error) for words in ("can't allocate memory", "out of memory", "can't start new thread")
    )
