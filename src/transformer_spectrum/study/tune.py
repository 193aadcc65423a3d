"""Short trainings in search of an optimizer's learning rate and step sizes, led by TPE (Optuna).

A trial is the start of the training that the pipeline would run: the same windows, initial weights and batches,
only shorter. Trial 0 has the committed values, so that what is found is compared with them at equal budget.
Source: Bergstra et al. (2011), Algorithms for Hyper-Parameter Optimization, NeurIPS 24.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna

from transformer_spectrum.config import tree
from transformer_spectrum.config.load import Params, parse_params
from transformer_spectrum.data.windows.arrays import Windows
from transformer_spectrum.optimizers.contract import BACKWARD_COST
from transformer_spectrum.optimizers.evolution import strategies
from transformer_spectrum.optimizers.gradient import algorithms
from transformer_spectrum.runtime.errors import InputError
from transformer_spectrum.runtime.files import sha256
from transformer_spectrum.runtime.progress import Progress
from transformer_spectrum.training import build
from transformer_spectrum.training.footprint import check_it_fits
from transformer_spectrum.training.loop import fit
from transformer_spectrum.training.recording import Budget, Recording
from transformer_spectrum.training.setup import Setup, make_deterministic, read_windows
from transformer_spectrum.training.state import StepRecord

SHARE = 0.25
"""Of a full training's evaluations: what a trial may spend when nothing else is asked for."""
DIGITS = 3
"""Significant digits of what is tried: more could not be told apart."""
RANDOM_TRIALS = 8
"""Trials before TPE begins to model: the committed values and random ones."""
UNPRUNED_TRIALS = 5
"""Trials that the median pruner lets run to their end, to have a median."""

RANGES = {
    "adam": {"adam.learning_rate": (1e-5, 0.1)},
    "es": {"es.sigma": (1e-3, 0.3)},
    "ga": {"ga.spread": (1e-3, 0.5), "ga.mutation_stdev": (1e-3, 0.5)},
}
"""Of each optimizer, what is searched and where, log-uniformly; widened to hold the committed value."""
ES_LEARNING_RATES = {"openai": (1e-4, 1.0), "snes": (1e-2, 10.0)}
"""Range of es.learning_rate for the algorithms that have one."""
SGD_LEARNING_RATES = (1e-4, 1.0)
"""Range of adam.learning_rate for sgd, whose updates are as long as its gradients."""


@dataclass(frozen=True)
class Trial:
    """One short training.

    Attributes:
        number: 0 for the committed values.
        values: dotted name -> value of what is searched.
        score: lowest validation MAE of its records; scaled units.
        evaluations: forward passes over a batch that it has spent.
        steps: how many it has done.
        pruned: it was ended because it fell behind the others; it cannot win.
        ended: why, one sentence.
    """

    number: int
    values: Mapping[str, float]
    score: float
    evaluations: int
    steps: int
    pruned: bool
    ended: str


@dataclass(frozen=True)
class Tuning:
    """What a search has found.

    Attributes:
        optimizer: adam, es or ga.
        loss: its type.
        evaluations: the budget of one trial.
        seed: of the sampler.
        origin: what was trained on, a few words.
        trials: by score, pruned ones last; ties in the order of their numbers.

    >>> committed = Trial(0, {"adam.learning_rate": 0.003}, 0.5, 90, 3, pruned=False, ended="all 3 steps done")
    >>> better = Trial(1, {"adam.learning_rate": 0.01}, 0.25, 90, 3, pruned=False, ended="all 3 steps done")
    >>> tuning = Tuning("adam", "sgt", 90, 1, "covid data", [better, committed])
    >>> tuning.best.score, tuning.committed.score
    (0.25, 0.5)
    """

    optimizer: str
    loss: str
    evaluations: int
    seed: int
    origin: str
    trials: Sequence[Trial]

    @property
    def best(self) -> Trial:
        return self.trials[0]

    @property
    def committed(self) -> Trial:
        return next(trial for trial in self.trials if trial.number == 0)


def with_values(params: Params, values: Mapping[str, Any]) -> Params:
    """The parameters with some leaves, by dotted name, exchanged; every rule is checked anew.

    >>> from transformer_spectrum.config.load import load_params
    >>> from transformer_spectrum.config.wheel_files import packaged
    >>> with_values(load_params(packaged("params.yaml")), {"loss.q": 5.0}).loss.q
    5.0
    """
    return parse_params(tree.merge(params.model_dump(), tree.nest(values)))


def knobs(params: Params, optimizer: str) -> dict[str, tuple[float, float, float]]:
    """What is searched: dotted name -> (lowest, committed, highest).

    What is committed as 0 is switched off, and stays so.

    Raises:
        InputError: no such optimizer, or all that could be searched is switched off.

    >>> from transformer_spectrum.config.load import load_params
    >>> from transformer_spectrum.config.wheel_files import packaged
    >>> params = with_values(load_params(packaged("params.yaml")), {"ga.spread": 0.05, "ga.mutation_stdev": 0.0})
    >>> knobs(params, "ga")
    {'ga.spread': (0.001, 0.05, 0.5)}
    """
    if optimizer not in RANGES:
        raise InputError(f"optimizer = {optimizer!r}: must be {', '.join(RANGES)}")
    ranges = dict(RANGES[optimizer])
    if optimizer == "es" and params.es.algorithm in ES_LEARNING_RATES:
        ranges["es.learning_rate"] = ES_LEARNING_RATES[params.es.algorithm]
    if optimizer == "adam" and params.adam.algorithm == "sgd":
        ranges["adam.learning_rate"] = SGD_LEARNING_RATES
    searched = {}
    for name, (low, high) in ranges.items():
        committed = tree.get(params, name)
        if name == "es.learning_rate":
            committed = strategies.learning_rate(params.es.algorithm, committed)
        elif name == "adam.learning_rate":
            committed = algorithms.learning_rate(params.adam.algorithm, committed)
        if committed is not None and committed > 0:
            searched[name] = (min(low, committed), committed, max(high, committed))
    if not searched:
        raise InputError(f"{' and '.join(ranges)} = 0: switched off, so there is nothing to tune")
    return searched


def step_evaluations(params: Params, optimizer: str, windows: int) -> tuple[int, int]:
    """Evaluations of one step, as the searcher counts them, and how many steps a full training has at most.

    Args:
        params: all parameters.
        optimizer: adam, es or ga.
        windows: those to train on; count.

    >>> from transformer_spectrum.config.load import load_params
    >>> from transformer_spectrum.config.wheel_files import packaged
    >>> params = with_values(load_params(packaged("params.yaml")), {"training.batch_size": 16, "adam.epochs": 60})
    >>> step_evaluations(params, "adam", windows=100)  # 7 batches, forwards and backwards
    (21, 60)
    """
    if optimizer == "adam":
        batches = math.ceil(windows / params.training.batch_size)
        return batches * (1 + BACKWARD_COST), params.adam.epochs
    if optimizer == "es":
        return params.es.popsize + 1, params.es.generations
    return params.ga.popsize + (params.ga.weights == "mean"), params.ga.generations


def trial_budget(params: Params, optimizer: str, windows: int) -> int:
    """`SHARE` of what a full training spends, at least 1; arguments as in `step_evaluations`.

    >>> from transformer_spectrum.config.load import load_params
    >>> from transformer_spectrum.config.wheel_files import packaged
    >>> params = with_values(load_params(packaged("params.yaml")), {"training.batch_size": 16, "adam.epochs": 60})
    >>> trial_budget(params, "adam", windows=100)  # a quarter of 21 * 60
    315
    """
    each, steps = step_evaluations(params, optimizer, windows)
    full = min(each * steps, params.budget.evaluations or each * steps)
    return max(1, math.ceil(SHARE * full))


def _read(params: Params, path: Path) -> dict[str, Windows]:
    splits = read_windows(path)
    lengths = splits["train"].context.shape[1], splits["train"].target.shape[1]
    if lengths != (params.data.context, params.data.horizon):
        raise InputError(
            f"{path}: windows of {lengths[0]} + {lengths[1]} steps, but params.yaml asks for {params.data.context} + "
            f"{params.data.horizon}; run the stage that writes them (dvc repro prepare)"
        )
    return splits


def _trainer(
    params: Params, optimizer: str, splits: Mapping[str, Windows], evaluations: int
) -> Callable[[Mapping[str, float], Callable[[StepRecord], None]], str]:
    """A function that trains shortly with the given values, tells each step, and returns why it ended."""
    make_deterministic(params, optimizer)
    setup = Setup.of(params, splits)

    def train(values: Mapping[str, float], observe: Callable[[StepRecord], None]) -> str:
        # The pipeline's own set-up and seeds: trial 0 is the training of the pipeline, cut short.
        search = build.searcher(with_values(params, values), optimizer, setup.layout)
        recording = Recording(rounds=search.rounds, snapshot_every=search.rounds + 1, patience=search.patience)
        member = setup.member(optimizer, search, recording=recording, budget=Budget(evaluations), observe=observe)
        (result,) = fit([member])
        if isinstance(result, InputError):
            raise result
        return result.stop_reason

    return train


def tune(
    params: Params, optimizer: str, data: Path, *, trials: int, evaluations: int | None = None, seed: int
) -> Tuning:
    """Searches an optimizer's learning rate and step sizes by the validation MAE of short trainings.

    The same trials for the same arguments on the same machine. `budget.seconds` is not heeded, `adam.compile` is off.

    Args:
        params: all parameters; those not searched stay as they are, schedules and patience among them.
        optimizer: adam, es or ga.
        data: the windows that the prepare stage has written.
        trials: how many, the one of the committed values included; >= 1.
        evaluations: what one may spend, overshot by less than a step; forward passes over a batch, >= 1;
            None = see `trial_budget`.
        seed: of the sampler alone; 0 <= seed < 2^32.
    Raises:
        InputError: an argument breaks a rule, or the data are missing, corrupt or of other parameters.

    >>> from transformer_spectrum.config.load import load_params
    >>> tune(load_params("params.yaml"), "adam", Path("windows.npz"), trials=0, seed=1)
    Traceback (most recent call last):
    transformer_spectrum.runtime.errors.InputError: trials = 0: must be >= 1 and < 2^32
    """
    least_spent = 1 if evaluations is None else evaluations
    for name, value, least in (("trials", trials, 1), ("evaluations", least_spent, 1), ("seed", seed, 0)):
        if not least <= value < 2**32:
            raise InputError(f"{name} = {value}: must be >= {least} and < 2^32")
    searched = knobs(params, optimizer)
    params = with_values(params, {"adam.compile": False})  # a trial is too short to earn it back
    check_it_fits(params, optimizer, data, keeps_weights=False)
    splits = _read(params, data)
    count = len(splits["train"])
    budget = trial_budget(params, optimizer, count) if evaluations is None else evaluations
    train = _trainer(params, optimizer, splits, budget)
    study = _study(searched, budget, seed)
    ended: list[Trial] = []
    with Progress(f"tune {optimizer}", trials) as progress:
        for _ in range(trials):
            ended.append(_run(study, searched, train, budget))
            best = min(trial.score for trial in ended if not trial.pruned)
            progress.update(len(ended), validation=ended[-1].score, best=best)
    ranked = sorted(ended, key=lambda trial: (trial.pruned, trial.score, trial.number))
    origin = f"{params.data.dataset} data ({data.name} {sha256(data)[:12]}), {params.model.type}"
    return Tuning(optimizer, params.loss.type, budget, seed, origin, ranked)


def _study(searched: Mapping[str, tuple[float, float, float]], budget: int, seed: int) -> optuna.Study:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(
        sampler=optuna.samplers.TPESampler(n_startup_trials=RANDOM_TRIALS, seed=seed),
        # A small step size starts slowly, so the first quarter ends nothing.
        pruner=optuna.pruners.MedianPruner(n_startup_trials=UNPRUNED_TRIALS, n_warmup_steps=math.ceil(budget / 4)),
    )
    study.enqueue_trial({name: committed for name, (_, committed, _) in searched.items()})
    return study


def _run(
    study: optuna.Study,
    searched: Mapping[str, tuple[float, float, float]],
    train: Callable[[Mapping[str, float], Callable[[StepRecord], None]], str],
    budget: int,
) -> Trial:
    trial = study.ask()
    asked = {name: trial.suggest_float(name, low, high, log=True) for name, (low, _, high) in searched.items()}
    # The overlay must hold what was trained, and the first trial what is committed, digit by digit.
    values = {name: value if trial.number == 0 else float(f"{value:.{DIGITS}g}") for name, value in asked.items()}
    records: list[StepRecord] = []

    def observe(record: StepRecord) -> None:
        records.append(record)
        trial.report(record.validation.mae, record.evaluations)
        if record.evaluations < budget and trial.should_prune():
            raise optuna.TrialPruned

    pruned = False
    try:
        ended = train(values, observe)
    except optuna.TrialPruned:
        pruned, ended = True, f"pruned at step {records[-1].step}"
    score = min(record.validation.mae for record in records)
    if pruned:
        study.tell(trial, state=optuna.trial.TrialState.PRUNED)
    else:
        study.tell(trial, score)
    return Trial(trial.number, values, score, records[-1].evaluations, records[-1].step, pruned, ended)
