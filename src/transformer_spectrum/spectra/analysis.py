"""Every spectral metric of a whole training, and for each that has no value the reason why."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from transformer_spectrum.spectra import metrics, power_law

METRICS = (
    "spectral_entropy",
    "spectral_entropy_normalised",
    "stable_rank",
    "spectral_norm",
    "alpha_exponent",
    "hill_alpha",
    "ks_alpha",
    "ks_xmin",
    "ks_distance",
    "ks_tail",
)
FAMILIES = (
    "encoder_self_attention",
    "decoder_self_attention",
    "decoder_cross_attention",
    "feed_forward",
    "encoder_gates",
    "decoder_gates",
    "embedding",
    "readout",
)

ZERO_MATRIX = "zero matrix"
ONE_VALUE = "only one singular value"
NARROW_WINDOW = "fewer than 3 ranks in the window"
ZERO_IN_WINDOW = "a zero singular value in the window"
SHORT_TAIL = "fewer positive eigenvalues than the tail needs"
CONSTANT_TAIL = "all eigenvalues of the tail are equal"
COMPUTED = ""


@dataclass(frozen=True)
class Analysis:
    """Metrics of S steps of M matrices.

    Attributes:
        values: metric name -> (S, M) float64, NaN exactly where `reasons` has one.
        reasons: metric name -> (S, M) text, empty where the value was computed.
    """

    values: Mapping[str, np.ndarray]
    reasons: Mapping[str, np.ndarray]

    def reason(self, metric: str, step: int, matrix: int) -> str:
        """Why the metric has no value at this position, or empty text."""
        return str(self.reasons[metric][step, matrix])

    def class_mean(self, metric: str, members: np.ndarray) -> np.ndarray:
        """(S,) mean over those of the matrices that have a value; NaN where none has: see `class_reason`."""
        values = self.values[metric][:, members]
        computed = ~np.isnan(values)
        count = computed.sum(axis=1)
        total = np.where(computed, values, 0.0).sum(axis=1)
        return np.divide(total, count, out=np.full(len(values), np.nan), where=count > 0)

    def class_reason(self, metric: str, step: int, members: np.ndarray) -> str:
        """How many of the matrices are missing from the mean, and why; empty text when none is."""
        reasons = self.reasons[metric][step, members]
        missing = reasons[reasons != COMPUTED]
        if not len(missing):
            return COMPUTED
        names, counts = np.unique(missing, return_counts=True)
        return "; ".join(f"{k} of {len(members)}: {name}" for name, k in zip(names, counts, strict=True))


def shape_classes(families: np.ndarray, shapes: np.ndarray) -> dict[str, np.ndarray]:
    """Matrices that may be averaged: one family and one shape up to transposition.

    Estimates of the tail depend on the aspect ratio, so no mean crosses it.

    Args:
        families: (M,) names.
        shapes: (M, 2) rows and columns.
    Returns:
        Label -> positions, families in the order of FAMILIES. The label is the family's name, followed by
        "_<larger>x<smaller>" where the family has more than one shape.
    """
    families, sizes = np.asarray(families), -np.sort(-np.asarray(shapes), axis=1)
    known = [name for name in FAMILIES if name in families]
    others = [name for name in dict.fromkeys(families.tolist()) if name not in FAMILIES]
    classes = {}
    for family in known + others:
        members = np.flatnonzero(families == family)
        distinct = np.unique(sizes[members], axis=0)[::-1]
        for size in distinct:
            label = family if len(distinct) == 1 else f"{family}_{size[0]}x{size[1]}"
            classes[label] = members[(sizes[members] == size).all(axis=1)]
    return classes


def analyze(
    singular_values: np.ndarray,
    shapes: np.ndarray,
    *,
    hill_fraction: float,
    min_tail: int,
    ks_distance: power_law.Distance,
    window: tuple[float, float],
) -> Analysis:
    """All of METRICS for every matrix at every step, in one batch a rank.

    A singular value below max(rows, columns) * eps(float32) * s_max is rounding and counts as zero, and by the
    same measure a tail counts as constant.

    Args:
        singular_values: (S, M, R), padded behind min(rows, columns) with anything.
        shapes: (M, 2) rows and columns.
        hill_fraction: largest eigenvalues that enter Hill's alpha; fraction of rank, see `power_law.hill_count`.
        min_tail: fewest eigenvalues in Clauset's tail; count.
        ks_distance: convention of D, see `power_law.clauset_fit`.
        window: ranks of the alpha exponent; fractions, see `metrics.window_ranks`.
    Raises:
        ValueError: a singular value is not finite or is negative; names the step and the matrix.
    """
    singular_values, shapes = np.asarray(singular_values, dtype=np.float64), np.asarray(shapes)
    ranks = shapes.min(axis=1)
    inside = np.arange(singular_values.shape[2]) < ranks[:, None]  # (M, R)
    bad = inside & ~(np.isfinite(singular_values) & (singular_values >= 0))
    if bad.any():
        step, matrix, position = np.argwhere(bad)[0]
        raise ValueError(
            f"singular value {position} of matrix {matrix} at step position {step} is "
            f"{singular_values[step, matrix, position]}: must be finite and not negative"
        )
    positions = singular_values.shape[:2]
    values = {name: np.full(positions, np.nan) for name in METRICS}
    width = max(map(len, (ZERO_MATRIX, ONE_VALUE, NARROW_WINDOW, ZERO_IN_WINDOW, SHORT_TAIL, CONSTANT_TAIL)))
    reasons = {name: np.full(positions, COMPUTED, dtype=f"U{width}") for name in METRICS}
    for rank in np.unique(ranks):
        members = np.flatnonzero(ranks == rank)
        rounding = shapes[members].max(axis=1)[:, None] * np.finfo(np.float32).eps  # (m, 1)
        block = -np.sort(-singular_values[:, members, :rank], axis=-1)
        spectra = np.where(block >= rounding * block[..., :1], block, 0.0)
        rules = _rules(spectra, rounding[:, 0], hill_fraction, min_tail, ks_distance, window)
        for names, excluded, function in rules:
            why = np.full(spectra.shape[:2], COMPUTED, dtype=f"U{width}")
            for reason, mask in reversed(excluded):
                why[mask] = reason
            computed = why == COMPUTED
            results = function(spectra[computed]) if computed.any() else [np.empty(0)] * len(names)
            for name, result in zip(names, results, strict=True):
                part = np.full(computed.shape, np.nan)
                part[computed] = result
                values[name][:, members] = part
                reasons[name][:, members] = why
    return Analysis(values, reasons)


Rule = tuple[tuple[str, ...], list[tuple[str, np.ndarray]], Callable[[np.ndarray], tuple[np.ndarray, ...]]]


def _rules(
    spectra: np.ndarray,
    rounding: np.ndarray,
    hill_fraction: float,
    min_tail: int,
    ks_distance: power_law.Distance,
    window: tuple[float, float],
) -> list[Rule]:
    """Metric names, what has no value (the first reason that holds is given), and the function for the rest.

    Args:
        spectra: (S, m, r) descending.
        rounding: (m,) relative size of rounding.
    """
    rank = spectra.shape[-1]
    count = (spectra > 0).sum(axis=-1)
    zero = count == 0
    everywhere = np.ones_like(zero)
    first, last = metrics.window_ranks(rank, window)
    k = power_law.hill_count(rank, hill_fraction)

    def constant(length: np.ndarray | int) -> np.ndarray:
        """Whether the leading `length` values are equal but for rounding."""
        position = np.broadcast_to(np.clip(np.asarray(length) - 1, 0, rank - 1), count.shape)
        smallest = np.take_along_axis(spectra, position[..., None], axis=-1)[..., 0]
        return spectra[..., 0] - smallest <= rounding * spectra[..., 0]

    return [
        (("spectral_norm",), [], lambda s: (metrics.spectral_norm(s),)),
        (("stable_rank",), [(ZERO_MATRIX, zero)], lambda s: (metrics.stable_rank(s),)),
        (("spectral_entropy",), [(ZERO_MATRIX, zero)], lambda s: (metrics.spectral_entropy(s),)),
        (
            ("spectral_entropy_normalised",),
            [(ZERO_MATRIX, zero), (ONE_VALUE, everywhere & (rank == 1))],
            lambda s: (metrics.spectral_entropy(s, normalised=True),),
        ),
        (
            ("alpha_exponent",),
            [
                (ZERO_MATRIX, zero),
                (ONE_VALUE, everywhere & (rank == 1)),
                (NARROW_WINDOW, everywhere & (last - first + 1 < metrics.WINDOW_MINIMUM)),
                (ZERO_IN_WINDOW, count < last),
            ],
            lambda s: (metrics.alpha_exponent(s, window).alpha,),
        ),
        (
            ("hill_alpha",),
            [
                (ZERO_MATRIX, zero),
                (ONE_VALUE, everywhere & (rank == 1)),
                (SHORT_TAIL, count < k + 1),
                (CONSTANT_TAIL, constant(k + 1)),
            ],
            lambda s: (power_law.hill_alpha(s**2, k),),
        ),
        (
            ("ks_alpha", "ks_xmin", "ks_distance", "ks_tail"),
            [
                (ZERO_MATRIX, zero),
                (ONE_VALUE, everywhere & (rank == 1)),
                (SHORT_TAIL, count < min_tail),
                (CONSTANT_TAIL, constant(count)),
            ],
            lambda s: tuple(power_law.clauset_fit(s**2, min_tail, ks_distance)),
        ),
    ]
