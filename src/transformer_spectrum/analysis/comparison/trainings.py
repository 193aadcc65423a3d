"""Recorded trainings as trajectories, and the public `compare`."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from transformer_spectrum.analysis.comparison.endpoints import METRICS_COMPARED
from transformer_spectrum.analysis.comparison.named_axes import compare_trajectories
from transformer_spectrum.analysis.comparison.outcome import Comparison
from transformer_spectrum.analysis.comparison.recorded import METHODS, trajectory_of_history
from transformer_spectrum.analysis.comparison.trajectory import Trajectory
from transformer_spectrum.analysis.loading import TrainingRun, load_run
from transformer_spectrum.config.resolve import idle_of_loss
from transformer_spectrum.config.schema import LossParams

Training = Trajectory | TrainingRun | str | os.PathLike[str]


def compare(
    trainings: Mapping[str, Training | Sequence[Training]] | Sequence[Training],
    *,
    family: str | None = None,
    metrics: Sequence[str] = METRICS_COMPARED,
    targets: Mapping[str, float] | None = None,
) -> Comparison:
    """Two or more trainings at equal validation MAE, evaluations and distance; gradient methods also at equal updates.

    Whether one arm is above another at its last step says little where they stand at different errors: what is said
    here is the difference on each named axis, and whether all axes give it the same sign (`.sentences`, `.verdicts`).
    Each training is taken where it first reaches the target, by linear interpolation between records after step 0.

    Args:
        trainings: arms, by name or, under their optimizers' names, in a list: what `load_run` gives, or the folder that
            it reads, such as models/adam; or a `Trajectory` made of other numbers, whose own name, family and metrics
            count. Several seeds of an arm: a list of them, and every arm has every seed.
        family: whose matrices are compared; a label such as feed_forward, with the shape at its end where a family has
            several, as in encoder_gates_16x4. None = the one that moves: feed_forward, of an LSTM its first gates.
        metrics: names of `spectra.analysis.METRICS` of the weights W_t, averaged over the family; with change_ before
            it of W_t - W_0, with log_ before that name the mean of its natural logarithm: change_log_stable_rank.
        targets: axis -> what to hold equal there: validation_mae (scaled units), evaluations (count), distance
            (|W_t - W_0| / |W_0| of the family) or updates (count). Fix them before looking; on axes without one it is
            what all arms of a seed reach, the worst arm's best.
    Returns:
        The comparison: `.sentences`, `.verdicts` with `.agrees`, `.table()`, `.differences()`, `.curves()` of every
        metric over all axes, and `.axes`, which count the trainings that were beyond a target before their first record
        (left-censored) or never reach it (right-censored). These have no value there. Losses that differ in name alone,
        as both pull on the residuals as MSE does, are said to be one.
    Raises:
        InputError: other data sets, fewer than two arms, a seed without one of them, no such family, metric or axis,
            or a file of a training that cannot be read.

    >>> comparison = compare({"ES": "models/es", "again": "models/es"}, family="readout", metrics=["stable_rank"])
    >>> print(comparison.sentences[0])
    stable rank: ES is equal to again at equal validation MAE (+0), evaluations (+0) and distance (+0): the same sign \
on all axes.
    """
    named = trainings.items() if isinstance(trainings, Mapping) else ((None, training) for training in trainings)
    return compare_trajectories(
        [
            training if isinstance(training, Trajectory) else trajectory(training, family, metrics, name=name)
            for name, arm in named
            for training in _each(arm)
        ],
        targets,
    )


def _each(arm: Training | Sequence[Training]) -> Iterator[Training]:
    if isinstance(arm, Trajectory | TrainingRun | str | os.PathLike):
        yield arm
    else:
        yield from arm


def trajectory(
    training: TrainingRun | str | os.PathLike[str],
    family: str | None,
    metrics: Sequence[str],
    *,
    name: str | None = None,
) -> Trajectory:
    """One family of a recorded training; arguments as in `compare`.

    Args:
        name: of the arm; None = its optimizer.

    >>> trajectory("models/es", "readout", ["stable_rank"])
    Trajectory(es, seed 1: 5 records to update 4)
    """
    from transformer_spectrum.analysis.of_training.summary import estimators_of  # which imports torch

    run = training if isinstance(training, TrainingRun) else load_run(Path(training))
    optimizer = run.provenance["optimizer"]
    return trajectory_of_history(
        run.history,
        family,
        metrics,
        name=name or optimizer,
        method=METHODS[optimizer],
        dataset=dataset_identity(run),
        seed=run.params.seed,
        loss=loss_identity(run.params.loss),
        estimators=estimators_of(run.params.spectra),
    )


def loss_identity(loss: LossParams) -> str:
    """Type of a loss and the parameters that it reads, so that two losses of one identity are one.

    >>> loss = load_run("models/es").params.loss.model_copy(update={"type": "cauchy", "scale": "fixed", "gamma": 2.0})
    >>> loss_identity(loss), loss_identity(loss.model_copy(update={"type": "mse"}))
    ('cauchy {"gamma": 2.0, "scale": "fixed"}', 'mse {}')
    """
    idle = idle_of_loss(loss) | ({"factor"} if loss.factor == 1 else set())
    settings = {name: value for name, value in loss.model_dump(mode="json").items() if name not in {"type", *idle}}
    return f"{loss.type} {json.dumps(settings, sort_keys=True)}"


def dataset_identity(run: TrainingRun) -> str:
    """Name of the data set and a digest of what decides its windows, so that equal MAE means the same.

    Series, scaling, windows and split by their parameters, and the checksum of the data; not of synthetic series,
    which are others under every seed and the same within one.

    >>> dataset_identity(load_run("models/es")) == dataset_identity(load_run("models/adam"))
    True
    """
    data, source = run.params.data, run.provenance.get("data", {})
    settings = {
        "chosen": data.chosen.model_dump(mode="json"),
        "windows": [data.window_length, data.horizon, data.stride, data.scaling],
        "split": data.split.model_dump(mode="json"),
        "sha256": None if data.dataset == "synthetic" else source.get("sha256"),
        "standin": source.get("standin"),
    }
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()
    return f"{data.dataset} {digest[:8]}"
