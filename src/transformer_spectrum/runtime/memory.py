"""How much memory this process may still take, and what takes it."""

from __future__ import annotations

import resource
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil

GIB = 2**30
VERSIONS = {
    2: ("memory.max", "memory.current", "inactive_file"),
    1: ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
}
"""Of control groups: the files with the limit and with what is taken, and what of that is files kept for reading."""


@dataclass(frozen=True)
class Free:
    """Memory that is left.

    Attributes:
        size: bytes.
        under: what sets it.
    """

    size: int
    under: str


def free_memory(system: Path = Path("/sys/fs/cgroup"), process: Path = Path("/proc/self/cgroup")) -> Free:
    """The least of what the machine has left, what each control group of the process does, and its limit of addresses.

    Args:
        system: where Linux shows control groups, of version 2, or of version 1 in its folder `memory`.
        process: the file that names those of this process; without either they set no limit.

    >>> free = free_memory()
    >>> free.size > 0, free.under in ("of this machine", "of this container or job", "under ulimit -v")
    (True, True)
    """
    left = [Free(psutil.virtual_memory().available, "of this machine"), *_of_groups(system, process)]
    limited, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limited != resource.RLIM_INFINITY:
        left.append(Free(max(0, limited - psutil.Process().memory_info().vms), "under ulimit -v"))
    return min(left, key=lambda each: each.size)


def _of_groups(system: Path, process: Path) -> Iterator[Free]:
    """Of the groups of this process that have a limit, from the innermost to the root of what is shown."""
    try:
        lines = [line.split(":", 2) for line in process.read_text().splitlines() if line.count(":") >= 2]
    except (OSError, ValueError):
        lines = []
    places = [(2, system, line[2]) for line in lines if line[:2] == ["0", ""]]
    places += [(1, system / "memory", line[2]) for line in lines if "memory" in line[1].split(",")]
    for version, root, name in places or [(2, system, "/")]:
        inner = root / name.strip("/")
        for group in (inner, *inner.parents):  # a container may show its own group as the root
            if group.is_relative_to(root):
                yield from _left(group, *VERSIONS[version])


def _left(group: Path, limit: str, taken: str, cached: str) -> Iterator[Free]:
    try:
        most = (group / limit).read_text().strip()
        if most == "max":
            return
        counts = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
        used = int((group / taken).read_text()) - int(counts.get(cached, 0))
        yield Free(max(0, int(most) - max(0, used)), "of this container or job")
    except (OSError, ValueError):  # no such file, or of another kind
        return


@dataclass(frozen=True)
class MemoryPart:
    """Of the memory that something takes.

    Attributes:
        size: bytes.
        change: what makes it less.
        on_host: whether it lies in the machine's memory, also where an accelerator computes.
    """

    size: float
    change: str
    on_host: bool = False


@dataclass(frozen=True)
class Footprint:
    """Memory that work on a network takes at its peak, about, beyond what the program itself has taken before.

    Attributes:
        weights: of the network; count.
        parts: what for -> how much; the largest says what to change.
    """

    weights: int
    parts: Mapping[str, MemoryPart]

    @property
    def size(self) -> float:
        """Of all parts; bytes."""
        return sum(part.size for part in self.parts.values())

    def without(self, name: str) -> Footprint:
        """All but one of the parts.

        >>> Footprint(9, {"weights": MemoryPart(4.0, ""), "windows": MemoryPart(8.0, "")}).without("windows").size
        4.0
        """
        return Footprint(self.weights, {other: part for other, part in self.parts.items() if other != name})

    def of(self, *, on_host: bool) -> Footprint:
        """What lies in the machine's memory, or on an accelerator beside it.

        >>> whole = Footprint(9, {"weights": MemoryPart(4.0, ""), "windows": MemoryPart(8.0, "", on_host=True)})
        >>> whole.of(on_host=True).size, whole.of(on_host=False).size
        (8.0, 4.0)
        """
        return Footprint(self.weights, {name: part for name, part in self.parts.items() if part.on_host == on_host})

    def refusal(self, free: Free) -> str | None:
        """Why it would not fit, in one line that says what to change; None where it does.

        >>> whole = Footprint(10**9, {"weights": MemoryPart(120 * 2**30, "model.layers smaller")})
        >>> whole.refusal(Free(20 * 2**30, "of this machine")).split("; ")[1]
        '120 GiB of it are weights: make model.layers smaller'
        """
        if self.size <= free.size:
            return None
        largest, part = max(self.parts.items(), key=lambda named: named[1].size)
        return (
            f"would take about {_in_words(self.size)}, and {_in_words(free.size)} are free {free.under}; "
            f"{_in_words(part.size)} of it are {largest}: make {part.change}"
        )


def _in_words(size: float) -> str:
    value = size / GIB
    if value < 1:
        return f"{size / 2**20:.0f} MiB"
    return f"{value:,.0f} GiB" if value >= 100 else f"{value:.1f} GiB"
