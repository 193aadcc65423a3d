"""All checks and timings of a GPU, in less than four minutes, as Markdown.

    python benchmarks/gpu.py [--rehearse]

Needs torch, numpy, scipy and safetensors, no more; JAX is timed where it can be imported. Without a GPU it says so and
ends; `--rehearse` goes through all of it at tiny sizes on the CPU, what a GPU records in graphs on a tape.
Ratios are medians over rounds in which the two sides take turns.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import gc
import os
import sys
import time
import types
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from statistics import median
from typing import Any, NamedTuple

import torch
from contest import TINY, Sizes, plain_epochs, plain_network, windows


class _Shape:
    """In the place of a jaxtyping type: what it annotates."""

    def __class_getitem__(cls, item: Any) -> Any:
        return item[0]


def _annotation(name: str) -> type:
    if name.startswith("__"):
        raise AttributeError(name)
    return _Shape


if find_spec("jaxtyping") is None:  # the package asks for it by its annotations alone
    module = types.ModuleType("jaxtyping")
    module.__getattr__ = _annotation  # type: ignore[method-assign]
    sys.modules["jaxtyping"] = module

from gpu_plan import DATA_SETS, Piece, plan  # noqa: E402
from members import ROUNDS, Rounds, members, searcher, study_losses  # noqa: E402

from transformer_spectrum.training.capture import Captured  # noqa: E402

TOLERANCE = 1e-5
"""Relative, between the CPU's numbers and the device's."""
PIECE, GRID = 8 * 60, 30 * 60
"""Seconds that a piece of the reference grid and the whole of it may take."""
RECORDED = 10
"""Spectra of the reference grid: every so many epochs or generations."""


class Row(NamedTuple):
    """A line of the table; `met` is None where there is no goal."""

    check: str
    measured: str
    goal: str = ""
    met: bool | None = None


@dataclasses.dataclass(frozen=True)
class Scale:
    """How much is done: all of it, or a rehearsal."""

    device: str
    sizes: Sizes
    counts: tuple[int, ...] = (1, 16, 64, 256)
    of_grid: int = 160
    plain_vectors: int = 32
    rounds: int = 3
    popsize: int | None = None
    chunks: tuple[int, ...] = (32, 256)

    @property
    def on_cuda(self) -> bool:
        return self.device == "cuda"


REHEARSAL = Scale("cpu", TINY, (1, 2, 4), 4, 2, 1, 4, (4, 8))


class Tape:
    """In the place of a CUDA graph: computes again into the same memory."""

    def __init__(self, compute: Callable[[], Any], outputs: Any) -> None:
        self.compute, self.outputs = compute, outputs

    def replay(self) -> None:
        fresh = self.compute()
        pairs = zip(self.outputs, fresh, strict=True) if isinstance(fresh, tuple) else [(self.outputs, fresh)]
        with torch.inference_mode():
            for place, values in pairs:
                place.copy_(values)


def record_on_tape(compute: Callable[[], Any]) -> tuple[Tape, Any]:
    outputs = compute()
    return Tape(compute, outputs), outputs


class Bench:
    """What the checks share.

    Args:
        scale: how much is done.
        say: takes a line on how far it is.
    """

    def __init__(self, scale: Scale, say: Callable[[str], None]) -> None:
        self.scale, self.say = scale, say
        self.said: list[str] = []
        """Sentences of the trainings: that something could not be captured."""

    def rounds(self, count: int, optimizer: str = "adam", device: str = "", studied: bool = False) -> Rounds:
        """So many members, under MSE or under the eight losses of a study."""
        gc.collect()
        kinds = {"kinds": list(study_losses().values())} if studied else {}
        search = searcher(optimizer, self.scale.popsize)
        made = Rounds(
            members(self.scale.sizes, count, search, device=device or self.scale.device, say=self.said.append, **kinds)
        )
        if not self.scale.on_cuda and not device:
            made.answers.evaluation.gradients.keeps_slots = True
        return made

    def wait(self) -> None:
        if self.scale.on_cuda:
            torch.cuda.synchronize()

    def seconds(self, function: Callable[[], Any]) -> float:
        self.wait()
        started = time.perf_counter()
        function()
        self.wait()
        return time.perf_counter() - started

    def turns(self, *functions: Callable[[], Any]) -> list[list[float]]:
        """Seconds of each, a sample a round, after two rounds of warming up."""
        for function in functions:
            function()
            function()
        rounds = [[self.seconds(function) for function in functions] for _ in range(self.scale.rounds)]
        return [list(column) for column in zip(*rounds, strict=True)]


def gain(own: Sequence[float], theirs: Sequence[float]) -> float:
    """How many times faster."""
    return median(b / a for a, b in zip(own, theirs, strict=True))


def relative(first: torch.Tensor, second: torch.Tensor) -> float:
    first, second = first.double().cpu(), second.double().cpu()
    return float(torch.linalg.vector_norm(first - second) / torch.linalg.vector_norm(second))


# -- the same numbers ------------------------------------------------------------------------------------------
def _numbers(bench: Bench, device: str) -> list[torch.Tensor]:
    """Losses and gradients of a member for each loss of a study, and losses of a population."""
    trained = bench.rounds(len(study_losses()), device=device, studied=True).trained
    objectives, size = [member.objective for member in trained], bench.scale.sizes.windows
    weights = torch.stack([member.start.weights for member in trained])
    batch = torch.arange(size)
    evaluation = objectives[0].evaluation
    losses, slopes = evaluation.gradients(objectives, [[batch] * len(objectives)], [0] * len(objectives))(0, weights)
    noise = torch.randn(bench.scale.sizes.popsize, weights.shape[1], generator=torch.Generator().manual_seed(0))
    population = weights[0] + bench.scale.sizes.sigma * noise.to(weights.device)
    return [losses, slopes, objectives[-1].losses(population, batch)]


def equal_to_the_cpu(bench: Bench) -> list[Row]:
    ours, cpus = _numbers(bench, bench.scale.device), _numbers(bench, "cpu")
    rows = []
    for name, own, reference in zip(("losses", "gradients", "a population's losses"), ours, cpus, strict=True):
        worst = max(relative(*pair) for pair in zip(own, reference, strict=True))
        rows.append(
            Row(f"{name}, relative difference from the CPU's, worst", f"{worst:.1e}", "1e-5", worst <= TOLERANCE)
        )
    return rows


def same_bits_twice(bench: Bench) -> list[Row]:
    ends = []
    for _ in range(2):
        for optimizer in ROUNDS:
            trained = bench.rounds(2, optimizer, studied=True)
            losses = [trained.advance() and trained.validate() for _ in range(2)]
            ends.append((losses, torch.stack([step.weights for step in trained.steps]).cpu()))
    pairs = list(zip(ends[: len(ROUNDS)], ends[len(ROUNDS) :], strict=True))
    equal = all(first[0] == second[0] and torch.equal(first[1], second[1]) for first, second in pairs)
    return [Row("the same training twice, by adam, es and ga", "equal bits" if equal else "differs", "equal", equal)]


def tf32(bench: Bench) -> list[Row]:
    exact = _numbers(bench, bench.scale.device)
    torch.set_float32_matmul_precision("high")
    rounded = _numbers(bench, bench.scale.device)
    torch.set_float32_matmul_precision("highest")
    worst = [max(relative(*pair) for pair in zip(*both, strict=True)) for both in zip(rounded, exact, strict=True)]
    return [
        Row("TF32, relative change of losses, gradients, a population's losses", ", ".join(f"{x:.1e}" for x in worst))
    ]


# -- scoring ---------------------------------------------------------------------------------------------------
def _plain_scoring(bench: Bench) -> float:
    """Members/s, each copied into the module."""
    sizes, device = bench.scale.sizes, bench.scale.device
    network = plain_network(sizes).eval().to(device)
    context, target = (torch.from_numpy(array).to(device) for array in windows(sizes, sizes.windows))
    flat = torch.nn.utils.parameters_to_vector(network.parameters()).detach()
    population = flat + sizes.sigma * torch.randn(bench.scale.plain_vectors, len(flat), device=device)

    @torch.no_grad()
    def score() -> None:
        for vector in population:
            torch.nn.utils.vector_to_parameters(vector, network.parameters())
            (network(context, target) - target).square().mean().item()

    return len(population) / median(bench.turns(score)[0])


def scoring(bench: Bench) -> list[Row]:
    from search_peers import jax_losses, torch_losses

    sizes, scale = bench.scale.sizes, bench.scale
    plain = _plain_scoring(bench)
    (member,) = bench.rounds(1).trained
    noise = torch.randn(sizes.popsize, member.objective.size, device=scale.device)
    population = member.start.weights + sizes.sigma * noise
    ours = functools.partial(member.objective.losses, population, torch.arange(sizes.windows))
    mapped, flat, facts = torch_losses(sizes, scale.device, scale.chunks)
    peers = {
        f"vmap, chunks of {facts['chunk']}": functools.partial(
            mapped, flat + sizes.sigma * torch.randn_like(noise[:, : len(flat)])
        )
    }
    if find_spec("jax"):
        os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # leave memory for torch
        import jax

        losses, facts = jax_losses(sizes, jax, scale.chunks)
        key = jax.random.key(0)
        candidates = 0.05 * jax.random.normal(key, (sizes.popsize, sizes.weights))
        peers[f"JAX, chunks of {facts['chunk']}"] = lambda: losses(candidates).block_until_ready()
    rows = [Row("scoring the plain way, members/s", f"{plain:,.0f}")]
    for name, theirs in peers.items():
        own, peer = bench.turns(ours, theirs)
        fast = sizes.popsize / median(own)
        rows.append(
            Row(
                f"scoring {sizes.popsize} members, x {name}",
                f"{gain(own, peer):.2f} ({fast:,.0f} members/s)",
                "1.3",
                gain(own, peer) >= 1.3,
            )
        )
    if len(peers) == 1:
        rows.append(Row("scoring, x JAX", "JAX is not there", "1.3"))
    torch.backends.mha.set_fastpath_enabled(True)
    return rows


# -- Adam ------------------------------------------------------------------------------------------------------
def adam(bench: Bench) -> list[Row]:
    """A lone epoch and ensembles, beside the plain epoch."""
    sizes, rows, plain = bench.scale.sizes, [], []
    epoch = plain_epochs(sizes, sizes.training_windows, device=bench.scale.device)
    for count in bench.scale.counts:
        bench.say(f"adam, {count} members")
        trained = bench.rounds(count, studied=count > 1)
        walked, theirs, checked, measured = bench.turns(trained.advance, epoch, trained.validate, trained.measure)
        bare = [a + b for a, b in zip(walked, checked, strict=True)]
        whole = [a + b for a, b in zip(bare, measured, strict=True)]
        if count == 1:
            batches = -(-sizes.training_windows // sizes.windows)
            share = 1 / gain(bare, theirs)
            rows.append(Row("a step of Adam, alone, ms", f"{1000 * median(walked) / batches:.2f}"))
            rows.append(
                Row("an epoch of Adam with validation, alone, of the plain one", f"{share:.3f}", "0.1", share <= 0.1)
            )
        last = count == bench.scale.counts[-1]
        for name, own, goal in (("without spectra", bare, 200), ("spectra each epoch", whole, 100)):
            times = count * gain(own, theirs)
            hour = 3600 * count / (ROUNDS["adam"] * median(own))
            text = f"{times:.1f} ({hour:,.0f} trainings an hour)"
            rows.append(
                Row(
                    f"{count} members, {name}, x plain",
                    text,
                    str(goal) if last else "",
                    times >= goal if last else None,
                )
            )
        rows.append(Row(f"spectra of {count} members, ms each", f"{1000 * median(measured) / count:.2f}"))
        plain += theirs
    rows.append(Row("the plain epoch, ms", f"{1000 * median(plain):.0f}"))
    if bench.scale.on_cuda:
        rows.append(
            Row(f"GPU memory at its peak, {count} members, GiB", f"{torch.cuda.max_memory_allocated() / 2**30:.1f}")
        )
    return rows


# -- the grid --------------------------------------------------------------------------------------------------
def grid(bench: Bench) -> tuple[list[Row], list[Piece]]:
    """A generation of each population method, and how long the reference grid takes: an ensemble a data set."""
    count, rows, pieces = bench.scale.of_grid, [], []
    for optimizer, rounds in ROUNDS.items():
        bench.say(f"grid, {optimizer}")
        started = time.perf_counter()
        trained = bench.rounds(count, optimizer, studied=True)
        trained.advance()
        begun = time.perf_counter() - started
        walked, checked, measured = map(median, bench.turns(trained.advance, trained.validate, trained.measure))
        if optimizer != "adam":
            lone = bench.rounds(1, optimizer)
            rows.append(
                Row(f"a generation by {optimizer}, alone, ms", f"{1000 * median(bench.turns(lone.advance)[0]):.1f}")
            )
            rows.append(Row(f"the same of {count} members, ms each", f"{1000 * walked / count:.2f}"))
        record = checked + measured
        pieces += plan(optimizer, count, rounds, walked, record, RECORDED, begun, PIECE)
    total = sum(piece.seconds for piece in pieces)
    longest = max(piece.seconds for piece in pieces)
    rows.append(Row("the reference grid, minutes, by these pieces", f"{total / 60:.1f}", "30", total <= GRID))
    rows.append(Row("its longest piece, minutes", f"{longest / 60:.1f}", "8", longest <= PIECE))
    return rows, pieces


# -- all of it -------------------------------------------------------------------------------------------------
def run(scale: Scale, say: Callable[[str], None]) -> list[str]:
    """The lines of the page."""
    started = time.perf_counter()
    torch.set_num_threads(1)
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # as in `training.setup.make_deterministic`
    torch.set_deterministic_debug_mode("error")
    torch.utils.deterministic.fill_uninitialized_memory = False
    bench = Bench(scale, say)
    rows: list[Row] = []
    for check in (equal_to_the_cpu, same_bits_twice, tf32, scoring, adam):
        say(check.__name__.replace("_", " "))
        rows += check(bench)
    more, pieces = grid(bench)
    rows += more
    refused = len(set(bench.said))
    rows.append(Row("computations that could not be recorded in a graph", str(refused), "0", not refused))
    took = time.perf_counter() - started
    rows.append(Row("all of this, seconds", f"{took:.0f}", "240", took <= 240))
    where = torch.cuda.get_device_name() if scale.on_cuda else "a rehearsal at tiny sizes on a CPU: no figure counts"
    words = {True: "met", False: "missed", None: ""}
    return [
        f"{time.strftime('%Y-%m-%d')}, {where}, torch {torch.__version__}, {scale.sizes.weights:,} weights, "
        f"{scale.sizes.training_windows} windows.",
        "",
        "| | measured | goal | |",
        "| --- | --- | --- | --- |",
        *(f"| {row.check} | {row.measured} | {row.goal} | {words[row.met]} |" for row in rows),
        "",
        f"The reference grid, of {DATA_SETS} data sets x 8 losses x 20 seeds by each optimizer, all at these sizes,",
        f"spectra of every {RECORDED} epochs or generations:",
        "",
        "| optimizer | data set | members | rounds | minutes |",
        "| --- | --- | --- | --- | --- |",
        *(
            f"| {piece.optimizer} | {piece.data_set} | {piece.members} | {piece.first} to {piece.last} | "
            f"{piece.seconds / 60:.1f} |"
            for piece in pieces
        ),
        *([""] if bench.said else []),
        *dict.fromkeys(bench.said),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rehearse", action="store_true", help="tiny sizes on the CPU")
    options = parser.parse_args()
    if options.rehearse:
        Captured.__init__ = functools.partialmethod(Captured.__init__, record=record_on_tape)  # type: ignore[method-assign]
    elif not torch.cuda.is_available():
        print("No GPU is at hand: nothing was measured; --rehearse goes through all of it at tiny sizes on the CPU.")
        return
    scale = REHEARSAL if options.rehearse else Scale("cuda", Sizes())
    print("\n".join(run(scale, lambda line: print(f"  {line}", file=sys.stderr, flush=True))))


if __name__ == "__main__":
    main()
