"""What each optimizer reaches at the committed parameters, over several seeds: the table in RESULTS.md.

    python benchmarks/learning.py --seeds 1 2 3

Needs data/processed/windows.npz (`dvc repro prepare`), which all seeds share: a seed decides the initial weights, the
batches and the search. Validation loss is that of the pipeline, teacher-forced.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import torch

from transformer_spectrum.config.load import Params, load_params
from transformer_spectrum.models.forecaster import Layout
from transformer_spectrum.runtime.seeds import torch_generator
from transformer_spectrum.training import build
from transformer_spectrum.training.loop import Budget, fit
from transformer_spectrum.training.setup import read_windows

OPTIMIZERS = ("adam", "es", "ga")


def train(params: Params, optimizer: str, path: Path) -> tuple[np.ndarray, np.ndarray, float]:
    """Evaluations and validation loss of every step, and wall seconds."""
    splits = read_windows(path)
    forecaster = build.model(params, splits["train"].context.shape[-1]).to(build.device(params.device))
    layout = Layout(forecaster)
    validation = build.objective(params, forecaster, layout, splits["validation"])
    searcher, _, patience = build.searcher(params, optimizer, layout)
    torch.manual_seed(torch_generator(params.seed, f"{optimizer} dropout").initial_seed())
    started = time.monotonic()
    result = fit(
        searcher,
        build.objective(params, forecaster, layout, splits["train"]),
        build.initial_weights(params, forecaster, layout),
        layout=layout,
        matrices=forecaster.matrices(),
        validate=validation.total,
        patience=patience,
        snapshot_every=10**9,
        generator=torch_generator(params.seed, f"{optimizer} search"),
        budget=Budget(params.budget.evaluations, params.budget.seconds),
    )
    history = result.history
    return history.evaluations, history.validation_loss, time.monotonic() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--windows", type=Path, default=Path("data/processed/windows.npz"))
    chosen = parser.parse_args()
    params = load_params()
    torch.set_num_threads(params.threads)
    marks = (500, 1000, 3000, 10000)
    print(
        "| optimizer | seed | step 0 | "
        + " | ".join(f"{mark:,}" for mark in marks)
        + " | best | evaluations | seconds |"
    )
    print("|---" * (6 + len(marks)) + "|")
    for optimizer in OPTIMIZERS:
        for seed in chosen.seeds:
            run = params.model_copy(update={"seed": seed})
            evaluations, validation, seconds = train(run, optimizer, chosen.windows)
            best = np.minimum.accumulate(validation)
            reached = [
                f"{best[np.flatnonzero(evaluations <= mark)[-1]]:.3f}" if evaluations[-1] >= mark else "ended"
                for mark in marks
            ]
            cells = [optimizer, seed, f"{validation[0]:.3f}", *reached, f"{best[-1]:.3f}", f"{evaluations[-1]:,}"]
            print("| " + " | ".join(map(str, [*cells, f"{seconds:.0f}"])) + " |", flush=True)


if __name__ == "__main__":
    main()
