"""Empirical spectral densities (ESD): the eigenvalues s² of WᵀW, pooled over a family, at the tracked steps."""

from __future__ import annotations

TITLE = "Empirical spectral densities"
EIGENVALUES, DENSITY = "eigenvalue / mean initial one", "density"
TEXT = (
    "The empirical spectral density (ESD) of the eigenvalues s² of WᵀW, pooled over a family, in units of that "
    "family's mean initial eigenvalue"
)
