"""The objective of a forecaster: teacher-forced loss on batches of windows, for one vector or a population.

A population is computed in chunks of members: large enough that a product is worth its call, small enough that what
lies between two products stays in the processor's cache. On a CPU threads share the chunks, each with one core: two
threads that compute two chunks beat two threads inside every small product. A batch's gradient is shared likewise,
in pieces of windows. What is a chunk and what is a piece follows from sizes alone, so that neither the number of
threads nor the machine's speed changes a result.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor

from transformer_spectrum import losses
from transformer_spectrum.models.forecaster import Forecaster, Layout
from transformer_spectrum.optimizers.contract import Population

Loss = Callable[[Tensor, Tensor], Tensor]
Part = TypeVar("Part")
Result = TypeVar("Result")

MIB = 2**20
GPU_CHUNK_MIB = 2048
"""Activations of one chunk on a GPU, where the caller sets no bound; on a CPU it is `Forecaster.chunk_mib`."""
CHUNKS = 8
"""A population is cut into so many chunks at least, for workers to share."""
PIECES, PIECE_MIB = 4, 0.75
"""A gradient's batch is cut into so many pieces at most, each with so many activations at least."""
WINDOWS = 64
"""Windows in a piece when one vector is scored on a whole set."""
SAMPLE = 128
"""Training windows whose residuals the scale of a loss follows."""


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


@contextmanager
def _one_thread() -> Iterator[None]:
    """Inside, torch computes with one thread, in the threads that start here as well."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _power_of_two(limit: float) -> int:
    """The largest that is not above the limit, at least 1."""
    return 1 << (max(1, int(limit)).bit_length() - 1)


class WindowObjective:
    """Mean loss of a forecaster over a batch of windows.

    Args:
        model: holds the arithmetic; its own parameters are not used.
        layout: of the model's parameters in a flat vector.
        loss: elementwise, (prediction, target) -> same shape.
        context: (n, C, F) scaled units, on the device that computes.
        target: (n, H, F) scaled units, there too.
        batch_size: windows in a batch; the whole set when it is smaller.
        workers: threads that share the work, each with one core; >= 1. Results are the same for any number. On a
            GPU there is one.
        memory_mib: bounds the activations that one worker holds when candidates are scored, MiB; None = what is
            fastest. One member is always computed, whatever it takes.
        precision: of weights and products when candidates are scored, float32 or bfloat16; losses are reduced in
            float32, and gradients are computed in float32.
        compile: torch.compile the loss of `gradient`; at its first use, in one piece.
        say: takes the time that compiling took, or why it was not possible, as one sentence.
    """

    def __init__(
        self,
        model: Forecaster,
        layout: Layout,
        loss: Loss,
        context: Tensor,
        target: Tensor,
        batch_size: int,
        *,
        workers: int = 1,
        memory_mib: float | None = None,
        precision: str = "float32",
        compile: bool = False,
        say: Callable[[str], None] = lambda sentence: None,
    ) -> None:
        self.model, self.layout, self.loss = model, layout, loss
        self.context, self.target = context, target
        self.batch_size = min(batch_size, len(context))
        self.precision = getattr(torch, precision)
        self.size = layout.size
        on_cpu = context.device.type == "cpu"
        self.workers = workers if on_cpu else 1
        floats = self.batch_size * model.activations(context.shape[1], target.shape[1])
        bound = memory_mib or (model.chunk_mib if on_cpu else GPU_CHUNK_MIB)
        # A power of two, so that mirrored pairs that are neighbours stay together.
        self.members = _power_of_two(bound * MIB / (floats * self.precision.itemsize))
        # With dropout in one piece: torch draws the masks of all threads from one generator, in no fixed order.
        whole = not on_cpu or compile or model.dropout > 0
        self.pieces = 1 if whole else min(PIECES, _power_of_two(floats * 4 / (PIECE_MIB * MIB)))
        self._loss_of = self._compiled if compile else self._plain_loss
        self._say = say
        if on_cpu:
            # glibc gives freed blocks back to the system, to be asked for again and zeroed, unless it has seen a
            # larger one freed. This one is never touched, so it costs nothing; it spares up to a quarter of the time.
            torch.empty(30 * MIB, dtype=torch.uint8)

    @property
    def batches_per_epoch(self) -> int:
        """Of all windows, the last of them maybe smaller; count."""
        return math.ceil(len(self.context) / self.batch_size)

    # -- Objective -----------------------------------------------------------------------------------------
    def batch(self, generator: torch.Generator) -> Tensor:
        """Indices of batch_size windows, without repetition."""
        return torch.randperm(len(self.context), generator=generator)[: self.batch_size]

    def epoch(self, generator: torch.Generator) -> Iterator[Tensor]:
        """All windows in random order; the last batch may be smaller."""
        yield from torch.randperm(len(self.context), generator=generator).split(self.batch_size)

    def losses(self, population: Tensor | Population, batch: Tensor) -> Tensor:
        """(M, size) -> (M,) mean losses, float32; without dropout."""
        self.model.eval()
        context, target = self._windows(batch)
        count = len(population)
        members = min(self.members, _power_of_two(count / CHUNKS))

        def score(start: int) -> Tensor:
            stop = min(start + members, count)
            chunk = population[start:stop] if isinstance(population, Tensor) else population.members(start, stop)
            return self._score(chunk, context, target)

        return torch.cat(self._share(score, range(0, count, members)))

    def gradient(self, weights: Tensor, batch: Tensor) -> tuple[float, Tensor]:
        """(size,) -> mean loss and its gradient; with dropout."""
        self.model.train()
        windows = self._windows(batch)
        pieces = list(zip(*(values.chunk(self.pieces) for values in windows), strict=True))
        parts = self._share(lambda piece: self._gradient(weights, *piece), pieces)
        shares = [len(context) / len(batch) for context, _ in pieces]
        loss = sum(share * float(loss) for share, (loss, _) in zip(shares, parts, strict=True))
        gradient = parts[0][1].mul_(shares[0])
        for share, (_, values) in zip(shares[1:], parts[1:], strict=True):
            gradient.add_(values, alpha=share)
        return loss, gradient

    def validation(self, weights: Tensor) -> Validation:
        """Of one vector over all windows; without dropout."""
        prediction = self._predictions(weights, torch.arange(len(self.context)))
        errors = (self.target - prediction).double().cpu()
        return Validation(
            loss=float(self.loss(prediction, self.target).double().mean()),
            mae=float(errors.abs().mean()),
            residual_mad=losses.residual_scale(errors),
            influence_cosine=losses.influence_cosine(errors, self.loss),
        )

    def residual_mad(self, weights: Tensor, centre: float = 0.0) -> float:
        """Median |residual - centre| of one vector on at most `SAMPLE` windows, evenly spread; scaled units."""
        sample = torch.linspace(0, len(self.context) - 1, min(SAMPLE, len(self.context))).round().long()
        return losses.residual_scale(self._windows(sample)[1] - self._predictions(weights, sample), centre)

    def _predictions(self, weights: Tensor, windows: Tensor) -> Tensor:
        """(n, H, F) float32 of one vector for these windows; without dropout."""
        self.model.eval()
        views = self.layout.views(weights.to(self.precision))

        @torch.inference_mode()
        def predict(piece: Tensor) -> Tensor:
            context, target = self._windows(piece)
            return self.model.predict(views, context.to(self.precision), target.to(self.precision)).float()

        return torch.cat(self._share(predict, windows.split(WINDOWS))).clone()

    # -- arithmetic ----------------------------------------------------------------------------------------
    def _windows(self, batch: Tensor) -> tuple[Tensor, Tensor]:
        batch = batch.to(self.context.device)
        return self.context[batch], self.target[batch]

    def _share(self, work: Callable[[Part], Result], parts: Sequence[Part]) -> list[Result]:
        """What comes of all parts, in their order, by all workers."""
        workers = min(self.workers, len(parts))
        with _one_thread():
            if workers == 1:
                return [work(values) for values in parts]
            with ThreadPoolExecutor(workers) as pool:
                return list(pool.map(work, parts))

    @torch.inference_mode()
    def _score(self, chunk: Tensor, context: Tensor, target: Tensor) -> Tensor:
        """(m, size) -> (m,); one member is computed as a plain network, which is faster than a population of one."""
        chunk = chunk.to(self.precision)
        weights = self.layout.views(chunk.squeeze(0) if len(chunk) == 1 else chunk)
        prediction = self.model.predict(weights, context.to(self.precision), target.to(self.precision))
        return self.loss(prediction, target).reshape(len(chunk), -1).mean(1)

    @torch.enable_grad()
    def _gradient(self, weights: Tensor, context: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        leaf = weights.detach().requires_grad_()
        loss = self._loss_of(leaf, context, target)
        (gradient,) = torch.autograd.grad(loss, leaf)
        return loss.detach(), gradient

    def _plain_loss(self, weights: Tensor, context: Tensor, target: Tensor) -> Tensor:
        return self.loss(self.model.predict(self.layout.views(weights), context, target), target).mean()

    def _compiled(self, weights: Tensor, context: Tensor, target: Tensor) -> Tensor:
        """Compiles the loss for the two sizes that an epoch's batches have, and takes its place."""
        from torch._dynamo.exc import BackendCompilerFailed

        started = time.monotonic()
        compiled = torch.compile(self._plain_loss, dynamic=False)
        try:
            with torch.random.fork_rng():
                for size in {self.batch_size, len(self.context) % self.batch_size} - {0}:
                    compiled(weights, self.context[:size], self.target[:size]).backward()
                    weights.grad = None
        except BackendCompilerFailed as error:
            reason = str(error.inner_exception).splitlines()[0]
            self._say(f"adam.compile = true: not possible here, going on without ({reason})")
            self._loss_of = self._plain_loss
        else:
            self._say(f"adam.compile = true: compiled in {time.monotonic() - started:.0f} s")
            self._loss_of = compiled
        return self._loss_of(weights, context, target)
