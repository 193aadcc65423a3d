"""Synthetic series: skewed generalized t noise, smoothed by a kernel."""

from __future__ import annotations

from typing import Literal

import numpy as np
from scipy.signal import fftconvolve

from transformer_spectrum.distributions.sgt import SGT
from transformer_spectrum.errors import InputError

KernelType = Literal["none", "gaussian", "sine", "cosine", "cosine_gaussian"]


def smoothing_kernel(kind: KernelType, size: int, sigma: float, period: float) -> np.ndarray:
    """Taps k(x) at x = i - (size - 1) / 2, i = 0 .. size - 1.

    Args:
        kind: gaussian exp(-x^2 / (2 sigma^2)); sine sin(2 pi x / period); cosine cos(2 pi x / period);
            cosine_gaussian, the product of cosine and gaussian; none, the single tap 1.
        size: taps; steps, >= 1.
        sigma: width of the Gaussian; steps, > 0.
        period: of sine and cosine; steps, > 0.
    Returns:
        (size,) or (1,) for none; not normalised, see `smooth`.
    Raises:
        InputError: all taps are zero, as of a sine of size 1.
    """
    if kind == "none":
        return np.ones(1)
    x = np.arange(size) - (size - 1) / 2
    taps = np.ones(size)
    if kind in ("gaussian", "cosine_gaussian"):
        taps = taps * np.exp(-(x**2) / (2 * sigma**2))
    if kind in ("cosine", "cosine_gaussian"):
        taps = taps * np.cos(2 * np.pi * x / period)
    if kind == "sine":
        taps = taps * np.sin(2 * np.pi * x / period)
    if not np.abs(taps).sum() > 1e-9:
        raise InputError(
            f"data.synthetic.kernel.size = {size} with type {kind}, sigma {sigma:g} and period {period:g}: "
            "all taps are zero"
        )
    return taps


def smooth(series: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """Convolves with the kernel and divides by the sum of |k| over the taps that fall inside the series.

    For positive kernels this is a weighted mean, also at the edges; a kernel that changes sign is a band-pass filter.

    Args:
        series: (n, T, F).
        kernel: (taps,).
    Returns:
        (n, T, F), of the same length.
    """
    taps = np.asarray(kernel, dtype=np.float64)
    steps, before = series.shape[1], (len(taps) - 1) // 2  # the centre tap, the left of the two when even

    def convolved(values: np.ndarray, by: np.ndarray) -> np.ndarray:
        return fftconvolve(values, by[None, :, None], axes=1)[:, before : before + steps]

    inside = np.convolve(np.ones(steps), np.abs(taps))[before : before + steps]
    return convolved(series, taps) / inside[None, :, None]


def synthesize(
    distribution: SGT,
    *,
    series: int,
    length: int,
    features: int,
    kernel: np.ndarray,
    generator: np.random.Generator,
) -> np.ndarray:
    """Independent noise of the distribution, smoothed.

    Args:
        distribution: of the noise; data units.
        series: n; count.
        length: T; steps.
        features: F, independent channels; count.
        kernel: see `smoothing_kernel`.
        generator: all randomness comes from it.
    Returns:
        (n, T, F) float64, data units.
    Raises:
        InputError: the tails are so heavy that a draw leaves float64's range.
    """
    noise = distribution.rvs((series, length, features), generator)
    if not np.isfinite(noise).all():
        raise InputError(
            f"data.synthetic.q = {distribution.q:g} with data.synthetic.p = {distribution.p:g}: "
            "draws leave float64's range"
        )
    return noise if len(kernel) == 1 else smooth(noise, kernel)
