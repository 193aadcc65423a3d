"""What each optimizer reaches after equal evaluations, over several seeds: the table in RESULTS.md.

    python benchmarks/learning.py --optimizers es ga --marks 500 1500 3000 --seeds 1 2 3

Needs data/processed/windows.npz (`dvc repro prepare`), which all seeds share: a seed decides the initial weights, the
batches and the search. Parameters are those of params.yaml but for the exchanged ones that a row names. The MAE is that
of the pipeline's validation, teacher-forced, in scaled units: the lowest of the records up to so many evaluations.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from transformer_spectrum.config.load import Params, load_params
from transformer_spectrum.data.windows.arrays import Windows
from transformer_spectrum.study.tune import with_values
from transformer_spectrum.training import build
from transformer_spectrum.training.loop import Fit, fit
from transformer_spectrum.training.recording import Budget, Recording
from transformer_spectrum.training.setup import Setup, make_deterministic, read_windows

CHOICES = {
    "adam": [{}, *({"adam.algorithm": name} for name in ("adamw", "sgd", "lion", "soap", "muon"))],
    "es": [
        {},
        {"es.popsize": 16},
        {"es.rank": 1},
        {"es.algorithm": "cma", "es.popsize": 16, "es.sigma": 0.015},
        {"es.algorithm": "sep_cma", "es.popsize": 16, "es.sigma": 0.015},
    ],
    "ga": [{}, {"ga.mutation_stdev": 0.005}, {"ga.mutation_stdev": 0.02}],
}
"""Optimizer -> what is exchanged in its section; none is the committed one."""

RECORDED_EVERY = {"adam": 1, "es": 4, "ga": 4}
"""Optimizer -> epochs or generations between two records."""


def train(
    params: Params, optimizer: str, splits: Mapping[str, Windows], evaluations: int
) -> tuple[np.ndarray, np.ndarray]:
    """Evaluations and validation MAE of every record, step 0 first."""
    make_deterministic(params, optimizer)
    setup = Setup.of(params, splits)
    search = build.searcher(params, optimizer, setup.layout)
    recording = Recording(rounds=search.rounds, every=RECORDED_EVERY[optimizer], snapshot_every=10**6)
    budget = Budget(evaluations)
    member = setup.member(optimizer, search, recording=recording, budget=budget, observe=lambda record: None)
    (result,) = fit([member])
    assert isinstance(result, Fit)
    return result.history.evaluations, result.history.validation_mae


def lowest(evaluations: np.ndarray, mae: np.ndarray, marks: list[int]) -> list[float]:
    """Lowest MAE of the records up to each mark, and of all; the last overshoots the budget by less than a round."""
    return [*(float(mae[evaluations <= mark].min()) for mark in marks), float(mae.min())]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--marks", type=int, nargs="+", default=[500, 1500, 3000], help="evaluations; the last ends it")
    parser.add_argument("--optimizers", nargs="+", choices=list(CHOICES), default=list(CHOICES))
    parser.add_argument("--workers", type=int, default=1, help="threads that share a population's candidates")
    parser.add_argument("--windows", type=Path, default=Path("data/processed/windows.npz"))
    chosen = parser.parse_args()
    splits = read_windows(chosen.windows)
    *marks, evaluations = sorted(chosen.marks)
    header = ["training", "choice", *(f"{mark:,}, mean" for mark in [*marks, evaluations])]
    header += [f"{evaluations:,}, seed {seed}" for seed in chosen.seeds]
    print("| " + " | ".join(header) + " |\n" + "|---" * len(header) + "|")
    for optimizer in chosen.optimizers:
        for values in CHOICES[optimizer]:
            maes = []
            for seed in chosen.seeds:
                params = with_values(load_params(), {"seed": seed, "training.workers": chosen.workers, **values})
                maes.append(lowest(*train(params, optimizer, splits, evaluations), marks))
            means = [f"{mean:.3f}" for mean in np.mean(maes, axis=0)]
            choice = ", ".join(f"{name}={value}" for name, value in values.items()) or "as committed"
            cells = [f"train-{optimizer}", f"`{choice}`", *means, *(f"{row[-1]:.3f}" for row in maes)]
            print("| " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
