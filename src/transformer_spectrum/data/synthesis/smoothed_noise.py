"""Synthetic series: independent draws of an SGT, smoothed by a kernel."""

from __future__ import annotations

import math
from typing import Literal, get_args

import numpy as np
from jaxtyping import Float
from scipy import ndimage

from transformer_spectrum.distributions.sgt import SGT
from transformer_spectrum.runtime.errors import InputError

Kernel = Literal["none", "gaussian", "sine", "cosine", "cosine_gaussian"]
NOTHING = 1e-12  # of the largest possible tap, 1: what rounding leaves of a zero


def smoothing_kernel(type: str, size: int, sigma: float, period: float) -> Float[np.ndarray, " taps"]:
    """Taps k(x_i) at the centred positions x_i = i - (size - 1)/2, i = 0 ... size - 1.

    none: 1 (one tap); gaussian: exp(-x^2 / (2 sigma^2)); sine: sin(2 pi x / period); cosine: cos(2 pi x / period);
    cosine_gaussian: the product of cosine and gaussian.

    Args:
        type: one of these names.
        size: taps, >= 1; steps.
        sigma: width of the Gaussian factor, > 0; steps.
        period: of the sine or cosine factor, > 0; steps.
    Returns:
        Not normalised, |k| <= 1.
    Raises:
        InputError: unknown type, a setting out of range, or sum |k| = 0, by which nothing can be divided.

    >>> smoothing_kernel("gaussian", size=3, sigma=1.0, period=1.0).round(3).tolist()
    [0.607, 1.0, 0.607]
    """
    if type not in get_args(Kernel):
        raise InputError(f"kernel.type = {type}: must be one of {', '.join(get_args(Kernel))}")
    if type == "none":
        return np.ones(1)
    if size < 1:
        raise InputError(f"kernel.size = {size}: must be at least 1")
    for name, value in (("sigma", sigma), ("period", period)):
        if not 0 < value < math.inf:
            raise InputError(f"kernel.{name} = {value:g}: must be positive and finite")
    x = np.arange(size) - (size - 1) / 2
    taps = np.ones(size)
    with np.errstate(over="ignore", invalid="ignore"):
        if type in ("gaussian", "cosine_gaussian"):
            taps *= np.exp(-0.5 * (x / sigma) ** 2)
        if type in ("cosine", "cosine_gaussian"):
            taps *= np.cos(2 * np.pi * x / period)
        if type == "sine":
            taps *= np.sin(2 * np.pi * x / period)
    if not np.abs(taps).max() > NOTHING:  # nor where a position has so many periods that it has no sine
        raise InputError(
            f"kernel.type = {type} with kernel.size = {size}, kernel.sigma = {sigma:g} and kernel.period = {period:g}: "
            "the sum of |k| over the taps must not be 0"
        )
    return taps


def smooth(
    series: Float[np.ndarray, "series steps features"], kernel: Float[np.ndarray, " taps"]
) -> Float[np.ndarray, "series steps features"]:
    """Convolution of the same length, y_t = sum_i k_i x_(t - o_i) / sum_i |k_i|, over the taps that fall inside.

    The offsets are o_i = i - floor((size - 1)/2): for an even size the result lags by half a step. Both sums leave
    out the taps that reach beyond an end, so with positive taps every y_t is a weighted mean of the series and a
    constant stays that constant up to its ends. With taps of both signs |y_t| <= max |x| is what remains of that.

    Args:
        series: any unit.
        kernel: may be longer than the series.
    Returns:
        float64 in the same unit.
    Raises:
        InputError: at some step all taps inside are 0.

    >>> smooth(np.array([0.0, 0.0, 6.0]).reshape(1, 3, 1), np.array([1.0, 1.0, 1.0])).ravel().tolist()
    [0.0, 2.0, 3.0]
    """
    series = np.asarray(series, dtype=np.float64)
    length = series.shape[1]
    weight = _convolve(np.ones((1, length, 1)), np.abs(kernel))
    if weight.min() <= NOTHING:
        step = int(weight[0, :, 0].argmin())
        raise InputError(
            f"kernel.size = {len(kernel)} with series of {length} steps: all taps inside are 0 at step {step}"
        )
    return _convolve(series, kernel) / weight


def _convolve(series: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """Direct sums with zeros beyond the ends: unlike an FFT they do not spread the rounding of a huge value."""
    length = series.shape[1]
    before = (len(kernel) - 1) // 2
    after = len(kernel) - 1 - before
    # Taps whose offset exceeds T - 1 touch nothing; scipy wants an odd size to be centred.
    reach = min(max(before, after), length - 1)
    taps = np.zeros(2 * reach + 1)
    first, last = max(-before, -reach), min(after, reach)
    taps[first + reach : last + reach + 1] = kernel[first + before : last + before + 1]
    return ndimage.convolve1d(series, taps, axis=1, mode="constant", cval=0.0)


def synthesize(
    sgt: SGT,
    *,
    series: int,
    length: int,
    features: int,
    kernel_type: Kernel,
    kernel_size: int,
    kernel_sigma: float,
    kernel_period: float,
    generator: np.random.Generator,
) -> Float[np.ndarray, "series steps features"]:
    """Smoothed SGT noise, every series and feature independent of the others.

    mu and sigma are those of the noise: smoothing shrinks the variance, and a kernel of both signs the mean.

    Args:
        sgt: distribution of the noise; data units.
        series: how many, >= 1.
        length: >= 1; steps.
        features: >= 1.
        kernel_type, kernel_size, kernel_sigma, kernel_period: see `smoothing_kernel`.
        generator: all randomness comes from it.
    Returns:
        float64, finite; data units.
    Raises:
        InputError: the kernel cannot be normalised, or a draw is too large for float64.

    >>> normal = SGT(0.0, 1.0, 0.0, 2.0, math.inf)
    >>> noise = synthesize(
    ...     normal, series=2, length=1000, features=1, kernel_type="gaussian", kernel_size=15, kernel_sigma=3.0,
    ...     kernel_period=24.0, generator=np.random.default_rng(0),
    ... )
    >>> noise.shape, bool(noise.std() < 0.5)  # smoothing shrinks the variance
    ((2, 1000, 1), True)
    """
    kernel = smoothing_kernel(kernel_type, kernel_size, kernel_sigma, kernel_period)
    smoothed = smooth(sgt.rvs((series, length, features), generator), kernel)
    if not np.isfinite(smoothed).all():
        raise InputError(f"q = {sgt.q:g} with p = {sgt.p:g}: the tail is so heavy that a draw is too large for float64")
    return smoothed
