"""Speed of the spectra engine against the bare SVD, WeightWatcher, powerlaw and a plain loop over scipy.

    python benchmarks/spectra.py [--quick] [--threads 1,2] [--powerlaw15 FOLDER]
    python benchmarks/spectra.py --only recording [--threads 1,2]

Run it in the repository's root, where params.yaml lies. Every thread count gets a process of its own, since BLAS and
OpenMP read theirs at the start. What is compared runs in turns, one sample of each in a round, and a ratio is the
median over the rounds of ratios within a round: a slow spell of the machine hits both sides.

powerlaw 1.5 cannot be installed beside 2.0; put it into a folder of its own and name that folder:
pip install --no-deps --target FOLDER powerlaw==1.5
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.metadata
import importlib.util
import io
import logging
import math
import os
import platform
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import powerlaw
import scipy.linalg
import torch

from transformer_spectrum.config.load import Params, load_params
from transformer_spectrum.models.forecaster import Layout
from transformer_spectrum.runtime.seeds import torch_generator
from transformer_spectrum.spectra import metrics
from transformer_spectrum.spectra.analysis import Estimators, analyze
from transformer_spectrum.spectra.power_law import clauset_fit, hill_count
from transformer_spectrum.training import build
from transformer_spectrum.training.objective import WindowObjective
from transformer_spectrum.weights.matrices.families import Family
from transformer_spectrum.weights.matrices.matrix import Matrix, singular_values, spectrum

SAMPLE = 0.02  # seconds: quick functions are repeated to fill it
TRAINING_WINDOWS = 700  # of the default data set: 1000 series less 15 % for validation and 15 % for the test
BATCH = 35  # spectra, as many as the default transformer has matrices
OPEN = {"alpha": [0.0, 1e6]}  # powerlaw 2.0 by itself takes no alpha above 3

Function = Callable[[], Any]


# -- timing ----------------------------------------------------------------------------------------------------
def interleaved(functions: dict[str, Function], rounds: dict[str, int]) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Seconds a call of each function, one sample a round, and what each returned in the warm-up."""
    number, answers = {}, {}
    for name, function in functions.items():
        started = time.perf_counter()
        answers[name] = function()
        number[name] = max(1, min(1000, math.ceil(SAMPLE / (time.perf_counter() - started))))
    seconds: dict[str, list[float]] = {name: [] for name in functions}
    for turn in range(max(rounds.values())):
        for name, function in functions.items():
            if turn >= rounds[name]:
                continue
            started = time.perf_counter()
            for _ in range(number[name]):
                function()
            seconds[name].append((time.perf_counter() - started) / number[name])
    return {name: np.array(values) for name, values in seconds.items()}, answers


def paired(seconds: dict[str, np.ndarray], name: str, base: str) -> float:
    """Median over rounds of seconds[name] / seconds[base]."""
    count = min(len(seconds[name]), len(seconds[base]))
    return float(np.median(seconds[name][:count] / seconds[base][:count]))


def table(header: list[str], rows: list[list[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def shown(value: float) -> str:
    """Three significant digits, large values in full."""
    return f"{value:.3g}" if value < 1000 else f"{value:,.0f}"


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


# -- peers -----------------------------------------------------------------------------------------------------
def weightwatcher_of(model: torch.nn.Module) -> tuple[Function, Function] | str:
    """Its analysis of a model and its fit of a spectrum, or why there is none."""
    try:
        with quiet():
            import weightwatcher
            from weightwatcher.WW_powerlaw import pl_fit
    except ImportError as error:
        return f"weightwatcher: {error}"
    logging.disable(logging.CRITICAL)

    def watch() -> Any:
        with quiet():
            return weightwatcher.WeightWatcher(model=model).analyze(min_evals=2)

    return watch, pl_fit


def powerlaw_15(folder: str | None) -> ModuleType | str:
    """Version 1.5 under a name of its own, or why there is none."""
    if folder is None:
        return "not measured: no --powerlaw15 FOLDER was given"
    path = Path(folder) / "powerlaw.py"
    if not path.is_file():
        return f"not measured: {path} is not there"
    spec = importlib.util.spec_from_file_location("powerlaw_1_5", path)
    module = importlib.util.module_from_spec(spec)
    with quiet():
        spec.loader.exec_module(module)
    return module


def plain_loop(matrices: list[np.ndarray], estimators: Estimators) -> list[dict[str, float]]:
    """The same metrics but the random-matrix part, as one writes them at first: an SVD each, a loop over xmin."""
    return [_plain(matrix, estimators) for matrix in matrices]


def _plain(matrix: np.ndarray, estimators: Estimators) -> dict[str, float]:
    def svd() -> np.ndarray:
        return scipy.linalg.svdvals(matrix.astype(np.float64))

    def entropy(weights: np.ndarray) -> float:
        shares = weights / weights.sum()
        shares = shares[shares > 0]
        return float(-(shares * np.log(shares)).sum())

    values = {
        "spectral_norm": svd()[0],
        "frobenius_norm": math.sqrt((svd() ** 2).sum()),
        "stable_rank": ((s := svd()) ** 2).sum() / s[0] ** 2,
        "spectral_entropy": entropy(svd() ** 2),
        "spectral_entropy_normalised": entropy((s := svd()) ** 2) / math.log(len(s)),
        "effective_rank": math.exp(entropy(svd())),
        "participation_ratio": ((s := svd()) ** 2).sum() ** 2 / (s**4).sum(),
        "condition_number": (s := svd())[0] / s[-1],
        "numerical_rank": ((s := svd()) > max(matrix.shape) * np.finfo(np.float32).eps * s[0]).sum(),
    }
    s = svd()
    first, last = metrics.window_ranks(len(s), estimators.window)
    values["alpha_exponent"] = -np.polyfit(np.log(np.arange(first, last + 1)), np.log(s[first - 1 : last]), 1)[0]
    x = svd() ** 2
    k = hill_count(len(x), estimators.hill_fraction)
    values["hill_alpha"] = 1 + k / np.log(x[:k] / x[k]).sum()
    x = np.sort(svd() ** 2)
    best = math.inf
    for i in range(len(x) - estimators.min_tail + 1):
        tail = x[i:]
        n = len(tail)
        alpha = 1 + n / np.log(tail / tail[0]).sum()
        fitted, steps = 1 - (tail / tail[0]) ** (1 - alpha), np.arange(n + 1) / n
        distance = max(np.abs(fitted - steps[:-1]).max(), np.abs(fitted - steps[1:]).max())
        if distance < best:
            best, values["ks_alpha"], values["ks_distance"], values["ks_xmin"] = distance, alpha, distance, tail[0]
    values["alpha_hat"] = values["ks_alpha"] * math.log10(svd()[0] ** 2)
    values["log_alpha_norm"] = math.log10((svd() ** (2 * values["ks_alpha"])).sum())
    return values


# -- whole analysis --------------------------------------------------------------------------------------------
def weight_sets(params: Params, quick: bool) -> Iterator[tuple[str, list[Matrix], dict[str, torch.Tensor], int]]:
    """Name, matrices, weights in float32, and rounds."""
    model = build.model(params, 1)
    shapes = [spec.shape for spec in model.matrices()]
    if not quick:
        yield "1 of 4096 x 1024", *noise([(4096, 1024)]), 3
        yield "1 of 1024 x 1024", *noise([(1024, 1024)]), 5
    yield "1 of 2048 x 64", *noise([(2048, 64)]), 5 if quick else 15
    yield "1 of 256 x 256", *noise([(256, 256)]), 5 if quick else 15
    yield "24 of 64 x 64", *noise([(64, 64)] * 24), 5 if quick else 15
    weights = {name: value.detach() for name, value in model.named_parameters()}
    yield f"default transformer, {len(shapes)} matrices", model.matrices(), weights, 5 if quick else 15


def noise(shapes: list[tuple[int, int]]) -> tuple[list[Matrix], dict[str, torch.Tensor]]:
    generator = torch.Generator().manual_seed(1)
    specs = [Matrix(f"noise.{i}", Family("noise"), f"noise.{i}", shape) for i, shape in enumerate(shapes)]
    return specs, {spec.name: torch.randn(spec.shape, generator=generator) / spec.shape[0] ** 0.5 for spec in specs}


def whole_analysis(params: Params, estimators: Estimators, quick: bool) -> str:
    rows = []
    for name, specs, weights, rounds in weight_sets(params, quick):
        print(f"  {name}", file=sys.stderr)
        rows.append(_whole_row(name, specs, weights, rounds, estimators))
    header = ["weights", "bare SVD, ms", "decomposition", "**whole analysis**", "WeightWatcher", "plain loop"]
    return table([*header, "alpha: ours less plain loop"], rows[::-1])


def _whole_row(
    name: str, specs: list[Matrix], weights: dict[str, torch.Tensor], rounds: int, estimators: Estimators
) -> list[str]:
    matrices = [spec.of(weights) for spec in specs]
    shapes = np.array([spec.shape for spec in specs])
    sides: dict[tuple[int, int], list[torch.Tensor]] = {}
    for matrix in matrices:  # one batch a shape, as ours; stacked and in float64 before the clock starts
        rows, columns = matrix.shape
        sides.setdefault(tuple(sorted(matrix.shape)), []).append(matrix if rows >= columns else matrix.mT)
    stacks = [torch.stack(group).double() for group in sides.values()]
    layers = torch.nn.ModuleList(torch.nn.Linear(n, m, bias=False) for m, n in shapes.tolist())
    for layer, matrix in zip(layers, matrices, strict=True):
        layer.weight.data = matrix.clone()
    arrays = [matrix.numpy() for matrix in matrices]
    functions: dict[str, Function] = {
        "svd": lambda: [torch.linalg.svdvals(stack) for stack in stacks],
        "decomposition": lambda: singular_values(weights, specs),
        "whole": lambda: analyze(singular_values(weights, specs)[None], shapes, estimators),
    }
    peer = weightwatcher_of(layers)
    if not isinstance(peer, str):
        functions["weightwatcher"] = peer[0]
    functions["plain"] = lambda: plain_loop(arrays, estimators)
    counts = dict.fromkeys(functions, rounds)
    counts["plain"] = counts["weightwatcher"] = max(1, rounds // 3)
    seconds, answers = interleaved(functions, {key: counts[key] for key in functions})
    ours, plain = answers["whole"].values["ks_alpha"][0], np.array([values["ks_alpha"] for values in answers["plain"]])
    worst = np.abs(ours - plain).max()
    return [
        name,
        shown(1e3 * float(np.median(seconds["svd"]))),
        f"{paired(seconds, 'decomposition', 'svd'):.2f}",
        f"**{paired(seconds, 'whole', 'svd'):.2f}**",
        shown(paired(seconds, "weightwatcher", "svd")) if "weightwatcher" in seconds else peer,
        shown(paired(seconds, "plain", "svd")),
        f"{worst:.0e}",
    ]


# -- scan for xmin ---------------------------------------------------------------------------------------------
def spectra(kind: str, n: int, count: int) -> np.ndarray:
    generator = np.random.default_rng([1, n])
    if kind == "Pareto":
        return (1 - generator.random((count, n))) ** (-1 / 1.5)  # alpha = 2.5
    draws = [spectrum(generator.standard_normal((1, n, n)) / math.sqrt(n))[0] for _ in range(count)]
    return np.stack(draws) ** 2


def scan(folder: str | None, quick: bool) -> str:
    old = powerlaw_15(folder)
    rows = []
    for kind in ("noise", "Pareto"):
        for n in (64, 256) if quick else (64, 256, 1024):
            print(f"  scan, {kind}, n = {n}", file=sys.stderr)
            rows.append(_scan_row(kind, n, old, quick))
    header = ["spectrum", "n", "ours, ms", f"ours in a batch of {BATCH}, ms each"]
    header += [f"{name} / ours" for name in ("powerlaw 2.0", "powerlaw 1.5", "WeightWatcher")]
    header += [f"alpha, D less {name}" for name in ("powerlaw 2.0", "1.5", "WeightWatcher")]
    text = table(header, rows)
    return f"{text}\n\npowerlaw 1.5: {old}." if isinstance(old, str) else text


def _scan_row(kind: str, n: int, old: ModuleType | str, quick: bool) -> list[str]:
    x = spectra(kind, n, 1)[0]
    batch = spectra(kind, n, BATCH)
    options = {"parameter_ranges": OPEN} if kind == "noise" else {}

    def version_2() -> Any:
        with quiet():
            return powerlaw.Fit(x, verbose=0, **options)

    def version_1() -> Any:
        with quiet():
            return old.Fit(x, verbose=False)

    functions: dict[str, Function] = {
        "ours": lambda: clauset_fit(x, 2, "powerlaw"),
        "batch": lambda: clauset_fit(batch, 2, "powerlaw"),
        "2.0": version_2,
    }
    if not isinstance(old, str):
        functions["1.5"] = version_1
    peer = weightwatcher_of(torch.nn.ModuleList())
    if not isinstance(peer, str):
        functions["weightwatcher"] = lambda: peer[1](data=x, distribution="power_law", pl_package="ww")
    rounds = {"ours": 9, "batch": 9, "2.0": 1 if quick or n > 256 else 5, "1.5": 1 if quick else 5, "weightwatcher": 9}
    seconds, answers = interleaved(functions, {key: rounds[key] for key in functions})
    ratios, differences = [], []
    for name in ("2.0", "1.5", "weightwatcher"):
        if name not in functions:
            ratios.append("–")
            differences.append("–")
            continue
        # powerlaw leaves the two largest values out as xmin, WeightWatcher the largest: tails of 3 and of 2.
        fit, peer = clauset_fit(x, 2 if name == "weightwatcher" else 3, "powerlaw"), answers[name]
        alone, together = paired(seconds, name, "ours"), BATCH * paired(seconds, name, "batch")
        ratios.append(f"{shown(alone)} ({shown(together)})")
        differences.append(f"{abs(fit.alpha - peer.alpha):.0e}, {abs(fit.distance - peer.D):.0e}")
    own = [f"{1e3 * float(np.median(seconds['ours'])):.3f}", f"{1e3 / BATCH * float(np.median(seconds['batch'])):.3f}"]
    return [kind, str(n), *own, *ratios, *differences]


# -- recording -------------------------------------------------------------------------------------------------
def recording(params: Params, estimators: Estimators, quick: bool) -> str:
    """Spectra of every matrix and of its change beside a round of training, at the committed parameters."""
    model = build.model(params, 1)
    layout, specs = Layout(model), model.matrices()
    shapes = np.array([spec.shape for spec in specs])
    generator = torch.Generator().manual_seed(1)
    context, target = (
        torch.randn(TRAINING_WINDOWS, length, 1, generator=generator)
        for length in (params.data.context, params.data.horizon)
    )
    objective = WindowObjective(model, layout, build.loss(params), context, target, params.training.batch_size)
    rows = []
    for optimizer, label in (("adam", "Adam epoch"), ("es", "ES generation")):
        print(f"  {label}", file=sys.stderr)
        searcher, initial = build.searcher(params, optimizer, layout).searcher, layout.flatten(model)
        steps = searcher.steps(objective, initial, torch_generator(params.seed, optimizer))
        # A gradient method also yields inside its first epoch; from then on a step is a whole epoch.
        while (step := next(steps)).index == 0 or not step.ends_round:
            pass
        seconds = []
        for _ in range(4 if quick else 20):
            started = time.perf_counter()
            step = next(steps)
            stepped = time.perf_counter()
            values = singular_values(layout.views(step.weights), specs)
            changes = singular_values(layout.views(step.weights - initial), specs)
            recorded = time.perf_counter()
            analyze(np.stack([values, changes]), shapes, estimators)
            seconds.append((stepped - started, recorded - stepped, time.perf_counter() - recorded))
        step_time, record_time, metric_time = np.array(seconds).T
        rows.append(
            [
                label,
                shown(1e3 * float(np.median(step_time))),
                shown(1e3 * float(np.median(record_time))),
                f"**{np.median(record_time / step_time):.1%}**",
                shown(1e3 * float(np.median(metric_time))),
                f"{np.median((record_time + metric_time) / step_time):.1%}",
            ]
        )
    header = ["step", "step, ms", "recording, ms", "**recording / step**", "all metrics, ms"]
    return table([*header, "recording and all metrics / step"], rows)


# -- processes -------------------------------------------------------------------------------------------------
def work(threads: int, folder: str | None, quick: bool, only: str | None) -> None:
    """All tables for one thread count."""
    torch.set_num_threads(threads)
    params = load_params()
    settings = params.spectra
    window = (settings.window_first, settings.window_last)
    estimators = Estimators(
        settings.hill_fraction, settings.min_tail, settings.ks_distance, window, settings.edge_level
    )
    before, started = os.getloadavg()[0], time.monotonic()
    parts = [f"### {threads} thread{'s' if threads > 1 else ''}"]
    if only is None:
        parts += [
            "Whole analysis, as multiples of the bare batched SVD (`torch.linalg.svdvals`, float64):",
            whole_analysis(params, estimators, quick),
            "Scan for xmin alone; ratios to ours for a single spectrum, in brackets to ours in the batch:",
            scan(folder, quick),
        ]
    parts += [
        "Recording of weights and changes at every round of a training, at the committed defaults:",
        recording(params, estimators, quick),
    ]
    load = f"{before:.2f} before and {os.getloadavg()[0]:.2f} after"
    parts.append(f"Load average (1 minute, this run included): {load}; {time.monotonic() - started:.0f} s.")
    print("\n\n".join(parts) + "\n", flush=True)


def machine() -> str:
    """What the figures depend on."""
    names = ("numpy", "scipy", "torch", "weightwatcher", "powerlaw")
    versions = []
    for name in names:
        try:
            versions.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            versions.append(f"no {name}")
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        models = [line.split(":", 1)[1].strip() for line in cpuinfo.read_text().splitlines() if "model name" in line]
        model = models[0] if models else model
    date = time.strftime("%Y-%m-%d")
    return f"{date}; {os.cpu_count()} cores ({model}); Python {platform.python_version()}, {', '.join(versions)}."


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="few rounds, no large matrices: under a minute")
    parser.add_argument("--threads", help="thread counts, one process each; 1,2, and with --quick 1")
    parser.add_argument("--only", choices=["recording"], help="this table alone")
    parser.add_argument("--powerlaw15", metavar="FOLDER", help="where powerlaw 1.5 is installed")
    parser.add_argument("--worker", type=int, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.worker:
        work(chosen.worker, chosen.powerlaw15, chosen.quick, chosen.only)
        return
    counts = (chosen.threads or ("1" if chosen.quick else "1,2")).split(",")
    if not all(count.isdigit() and int(count) > 0 for count in counts):
        parser.error(f"--threads {chosen.threads}: must be whole numbers >= 1, with commas between them")
    print(machine() + "\n", flush=True)
    for count in counts:
        variables = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
        print(f"{count} thread(s)", file=sys.stderr)
        command = [sys.executable, __file__, "--worker", count, *(["--quick"] if chosen.quick else [])]
        command += ["--powerlaw15", chosen.powerlaw15] if chosen.powerlaw15 else []
        command += ["--only", chosen.only] if chosen.only else []
        subprocess.run(command, env={**os.environ, **dict.fromkeys(variables, count)}, check=True)


if __name__ == "__main__":
    main()
