"""Random generators, one a purpose, all from the one seed in params.yaml."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch


def numpy_generator(seed: int, purpose: str) -> np.random.Generator:
    """An independent stream for each purpose: adding one elsewhere moves none of the others.

    >>> numpy_generator(1, "split").integers(100, size=4)
    array([47, 98, 16, 21])
    >>> numpy_generator(1, "windows").integers(100, size=4)
    array([62, 29, 37, 60])
    """
    return np.random.default_rng([seed, zlib.crc32(purpose.encode())])


def torch_generator(seed: int, purpose: str) -> torch.Generator:
    """The same for torch, on the CPU, so that a run on a GPU draws the same numbers.

    >>> torch_generator(1, "weights").initial_seed() == torch_generator(1, "weights").initial_seed()
    True
    """
    import torch  # here, because the data stages need no torch and should not wait for it

    return torch.Generator().manual_seed(int(numpy_generator(seed, purpose).integers(2**63 - 1)))
