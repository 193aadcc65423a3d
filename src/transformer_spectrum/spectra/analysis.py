"""Every spectral metric of a whole training, and for each that has no value the reason why."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, get_args

import numpy as np
from jaxtyping import Float, Float64, Int, UInt8

from transformer_spectrum.spectra import metrics, power_law, random_matrix
from transformer_spectrum.spectra.reasons import COMPUTED, CONSTANT_TAIL, SHORT_TAIL
from transformer_spectrum.weights.matrices.shapes import by_shape

TINY = float(np.finfo(np.float64).tiny)
METRICS = (
    "spectral_entropy",
    "spectral_entropy_normalised",
    "effective_rank",
    "participation_ratio",
    "stable_rank",
    "spectral_norm",
    "frobenius_norm",
    "condition_number",
    "numerical_rank",
    "alpha_exponent",
    "alpha_exponent_se",
    "alpha_exponent_r_squared",
    "hill_alpha",
    "ks_alpha",
    "ks_alpha_se",
    "ks_xmin",
    "ks_distance",
    "ks_tail",
    "alpha_hat",
    "log_alpha_norm",
    "mp_variance",
    "mp_upper_edge",
    "tw_edge",
    "mp_spikes",
    "mp_soft_rank",
    "mp_distance",
)

ZERO_MATRIX = "zero matrix"
ONE_VALUE = "only one singular value"
ZERO_VALUE = "a zero singular value"
NARROW_WINDOW = "fewer than 3 ranks in the window"
ZERO_IN_WINDOW = "a zero singular value in the window"
NO_BULK = "half of the eigenvalues or more are zero"
NOT_RECORDED = "not recorded at this step"
BEYOND_NUMBERS = "too large or too small for a float64"
MANY_SPIKES = "more spikes than half of the eigenvalues, the most that are counted: what is left is no bulk"
REASONS = (
    COMPUTED,
    ZERO_MATRIX,
    ONE_VALUE,
    ZERO_VALUE,
    NARROW_WINDOW,
    ZERO_IN_WINDOW,
    SHORT_TAIL,
    CONSTANT_TAIL,
    NO_BULK,
    MANY_SPIKES,
    NOT_RECORDED,
    BEYOND_NUMBERS,
)
DEGREES = {
    "spectral_norm": 1,
    "frobenius_norm": 1,
    "ks_xmin": 2,
    "mp_variance": 2,
    "mp_upper_edge": 2,
    "tw_edge": 2,
}
"""Power of the weights' unit in which a metric is; 0 for all others."""
LOGARITHMIC = ("alpha_hat", "log_alpha_norm")
"""Metrics to which a factor c of the weights adds 2 alpha log10 c."""


@dataclass(frozen=True)
class Estimators:
    """Settings of the estimators; the defaults are those of the committed params.yaml.

    Attributes:
        hill_fraction: largest eigenvalues that enter Hill's alpha; fraction of rank in (0, 1], see
            `power_law.hill_count`.
        min_tail: fewest eigenvalues in Clauset's tail; count, >= 2.
        ks_distance: convention of D, see `power_law.clauset_fit`.
        window: ranks of the alpha exponent; fractions, 0 <= first < last <= 1, see `metrics.window_ranks`.
        edge_level: level of the Tracy-Widom edge, see `random_matrix.fit_bulk`; probability in [0.5, 1).
    Raises:
        ValueError: one of them is out of its range.

    >>> Estimators(hill_fraction=1.5)
    Traceback (most recent call last):
    ValueError: hill_fraction = 1.5: must be in (0, 1]
    """

    hill_fraction: float = 0.25
    min_tail: int = 8
    ks_distance: power_law.Distance = "two_sided"
    window: tuple[float, float] = (0.0, 0.5)
    edge_level: float = 0.99

    def __post_init__(self) -> None:
        first, last = self.window
        for name, rule, holds in (
            ("hill_fraction", "in (0, 1]", 0 < self.hill_fraction <= 1),
            ("min_tail", ">= 2", self.min_tail >= 2),
            ("ks_distance", "two_sided or powerlaw", self.ks_distance in get_args(power_law.Distance)),
            ("window", "0 <= first < last <= 1", 0 <= first < last <= 1),
            ("edge_level", "in [0.5, 1)", 0.5 <= self.edge_level < 1),
        ):
            if not holds:
                raise ValueError(f"{name} = {getattr(self, name)}: must be {rule}")


class Absence(NamedTuple):
    """Matrices that a mean over a family lacks for one reason.

    Attributes:
        reason: one of REASONS.
        lacking: of them; count.
        matrices: in the family; count.
    """

    reason: str
    lacking: int
    matrices: int


@dataclass(frozen=True)
class Analysis:
    """Metrics of S steps of M matrices.

    Attributes:
        values: metric name -> (S, M) float64, NaN exactly where there is a reason.
        codes: metric name -> (S, M) positions in REASONS, 0 where the value was computed.
    """

    values: Mapping[str, Float64[np.ndarray, "steps matrices"]]
    codes: Mapping[str, UInt8[np.ndarray, "steps matrices"]]

    def reason(self, metric: str, step: int, matrix: int) -> str:
        """Why the metric has no value at this position, or empty text."""
        return REASONS[self.codes[metric][step, matrix]]

    def missing(self, step: int, matrix: int) -> str:
        """What has no value at this position and why: "reason: metric, metric; reason: metric"."""
        named: dict[str, list[str]] = {}
        for metric, codes in self.codes.items():
            if codes[step, matrix]:
                named.setdefault(REASONS[codes[step, matrix]], []).append(metric)
        return "; ".join(f"{reason}: {', '.join(names)}" for reason, names in named.items())

    def class_mean(self, metric: str, members: Int[np.ndarray, " members"]) -> Float64[np.ndarray, " steps"]:
        """(S,) mean over those of the matrices that have a value; NaN where none has: see `class_reason`."""
        values = self.values[metric][:, members]
        computed = ~np.isnan(values)
        count = computed.sum(axis=1)
        total = np.where(computed, values, 0.0).sum(axis=1)
        return np.divide(total, count, out=np.full(len(values), np.nan), where=count > 0)

    def absences(self, metric: str, step: int, members: Int[np.ndarray, " members"]) -> list[Absence]:
        """Of the matrices that are missing from the mean, for each reason how many; empty when none is."""
        codes = self.codes[metric][step, members]
        distinct, counts = np.unique(codes[codes > 0], return_counts=True)
        return sorted(
            Absence(REASONS[code], count, len(members)) for code, count in zip(distinct, counts.tolist(), strict=True)
        )

    def class_reason(self, metric: str, step: int, members: Int[np.ndarray, " members"]) -> str:
        """The same in words, such as "1 of 3: zero matrix"; empty text when none is missing."""
        absences = self.absences(metric, step, members)
        return "; ".join(f"{absence.lacking} of {absence.matrices}: {absence.reason}" for absence in absences)


def analyze(
    singular_values: Float[np.ndarray, "steps matrices rank"],
    shapes: Int[np.ndarray, "matrices 2"],
    estimators: Estimators,
    *,
    stored: Float[np.ndarray, "#steps matrices rank"] | Float[np.ndarray, "matrices rank"] | None = None,
) -> Analysis:
    """All of METRICS for every matrix at every step, in one batch a shape.

    A singular value not above `metrics.storage_rounding` is rounding of float32 and counts as zero, and by the same
    measure a tail counts as constant. A difference of matrices carries the rounding of these, which is larger than its
    own. Spectra whose squares no float64 holds are measured in another unit (`metrics.unit_exponents`); what is in
    powers of the weights' unit and does not fit back has a reason.

    Args:
        singular_values: (S, M, R), padded behind min(rows, columns) with anything.
        shapes: (M, 2) rows and columns.
        estimators: their settings.
        stored: singular values of the matrices whose entries were stored, where these are differences of them, such as
            W_t of W_t - W_0; None: they are these matrices.
    Raises:
        ValueError: a singular value is not finite or is negative; names the step and the matrix.

    >>> change = np.array([[[1.0, 1e-6]]])
    >>> [float(analyze(change, np.array([[2, 2]]), Estimators(), stored=of).values["numerical_rank"][0, 0])
    ...     for of in (None, 10 + change)]
    [2.0, 1.0]
    >>> analysis = analyze(np.array([[[2.0, 1.0, 1.0]]]), np.array([[3, 5]]), Estimators())
    >>> float(analysis.values["stable_rank"][0, 0]), analysis.reason("ks_alpha", 0, 0)
    (1.5, 'fewer positive eigenvalues than the tail needs')
    """
    singular_values = np.asarray(singular_values, dtype=np.float64)
    inside = np.arange(singular_values.shape[2]) < shapes.min(axis=1)[:, None]  # (M, R)
    bad = inside & ~(np.isfinite(singular_values) & (singular_values >= 0))
    if bad.any():
        step, matrix, position = np.argwhere(bad)[0]
        raise ValueError(
            f"singular value {position} of matrix {matrix} at step position {step} is "
            f"{singular_values[step, matrix, position]}: must be finite and not negative"
        )
    positions = singular_values.shape[:2]
    values = {name: np.full(positions, np.nan) for name in METRICS}
    codes = {name: np.zeros(positions, dtype=np.uint8) for name in METRICS}
    for size, members in by_shape(shapes.tolist()).items():  # no metric tells a matrix from its transpose
        spectra = -np.sort(-singular_values[:, members, : size[1]], axis=-1).reshape(-1, size[1])
        rounding = np.asarray(metrics.storage_rounding(spectra, size))
        if stored is not None:
            whole = np.broadcast_to(stored, singular_values.shape)[:, members, : size[1]].reshape(-1, size[1])
            rounding = np.maximum(rounding, metrics.storage_rounding(whole, size))
        exponents = metrics.unit_exponents(spectra)
        spectra, rounding = np.ldexp(spectra, -exponents[:, None]), np.ldexp(rounding, -exponents)
        for names, why, results in _measure(spectra, size, rounding, estimators):
            for name, result in zip(names, results, strict=True):
                values[name][:, members] = result.reshape(-1, len(members))
                codes[name][:, members] = why.reshape(-1, len(members))
        if exponents.any():
            _back_to_units(values, codes, members, exponents.reshape(-1, len(members)))
    return Analysis(values, codes)


def _back_to_units(
    values: dict[str, np.ndarray], codes: dict[str, np.ndarray], members: Sequence[int], exponents: np.ndarray
) -> None:
    """In place: metrics of spectra (S, m) that were measured in units of 2^e."""
    columns = list(members)
    for name, degree in DEGREES.items():
        measured = values[name][:, columns]
        with np.errstate(over="ignore", under="ignore"):
            result = np.ldexp(measured, degree * exponents)
        lost = (measured != 0) & ~np.isnan(measured) & ~(np.isfinite(result) & (np.abs(result) >= TINY))
        values[name][:, columns] = np.where(lost, np.nan, result)
        codes[name][:, columns] = np.where(lost, REASONS.index(BEYOND_NUMBERS), codes[name][:, columns])
    for name in LOGARITHMIC:
        values[name][:, columns] += 2 * exponents * math.log10(2) * values["ks_alpha"][:, columns]


Rule = tuple[tuple[str, ...], list[tuple[str, np.ndarray | bool]], Callable[[np.ndarray], tuple[np.ndarray, ...]]]
LATE = {"mp_spikes": MANY_SPIKES}  # what only the estimate itself can tell: its result is NaN, and this is why


def _measure(
    spectra: np.ndarray, shape: tuple[int, int], rounding: np.ndarray, estimators: Estimators
) -> Iterator[tuple[tuple[str, ...], np.ndarray, list[np.ndarray]]]:
    """Metric names, (B,) codes and (B,) values of B spectra (B, r), descending, of matrices of one shape."""
    spectra = np.where(spectra > rounding[:, None], spectra, 0.0)
    for names, excluded, function in _rules(spectra, shape, rounding, estimators):
        why = np.zeros(len(spectra), dtype=np.uint8)
        for reason, mask in reversed(excluded):  # the first reason that holds is given
            why[mask] = REASONS.index(reason)
        computed = why == 0
        results = [np.full(len(spectra), np.nan) for _ in names]
        if computed.any():
            for result, values in zip(results, function(spectra[computed]), strict=True):
                result[computed] = values
        for name, result in zip(names, results, strict=True):
            if name in LATE:
                why[computed & np.isnan(result)] = REASONS.index(LATE[name])
        yield names, why, results


def _rules(spectra: np.ndarray, shape: tuple[int, int], rounding: np.ndarray, estimators: Estimators) -> list[Rule]:
    """Metric names, what has no value, and the function for the rest."""
    rank = spectra.shape[1]
    count = np.count_nonzero(spectra, axis=1)
    zero, lone = (ZERO_MATRIX, count == 0), (ONE_VALUE, rank == 1)
    first, last = metrics.window_ranks(rank, estimators.window)
    k = power_law.hill_count(rank, estimators.hill_fraction)

    def constant(length: np.ndarray | int) -> np.ndarray:
        """Whether the leading `length` values are equal but for rounding."""
        position = np.broadcast_to(np.clip(np.asarray(length) - 1, 0, rank - 1), count.shape)
        smallest = np.take_along_axis(spectra, position[:, None], axis=1)[:, 0]
        return spectra[:, 0] - smallest <= rounding

    def tail(s: np.ndarray) -> tuple[np.ndarray, ...]:
        eigenvalues = s**2
        fit = power_law.clauset_fit(eigenvalues, estimators.min_tail, estimators.ks_distance)
        weighted = power_law.alpha_hat(fit.alpha, eigenvalues), power_law.log_alpha_norm(fit.alpha, eigenvalues)
        return fit.alpha, fit.standard_error, fit.xmin, fit.distance, fit.tail, *weighted

    return [
        (
            ("spectral_norm", "frobenius_norm", "numerical_rank"),
            [],
            lambda s: (metrics.spectral_norm(s), metrics.frobenius_norm(s), metrics.numerical_rank(s, shape)),
        ),
        (
            ("stable_rank", "spectral_entropy", "effective_rank", "participation_ratio"),
            [zero],
            lambda s: (
                metrics.stable_rank(s),
                metrics.spectral_entropy(s),
                metrics.effective_rank(s),
                metrics.participation_ratio(s),
            ),
        ),
        (
            ("spectral_entropy_normalised",),
            [zero, lone],
            lambda s: (metrics.spectral_entropy(s, normalised=True),),
        ),
        (
            ("condition_number",),
            [zero, (ZERO_VALUE, count < rank)],
            lambda s: (metrics.condition_number(s),),
        ),
        (
            ("alpha_exponent", "alpha_exponent_se", "alpha_exponent_r_squared"),
            [
                zero,
                lone,
                (NARROW_WINDOW, last - first + 1 < metrics.WINDOW_MINIMUM),
                (ZERO_IN_WINDOW, count < last),
            ],
            lambda s: _decay(metrics.alpha_exponent(s, estimators.window)),
        ),
        (
            ("hill_alpha",),
            [zero, lone, (SHORT_TAIL, count < k + 1), (CONSTANT_TAIL, constant(k + 1))],
            lambda s: (power_law.hill_alpha(s**2, k),),
        ),
        (
            ("ks_alpha", "ks_alpha_se", "ks_xmin", "ks_distance", "ks_tail", "alpha_hat", "log_alpha_norm"),
            [zero, lone, (SHORT_TAIL, count < estimators.min_tail), (CONSTANT_TAIL, constant(count))],
            tail,
        ),
        (
            ("mp_variance", "mp_upper_edge", "tw_edge", "mp_spikes", "mp_soft_rank", "mp_distance"),
            [zero, lone, (NO_BULK, 2 * count <= rank)],
            lambda s: _bulk(random_matrix.fit_bulk(s, shape, level=estimators.edge_level)),
        ),
    ]


def _decay(line: metrics.RankDecay) -> tuple[np.ndarray, ...]:
    return line.alpha, line.standard_error, line.r_squared


def _bulk(fit: random_matrix.BulkFit) -> tuple[np.ndarray, ...]:
    spikes = np.where(fit.bounded, np.nan, fit.spikes)
    return fit.variance, fit.upper_edge, fit.tracy_widom_edge, spikes, fit.soft_rank, fit.distance
