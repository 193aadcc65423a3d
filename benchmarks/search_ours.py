"""Contestants of search.py that run in the package's own environment: the plain way and ours."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch
from contest import Sizes, plain_epochs, plain_network, serve, windows
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

from transformer_spectrum.losses import mse
from transformer_spectrum.models.forecaster import Layout
from transformer_spectrum.models.lstm import LSTM
from transformer_spectrum.models.transformer import Transformer
from transformer_spectrum.optimizers.contract import Population, Searcher
from transformer_spectrum.optimizers.evolution.cma_es import CMA
from transformer_spectrum.optimizers.evolution.openai_es import OpenAIES
from transformer_spectrum.optimizers.evolution.sep_cma import SepCMA
from transformer_spectrum.optimizers.evolution.snes import SNES
from transformer_spectrum.optimizers.ga import GA
from transformer_spectrum.optimizers.gradient.adam import Adam
from transformer_spectrum.optimizers.gradient.descent import Descent
from transformer_spectrum.training.objective import WindowObjective

Contestant = tuple[Callable[[], int], dict[str, Any]]
PRODUCT = 512  # rows and columns of the product whose speed is called the peak
GENERATIONS = 10**6
PARTS = {  # of the profile: what torch's operators do
    "linear layers": ("aten::addmm", "aten::baddbmm", "aten::addmm_", "aten::baddbmm_", "aten::copy_"),
    "attention": (
        "aten::_scaled_dot_product_flash_attention_for_cpu",
        "aten::bmm",
        "aten::exp2_",
        "aten::aminmax",
        "aten::sum",
        "aten::div_",
        "aten::tril_",
        "aten::cat",
    ),
    "layer norms": ("aten::native_layer_norm", "aten::addcmul"),
    "other sums": ("aten::add", "aten::add_", "aten::clamp_min_"),
}


def data(sizes: Sizes, count: int) -> tuple[Tensor, Tensor]:
    return tuple(torch.from_numpy(array) for array in windows(sizes, count))


def objective(sizes: Sizes, kind: str = "transformer", dropout: float = 0.0, count: int | None = None, **settings):
    """Our objective over `count` windows (one batch), and the initial weights."""
    generator = torch.Generator().manual_seed(0)
    if kind == "lstm":
        model = LSTM(1, sizes.embed, sizes.layers, dropout, sizes.patch, generator)
    else:
        shape = (sizes.embed, sizes.heads, sizes.layers, sizes.feedforward)
        model = Transformer(1, *shape, dropout, sizes.patch, generator)
    layout = Layout(model)
    context, target = data(sizes, count or sizes.windows)
    weights = layout.flatten(model)
    return WindowObjective(model, layout, mse, context, target, sizes.windows, **settings), weights


# -- evaluation ------------------------------------------------------------------------------------------------
def peak(sizes: Sizes, cores: int) -> Contestant:
    """Products of two square matrices, one thread on each core; an item is a floating-point operation."""
    torch.set_num_threads(1)
    pairs = [torch.randn(2, PRODUCT, PRODUCT) for _ in range(cores)]

    def many(pair: Tensor) -> None:
        for _ in range(30):
            pair[0] @ pair[1]

    def sample() -> int:
        with ThreadPoolExecutor(cores) as pool:
            list(pool.map(many, pairs))
        return cores * 30 * 2 * PRODUCT**3

    return sample, {"torch": torch.__version__, "capability": torch.backends.cpu.get_cpu_capability()}


def plain_evaluate(sizes: Sizes, cores: int, count: int) -> Contestant:
    """Copies each vector into the module and scores it, with torch's default threads."""
    model = plain_network(sizes).eval()
    context, target = data(sizes, sizes.windows)
    flat = nn.utils.parameters_to_vector(model.parameters()).detach()
    population = flat + sizes.sigma * torch.randn(count, len(flat))

    def score(vector: Tensor) -> float:
        first = 0
        for parameter in model.parameters():
            parameter.copy_(vector[first : first + parameter.numel()].view_as(parameter))
            first += parameter.numel()
        return mse(model(context, target), target).mean().item()

    def sample() -> int:
        with torch.no_grad():
            for vector in population:
                score(vector)
        return count

    with torch.no_grad():
        facts = {"weights": len(flat), "loss": score(0.05 * torch.sin(torch.arange(len(flat)) % 97))}
    return sample, {**facts, "threads": torch.get_num_threads()}


def evaluate(sizes: Sizes, cores: int, kind: str = "transformer", precision: str = "float32") -> Contestant:
    scored, weights = objective(sizes, kind, workers=cores, precision=precision)
    population = weights + sizes.sigma * torch.randn(sizes.popsize, len(weights))
    batch = torch.arange(sizes.windows)

    def sample() -> int:
        scored.losses(population, batch)
        return sizes.popsize

    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        scored.evaluation.model.predict(scored.evaluation.layout.views(weights), scored.context, scored.target)
    facts = {"weights": len(weights), "flops": counter.get_total_flops(), "members": scored.evaluation.division.members}
    if kind == "transformer" and precision == "float32" and cores == 1:
        facts["shares"] = shares(scored, population[: 8 * scored.evaluation.division.members], batch)
    return sample, facts


def shares(scored: WindowObjective, population: Tensor, batch: Tensor) -> dict[str, float]:
    """Of the time inside torch's operators."""
    scored.losses(population, batch)
    with profile(activities=[ProfilerActivity.CPU]) as record:
        scored.losses(population, batch)
    times = {event.key: event.self_cpu_time_total for event in record.key_averages()}
    total = sum(times.values())
    named = {kind: sum(times.get(key, 0.0) for key in keys) / total for kind, keys in PARTS.items()}
    return {**named, "the rest": 1 - sum(named.values())}


# -- search ----------------------------------------------------------------------------------------------------
def searcher(method: str, sizes: Sizes, cores: int) -> Searcher:
    popsize, sigma = sizes.popsize, sizes.sigma
    return {
        "openai": lambda: OpenAIES(GENERATIONS, popsize, sigma),
        "snes": lambda: SNES(GENERATIONS, popsize, sigma),
        "sep_cma": lambda: SepCMA(GENERATIONS, popsize, sigma),
        "cma": lambda: CMA(GENERATIONS, popsize, sigma),
        "ga": lambda: GA(GENERATIONS, popsize, 0.05, 3, 0.9, 15.0, 0.1, 0.02, 2, workers=cores),
    }[method]()


class Free:
    """An objective that reads its candidates, as an evaluation would, and gives them losses at random."""

    def __init__(self, size: int, workers: int) -> None:
        self.size, self.workers = size, workers
        self.generator = torch.Generator().manual_seed(1)

    def batch(self, generator: torch.Generator) -> None:
        return None

    def losses(self, population: Tensor | Population, batch: None) -> Tensor:
        if not isinstance(population, Tensor):
            with ThreadPoolExecutor(self.workers) as pool:
                starts = range(0, len(population), 4)
                list(pool.map(lambda start: len(population.members(start, min(start + 4, len(population)))), starts))
        return torch.rand(len(population), generator=self.generator)


def next_step(steps: Iterator) -> Callable[[], int]:
    def sample() -> int:
        next(steps)
        return 1

    sample()  # the initial weights
    return sample


def ask_tell(sizes: Sizes, cores: int, method: str) -> Contestant:
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(0)
    weights = 0.1 * torch.randn(sizes.weights, generator=generator)
    steps = searcher(method, sizes, cores).steps(Free(len(weights), cores), weights, generator)
    return next_step(steps), {"weights": len(weights)}


def generation(sizes: Sizes, cores: int, method: str) -> Contestant:
    torch.set_num_threads(1)
    scored, weights = objective(sizes, workers=cores)
    steps = searcher(method, sizes, cores).steps(scored, weights, torch.Generator().manual_seed(0))
    return next_step(steps), {"weights": len(weights)}


# -- Adam ------------------------------------------------------------------------------------------------------
def plain_epoch(sizes: Sizes, cores: int, dropout: float) -> Contestant:
    """nn.Transformer, DataLoader, Adam, and a second pass over the training set for its metrics."""
    sample = plain_epochs(sizes, sizes.training_windows, dropout, clip=1.0)
    return sample, {"threads": torch.get_num_threads()}


def epoch(sizes: Sizes, cores: int, dropout: float) -> Contestant:
    torch.set_num_threads(1)
    scored, weights = objective(sizes, dropout=dropout, count=sizes.training_windows, workers=cores)
    steps = Descent(Adam(), GENERATIONS, 1e-3, gradient_clip=1.0).steps(
        scored, weights, torch.Generator().manual_seed(0)
    )
    return next_step(steps), {"pieces": scored.evaluation.division.pieces}


def machine(sizes: Sizes, cores: int) -> Contestant:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    facts = {"processor": names[0] if names else "unknown", "memory_gib": memory, "date": time.strftime("%Y-%m-%d")}
    return lambda: 0, {**facts, "torch": torch.__version__}


if __name__ == "__main__":
    names = (peak, plain_evaluate, evaluate, ask_tell, generation, plain_epoch, epoch, machine)
    serve({function.__name__: function for function in names})
