"""Series -> windows of context and horizon: split without leaks, cut inside each split, scaled by the context alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from transformer_spectrum.data.series.entity_series import Series
from transformer_spectrum.data.windows.arrays import SPLITS, Windows
from transformer_spectrum.data.windows.dropping import usable_windows
from transformer_spectrum.data.windows.splitting import split_entities, split_times
from transformer_spectrum.runtime.errors import InputError


def cut(series: Series, begin: int, end: int, length: int, stride: int) -> list[tuple[int, np.ndarray]]:
    """Windows of a series that lie wholly inside [begin, end).

    Args:
        series: one of any length.
        begin: first position on the time axis that may be used; steps.
        end: behind the last one.
        length: of a window; steps.
        stride: distance of window starts; steps.
    Returns:
        (start on the time axis, (length, features) values) of each window.

    >>> series = Series("SE", start=100, values=np.arange(10.0).reshape(10, 1))
    >>> [(start, values.ravel().tolist()) for start, values in cut(series, 0, 107, length=3, stride=2)]
    [(100, [0.0, 1.0, 2.0]), (102, [2.0, 3.0, 4.0]), (104, [4.0, 5.0, 6.0])]
    """
    first = max(begin, series.start)
    last = min(end, series.start + len(series.values)) - length
    return [
        (start, series.values[start - series.start : start - series.start + length])
        for start in range(first, last + 1, stride)
    ]


def make_windows(
    series: Sequence[Series],
    *,
    length: int,
    horizon: int,
    stride: int | None,
    by: Literal["entity", "time"],
    validation: float,
    test: float,
    scaling: Literal["standard", "robust"],
    generator: np.random.Generator,
) -> tuple[dict[str, Windows], dict[str, dict[str, int]]]:
    """Splits, cuts, drops what cannot be used, and scales.

    Args:
        series: all with the same number of features.
        length: steps of a window, context and horizon together.
        horizon: steps of its last part, 1 <= horizon < length.
        stride: distance of window starts inside one split; None = length, so that windows do not overlap.
        by: "entity" holds out whole series; "time" holds out the latest windows of all series.
        validation: share of the entities or of the time axis, in (0, 1).
        test: the same.
        scaling: see `scale_by_context`.
        generator: decides which entities go where.
    Returns:
        Windows of each split, and for each split how many were cut, dropped for missing values, for a constant
        context, for a scale of zero, for leaving float32 when scaled, and kept; under "series" how many series were
        too short for one window.
    Raises:
        InputError: a horizon that is not shorter than the window, or a split without a single window.

    >>> walks = np.random.default_rng(0).normal(size=(5, 60, 1)).cumsum(axis=1)
    >>> windows, counts = make_windows(
    ...     [Series(f"walk {i}", 0, values) for i, values in enumerate(walks)],
    ...     length=20, horizon=5, stride=None, by="time", validation=0.3, test=0.3, scaling="standard",
    ...     generator=np.random.default_rng(0),
    ... )
    >>> {split: sorted(set(windows[split].start.tolist())) for split in SPLITS}, windows["train"].context.shape
    ({'train': [0], 'validation': [20], 'test': [40]}, (5, 15, 1))
    """
    if not 1 <= horizon < length:
        raise InputError(f"data.output_length = {horizon} with data.sequence_length = {length}: must be shorter")
    usable = [candidate for candidate in series if len(candidate.values) >= length]
    counts: dict[str, dict[str, int]] = {"series": {"usable": len(usable), "too_short": len(series) - len(usable)}}
    if not usable:
        longest = max((len(candidate.values) for candidate in series), default=0)
        raise InputError(f"data.sequence_length = {length}: the longest of {len(series)} series has {longest} steps")
    begin = min(candidate.start for candidate in usable)
    end = max(candidate.start + len(candidate.values) for candidate in usable)
    if by == "entity":
        members = split_entities(len(usable), validation, test, generator)
        spans = {name: [(usable[i], begin, end) for i in members[name]] for name in SPLITS}
    else:
        times = split_times(begin, end, length, validation, test)
        spans = {name: [(candidate, *times[name]) for candidate in usable] for name in SPLITS}
    splits: dict[str, Windows] = {}
    for name in SPLITS:
        pieces = [
            (candidate.entity, start, values)
            for candidate, first, last in spans[name]
            for start, values in cut(candidate, first, last, length, stride or length)
        ]
        windows, counts[name] = usable_windows(pieces, length - horizon, scaling)
        if windows is None:
            raise InputError(
                f"data.split: no usable {name} window of {length} steps ({counts[name]['cut']} cut, "
                f"{counts[name]['dropped_missing_values']} with missing values, "
                f"{counts[name]['dropped_constant']} constant, {counts[name]['dropped_zero_scale']} without a scale, "
                f"{counts[name]['dropped_overflow']} beyond float32)"
            )
        splits[name] = windows
    return splits, counts
