"""One training: runs a searcher, validates every step, records every spectrum, keeps the best weights."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from transformer_spectrum.errors import InputError
from transformer_spectrum.history import History
from transformer_spectrum.models.base import Layout
from transformer_spectrum.search.base import Objective, Searcher, Step
from transformer_spectrum.spectra.weights import MatrixSpec, singular_values

Observer = Callable[[Step, Mapping[str, float], np.ndarray], None]


@dataclass(frozen=True)
class Fit:
    """What a training produced.

    Attributes:
        history: losses, budget and singular values of every step.
        best: (n,) weights with the lowest validation loss.
        last: (n,) weights of the last step.
        snapshots: step -> (n,) weights at steps 0, 1, every so many, and the last.
        stop_reason: why it ended, one sentence.
    """

    history: History
    best: Tensor
    last: Tensor
    snapshots: dict[int, Tensor]
    stop_reason: str


def fit(
    searcher: Searcher,
    objective: Objective,
    weights: Tensor,
    *,
    layout: Layout,
    matrices: Sequence[MatrixSpec],
    validate: Callable[[Tensor], float],
    patience: int,
    snapshot_every: int,
    generator: torch.Generator,
    observe: Observer = lambda step, scalars, spectra: None,
) -> Fit:
    """Runs `searcher` from `weights` until it is through, stops improving, or diverges.

    Args:
        searcher: any of the three.
        objective: what it minimises.
        weights: (n,) the initial network, the same for all searchers of one seed.
        layout: names the parts of the flat vector.
        matrices: those whose spectra are recorded.
        validate: (n,) -> validation loss; selects the best step, costs no evaluations of the budget.
        patience: ends after so many steps without a better validation loss; >= 1.
        snapshot_every: see `Fit.snapshots`; >= 1.
        generator: drives batches and search.
        observe: called after every recorded step with the step, its scalars (validation_loss, distance and the
            searcher's own) and its singular values (M, R).
    Returns:
        The weights and the history; at least step 0 is recorded.
    Raises:
        InputError: the loss of the initial weights is not finite.
    """
    rows: list[tuple[Step, float, float, np.ndarray]] = []
    snapshots: dict[int, Tensor] = {}
    best, best_loss, best_step = weights, math.inf, 0
    last = weights
    stop_reason = ""
    for step in searcher.steps(objective, weights, generator):
        finite = math.isfinite(step.loss) and bool(torch.isfinite(step.weights).all())
        validation = validate(step.weights) if finite else math.nan
        if not (finite and math.isfinite(validation)):
            if step.index == 0:
                raise InputError(
                    f"loss: not finite for the initial weights (training {step.loss}, validation {validation}); "
                    "it must be, so look at loss.* and at the scale of the data"
                )
            stop_reason = f"diverged at step {step.index}: the loss is not finite; the steps before it are kept"
            break
        distance = float(torch.linalg.vector_norm(step.weights - weights))
        spectra = singular_values(layout.views(step.weights), matrices)
        rows.append((step, validation, distance, spectra))
        last = step.weights
        if step.index in (0, 1) or step.index % snapshot_every == 0:
            snapshots[step.index] = step.weights
        observe(step, {"validation_loss": validation, "distance": distance, **step.scalars}, spectra)
        if validation < best_loss:
            best, best_loss, best_step = step.weights, validation, step.index
        elif step.index - best_step >= patience:
            stop_reason = f"no better validation loss for {patience} steps"
            break
    index = rows[-1][0].index
    snapshots[index] = last
    history = History(
        names=np.array([spec.name for spec in matrices]),
        families=np.array([spec.family for spec in matrices]),
        shapes=np.array([spec.shape for spec in matrices], dtype=np.int64),
        steps=np.array([row[0].index for row in rows], dtype=np.int64),
        evaluations=np.array([row[0].evaluations for row in rows], dtype=np.int64),
        loss=np.array([row[0].loss for row in rows]),
        validation_loss=np.array([row[1] for row in rows]),
        distance=np.array([row[2] for row in rows]),
        singular_values=np.stack([row[3] for row in rows]),
        best_step=best_step,
    )
    return Fit(history, best, last, snapshots, stop_reason or f"all {index} steps done")
