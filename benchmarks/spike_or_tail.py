"""How often `spike_or_tail` calls noise with spikes heavy-tailed, and how often it finds heavy tails.

    python benchmarks/spike_or_tail.py [--quick] [size power outside independence]

Prints these Markdown tables, all of them if none is named; the same seed and options give the same tables.
Strengths are singular values of a spike in units of
(rows columns)^(1/4), at which it begins to leave the bulk of noise of variance 1.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable, Iterator

import numpy as np

from transformer_spectrum.spectra.power_law import clauset_fit
from transformer_spectrum.spectra.spike_or_tail import Verdict, most_spikes, spike_or_tail
from transformer_spectrum.spectra.tail_tests import goodness_of_fit, likelihood_ratio
from transformer_spectrum.weights.matrices.matrix import spectrum

SHAPES = ((64, 64), (64, 256), (128, 128), (128, 512), (256, 256))
QUICK = SHAPES[:2]
TABLES = ("size", "power", "outside", "independence")
TENTH = (128, 128)  # measured with a tenth of its eigenvalues allowed for as well
STRENGTHS = (1.0, 1.25, 1.6, 3.0)
CHUNK = 1 << 22  # entries of matrices decomposed at once
MIN_TAIL, GOODNESS_DRAWS, REJECTED = 8, 200, 0.1  # as in params.yaml; Clauset et al. reject at 0.1

Shape = tuple[int, int]
Entries = Callable[[int, Shape, np.random.Generator], np.ndarray]


def gaussian(count: int, shape: Shape, generator: np.random.Generator) -> np.ndarray:
    return generator.standard_normal((count, *shape))


def student(degrees: float) -> Entries:
    return lambda count, shape, generator: generator.standard_t(degrees, size=(count, *shape))


def pareto_population(index: float) -> Entries:
    """Rows of variances with P(variance > x) = x^-index: a Wishart matrix with a power law for its population."""

    def entries(count: int, shape: Shape, generator: np.random.Generator) -> np.ndarray:
        variances = (1.0 - generator.random((count, shape[0], 1))) ** (-1.0 / index)
        return np.sqrt(variances) * gaussian(count, shape, generator)

    return entries


def scaled_rows(deviation: float) -> Entries:
    def entries(count: int, shape: Shape, generator: np.random.Generator) -> np.ndarray:
        scales = np.exp(deviation * generator.standard_normal((count, shape[0], 1)))
        return scales * gaussian(count, shape, generator)

    return entries


def planted(spikes: int, strength: float) -> Entries:
    """Noise with spikes along the axes, which serve as well as any directions: the noise has none of its own."""

    def entries(count: int, shape: Shape, generator: np.random.Generator) -> np.ndarray:
        matrices = gaussian(count, shape, generator)
        axis = np.arange(spikes)
        matrices[:, axis, axis] += strength * math.prod(shape) ** 0.25
        return matrices

    return entries


ALTERNATIVES: dict[str, Entries] = {
    "t(2.5) entries": student(2.5),
    "t(3) entries": student(3.0),
    "Pareto population, index 1.5": pareto_population(1.5),
    "Pareto population, index 2.5": pareto_population(2.5),
    "Pareto population, index 4": pareto_population(4.0),
}
OUTSIDE: dict[str, Entries] = {
    "uniform entries": lambda count, shape, generator: generator.uniform(-1.0, 1.0, (count, *shape)),
    "Laplace entries": lambda count, shape, generator: generator.laplace(size=(count, *shape)),
    "rows of scale e^(0.3 N)": scaled_rows(0.3),
}


def singular_values(entries: Entries, draws: int, shape: Shape, generator: np.random.Generator) -> np.ndarray:
    chunk = max(1, CHUNK // math.prod(shape))
    sizes = [min(chunk, draws - first) for first in range(0, draws, chunk)]
    return np.concatenate([spectrum(entries(size, shape, generator)) for size in sizes])


def share(entries: Entries, draws: int, shape: Shape, generator: np.random.Generator, allowed: int | None) -> str:
    result = spike_or_tail(singular_values(entries, draws, shape, generator), shape, spikes_allowed=allowed)
    return f"{np.mean(result.verdict == Verdict.HEAVY_TAIL):.3f}"


def table(header: list[str], rows: Iterator[list[str]]) -> None:
    print("| " + " | ".join(header) + " |")
    print("| " + " | ".join(["---"] * len(header)) + " |", flush=True)
    for row in rows:
        print("| " + " | ".join(row) + " |", flush=True)
    print()


def calibration(
    tables: list[str], shapes: list[Shape], strengths: list[float], draws: int, generator: np.random.Generator
) -> None:
    """Size, power, and what lies outside of both, one column a shape and number of spikes allowed."""
    columns = [(shape, most_spikes(shape)) for shape in shapes]
    if TENTH in shapes:
        columns.append((TENTH, min(TENTH) // 10))
    header = ["", *(f"{rows} x {long}, K = {spikes}" for (rows, long), spikes in columns)]

    def rows(cases: dict[str, Callable[[int], Entries]]) -> Iterator[list[str]]:
        for label, entries in cases.items():
            shares = [share(entries(spikes), draws, shape, generator, spikes) for shape, spikes in columns]
            yield [label, *shares]

    def whatever(entries: Entries) -> Callable[[int], Entries]:
        return lambda allowed: entries

    def times(count: int | None, strength: float) -> Callable[[int], Entries]:
        return lambda allowed: planted(allowed if count is None else count, strength)

    if "size" in tables:
        print(f"Share called heavy-tailed at level 0.05 of noise with at most K spikes, {draws} draws each:\n")
        cases = {"no spike": whatever(gaussian)}
        for strength in strengths:
            for label, count in (("1 spike", 1), ("5 spikes", 5), ("K spikes", None)):
                cases[f"{label} of {strength}"] = times(count, strength)
        table(header, rows(cases))
    if "power" in tables:
        print(f"Share called heavy-tailed of heavy tails, {draws} draws each:\n")
        table(header, rows({label: whatever(entries) for label, entries in ALTERNATIVES.items()}))
    if "outside" in tables:
        print(f"Share called heavy-tailed of what is neither, {draws} draws each:\n")
        cases = {label: whatever(entries) for label, entries in OUTSIDE.items()}
        cases["2 K spikes of 2.0"] = lambda allowed: planted(2 * allowed, 2.0)
        table(header, rows(cases))


def independence(draws: int, generator: np.random.Generator) -> None:
    """What the tests for independent values say of eigenvalues of 64 x 64 matrices, and of values that they are for."""
    shape = (64, 64)
    print(f"Tests that assume independent values, {draws} draws each, bootstrap of {GOODNESS_DRAWS}:\n")
    cases = {
        "noise, 64 x 64": gaussian,
        "noise with 1 spike of 2.0": planted(1, 2.0),
        "noise with 5 spikes of 2.0": planted(5, 2.0),
        "t(2.5) entries": student(2.5),
    }
    spectra = {
        label: singular_values(entries, draws, shape, generator).astype(float) ** 2 for label, entries in cases.items()
    }
    for exponent in (1.5, 2.5):
        spectra[f"independent Pareto, alpha {exponent}, n 64"] = (1 - generator.random((draws, 64))) ** (
            -1 / (exponent - 1)
        )

    def rows() -> Iterator[list[str]]:
        for label, eigenvalues in spectra.items():
            p_values = [
                goodness_of_fit(values, min_tail=MIN_TAIL, draws=GOODNESS_DRAWS, generator=generator).p_value
                for values in eigenvalues
            ]
            fit = clauset_fit(eigenvalues, MIN_TAIL)
            lognormal = [
                likelihood_ratio(values, float(xmin), "lognormal")
                for values, xmin in zip(eigenvalues, fit.xmin, strict=True)
            ]
            yield [
                label,
                f"{np.mean(np.array(p_values) > REJECTED):.3f}",
                f"{fit.alpha.mean():.2f} ± {fit.alpha.std():.2f}",
                f"{max(ratio.ratio for ratio in lognormal):.3f}",
                f"{np.mean([ratio.p_value <= REJECTED for ratio in lognormal]):.3f}",
            ]

    header = ["", f"goodness p > {REJECTED}", "alpha", "largest lognormal ratio", f"its p <= {REJECTED}"]
    table(header, rows())
    print(f"Share of p <= {REJECTED} against the truncated power law, of independent Pareto values above xmin = 1:\n")

    def shares() -> Iterator[list[str]]:
        for exponent in (1.3, 1.5, 2.0, 3.0):
            row = [f"{exponent}"]
            for count in (16, 64, 256):
                values = (1 - generator.random((10 * draws, count))) ** (-1 / (exponent - 1))
                p = [likelihood_ratio(sample, 1.0, "truncated_power_law").p_value for sample in values]
                row.append(f"{np.mean(np.array(p) <= REJECTED):.3f}")
            yield row

    table(["alpha", "n 16", "n 64", "n 256"], shares())


def shape_of(text: str) -> Shape:
    rows, columns = text.split("x")
    return int(rows), int(columns)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tables", nargs="*", metavar="TABLE", help=f"{', '.join(TABLES)}; all without")
    parser.add_argument("--shapes", nargs="+", type=shape_of, default=list(SHAPES), metavar="RxC")
    parser.add_argument("--strengths", nargs="+", type=float, default=list(STRENGTHS))
    parser.add_argument("--quick", action="store_true", help="two shapes and few draws")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    generator = np.random.default_rng(options.seed)
    tables = options.tables or list(TABLES)
    if unknown := set(tables) - set(TABLES):
        parser.error(f"{', '.join(sorted(unknown))}: no such table")
    start = time.perf_counter()
    shapes, draws = (list(QUICK), 200) if options.quick else (options.shapes, 1000)
    calibration(tables, shapes, options.strengths, draws, generator)
    if "independence" in tables:
        independence(40 if options.quick else 200, generator)
    print(f"{time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
