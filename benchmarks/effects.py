"""How often each metric leaves its own null by more than 5 standard deviations when nothing happened.

    python benchmarks/effects.py

A matrix of Gaussian entries and its shuffles are exchangeable, so that of 21 arrangements of the same entries each in
its turn may be the matrix and the others its 20 null draws. The same for random signs of its entries, and for a
Xavier-uniform W_0 plus arrangements of a Gaussian change of a quarter of its length. Prints a Markdown table of the
share of effects beyond 5 in percent, the largest of the three nulls a shape; the same seed gives the same table.
"""

from __future__ import annotations

import argparse

import numpy as np
import torch

from transformer_spectrum.spectra.analysis import METRICS, Estimators, analyze
from transformer_spectrum.spectra.nulls import DRAWS_MINIMUM
from transformer_spectrum.weights.matrices.matrix import spectrum

SHAPES = ((16, 16), (16, 64), (32, 32), (16, 128), (64, 64), (128, 64), (128, 128))
NULLS = ("shuffles", "signs", "W_0 + shuffled change")
SHUFFLES = 20  # as in params.yaml
LIMIT = 5.0
LENGTH = 0.25  # of the change, in lengths of W_0
ROUNDING = 1e-10  # relative spread below which draws are equal: float64 leaves about 1e-15 to an invariant metric
CHUNK = 1 << 21  # entries decomposed at once


def arrangements(null: str, shape: tuple[int, int], generator: torch.Generator) -> torch.Tensor:
    """(1 + SHUFFLES, rows, columns): one matrix and its draws, none of them special."""
    size = shape[0] * shape[1]
    entries = torch.randn(size, generator=generator, dtype=torch.float64)
    if null == "signs":
        signs = torch.randint(0, 2, (1 + SHUFFLES, size), generator=generator) * 2 - 1
        return (signs * entries).reshape(-1, *shape)
    shuffled = torch.stack([entries[torch.randperm(size, generator=generator)] for _ in range(1 + SHUFFLES)])
    if null == "shuffles":
        return shuffled.reshape(-1, *shape)
    initial = (2 * torch.rand(size, generator=generator, dtype=torch.float64) - 1) * 3**0.5
    return (initial + LENGTH * shuffled).reshape(-1, *shape)


def effects(values: np.ndarray) -> np.ndarray:
    """(matrices, 1 + D) metrics -> each against the others of its row, NaN where they have no spread."""
    others = [np.delete(values, position, axis=1) for position in range(values.shape[1])]
    draws = np.stack(others, axis=1)  # (matrices, 1 + D, D)
    count = np.isfinite(draws).sum(axis=-1)
    with np.errstate(all="ignore"):
        mean = np.nansum(draws, axis=-1) / count
        sd = np.sqrt(np.nansum((draws - mean[..., None]) ** 2, axis=-1) / (count - 1))
        usable = (count >= DRAWS_MINIMUM) & (sd > ROUNDING * np.abs(mean))
        return np.where(usable, (values - mean) / sd, np.nan)


def shares(null: str, shape: tuple[int, int], matrices: int, seed: int) -> dict[str, tuple[float, int]]:
    """Metric -> share of effects beyond LIMIT, and how many effects there are."""
    generator = torch.Generator().manual_seed(seed)
    chunk = max(1, CHUNK // ((1 + SHUFFLES) * shape[0] * shape[1]))
    spectra = []
    for first in range(0, matrices, chunk):
        drawn = [arrangements(null, shape, generator) for _ in range(min(chunk, matrices - first))]
        spectra.append(spectrum(torch.cat(drawn).numpy()))
    values = np.concatenate(spectra)[:, None]
    analysis = analyze(values, np.array([shape]), Estimators())
    result = {}
    for metric in METRICS:
        sizes = np.abs(effects(analysis.values[metric].reshape(matrices, 1 + SHUFFLES)))
        count = int(np.isfinite(sizes).sum())
        result[metric] = (float((sizes > LIMIT).sum() / count) if count else np.nan, count)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--matrices", type=int, default=1000, help="of each shape and null; each has 21 effects")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--each", action="store_true", help="a table for each null")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    measured = {
        (null, shape): shares(null, shape, arguments.matrices, arguments.seed) for shape in SHAPES for null in NULLS
    }
    tables = [[null] for null in NULLS] if arguments.each else [list(NULLS)]
    for table in tables:
        print(f"| {', '.join(table)} | {' | '.join(f'{rows} x {columns}' for rows, columns in SHAPES)} |")
        print(f"| --- |{' --- |' * len(SHAPES)}")
        for metric in METRICS:
            cells = []
            for shape in SHAPES:
                results = [measured[null, shape][metric] for null in table]
                usable = [share for share, count in results if count]
                cells.append(f"{100 * max(usable):.3f}" if usable else "none")
            print(f"| `{metric}` | {' | '.join(cells)} |")
        print()


if __name__ == "__main__":
    main()
