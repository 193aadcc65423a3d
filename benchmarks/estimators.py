"""Bias and spread of the estimators on spectra whose truth is known: Pareto eigenvalues and Gaussian matrices.

    python benchmarks/estimators.py

Prints two Markdown tables, "bias ± standard deviation" over the draws; the same seed gives the same tables.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable, Iterator

import numpy as np

from transformer_spectrum.spectra import metrics, power_law, random_matrix
from transformer_spectrum.weights.matrices.matrix import spectrum

SIZES = (64, 256, 1024)
EXPONENTS = (2.0, 2.5, 3.5)
WINDOW, MIN_TAIL, EDGE_LEVEL = (0.0, 0.5), 8, 0.99  # as in params.yaml
LIMIT = 1 << 14  # quantiles of the Marchenko-Pastur law that stand for an infinite matrix
CHUNK = 1 << 22  # entries of matrices decomposed at once

Values = dict[str, np.ndarray]


def tail_estimates(eigenvalues: np.ndarray) -> Values:
    """Every estimator of decay and tail of (D, n) spectra, each (D,)."""
    n = eigenvalues.shape[-1]
    estimates = {
        f"Hill alpha, k = {fraction:.0%}": power_law.hill_alpha(eigenvalues, power_law.hill_count(n, fraction))
        for fraction in (0.25, 0.5)
    }
    for label, distance in (("two-sided", "two_sided"), ("powerlaw", "powerlaw")):
        fit = power_law.clauset_fit(eigenvalues, MIN_TAIL, distance)
        estimates[f"KS alpha, {label}"] = fit.alpha
        estimates[f"its tail / n, {label}"] = fit.tail / n
        estimates[f"its D, {label}"] = fit.distance
    estimates["alpha exponent"] = metrics.alpha_exponent(np.sqrt(eigenvalues), WINDOW).alpha
    return estimates


def matrix_estimates(singular_values: np.ndarray, shape: tuple[int, int]) -> Values:
    """The tail's and beside them what describes shape and noise, of (D, r) spectra; ranks as shares of r."""
    rank = singular_values.shape[-1]
    fit = random_matrix.fit_bulk(singular_values, shape, EDGE_LEVEL)
    return {
        **tail_estimates(singular_values**2),
        "stable rank / r": metrics.stable_rank(singular_values) / rank,
        "effective rank / r": metrics.effective_rank(singular_values) / rank,
        "share with a spike": (fit.spikes > 0).astype(float),
        "MP soft rank": fit.soft_rank,
        "MP variance": fit.variance,
        "MP distance": fit.distance,
    }


def pareto(n: int, exponent: float, draws: int, generator: np.random.Generator) -> np.ndarray:
    """(draws, n) of density (exponent - 1) x^-exponent on x >= 1."""
    return (1.0 - generator.random((draws, n))) ** (-1.0 / (exponent - 1.0))


def gaussian(shape: tuple[int, int], draws: int, generator: np.random.Generator) -> np.ndarray:
    """Singular values (draws, r) of matrices of independent standard normal entries."""
    chunk = max(1, CHUNK // math.prod(shape))
    sizes = [min(chunk, draws - first) for first in range(0, draws, chunk)]
    return np.concatenate([spectrum(generator.standard_normal((size, *shape))) for size in sizes])


def pareto_truth(exponent: float) -> dict[str, float]:
    """What the estimators aim at: s_i ~ i^(-1 / (2 (exponent - 1))), and a tail that is the whole spectrum."""
    truth = {f"Hill alpha, k = {fraction}": exponent for fraction in ("25%", "50%")}
    for label in ("two-sided", "powerlaw"):
        truth |= {f"KS alpha, {label}": exponent, f"its tail / n, {label}": 1.0}
    return {**truth, "alpha exponent": 0.5 / (exponent - 1.0)}


def gaussian_limit(aspect: int) -> dict[str, float]:
    """Values of an infinite matrix of this aspect ratio; Clauset's fit has none, for its tail is not a fixed share."""
    shape = (aspect * LIMIT, LIMIT)
    values = np.sqrt(random_matrix.mp_quantile((np.arange(LIMIT) + 0.5) / LIMIT, shape))
    return {
        **{
            f"Hill alpha, k = {share:.0%}": float(power_law.hill_alpha(values**2, power_law.hill_count(LIMIT, share)))
            for share in (0.25, 0.5)
        },
        "alpha exponent": float(metrics.alpha_exponent(values, WINDOW).alpha),
        "stable rank / r": 1.0 / (1.0 + aspect**-0.5) ** 2,
        "effective rank / r": float(metrics.effective_rank(values)) / LIMIT,
        "share with a spike": 1.0 - EDGE_LEVEL,
        "MP soft rank": 1.0,
        "MP variance": 1.0,
    }


def cells(values: Values, truth: dict[str, float]) -> Iterator[str]:
    """Bias ± sd where there is a truth, else mean ± sd."""
    for name, draws in values.items():
        if name == "share with a spike":
            yield f"{draws.mean():.3f}"  # its spread is that of a coin
            continue
        spread = f"{draws.std(ddof=1):.3f}"
        yield f"{draws.mean() - truth[name]:+.3f} ± {spread}" if name in truth else f"{draws.mean():.3f} ± {spread}"


def table(columns: list[tuple[str, Values, dict[str, float]]]) -> str:
    """A Markdown table, one row an estimator; one without truth says that its cells are means."""
    _, first, truth = columns[0]
    lines = [["estimator", *(label for label, _, _ in columns)], ["---"] * (len(columns) + 1)]
    filled = [list(cells(values, aims)) for _, values, aims in columns]
    for i, name in enumerate(first):
        mean = "" if name in truth and name != "share with a spike" else " (mean)"
        lines.append([name + mean, *(column[i] for column in filled)])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def simulate(draws: int, few: int, seed: int, say: Callable[[str], None]) -> None:
    """Both tables."""
    columns = []
    for exponent in EXPONENTS:
        for n in SIZES:
            generator = np.random.default_rng([seed, n, round(10 * exponent)])
            label = f"alpha {exponent:g}, n {n}"
            columns.append((label, tail_estimates(pareto(n, exponent, draws, generator)), pareto_truth(exponent)))
    say(f"Independent Pareto eigenvalues, {draws} draws of each:\n")
    say(table(columns) + "\n")
    columns = []
    for aspect in (1, 2):
        limit = gaussian_limit(aspect)
        for n in SIZES:
            shape = (aspect * n, n)
            count = few if n == SIZES[-1] else draws
            singular_values = gaussian(shape, count, np.random.default_rng([seed, *shape]))
            columns.append((f"{shape[0]} x {shape[1]}", matrix_estimates(singular_values, shape), limit))
        say(
            f"Limit of large matrices, aspect {aspect}: "
            + ", ".join(f"{name} {value:.3f}" for name, value in limit.items() if name != "share with a spike")
            + ".\n"
        )
    say(f"Gaussian matrices, {draws} draws of each, {few} of those with 1024 columns:\n")
    say(table(columns) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--draws", type=int, default=200, help="spectra of each kind; %(default)s")
    parser.add_argument("--few", type=int, default=40, help="Gaussian matrices with 1024 columns; %(default)s")
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args()
    if min(chosen.draws, chosen.few) < 2:
        parser.error("--draws and --few must be at least 2: a standard deviation needs two")
    started = time.monotonic()
    simulate(chosen.draws, chosen.few, chosen.seed, print)
    print(f"Seed {chosen.seed}; {time.monotonic() - started:.0f} s.")


if __name__ == "__main__":
    main()
