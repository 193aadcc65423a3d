"""Contestants of search.py that need other packages: evotorch, cmaes, evosax under JAX. Knows nothing of ours."""

from __future__ import annotations

import functools
import os
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from contest import Sizes, plain_network, positions, serve, windows

Contestant = tuple[Callable[[], int], dict[str, Any]]
CHUNKS = (1, 8, 32)  # members at once; the fastest is taken

warnings.filterwarnings("ignore")


def fastest(functions: dict[Any, Callable[[], Any]]) -> Any:
    """The name of the function whose second call is the shortest."""
    seconds = {}
    for name, function in functions.items():
        function()
        started = time.perf_counter()
        function()
        seconds[name] = time.perf_counter() - started
    return min(seconds, key=seconds.get)


def runs(function: Callable[[], Any]) -> bool:
    """Whether torch has what it takes, on this device and for these shapes."""
    try:
        function()
    except RuntimeError:
        return False
    return True


def probe(size: int) -> np.ndarray:
    """The vector whose loss all contestants have to agree on."""
    return (0.05 * np.sin((np.arange(size) % 97).astype(np.float32))).astype(np.float32)


# -- evotorch --------------------------------------------------------------------------------------------------
def torch_losses(sizes: Sizes, device: str = "cpu", chunks: tuple[int, ...] = CHUNKS):
    """(M, n) -> (M,) by torch.func.vmap over nn.Transformer, in the fastest of several ways."""
    import torch
    from torch.nn.attention import SDPBackend, sdpa_kernel

    torch.backends.mha.set_fastpath_enabled(False)  # has no rule for vmap
    model = plain_network(sizes).eval().to(device)
    context, target = (torch.from_numpy(array).to(device) for array in windows(sizes, sizes.windows))
    shapes = {name: parameter.shape for name, parameter in model.named_parameters()}
    flat = torch.nn.utils.parameters_to_vector(model.parameters()).detach()

    def loss_of(vector: torch.Tensor) -> torch.Tensor:
        parts = vector.split([shape.numel() for shape in shapes.values()])
        weights = {name: piece.view(shape) for (name, shape), piece in zip(shapes.items(), parts, strict=True)}
        output = torch.func.functional_call(model, weights, (context, target))
        return (output - target).square().mean()

    def losses(chunk: int, backend: SDPBackend, population: torch.Tensor) -> torch.Tensor:
        with torch.no_grad(), sdpa_kernel(backend):
            return torch.func.vmap(loss_of, chunk_size=chunk)(population)

    sample = flat + sizes.sigma * torch.randn(max(32, *chunks), len(flat), device=device)
    fused = SDPBackend.FLASH_ATTENTION if device == "cpu" else SDPBackend.EFFICIENT_ATTENTION
    ways = {
        (chunk, backend): functools.partial(lambda *way: losses(*way, sample).cpu(), chunk, backend)
        for chunk in chunks
        for backend in (SDPBackend.MATH, fused)
    }
    chunk, backend = fastest({name: way for name, way in ways.items() if runs(way)})
    return functools.partial(losses, chunk, backend), flat, {"chunk": chunk, "attention": backend.name}


def evotorch_problem(losses, size: int):
    import torch
    from evotorch import Problem
    from evotorch.tools import set_default_logger_config

    set_default_logger_config(logger_level=40, override=True)

    class Vectorised(Problem):
        def __init__(self) -> None:
            super().__init__("min", solution_length=size, initial_bounds=(-0.1, 0.1), dtype=torch.float32)

        def _evaluate_batch(self, batch) -> None:
            batch.set_evals(losses(batch.values.as_subclass(torch.Tensor)))

    return Vectorised()


def evotorch_evaluate(sizes: Sizes, cores: int) -> Contestant:
    import torch
    from evotorch import SolutionBatch

    losses, flat, facts = torch_losses(sizes)
    problem = evotorch_problem(losses, len(flat))
    batch = SolutionBatch(problem, popsize=sizes.popsize)
    batch.set_values(flat + sizes.sigma * torch.randn(sizes.popsize, len(flat)))

    def sample() -> int:
        problem.evaluate(batch)
        return sizes.popsize

    probed = float(losses(torch.from_numpy(probe(len(flat)))[None])[0])
    return sample, {"weights": len(flat), "loss": probed, "threads": torch.get_num_threads(), **facts}


def evotorch_searcher(method: str, problem, sizes: Sizes, centre):
    from evotorch import algorithms, operators

    popsize, sigma = sizes.popsize, sizes.sigma
    if method == "ga":
        steps = [
            operators.SimulatedBinaryCrossOver(problem, tournament_size=3, eta=15.0),
            operators.GaussianMutation(problem, stdev=0.02, mutation_probability=0.1),
        ]
        return algorithms.GeneticAlgorithm(problem, operators=steps, popsize=popsize)
    if method == "snes":
        return algorithms.SNES(problem, stdev_init=sigma, popsize=popsize, center_init=centre)
    if method == "sep_cma":
        return algorithms.CMAES(problem, stdev_init=sigma, popsize=popsize, center_init=centre, separable=True)
    settings = {"center_learning_rate": 0.01, "stdev_learning_rate": 0.0, "stdev_init": sigma, "optimizer": "adam"}
    return algorithms.PGPE(problem, popsize=popsize, center_init=centre, **settings)


def evotorch_ask_tell(sizes: Sizes, cores: int, method: str) -> Contestant:
    import torch

    problem = evotorch_problem(lambda values: torch.rand(len(values)), sizes.weights)
    search = evotorch_searcher(method, problem, sizes, 0.1 * torch.randn(sizes.weights))
    return _evotorch_steps(search)


def evotorch_generation(sizes: Sizes, cores: int, method: str) -> Contestant:
    losses, flat, facts = torch_losses(sizes)
    search = evotorch_searcher(method, evotorch_problem(losses, len(flat)), sizes, flat)
    sample, _ = _evotorch_steps(search)
    return sample, facts


def _evotorch_steps(search) -> Contestant:
    def sample() -> int:
        search.step()
        return 1

    return sample, {}


# -- cmaes -----------------------------------------------------------------------------------------------------
def cmaes_ask_tell(sizes: Sizes, cores: int) -> Contestant:
    from cmaes import SepCMA

    random = np.random.default_rng(0)
    search = SepCMA(0.1 * random.standard_normal(sizes.weights), sizes.sigma, population_size=sizes.popsize, seed=1)

    def sample() -> int:
        asked = [search.ask() for _ in range(sizes.popsize)]
        search.tell(list(zip(asked, random.random(sizes.popsize), strict=True)))
        return 1

    return sample, {}


# -- evosax ----------------------------------------------------------------------------------------------------
def on_cpu(cores: int):
    os.environ["JAX_PLATFORMS"] = "cpu"
    if cores == 1:
        os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
    import jax

    return jax


def jax_windows(sizes: Sizes, context: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Tokens of the context, tokens that the decoder reads, and what it should say."""
    patch = sizes.patch
    shifted = np.concatenate([context[:, -patch:], target[:, :-patch]], axis=1)
    return context.reshape(len(context), -1, patch), shifted.reshape(len(target), -1, patch), target


def jax_network(sizes: Sizes, jax):
    """(vector, *`jax_windows`) -> mean squared error: nn.Transformer in JAX, with its order of parameters."""
    import jax.numpy as jnp

    d, f, heads, patch = sizes.embed, sizes.feedforward, sizes.heads, sizes.patch
    lengths = sizes.context // patch, sizes.horizon // patch
    table = jnp.asarray(positions(max(lengths), d))
    causal = jnp.where(jnp.tril(jnp.ones((lengths[1],) * 2)) > 0, 0.0, -jnp.inf)

    def loss(vector, given, shifted, wanted):
        used = 0

        def take(*shape: int):
            nonlocal used
            used += int(np.prod(shape))
            return vector[used - int(np.prod(shape)) : used].reshape(shape)

        def attention():
            return take(3 * d, d), take(3 * d), take(d, d), take(d)

        def feed():
            return take(f, d), take(f), take(d, f), take(d)

        def norms(count: int):
            return [(take(d), take(d)) for _ in range(count)]

        def norm(x, weights):
            centred = x - x.mean(-1, keepdims=True)
            return centred * jax.lax.rsqrt((centred**2).mean(-1, keepdims=True) + 1e-5) * weights[0] + weights[1]

        def attend(x, memory, weights, mask):
            matrix, bias, out, out_bias = weights
            sources = [memory if i else x for i in range(3)]
            q, k, v = (
                (source @ matrix[i * d : (i + 1) * d].T + bias[i * d : (i + 1) * d]).reshape(
                    *source.shape[:2], heads, -1
                )
                for i, source in enumerate(sources)
            )
            scores = jnp.einsum("bthe,bshe->bhts", q, k) / np.sqrt(d // heads) + mask
            mixed = jnp.einsum("bhts,bshe->bthe", jax.nn.softmax(scores, -1), v)
            return mixed.reshape(x.shape) @ out.T + out_bias

        def fed(x, weights):
            return jax.nn.relu(x @ weights[0].T + weights[1]) @ weights[2].T + weights[3]

        first = [(take(d, patch), take(d)) for _ in range(2)]
        encoder = [(attention(), feed(), norms(2)) for _ in range(sizes.layers)]
        encoder_norm = norms(1)[0]
        decoder = [(attention(), attention(), feed(), norms(3)) for _ in range(sizes.layers)]
        decoder_norm = norms(1)[0]
        readout = take(patch, d), take(patch)

        x = given @ first[0][0].T + first[0][1] + table[: given.shape[1]]
        for own, inner, (first_norm, second_norm) in encoder:
            x = norm(x + attend(x, x, own, 0.0), first_norm)
            x = norm(x + fed(x, inner), second_norm)
        memory = norm(x, encoder_norm)
        x = shifted @ first[1][0].T + first[1][1] + table[: shifted.shape[1]]
        for own, cross, inner, (first_norm, second_norm, third_norm) in decoder:
            x = norm(x + attend(x, x, own, causal), first_norm)
            x = norm(x + attend(x, memory, cross, 0.0), second_norm)
            x = norm(x + fed(x, inner), third_norm)
        output = norm(x, decoder_norm) @ readout[0].T + readout[1]
        return ((output.reshape(wanted.shape) - wanted) ** 2).mean()

    return loss


def jax_losses(sizes: Sizes, jax, chunks: tuple[int, ...] = CHUNKS):
    """(M, n) -> (M,) on one batch; the fastest chunk."""
    import jax.numpy as jnp

    network, batch = jax_network(sizes, jax), jax_windows(sizes, *windows(sizes, sizes.windows))
    batch = tuple(map(jnp.asarray, batch))

    def loss(vector):
        return network(vector, *batch)

    normal = np.random.default_rng(0).standard_normal((max(32, *chunks), sizes.weights)).astype(np.float32)
    sample = jnp.asarray(0.05 * normal)
    ways = {chunk: jax.jit(functools.partial(jax.lax.map, loss, batch_size=chunk)) for chunk in chunks}
    chunk = fastest(
        {name: functools.partial(lambda way: way(sample).block_until_ready(), way) for name, way in ways.items()}
    )
    probed = float(jax.jit(loss)(jnp.asarray(probe(sizes.weights))))
    return ways[chunk], {"chunk": chunk, "loss": probed, "weights": sizes.weights}


def evosax_evaluate(sizes: Sizes, cores: int) -> Contestant:
    jax = on_cpu(cores)
    losses, facts = jax_losses(sizes, jax)
    key = jax.random.key(0)
    population = 0.05 * jax.random.normal(key, (sizes.popsize, sizes.weights))

    def sample() -> int:
        losses(population).block_until_ready()
        return sizes.popsize

    return sample, facts


def _evosax(method: str, sizes: Sizes, jax):
    import jax.numpy as jnp
    import optax
    from evosax import algorithms

    centre = 0.1 * jax.random.normal(jax.random.key(1), (sizes.weights,))
    if method == "openai":
        fixed = optax.constant_schedule(sizes.sigma)
        search = algorithms.Open_ES(sizes.popsize, jnp.zeros(sizes.weights), std_schedule=fixed)
    else:
        kind = {"snes": algorithms.SNES, "sep_cma": algorithms.Sep_CMA_ES}[method]
        search = kind(sizes.popsize, jnp.zeros(sizes.weights))
    params = search.default_params
    if hasattr(params, "std_init"):
        params = params.replace(std_init=sizes.sigma)
    return search, params, search.init(jax.random.key(2), centre, params)


def _evosax_steps(sizes: Sizes, jax, method: str, losses) -> Callable[[], int]:
    search, params, state = _evosax(method, sizes, jax)
    key = jax.random.key(3)
    ask, tell = jax.jit(search.ask), jax.jit(search.tell)

    def sample() -> int:
        nonlocal state, key
        key, first, second = jax.random.split(key, 3)
        population, state = ask(first, state, params)
        state, _ = tell(second, population, losses(population), state, params)
        jax.block_until_ready(state.mean)
        return 1

    return sample


def evosax_ask_tell(sizes: Sizes, cores: int, method: str) -> Contestant:
    jax = on_cpu(cores)
    fitness = jax.random.uniform(jax.random.key(4), (sizes.popsize,))
    return _evosax_steps(sizes, jax, method, lambda population: fitness), {}


def evosax_generation(sizes: Sizes, cores: int, method: str) -> Contestant:
    jax = on_cpu(cores)
    losses, facts = jax_losses(sizes, jax)
    return _evosax_steps(sizes, jax, method, losses), facts


if __name__ == "__main__":
    names = (
        evotorch_evaluate,
        evotorch_ask_tell,
        evotorch_generation,
        cmaes_ask_tell,
        evosax_evaluate,
        evosax_ask_tell,
        evosax_generation,
    )
    serve({function.__name__: function for function in names})
