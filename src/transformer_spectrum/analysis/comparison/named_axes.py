"""Trainings compared where something is held equal: their MAE, their evaluations, their distance, their updates.

At their last steps trainings stand at different errors, after different budgets, and how a metric differs between
them can turn round where another axis is held equal. So a difference is always that on a named axis, and the verdict
is whether all axes give it one sign. Differences are taken within a seed; over several seeds they are averaged and
counted, and nothing is inferred from that.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from transformer_spectrum.analysis.comparison.held_equal import EqualAxis, hold_equal
from transformer_spectrum.analysis.comparison.outcome import Comparison
from transformer_spectrum.analysis.comparison.trajectory import AXES, Trajectory
from transformer_spectrum.runtime.errors import InputError


def compare_trajectories(trajectories: Sequence[Trajectory], targets: Mapping[str, float] | None = None) -> Comparison:
    """Two or more arms at equal MAE, evaluations and distance, and gradient methods also at equal updates.

    On each axis every training is taken where it first is at the target, by linear interpolation between records
    after step 0. One that gets there before its first record is left-censored, one that never does right-censored,
    as one that has diverged at its first update is everywhere; neither has a value, and both are counted
    (`EqualAxis.counts`).

    Args:
        trajectories: one for each arm and seed; every seed has every arm, and one data set has them all.
        targets: axis -> what to hold equal there, in its units. On axes without one it is what all arms of a seed
            reach after step 0: the worst arm's lowest MAE, and of the others the smallest of the arms' largest. Arms
            without a finite position there do not decide it.
    Raises:
        InputError: fewer than two arms, other data sets, families or metrics, a seed without an arm or with one twice,
            or a target that is not finite or on no axis of these arms.

    >>> def path(name, method, updates, maes, ranks):
    ...     spent = [1 + 8 * update for update in updates]
    ...     return Trajectory(name, method, "synthetic", updates, spent, maes, [0.0, 0.1, 0.2], {"rank": ranks})
    >>> adam = path("adam", "gradient", [0, 1, 3], [0.9, 0.5, 0.3], [20.0, 20.0, 16.0])
    >>> es = path("es", "population", [0, 2, 4], [0.9, 0.7, 0.5], [20.0, 19.0, 18.0])
    >>> comparison = compare_trajectories([adam, es])
    >>> comparison.axes["validation_mae"].targets, comparison.axes["evaluations"].targets
    ({0: 0.5}, {0: 25.0})
    >>> comparison.verdicts[0].agrees
    False
    >>> print(comparison.sentences[0])
    rank: Adam is above ES at equal validation MAE (+2), below it at equal evaluations (-2.5) and distance (-2): \
the axis decides the sign.
    """
    seeds, arms = _grid(trajectories)
    metrics = tuple(trajectories[0].metrics)
    _check_alike(trajectories, metrics)
    gradient = [arm for arm, path in arms.items() if path.method == "gradient"]
    axes = {}
    for axis in AXES:
        members = gradient if axis == "updates" else list(arms)
        if len(members) > 1:
            axes[axis] = hold_equal(axis, [[row[arm] for arm in members] for row in seeds.values()], targets)
    _check_targets(targets, axes)
    return Comparison(tuple(arms), tuple(seeds), metrics, trajectories[0].family, axes, tuple(trajectories))


def _grid(trajectories: Sequence[Trajectory]) -> tuple[dict[int, dict[str, Trajectory]], dict[str, Trajectory]]:
    """Seed -> arm -> trajectory, and arm -> its first trajectory."""
    seeds: dict[int, dict[str, Trajectory]] = {}
    arms: dict[str, Trajectory] = {}
    for path in trajectories:
        row = seeds.setdefault(path.seed, {})
        if path.name in row:
            raise InputError(f"{path.name} of seed {path.seed}: comes twice; name each arm otherwise")
        row[path.name] = path
        if arms.setdefault(path.name, path).method != path.method:
            raise InputError(f"{path.name}: is a gradient method in one seed and none in another")
    if len(arms) < 2:
        raise InputError(f"{len(arms)} arm(s): a comparison needs two or more")
    for seed, row in seeds.items():
        if missing := [arm for arm in arms if arm not in row]:
            raise InputError(f"seed {seed}: has no {', '.join(missing)}; differences are taken within a seed")
    return seeds, arms


def _check_alike(trajectories: Sequence[Trajectory], metrics: Sequence[str]) -> None:
    """One data set, one family, the same metrics, or it is no comparison."""
    first = trajectories[0]
    for path in trajectories[1:]:
        if path.dataset != first.dataset:
            raise InputError(
                f"{first.name} and {path.name}: trained on {first.dataset} and {path.dataset}; "
                "errors and spectra are never compared across data sets"
            )
        if path.family != first.family:
            raise InputError(f"{first.name} and {path.name}: of families {first.family} and {path.family}")
        if set(path.metrics) != set(metrics):
            raise InputError(f"{first.name} and {path.name}: have different metrics")


def _check_targets(targets: Mapping[str, float] | None, axes: Mapping[str, EqualAxis]) -> None:
    for axis, target in (targets or {}).items():
        if axis not in axes:
            reason = "two gradient methods share it, and these arms are not" if axis in AXES else "no such axis"
            raise InputError(f"targets: {axis}: {reason}; these arms have {', '.join(axes)}")
        if not math.isfinite(target):
            raise InputError(f"targets: {axis} = {target}: must be finite")
