"""Shape and decay of a spectrum, each metric a pure function of singular values.

Every function takes (..., r) singular values, in any order, float32 or wider, computes in float64 and returns one
value a spectrum, shape (...). All but the two norms ignore the scale of the weights.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Integer

from transformer_spectrum.weights.matrices.energy import (
    checked_spectra,
    relative_to_largest,
    share_entropy,
    square_sum,
)
from transformer_spectrum.weights.matrices.energy import (
    spectral_entropy as spectral_entropy,  # all metrics are had here
)
from transformer_spectrum.weights.matrices.energy import stable_rank as stable_rank
from transformer_spectrum.weights.matrices.spectrum_types import PerSpectrum, Spectra

WINDOW_MINIMUM = 3  # a line through two points always fits
SINGLE_PRECISION = float(np.finfo(np.float32).eps)
SQUARED = 300
"""Powers of 2 to which singular values may rise or fall before their squares' sums are computed in another unit."""


class RankDecay(NamedTuple):
    """Line through log s against log rank: its negative slope and how well it fits, each (...).

    Attributes:
        alpha: negative slope, dimensionless, >= 0.
        r_squared: share of the variance of log s that the line explains, in [0, 1].
        standard_error: of the slope by ordinary least squares, dimensionless, >= 0. It takes the residuals for
            independent noise, which they are not. Sorted samples of a power law lean on their neighbours: at r = 64
            it is 8 times smaller than alpha's true spread. Eigenvalues of a random matrix repel each other and the
            bend of their curve counts as noise: there it is 2 to 5 times too large. Compare spectra by a null.
    """

    alpha: PerSpectrum
    r_squared: PerSpectrum
    standard_error: PerSpectrum


def unit_exponents(singular_values: Spectra) -> Integer[np.ndarray, "*batch"]:
    """e of each spectrum, by which it is divided as 2^e so that squares can neither overflow nor underflow.

    The division is exact. Where all is well without, e is 0: not a bit of any result changes there.

    Args:
        singular_values: (..., r) of W, any order, in W's units.
    Returns:
        (...) whole numbers; 0 where the largest value lies within 2^-300 ... 2^300, or is 0.

    >>> unit_exponents(np.array([[1.0, 0.5], [0.0, 0.0], [2.0**500, 1.0]])).tolist()
    [0, 0, 501]
    """
    exponents = np.frexp(checked_spectra(singular_values).max(axis=-1))[1]
    return np.where(np.abs(exponents) > SQUARED, exponents, 0)


def effective_rank(singular_values: Spectra) -> PerSpectrum:
    """Rank that the spread of the singular values amounts to: exp(H), H = -sum_i p_i ln p_i, p_i = s_i / sum_j s_j.

    Its shares are those of s, as its authors have it; `spectral_entropy` takes the energies s^2. So this is not
    exp(spectral_entropy), which never exceeds it.

    Args:
        singular_values: (..., r) of W, any order, in W's units.
    Returns:
        (...) dimensionless, in [1, r]; unchanged when W is rescaled.
    Raises:
        ValueError: no singular value is positive.
    Source: Roy & Vetterli (2007), EUSIPCO, definition 1.

    >>> float(effective_rank(np.array([5.0, 5.0, 0.0, 0.0])).round(6))
    2.0
    """
    return np.exp(share_entropy(relative_to_largest(singular_values)))


def participation_ratio(singular_values: Spectra) -> PerSpectrum:
    """How many eigenvalues share the energy: (sum_i l_i)^2 / sum_i l_i^2 with l_i = s_i^2.

    Args:
        singular_values: (..., r) of W, any order, in W's units.
    Returns:
        (...) dimensionless, in [1, r]: k for k equal values beside zeros; unchanged when W is rescaled.
    Raises:
        ValueError: no singular value is positive.
    Source: Bell & Dean (1970), Discuss. Faraday Soc. 50; of eigenvalues: Gao et al. (2017), bioRxiv 214262.

    >>> float(participation_ratio(np.array([3.0, 3.0, 0.0])))
    2.0
    """
    energy = relative_to_largest(singular_values) ** 2
    return energy.sum(axis=-1) ** 2 / square_sum(energy)


def condition_number(singular_values: Spectra) -> PerSpectrum:
    """How unequally W stretches: s_max / s_min over all r singular values.

    Args:
        singular_values: (..., r) of W, any order, in W's units.
    Returns:
        (...) dimensionless, >= 1; unchanged when W is rescaled. Beyond 1 / eps of W's own precision its digits are
        those of rounding: see `numerical_rank`.
    Raises:
        ValueError: no singular value is positive, or one is zero or too small beside the largest for float64.
    Source: Golub & Van Loan (2013), Matrix Computations, 4th ed., sec. 2.6.

    >>> float(condition_number(np.array([8.0, 4.0, 2.0])))
    4.0
    """
    smallest = relative_to_largest(singular_values).min(axis=-1)
    if not (smallest >= np.finfo(np.float64).tiny).all():
        raise ValueError("a singular value is zero: the condition number is infinite")
    return 1.0 / smallest


def storage_rounding(
    singular_values: Spectra, shape: tuple[int, int] | Integer[np.ndarray, "*#batch 2"], eps: float = SINGLE_PRECISION
) -> PerSpectrum:
    """What rounding of the entries can do to singular values: eps max(2 rms(w) (sqrt m + sqrt n), s_max).

    Storing w moves it by at most eps |w| / 2, evenly spread over its last place: by eps |w| / sqrt(12) root mean square
    at most. No singular value moves by more than the norm |E|_2 of the matrix of these errors (Weyl). Where the entries
    are alike, independent errors of standard deviation t have |E|_2 = t (sqrt m + sqrt n), which is .29 eps rms(w)
    (sqrt m + sqrt n). Where a few rows or columns hold the energy, |E|_2 is about the largest norm of a row of errors
    plus that of a column, at most .58 eps s_max, as no row is longer than s_max. What is left above these two, 7 and
    1.7 times, is for entries that were computed in the same precision: products of Gaussian factors over 1 to 512 inner
    dimensions had theirs at up to 1.7 eps rms(w) (sqrt m + sqrt n) (1,024 x 1,024, 512).

    The rule of numpy.linalg.matrix_rank, max(m, n) eps s_max, grows beyond all that with the size: it passes the
    smallest singular value of a Gaussian N x N matrix, about rms(w) / sqrt(N), at N of about 1,000. This one lies above
    it with a probability of 4 eps N, .001 at 2,048.

    Args:
        singular_values: (..., r) of W, any order, in W's units.
        shape: m and n, rows and columns of W in either order; (2,) for all spectra or (..., 2), one pair each.
        eps: spacing of 1 in the precision of the entries; dimensionless. By default that of float32, 2^-23: weights
            that were trained in float32 carry it, whatever the precision of their singular values.
    Returns:
        (...) in W's units, >= 0.

    >>> float(storage_rounding(np.full(4, 8.0), (4, 4), eps=0.5))  # entries of root mean square 4
    16.0
    """
    singular_values = checked_spectra(singular_values)
    rows, columns = np.moveaxis(np.asarray(shape, dtype=np.float64), -1, 0)
    alike = 2 * frobenius_norm(singular_values) * (1 / np.sqrt(rows) + 1 / np.sqrt(columns))
    return eps * np.maximum(alike, singular_values.max(axis=-1))


def numerical_rank(
    singular_values: Spectra, shape: tuple[int, int] | Integer[np.ndarray, "*#batch 2"], eps: float = SINGLE_PRECISION
) -> PerSpectrum:
    """Directions that stand above rounding of the entries: the count of s_i > `storage_rounding`.

    Args:
        singular_values: (..., r) of W, any order, in W's units, computed in float64.
        shape: m and n, rows and columns of W in either order; (2,) for all spectra or (..., 2), one pair each.
        eps: spacing of 1 in the precision of the entries of W, by default float32's; dimensionless.
    Returns:
        (...) count in [0, r], 0 for a zero matrix; unchanged when W is rescaled.

    >>> int(numerical_rank(np.array([1.0, 0.5, 1e-9]), (3, 3)))
    2
    """
    singular_values = checked_spectra(singular_values)
    return np.count_nonzero(singular_values > storage_rounding(singular_values, shape, eps)[..., None], axis=-1)


def spectral_norm(singular_values: Spectra) -> PerSpectrum:
    """Largest singular value: ||W||_2 = max_i s_i.

    Args:
        singular_values: (..., r) of W, any order, in W's units.
    Returns:
        (...) in W's units, >= 0.

    >>> float(spectral_norm(np.array([3.0, 4.0])))
    4.0
    """
    return checked_spectra(singular_values).max(axis=-1)


def frobenius_norm(singular_values: Spectra) -> PerSpectrum:
    """Root of the energy: ||W||_F = sqrt(sum_i s_i^2).

    Args:
        singular_values: (..., r) of W, any order, in W's units.
    Returns:
        (...) in W's units, >= 0; infinite where no float64 is as large.

    >>> float(frobenius_norm(np.array([3.0, 4.0])))
    5.0
    >>> float(frobenius_norm(np.array([3e-200, 4e-200])))
    5e-200
    """
    singular_values = checked_spectra(singular_values)
    exponents = unit_exponents(singular_values)
    if not exponents.any():
        return np.sqrt(square_sum(singular_values))
    with np.errstate(over="ignore"):
        return np.ldexp(np.sqrt(square_sum(np.ldexp(singular_values, -exponents[..., None]))), exponents)


def window_ranks(rank: int, window: tuple[float, float]) -> tuple[int, int]:
    """First and last rank, counted from 1, of a window given as fractions of rank.

    (first, last) leaves out the leading round(first * r) ranks and ends with rank round(last * r); halves round up.

    >>> window_ranks(64, (0.0, 0.5))
    (1, 32)
    """
    first, last = (math.floor(fraction * rank + 0.5) for fraction in window)
    return first + 1, last


def alpha_exponent(singular_values: Spectra, window: tuple[float, float] = (0.0, 1.0)) -> RankDecay:
    """Exponent of s_i ~ i^-alpha: least squares of ln s on ln i over a window of ranks i = 1, 2, ...

    Args:
        singular_values: (..., r) of W, any order, in W's units.
        window: fractions of rank, see `window_ranks`; (0, 0.5) is the larger half.
    Returns:
        alpha, >= 0 (0 for equal values), R^2 in [0, 1] (1 where all values in the window are equal: the flat line
        is exact) and the standard error of alpha, a rough one: see `RankDecay`. All are dimensionless and
        unchanged when W is rescaled.
    Raises:
        ValueError: the window holds fewer than 3 ranks, or a singular value that is zero.

    >>> decay = alpha_exponent(np.arange(1, 9) ** -1.5)
    >>> float(decay.alpha.round(6)), float(decay.r_squared.round(6))
    (1.5, 1.0)
    """
    descending = np.sort(checked_spectra(singular_values), axis=-1)[..., ::-1]
    if not (descending[..., 0] > 0).all():
        raise ValueError("no singular value is positive")
    first, last = window_ranks(descending.shape[-1], window)
    if last - first + 1 < WINDOW_MINIMUM:
        raise ValueError(f"ranks {first} to {last}: the window must hold at least {WINDOW_MINIMUM}")
    inside = descending[..., first - 1 : last]
    if not (inside[..., -1] > 0).all():
        raise ValueError(f"ranks {first} to {last}: the window holds a singular value that is zero")
    x = np.log(np.arange(first, last + 1))
    x -= x.mean()
    y = np.log(inside / inside[..., :1])  # exact zeros for equal values
    y -= y.mean(axis=-1, keepdims=True)
    spread = x @ x
    slope = (y * x).sum(axis=-1) / spread  # a product of BLAS would depend on how many spectra there are
    total = square_sum(y)
    unexplained = square_sum(y - slope[..., None] * x)
    r_squared = 1.0 - np.divide(unexplained, total, out=np.zeros_like(total), where=total > 0)
    standard_error = np.sqrt(unexplained / ((len(x) - 2) * spread))
    return RankDecay(np.maximum(-slope, 0.0), np.clip(r_squared, 0.0, 1.0), standard_error)
