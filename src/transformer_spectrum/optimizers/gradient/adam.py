"""Adam (Kingma & Ba 2015, https://arxiv.org/abs/1412.6980) on the flat weight vector, with decoupled weight decay
(Loshchilov & Hutter 2019, https://arxiv.org/abs/1711.05101), warm-up and cosine.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from transformer_spectrum.optimizers.contract import BACKWARD_COST, Objective, State, Step, first_step

MOMENTS = ("step", "exp_avg", "exp_avg_sq")
"""What torch's AdamW keeps: updates done, running means of the gradient and of its square."""


def schedule_factor(update: int, warmup: int, total: int, schedule: str) -> float:
    """Share of the highest learning rate that an update takes.

    (update + 1) / warmup during the warm-up; then 1, or (1 + cos(pi (update - warmup) / (total - warmup))) / 2.

    Args:
        update: counted from 0 over the whole training.
        warmup: updates in which the rate rises; 0 = none.
        total: updates of the whole training; > warmup.
        schedule: constant or cosine.
    Returns:
        Dimensionless, in (0, 1] for updates before `total`.
    Source: Loshchilov & Hutter (2017), https://arxiv.org/abs/1608.03983, eq. (5), without restarts.

    >>> [round(schedule_factor(update, 2, 6, "cosine"), 3) for update in (0, 1, 2, 4, 6)]
    [0.5, 1.0, 1.0, 0.5, 0.0]
    """
    if update < warmup:
        return (update + 1) / warmup
    if schedule == "constant":
        return 1.0
    return (1 + math.cos(math.pi * (update - warmup) / (total - warmup))) / 2


@dataclass(frozen=True)
class Adam:
    """A step is an epoch; its loss is the mean over the epoch's batches, each before its own update.

    An update costs 1 + `BACKWARD_COST` evaluations.

    Args:
        epochs: how many.
        learning_rate: at its highest; per weight and update.
        gradient_clip: largest Euclidean norm of a gradient; 0 = off.
        weight_decay: decoupled: each update first takes the share learning rate * weight_decay off the weights.
        warmup_epochs: epochs in which the learning rate rises linearly, update by update; < epochs.
        schedule: of the learning rate after the warm-up, update by update: constant or cosine, which ends at 0.
    """

    epochs: int
    learning_rate: float
    gradient_clip: float = 0.0
    weight_decay: float = 0.0
    warmup_epochs: int = 0
    schedule: str = "constant"

    def steps(
        self, objective: Objective, weights: Tensor, generator: torch.Generator, state: State | None = None
    ) -> Iterator[Step]:
        if state is None:
            step = first_step(objective, weights, objective.batch(generator))
            nothing = torch.zeros_like(weights)
            state = _state(weights, {"step": torch.zeros(()), "exp_avg": nothing, "exp_avg_sq": nothing}, 0, 1)
            yield replace(step, state=functools.partial(dict, state))
        current = state["weights"].to(weights, copy=True)
        optimizer = torch.optim.AdamW([current], lr=self.learning_rate, weight_decay=self.weight_decay, fused=True)
        moments = {0: {name: state[name].clone() for name in MOMENTS}}
        optimizer.load_state_dict({**optimizer.state_dict(), "state": moments})
        epochs_before, evaluations = int(state["epochs"]), int(state["evaluations"])
        for epoch in range(epochs_before + 1, self.epochs + 1):
            batches = list(objective.epoch(generator))
            total, norms = 0.0, 0.0
            for i, batch in enumerate(batches):
                loss, gradient = objective.gradient(current, batch)
                norm = float(torch.linalg.vector_norm(gradient))
                if self.gradient_clip and norm > self.gradient_clip:
                    gradient = gradient * (self.gradient_clip / norm)
                current.grad = gradient
                optimizer.param_groups[0]["lr"] = self._learning_rate(epoch - 1, i, len(batches))
                optimizer.step()
                total, norms = total + loss, norms + norm
            evaluations += len(batches) * (1 + BACKWARD_COST)
            scalars = {"gradient_norm": norms / len(batches), "learning_rate": optimizer.param_groups[0]["lr"]}
            now = functools.partial(_state, current, optimizer.state[current], epoch, evaluations)
            yield Step(epoch, evaluations, total / len(batches), current.clone(), scalars, state=now)

    def _learning_rate(self, epochs_done: int, update: int, updates: int) -> float:
        """Of the update so far into an epoch of so many."""
        at, warmup, total = epochs_done * updates + update, self.warmup_epochs * updates, self.epochs * updates
        return self.learning_rate * schedule_factor(at, warmup, total, self.schedule)


def _state(weights: Tensor, moments: State, epochs: int, evaluations: int) -> dict[str, Tensor]:
    """Copies, because both go on changing."""
    copies = {name: moments[name].clone() for name in MOMENTS}
    counts = {"epochs": torch.tensor(epochs), "evaluations": torch.tensor(evaluations)}
    return {"weights": weights.clone(), **copies, **counts}
