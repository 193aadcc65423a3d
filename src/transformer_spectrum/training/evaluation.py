"""The arithmetic of trainings: losses, gradients and validations of many networks of one architecture at once.

Weights are (members, n): each member reads its own windows and has its own loss. What is computed for a member is the
same, bit for bit on a CPU, whoever is computed beside it: products are batched over members, and nothing is summed
across them.

Members are computed in chunks: large enough that a product is worth its call, small enough that what lies between two
products stays in the processor's cache. On a CPU threads share the chunks, each with one core: two threads that
compute two chunks beat two threads inside every small product. A batch's gradient is cut besides into pieces of
windows. What is a piece follows from sizes alone, so that neither the number of threads nor the machine's speed
changes a result.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import torch
from torch import Tensor

from transformer_spectrum import losses
from transformer_spectrum.models.dropout import Dropout, keys_of
from transformer_spectrum.models.forecaster import Forecaster, Layout
from transformer_spectrum.optimizers.contract import Along, Population
from transformer_spectrum.training.capture import Captured
from transformer_spectrum.training.pool import Pool
from transformer_spectrum.training.slots import Slots
from transformer_spectrum.training.stacked_losses import Forms, Stacked, elementwise, influence_cosines

if TYPE_CHECKING:
    from transformer_spectrum.training.objective import WindowObjective

Part = TypeVar("Part")
Result = TypeVar("Result")

MIB = 2**20
CHUNKS = 8
"""On a CPU a population is cut into so many chunks at least, for workers to share."""
PIECES, PIECE_MIB = 4, 1.5
"""A gradient's batch is cut into so many pieces at most, each with so many activations at least."""
GRADIENT_MIB = 24
"""Activations of the members whose gradients a core computes at once; `benchmarks/ensembles.py`."""
WINDOWS = 64
"""Windows in a piece when a CPU scores vectors on whole sets."""
GPU_SHARE, WITH_GRADIENT = 0.25, 8
"""Of a GPU's free memory for activations; and how many times as many a gradient holds."""


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


Scored = tuple["WindowObjective", Tensor | Population, Tensor]
"""An objective, a population, and the windows of the objective that it is to be scored on."""


class Portion(NamedTuple):
    """Members first ... last - 1 of a population, by its place among those that are scored."""

    place: int
    first: int
    last: int


@contextmanager
def _one_thread() -> Iterator[None]:
    """Inside, torch computes with one thread, in the threads that start here as well."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def power_of_two(limit: float) -> int:
    """The largest that is not above the limit, at least 1.

    >>> power_of_two(0.5), power_of_two(9)
    (1, 8)
    """
    return 1 << (max(1, int(limit)).bit_length() - 1)


def grouped(keys: Iterable[Hashable]) -> list[list[int]]:
    """Positions of equal keys, in the order in which the keys come.

    >>> grouped("abca")
    [[0, 3], [1], [2]]
    """
    groups: dict[Hashable, list[int]] = {}
    for position, key in enumerate(keys):
        groups.setdefault(key, []).append(position)
    return list(groups.values())


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
        self.on_cpu = device.type == "cpu"
        self.workers = workers if self.on_cpu else 1
        self.cores = workers if self.on_cpu else os.cpu_count() or 1
        """Threads for what is computed on the CPU even beside a GPU."""
        floats = batch_size * model.activations(*steps)
        free = None if self.on_cpu else _free_mib(device)
        scoring = memory_mib or (model.chunk_mib if free is None else free)
        # A power of two, so that mirrored pairs that are neighbours stay together.
        self.members = power_of_two(scoring * MIB / (floats * self.precision.itemsize))
        learning = memory_mib or (GRADIENT_MIB if free is None else free / WITH_GRADIENT)
        self.learning_members = power_of_two(learning * MIB / (floats * 4))
        self.windows = WINDOWS if free is None else power_of_two(free * MIB / (model.activations(*steps) * 4))
        whole = not self.on_cpu or compile
        self.pieces = 1 if whole else min(PIECES, power_of_two(floats * 4 / (PIECE_MIB * MIB)))
        self._loss_of = self._compiled if compile else self._plain_losses
        self._say = say
        self.keeps_slots = not self.on_cpu
        """Whether a member that has left is computed further, unseen, until half of them have: shapes stay captured."""
        self._slots = Slots()
        self._pool = Pool(device)
        self._gradient = Captured(self._plain_gradient, device, say)
        self._score = Captured(self._plain_score, device, say)
        self._stacked = lru_cache(maxsize=256)(lambda losses: Stacked(losses, device))
        if self.on_cpu:
            # glibc gives freed blocks back to the system, to be asked for again and zeroed, unless it has seen a
            # larger one freed. This one is never touched, so it costs nothing; it spares up to a quarter of the time.
            torch.empty(30 * MIB, dtype=torch.uint8)

    # -- gradients -----------------------------------------------------------------------------------------
    def gradients(
        self, objectives: Sequence[WindowObjective], batches: Sequence[Sequence[Tensor]], updates: Sequence[int]
    ) -> Along:
        """What gives mean losses (M,), float64, and their gradients (M, n), with dropout, along some updates.

        Everything that the updates need is put on the device beforehand.

        Args:
            objectives: of the members.
            batches: of each update the windows of each member.
            updates: which update of its training the first one is for each member, for its dropout; counted from 0.
        """
        groups = [grouped(len(batch) for batch in row) for row in batches]
        places = [
            self._pool.places([objectives[member] for member in members], [row[member] for member in members])
            for row, of_row in zip(batches, groups, strict=True)
            for members in of_row
        ]
        flat = iter(self._pool.on_device(places))
        seeds = torch.tensor([objective.seed for objective in objectives], dtype=torch.int32)
        counters = torch.arange(len(batches), dtype=torch.int32)[:, None] + torch.tensor(updates, dtype=torch.int32)
        seeds, counters = seeds.to(self.device), counters.to(self.device)
        windows = [[(members, next(flat)) for members in of_row] for of_row in groups]

        def along(row: int, weights: Tensor) -> tuple[Tensor, Tensor]:
            if len(windows[row]) == 1:
                return self._of_equal(objectives, weights, windows[row][0][1], seeds, counters[row])
            parts = [
                self._of_equal(
                    [objectives[member] for member in members],
                    weights[members],
                    index,
                    seeds[members],
                    counters[row][members],
                )
                for members, index in windows[row]
            ]
            back = torch.tensor([member for members, _ in windows[row] for member in members]).argsort()
            back = back.to(self.device)
            return torch.cat([loss for loss, _ in parts])[back], torch.cat([slope for _, slope in parts])[back]

        return along

    def _of_equal(
        self,
        objectives: Sequence[WindowObjective],
        weights: Tensor,
        index: Tensor,
        seeds: Tensor,
        updates: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Of members whose batches are of one size."""
        if not self.keeps_slots:
            return self._in_chunks(objectives, weights, index, seeds, updates)
        slots, places = self._slots.of(objectives, index.shape[1])
        rows = places.to(self.device)
        loss, slopes = self._in_chunks(slots, weights[rows], index[rows], seeds[rows], updates[rows])
        first = self._slots.first(places).to(self.device)
        return loss[first], slopes[first]

    def _in_chunks(
        self,
        objectives: Sequence[WindowObjective],
        weights: Tensor,
        index: Tensor,
        seeds: Tensor,
        updates: Tensor,
    ) -> tuple[Tensor, Tensor]:
        size = min(self.learning_members, math.ceil(len(weights) / self.workers))  # no bit depends on it
        chunks = [slice(first, first + size) for first in range(0, len(weights), size)]
        pieces = index.chunk(self.pieces, dim=1)

        def work(task: tuple[slice, int]) -> tuple[Tensor, Tensor]:
            rows, piece = task
            context, target = self._pool.windows(pieces[piece][rows])
            stacked = self._stacked(tuple(objective.loss for objective in objectives[rows]))
            keys = keys_of(seeds[rows], updates[rows], piece) if self.model.dropout else seeds[rows]
            return self._gradient(stacked.forms, weights[rows], context, target, keys, *stacked.numbers)

        tasks = [(rows, piece) for rows in chunks for piece in range(len(pieces))]
        done = iter(self._share(work, tasks))
        shares = [piece.shape[1] / index.shape[1] for piece in pieces]
        parts = []
        for _ in chunks:
            loss, slopes = next(done)
            mean = loss.double() * shares[0]
            slopes = slopes if len(pieces) == 1 else slopes.mul_(shares[0])
            for share in shares[1:]:
                loss, slope = next(done)
                mean += loss.double() * share
                slopes.add_(slope, alpha=share)
            parts.append((mean, slopes))
        if len(parts) == 1:
            return parts[0]
        return torch.cat([loss for loss, _ in parts]), torch.cat([slope for _, slope in parts])

    # -- populations ---------------------------------------------------------------------------------------
    def scores(self, scored: Sequence[Scored]) -> list[Tensor]:
        """(popsize,) mean losses of each population, float32, on the CPU; without dropout."""
        index = self._pool.on_device([self._pool.places([objective], [batch])[0] for objective, _, batch in scored])

        def work(cuts: Sequence[Portion]) -> Tensor:
            candidates = [_members(scored[place][1], first, last) for place, first, last in cuts]
            windows = [self._pool.windows(index[place]) for place, _, _ in cuts]
            losses = [scored[place][0].loss for place, first, last in cuts for _ in range(first, last)]
            chunk = candidates[0] if len(cuts) == 1 else torch.cat(candidates)
            if len(cuts) == 1:  # all members read one batch
                context, target = windows[0]
            else:
                counts = torch.tensor([len(members) for members in candidates], device=self.device)
                context, target = (
                    torch.stack(values).repeat_interleave(counts, 0, output_size=len(chunk))
                    for values in zip(*windows, strict=True)
                )
            stacked = self._stacked(tuple(losses))
            return self._score(stacked.forms, chunk, context, target, *stacked.numbers)

        chunks = self._chunks(scored)
        losses = torch.cat(self._share(work, chunks)).cpu()  # in the order of the populations, by one transfer
        return list(losses.split([len(population) for _, population, _ in scored]))

    def _chunks(self, scored: Sequence[Scored]) -> list[list[Portion]]:
        """What is scored at once: on a CPU parts of one population; on a GPU as much as fits, of any."""
        chunks: list[list[Portion]] = []
        room = 0
        for place, (_, population, batch) in enumerate(scored):
            count = len(population)
            members = min(self.members, power_of_two(count / CHUNKS)) if self.on_cpu else self.members
            first = 0
            while first < count:
                is_mixed = bool(chunks) and len(batch) != len(scored[chunks[-1][0].place][2])
                if self.on_cpu or room == 0 or is_mixed:
                    chunks.append([])
                    room = members
                last = min(first + room, count)
                chunks[-1].append(Portion(place, first, last))
                room -= last - first
                first = last
        return chunks

    # -- whole sets ----------------------------------------------------------------------------------------
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
            (index,) = self._pool.on_device([of_rows])
            members = max(1, self.members * self.batch_size // max(1, min(self.windows, index.shape[1])))
            tasks = [
                (first, piece)
                for first in range(0, len(rows), power_of_two(members))
                for piece in range(0, index.shape[1], self.windows)
            ]

            @torch.inference_mode()
            def predict(
                task: tuple[int, int], rows: list[int] = rows, index: Tensor = index, size: int = power_of_two(members)
            ) -> Tensor:
                first, piece = task
                some = rows[first : first + size]
                context, target = self._pool.windows(index[first : first + size, piece : piece + self.windows])
                views = self.layout.views(weights[some].to(self.precision))
                return self.model.predict(views, context.to(self.precision), target.to(self.precision)).float()

            done = self._share(predict, tasks)
            for first in range(0, len(rows), power_of_two(members)):
                whole = torch.cat([part for task, part in zip(tasks, done, strict=True) if task[0] == first], dim=1)
                answers |= dict(zip(rows[first:], whole.clone(), strict=False))
        return [answers[row] for row in range(len(objectives))]

    # -- arithmetic ----------------------------------------------------------------------------------------
    def _share(self, work: Callable[[Part], Result], parts: Sequence[Part]) -> list[Result]:
        """What comes of all parts, in their order, by all workers."""
        workers = min(self.workers, len(parts))
        with _one_thread():
            if workers == 1:
                return [work(values) for values in parts]
            with ThreadPoolExecutor(workers) as pool:
                return list(pool.map(work, parts))

    @torch.inference_mode()
    def _plain_score(self, forms: Forms, chunk: Tensor, context: Tensor, target: Tensor, *numbers: Tensor) -> Tensor:
        """(m, n) -> (m,)."""
        weights = self.layout.views(chunk.to(self.precision))
        prediction = self.model.predict(weights, context.to(self.precision), target.to(self.precision))
        return elementwise(forms, numbers, prediction, target).flatten(1).mean(1)

    @torch.enable_grad()
    def _plain_gradient(
        self, forms: Forms, weights: Tensor, context: Tensor, target: Tensor, keys: Tensor, *numbers: Tensor
    ) -> tuple[Tensor, Tensor]:
        """(m, n) -> (m,) and (m, n)."""
        leaf = weights.detach().requires_grad_()
        means = self._loss_of(forms, leaf, context, target, keys, *numbers)
        (gradient,) = torch.autograd.grad(means.sum(), leaf)  # no member's loss depends on another's weights
        return means.detach(), gradient

    def _plain_losses(
        self, forms: Forms, weights: Tensor, context: Tensor, target: Tensor, keys: Tensor, *numbers: Tensor
    ) -> Tensor:
        drop = Dropout(self.model.dropout, keys) if self.model.dropout else None
        prediction = self.model.predict(self.layout.views(weights), context, target, drop)
        return elementwise(forms, numbers, prediction, target).flatten(1).mean(1)

    def _compiled(self, forms: Forms, *tensors: Tensor) -> Tensor:
        """Compiles the losses, and takes its place."""
        from torch._dynamo.exc import BackendCompilerFailed

        started = time.monotonic()
        compiled = torch.compile(self._plain_losses, dynamic=False)
        try:
            result = compiled(forms, *tensors)
        except BackendCompilerFailed as error:
            reason = str(error.inner_exception).splitlines()[0]
            self._say(f"adam.compile = true: not possible here, going on without ({reason})")
            self._loss_of = self._plain_losses
            return self._loss_of(forms, *tensors)
        self._say(f"adam.compile = true: compiled in {time.monotonic() - started:.0f} s")
        self._loss_of = compiled
        return result


def _members(population: Tensor | Population, first: int, last: int) -> Tensor:
    return population[first:last] if isinstance(population, Tensor) else population.members(first, last)


def _free_mib(device: torch.device) -> float:
    """Memory of a GPU that activations may take; MiB."""
    free = torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else 8192 * MIB
    return free * GPU_SHARE / MIB
