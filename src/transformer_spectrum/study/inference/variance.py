"""How much of an endpoint's variance belongs to optimizer, loss, learning rate, data, seed and their interactions.

The cells are crossed and balanced, every combination of factors with every seed once. The factors' levels are those
that were chosen; the seeds are a sample. The squares about the grand mean fall apart exactly into one sum for every set
of factors, with and without the seed (ANOVA), because in a balanced table these parts are orthogonal.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from numbers import Integral

import numpy as np
import pandas as pd
from scipy import special, stats

from transformer_spectrum.runtime.errors import InputError, quoted
from transformer_spectrum.runtime.seeds import numpy_generator
from transformer_spectrum.study.inference.signflip import as_numbers, check_share
from transformer_spectrum.study.inference.signs import in_order

SEED = "seed"
DRAWS = 1000
COLUMNS = ("term", "degrees", "squares", "squares_share", "component", "share", "low", "high")


def attribution(
    table: pd.DataFrame,
    factors: Sequence[str],
    value: str = "value",
    *,
    seed_column: str = SEED,
    confidence: float = 0.95,
    draws: int = DRAWS,
    seed: int = 0,
) -> pd.DataFrame:
    """Shares of variance of every term, with intervals from a bootstrap over seeds.

    The variance of one training, its cell drawn evenly from those of the table and its seed from all seeds, is the sum
    of the components of all terms. Of a term T with the seed the component is its sum of squares / N times n / (n - 1);
    of one without, (its sum of squares - df(T) MS(T x seed)) / N, as seeds alone give the means of few seeds a spread.
    Both are unbiased; a component below 0 is one that cannot be told from 0. N is the number of trainings, n of seeds.

    Args:
        table: a row a training; balanced, every combination once for each seed.
        factors: columns, at least one, each of two levels or more.
        value: column of the endpoint, finite.
        seed_column: column of the seeds, two or more.
        confidence: of the intervals; 0 < x < 1.
        draws: of the bootstrap; count, >= 2. Its percentiles are too short for few seeds, so that an interval is
            share -+ t sqrt(n / (n - 1)) standard errors, t of n - 1 degrees; in log odds where every resampled share
            has them, as the errors of a share are skewed.
        seed: of its generator.
    Returns:
        COLUMNS, a row a term in the order of their sizes, "optimizer x seed" for an interaction: degrees of freedom,
        sum of squares and its share (which sum to 1 exactly), component in the endpoint's unit squared, its share of
        all components, and the interval of that share.
    Raises:
        InputError: not balanced, a factor without levels, one seed, or a value that is not finite.

    >>> rows = [(optimizer, loss, seed, 4.0 * optimizer + loss + 0.5 * seed)
    ...     for optimizer in (0, 1) for loss in (0, 1) for seed in range(4)]
    >>> shares = attribution(pd.DataFrame(rows, columns=["optimizer", "loss", "seed", "value"]), ["optimizer", "loss"])
    >>> shares.set_index("term")["component"].round(3).loc[["optimizer", "loss", "seed"]].tolist()
    [4.0, 0.25, 0.417]
    """
    check_share("confidence", confidence)
    if isinstance(draws, bool) or not isinstance(draws, Integral) or draws < 2:
        raise InputError(f"draws = {quoted(draws)}: must be a whole number >= 2")
    cells, exponent = _cells(table, [*factors, seed_column], value)
    names = [*factors, seed_column]
    squares, components = _components(cells)
    shares = components / components.sum() if components.sum() else np.full(len(components), np.nan)
    generator, seeds = numpy_generator(seed, "bootstrap of seeds"), cells.shape[-1]
    chosen = generator.integers(0, seeds, size=(draws, seeds))
    resampled = np.stack([_resampled_components(cells, sample) for sample in chosen])
    totals = resampled.sum(axis=1, keepdims=True)
    resampled = np.divide(resampled, totals, out=np.full_like(resampled, np.nan), where=totals > 0)
    low, high = _interval(
        shares, resampled, stats.t.ppf((1 + confidence) / 2, seeds - 1) * (seeds / (seeds - 1)) ** 0.5
    )
    rows = [
        (" x ".join(names[axis] for axis in term), _degrees(term, cells.shape), squares[place])
        for place, term in enumerate(_terms(cells.ndim))
    ]
    result = pd.DataFrame(rows, columns=list(COLUMNS[:3]))
    result["squares_share"] = result["squares"] / (squares.sum() or np.nan)
    for name, column in (("component", components), ("share", shares), ("low", low), ("high", high)):
        result[name] = column
    for name in ("squares", "component"):  # back in the endpoint's unit, squared
        result[name] = np.ldexp(result[name].to_numpy(), 2 * exponent)
    return result


def _cells(table: pd.DataFrame, names: Sequence[str], value: str) -> tuple[np.ndarray, int]:
    """(levels of each factor, seeds) of a balanced table, less their mean where all are equal, in a unit of a power of
    two, and its exponent; levels and seeds in their order, whatever that of the rows."""
    for name in (*names, value):
        if name not in table:
            raise InputError(f"table: has no column {name}")
    if len(names) < 2:
        raise InputError("factors: must be one or more")
    try:
        levels = {name: in_order(dict.fromkeys(table[name])) for name in names}
    except TypeError:
        raise InputError(f"{', '.join(names)}: levels must be numbers or words") from None
    for name, entries in levels.items():
        if len(entries) < 2:
            raise InputError(f"{name}: has {len(entries)} level(s); variance needs two or more")
    shape = tuple(len(entries) for entries in levels.values())
    if len(table) != np.prod(shape) or table.duplicated(list(names)).any():
        raise InputError(f"table: {len(table)} rows where {' x '.join(map(str, shape))} balanced cells have one each")
    codes = [table[name].map({level: code for code, level in enumerate(levels[name])}).to_numpy() for name in names]
    cells = np.empty(shape)
    cells[tuple(codes)] = as_numbers(table[value].to_numpy(), value)
    if not np.isfinite(cells).all():
        raise InputError(f"{value}: must be finite in every cell; leave a factor's level out where arms are censored")
    if np.ptp(cells) == 0:
        return np.zeros(shape), 0  # of which rounding would make shares
    _, exponent = np.frexp(np.abs(cells).max())
    return np.ldexp(cells, -exponent), int(exponent)


def _terms(axes: int) -> list[tuple[int, ...]]:
    """Every set of axes but the empty one, by size; the last axis are the seeds."""
    return [term for size in range(1, axes + 1) for term in itertools.combinations(range(axes), size)]


def _degrees(term: Sequence[int], shape: Sequence[int]) -> int:
    return int(np.prod([shape[axis] - 1 for axis in term]))


def _components(cells: np.ndarray, *, inflate: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Sums of squares and components of all terms.

    Args:
        inflate: of the spread of seeds that is taken off the terms without them.
    """
    axes, seeds = cells.ndim, cells.shape[-1]
    terms = _terms(axes)
    squares = {}
    for term in terms:
        effect = cells
        for axis in range(axes):
            mean = effect.mean(axis=axis, keepdims=True)
            effect = effect - mean if axis in term else mean
        squares[term] = float((effect**2).sum()) * cells.size / effect.size
    last = axes - 1
    components = []
    for term in terms:
        if last in term:
            components.append(squares[term] / cells.size * seeds / (seeds - 1))
        else:
            noise = squares[(*term, last)] / (seeds - 1)  # df(T) MS(T x seed)
            components.append((squares[term] - inflate * noise) / cells.size)
    return np.array([squares[term] for term in terms]), np.array(components)


def _resampled_components(cells: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """Components of a bootstrap sample of seeds, whose mean over all samples are those of the table.

    Seeds drawn twice make spreads too small by (n - 1) / n, and the means of a sample add the spread of the seeds to
    that which the table's own means have: the terms without the seed carry it twice, and twice it is taken off.
    """
    seeds = cells.shape[-1]
    _, components = _components(cells[..., chosen], inflate=1 + seeds / (seeds - 1))
    with_seed = np.array([cells.ndim - 1 in term for term in _terms(cells.ndim)])
    return np.where(with_seed, components * seeds / (seeds - 1), components)


def _interval(shares: np.ndarray, resampled: np.ndarray, width: float) -> tuple[np.ndarray, np.ndarray]:
    """Limits (terms,) of shares (terms,) from their bootstrap (draws, terms), `width` standard errors to both sides."""
    resampled = resampled[np.isfinite(resampled).all(axis=1)]
    if not len(resampled):
        return np.full_like(shares, np.nan), np.full_like(shares, np.nan)
    errors = resampled.std(axis=0, ddof=1)
    low, high = shares - width * errors, shares + width * errors
    has_odds = ((resampled > 0) & (resampled < 1)).all(axis=0) & (shares > 0) & (shares < 1)
    odds = special.logit(shares[has_odds])
    errors = special.logit(resampled[:, has_odds]).std(axis=0, ddof=1)
    low[has_odds], high[has_odds] = special.expit(odds - width * errors), special.expit(odds + width * errors)
    return low, high
