"""The arithmetic of trainings: losses, gradients and validations of many networks of one architecture at once.

Weights are (members, n): each member reads its own windows and has its own loss. What is computed for a member is the
same, bit for bit on a CPU, whoever is computed beside it: products are batched over members, and nothing is summed
across them. Whole sets are here, losses of batches in `gradients` and `scoring`, and how the work is divided in
`division`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from transformer_spectrum import losses
from transformer_spectrum.models.forecaster import Forecaster, Layout
from transformer_spectrum.training.division import MIB, Division, grouped, power_of_two
from transformer_spectrum.training.gradients import MemberGradients
from transformer_spectrum.training.pool import Pool
from transformer_spectrum.training.scoring import Scores
from transformer_spectrum.training.stacked_losses import Stacked, influence_cosines

if TYPE_CHECKING:
    from transformer_spectrum.training.objective import WindowObjective


class Validation(NamedTuple):
    """How weights do on a set of windows, teacher-forced, without dropout.

    Attributes:
        loss: mean loss; loss units.
        mae: mean absolute error; scaled units, the same under every loss.
        residual_mad: median absolute residual; scaled units.
        influence_cosine: between the loss's influence on these residuals and that of MSE, which is the residuals
            themselves; in [-1, 1], NaN where either is zero throughout.
    """

    loss: float
    mae: float
    residual_mad: float
    influence_cosine: float


class Evaluation:
    """What networks of one architecture give for windows of one length.

    Args:
        model: holds the arithmetic; its own parameters are not used.
        layout: of the model's parameters in a flat vector.
        steps: (C, H) of the windows.
        batch_size: windows in a batch.
        device: that computes.
        workers: threads that share the work, each with one core; >= 1. Results are the same for any number. On a
            GPU there is one.
        memory_mib: bounds the activations that one worker holds at once, MiB; None = what is fastest. One member is
            always computed, whatever it takes.
        precision: of weights and products when candidates are scored, float32 or bfloat16; losses are reduced in
            float32, and gradients are computed in float32.
        compile: torch.compile what the gradients are taken of; at its first use, in one piece.
        say: takes one sentence: the time that compiling took, why it was not possible, or why a GPU captures nothing.

    Attributes:
        division: how the work is divided.
        gradients: of many members along some updates; see `MemberGradients`.
        scores: of many populations; see `Scores`.
    """

    def __init__(
        self,
        model: Forecaster,
        layout: Layout,
        steps: tuple[int, int],
        batch_size: int,
        device: torch.device,
        *,
        workers: int = 1,
        memory_mib: float | None = None,
        precision: str = "float32",
        compile: bool = False,
        say: Callable[[str], None] = lambda sentence: None,
    ) -> None:
        self.model, self.layout, self.device, self.batch_size = model, layout, device, batch_size
        self.precision = getattr(torch, precision)
        self.division = Division(
            model,
            steps,
            batch_size,
            device,
            workers=workers,
            memory_mib=memory_mib,
            precision=self.precision,
            compile=compile,
        )
        self._pool = Pool(device)
        self._stacked = lru_cache(maxsize=256)(lambda losses: Stacked(losses, device))
        self.gradients = MemberGradients(
            model, layout, self.division, self._pool, self._stacked, compile=compile, say=say
        )
        self.scores = Scores(model, layout, self.precision, self.division, self._pool, self._stacked, say)
        if self.division.on_cpu:
            # glibc gives freed blocks back to the system, to be asked for again and zeroed, unless it has seen a
            # larger one freed. This one is never touched, so it costs nothing; it spares up to a quarter of the time.
            torch.empty(30 * MIB, dtype=torch.uint8)

    def validations(self, objectives: Sequence[WindowObjective], weights: Tensor) -> list[Validation]:
        """Of each member over all windows of its objective; without dropout."""
        everything = [torch.arange(len(objective.context)) for objective in objectives]
        predictions = self.predictions(objectives, weights, everything)
        answers: dict[int, Validation] = {}
        for rows in grouped(len(prediction) for prediction in predictions):
            some = [objectives[row] for row in rows]
            prediction = torch.stack([predictions[row] for row in rows])
            target = torch.stack([objective.target for objective in some])
            loss = self._stacked(tuple(objective.loss for objective in some))(prediction, target)
            if self.device.type == "mps":  # which has no float64
                prediction, target, loss = prediction.cpu(), target.cpu(), loss.cpu()
            errors = target - prediction
            means = loss.flatten(1).double().mean(1), errors.flatten(1).double().abs().mean(1)
            mads = losses.residual_scales(errors)
            cosines = influence_cosines([objective.loss for objective in some], errors)
            columns = zip(*(column.tolist() for column in (*means, mads, cosines)), strict=True)
            answers |= {row: Validation(*values) for row, values in zip(rows, columns, strict=True)}
        return [answers[row] for row in range(len(objectives))]

    def residual_mads(
        self, objectives: Sequence[WindowObjective], weights: Tensor, centres: Sequence[float]
    ) -> list[float]:
        """Median |residual - centre| of each member on its objective's `sample`; scaled units."""
        samples = [objective.sample() for objective in objectives]
        predictions = self.predictions(objectives, weights, samples)
        return [
            losses.residual_scale(objective.target[sample.to(self.device)] - prediction, centre)
            for objective, sample, prediction, centre in zip(objectives, samples, predictions, centres, strict=True)
        ]

    def predictions(
        self, objectives: Sequence[WindowObjective], weights: Tensor, windows: Sequence[Tensor]
    ) -> list[Tensor]:
        """(windows, H, F) float32 of each member for these windows of its own; without dropout."""
        answers: dict[int, Tensor] = {}
        for rows in grouped(len(some) for some in windows):
            of_rows = self._pool.places([objectives[row] for row in rows], [windows[row] for row in rows])
            index, order = self._pool.on_device([of_rows, torch.tensor(rows)])
            members = max(
                1, self.division.members * self.batch_size // max(1, min(self.division.windows, index.shape[1]))
            )
            tasks = [
                (first, piece)
                for first in range(0, len(rows), power_of_two(members))
                for piece in range(0, index.shape[1], self.division.windows)
            ]

            @torch.inference_mode()
            def predict(
                task: tuple[int, int], order: Tensor = order, index: Tensor = index, size: int = power_of_two(members)
            ) -> Tensor:
                first, piece = task
                some = order[first : first + size]
                context, target = self._pool.windows(index[first : first + size, piece : piece + self.division.windows])
                views = self.layout.views(weights[some].to(self.precision))
                return self.model.predict(views, context.to(self.precision), target.to(self.precision)).float()

            done = self.division.share(predict, tasks)
            for first in range(0, len(rows), power_of_two(members)):
                whole = torch.cat([part for task, part in zip(tasks, done, strict=True) if task[0] == first], dim=1)
                answers |= dict(zip(rows[first:], whole.clone(), strict=False))
        return [answers[row] for row in range(len(objectives))]
