"""Entries of matrices in random places or with random signs: one draw of a null each, before any decomposition."""

from __future__ import annotations

import torch
from jaxtyping import Inexact
from torch import Tensor


def shuffled_entries(
    matrices: Inexact[Tensor, "m rows columns"], generator: torch.Generator
) -> Inexact[Tensor, "m rows columns"]:
    """Matrices whose entries were put in random places, each matrix by a permutation of its own.

    Args:
        matrices: (m, rows, columns), any units.
        generator: of the permutations, on the CPU.

    >>> shuffled_entries(torch.eye(2).double()[None], torch.Generator().manual_seed(0)).sum().item()
    2.0
    """
    flat = matrices.flatten(1)
    return torch.stack([row[torch.randperm(len(row), generator=generator)] for row in flat]).view(matrices.shape)


def signed_entries(
    matrices: Inexact[Tensor, "m rows columns"], generator: torch.Generator
) -> Inexact[Tensor, "m rows columns"]:
    """Matrices whose entries were multiplied by independent signs, + or - with probability 1/2 each.

    Args:
        matrices: (m, rows, columns), any units.
        generator: of the signs, on the CPU.

    >>> signed_entries(torch.eye(2).double()[None], torch.Generator().manual_seed(0)).abs().sum().item()
    2.0
    """
    signs = [torch.randint(0, 2, matrix.shape, generator=generator) * 2 - 1 for matrix in matrices]
    return matrices * torch.stack(signs)
