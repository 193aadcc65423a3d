"""Spectra of one matrix too large for copies in float64, such as an embedding of 50,000 tokens, and of its shuffles."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float, Float64, Inexact
from torch import Tensor

PIECE = 1 << 20  # entries turned to float64 at once: 8 MiB


def spectrum_in_pieces(matrix: Inexact[Tensor, "rows columns"], device: str = "cpu") -> Float64[np.ndarray, " rank"]:
    """Singular values as roots of the eigenvalues of the smaller Gram matrix, summed up piece by piece in float64.

    Beside the matrix it holds PIECE entries and a few r x r matrices in float64. Sums of N = max(rows, columns)
    products are wrong by N eps s_max^2 at most, or little more, and so are the eigenvalues. Those that are not above it
    are 0: no singular value is given below sqrt(N eps) s_max (5e-7 s_max at N = 1,024), where roots of rounding would
    pass for small ones. A Gaussian N x N matrix has one there with a probability of 2 sqrt(N^3 eps), .003 at N = 2,048.

    Args:
        matrix: finite, of any units.
        device: where the products and the eigenvalues are computed; it must know float64.
    Returns:
        Descending, >= 0, W's units; rank = min(rows, columns).

    >>> spectrum_in_pieces(torch.tensor([[3.0, 0.0], [0.0, 4.0], [0.0, 0.0]]))
    array([4., 3.])
    """
    tall = matrix if matrix.shape[0] >= matrix.shape[1] else matrix.T
    rank = tall.shape[1]
    # Divided by the largest entry, no square can overflow or underflow.
    scale = float(tall.abs().max()) if tall.is_complex() else max(float(tall.max()), -float(tall.min()))
    if scale == 0.0:
        return np.zeros(rank)
    double = torch.complex128 if tall.is_complex() else torch.float64
    gram = torch.zeros(rank, rank, dtype=double, device=device)
    for rows in tall.split(max(1, PIECE // rank)):
        piece = rows.to(device=device, dtype=double) / scale
        gram.addmm_(piece.mH, piece)
    eigenvalues = torch.linalg.eigvalsh(gram).cpu().numpy()[::-1]
    error = len(tall) * np.finfo(np.float64).eps * eigenvalues[0]
    return np.sqrt(np.where(eigenvalues > error, eigenvalues, 0.0)) * scale


def shuffled_in_pieces(
    matrix: Float[Tensor, "rows columns"], draws: int, generator: np.random.Generator, device: str = "cpu"
) -> Float64[np.ndarray, "draws rank"]:
    """The null of `nulls.shuffled_singular_values` for one large matrix: its entries in random places.

    It holds one copy of the matrix, shuffled in place from draw to draw: a shuffle of a shuffle is one as well, and
    independent of it. The same draws on every device.

    Args:
        matrix: finite, on the CPU.
        draws: count, >= 1.
        generator: of the shuffles.
        device: see `spectrum_in_pieces`.
    Returns:
        Descending, W's units; rank = min(rows, columns).

    >>> matrix = torch.ones(3, 2)  # whatever the order of its entries
    >>> shuffled_in_pieces(matrix, 3, np.random.default_rng(0)).round(3)[:, 0]
    array([2.449, 2.449, 2.449])
    """
    entries = torch.empty(matrix.shape, dtype=torch.promote_types(matrix.dtype, torch.float32)).copy_(matrix)
    flat = entries.view(-1).numpy()
    spectra = []
    for _ in range(draws):
        generator.shuffle(flat)
        spectra.append(spectrum_in_pieces(entries, device))
    return np.stack(spectra)
