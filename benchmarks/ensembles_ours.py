"""Contestants of ensembles.py that run in the package's own environment: the plain way and ours."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from contest import Sizes, peak_mib, plain_epochs, serve
from members import Rounds, members, searcher

Contestant = tuple[Callable[[], int], dict[str, Any]]


def plain(sizes: Sizes, cores: int) -> Contestant:
    """nn.Transformer, DataLoader, torch.optim.Adam; a second pass for validation."""
    return plain_epochs(sizes, sizes.validation_windows), {"threads": torch.get_num_threads()}


def ours(sizes: Sizes, cores: int, count: int, spectra: bool) -> Contestant:
    """An epoch and a validation of so many members by Adam, and their spectra if asked for."""
    torch.set_num_threads(1)
    before = peak_mib()
    rounds = Rounds(members(sizes, count, searcher("adam"), workers=cores))

    def sample() -> int:
        rounds.advance()
        rounds.validate()
        if spectra:
            rounds.measure()
        return count

    return sample, {"made_mib": peak_mib() - before}


if __name__ == "__main__":
    serve({function.__name__: function for function in (plain, ours)})
