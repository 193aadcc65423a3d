"""Series -> windows of context and horizon: cut, split without leaks, scaled by the context alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Literal

import numpy as np

from transformer_spectrum.runtime.errors import InputError

if TYPE_CHECKING:  # the trainings read windows, and no code of theirs depends on how series are read
    from transformer_spectrum.data.series.series import Series

SPLITS = ("train", "validation", "test")
IQR_OF_NORMAL = 1.3489795003921634  # so that robust and standard scaling agree on Gaussian data


@dataclass(frozen=True)
class Windows:
    """n windows in scaled units; data units are `values * scale + location`.

    Attributes:
        context: (n, C, F) float32.
        target: (n, H, F) float32, the steps that follow the context.
        location: (n, 1, F) float64, from the context alone; data units.
        scale: (n, 1, F) float64 > 0, from the context alone; data units.
        entity: (n,) names.
        start: (n,) position of the first step on the data set's time axis.
    """

    context: np.ndarray
    target: np.ndarray
    location: np.ndarray
    scale: np.ndarray
    entity: np.ndarray
    start: np.ndarray

    def __len__(self) -> int:
        return len(self.context)

    def in_data_units(self, values: np.ndarray) -> np.ndarray:
        """Scaled (n, T, F) -> data units, float64."""
        return values.astype(np.float64) * self.scale + self.location


def scale_by_context(
    values: np.ndarray, context: int, scaling: Literal["standard", "robust"]
) -> tuple[np.ndarray, ...]:
    """Location and scale of each window from its first `context` steps: the horizon must not leak in.

    Args:
        values: (n, T, F) in data units, finite.
        context: steps of context, 1 <= context < T.
        scaling: "standard" (mean, standard deviation) or "robust" (median, interquartile range / 1.349).
    Returns:
        location (n, 1, F) and scale (n, 1, F), data units; a scale of 0 marks a constant context.
    """
    given = values[:, :context]
    with np.errstate(over="ignore", invalid="ignore"):  # values near float64's end: the caller drops and counts them
        return _location_scale(given, scaling)


def _location_scale(given: np.ndarray, scaling: Literal["standard", "robust"]) -> tuple[np.ndarray, np.ndarray]:
    if scaling == "robust":
        low, location, high = np.percentile(given, [25, 50, 75], axis=1, keepdims=True)
        return location, (high - low) / IQR_OF_NORMAL
    location, scale = given.mean(axis=1, keepdims=True), given.std(axis=1, keepdims=True)
    # A constant context leaves rounding noise instead of an exact zero.
    return location, np.where(np.ptp(given, axis=1, keepdims=True) == 0, 0.0, scale)


def split_entities(count: int, validation: float, test: float, generator: np.random.Generator) -> dict[str, np.ndarray]:
    """Partitions entity numbers 0..count-1 at random; each split gets at least one.

    Raises:
        InputError: fewer than three entities.
    """
    if count < 3:
        raise InputError(
            f"data.split.by = entity: {count} usable series cannot make three splits; needs at least 3, "
            "or data.split.by = time, which holds out the latest windows of each"
        )
    order = generator.permutation(count)
    tests = min(max(1, round(test * count)), count - 2)
    validations = min(max(1, round(validation * count)), count - 1 - tests)
    return {
        "train": np.sort(order[tests + validations :]),
        "validation": np.sort(order[tests : tests + validations]),
        "test": np.sort(order[:tests]),
    }


def split_times(begin: int, end: int, length: int, validation: float, test: float) -> dict[str, tuple[int, int]]:
    """Divides the axis [begin, end) into training, then validation, then test.

    Validation and test are whole multiples of `length` nearest to their shares and at least one, so that a
    window fits into each.

    Raises:
        InputError: fewer than three windows fit between begin and end.
    """
    blocks = (end - begin) // length
    if blocks < 3:
        raise InputError(
            f"data.sequence_length = {length} with data.split.by = time: the data span {end - begin} steps, "
            f"and three splits need at least {3 * length}"
        )
    tests = min(max(1, round(test * blocks)), blocks - 2)
    validations = min(max(1, round(validation * blocks)), blocks - 1 - tests)
    test_start = end - tests * length
    validation_start = test_start - validations * length
    return {
        "train": (begin, validation_start),
        "validation": (validation_start, test_start),
        "test": (test_start, end),
    }


def _cut(series: Series, begin: int, end: int, length: int, stride: int) -> list[tuple[int, np.ndarray]]:
    """Windows of `series` that lie wholly inside [begin, end)."""
    first = max(begin, series.start)
    last = min(end, series.start + len(series.values)) - length
    return [
        (at, series.values[at - series.start : at - series.start + length]) for at in range(first, last + 1, stride)
    ]


def _assemble(
    cut: list[tuple[str, int, np.ndarray]], context: int, scaling: Literal["standard", "robust"], counts: dict[str, int]
) -> Windows | None:
    counts["cut"] = len(cut)
    finite = [item for item in cut if np.isfinite(item[2]).all()]
    counts["dropped_missing_values"] = len(cut) - len(finite)
    if finite:
        values = np.stack([item[2] for item in finite])
        location, scale = scale_by_context(values, context, scaling)
        constant = (np.ptp(values[:, :context], axis=1) == 0).any(axis=-1)
        scaleless = ~constant & ~(scale > 0).all(axis=(1, 2))
        with np.errstate(over="ignore", invalid="ignore"):
            scaled = ((values - location) / np.where(scale > 0, scale, 1.0)).astype(np.float32)
        overflow = ~(constant | scaleless) & ~np.isfinite(scaled).all(axis=(1, 2))
        keep = ~(constant | scaleless | overflow)
    else:
        keep = constant = scaleless = overflow = np.zeros(0, dtype=bool)
    counts["dropped_constant"] = int(constant.sum())
    counts["dropped_zero_scale"] = int(scaleless.sum())  # an interquartile range of 0 under robust scaling
    counts["dropped_overflow"] = int(overflow.sum())
    counts["windows"] = int(keep.sum())
    if not keep.any():
        return None
    scaled = scaled[keep]
    return Windows(
        context=scaled[:, :context],
        target=scaled[:, context:],
        location=location[keep],
        scale=scale[keep],
        entity=np.array([item[0] for item in finite])[keep],
        start=np.array([item[1] for item in finite], dtype=np.int64)[keep],
    )


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
    """Cuts, splits and scales.

    Args:
        series: all with the same number of features F.
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
    """
    if not 1 <= horizon < length:
        raise InputError(f"data.output_length = {horizon} with data.sequence_length = {length}: must be shorter")
    usable = [one for one in series if len(one.values) >= length]
    counts: dict[str, dict[str, int]] = {"series": {"usable": len(usable), "too_short": len(series) - len(usable)}}
    if not usable:
        longest = max((len(one.values) for one in series), default=0)
        raise InputError(f"data.sequence_length = {length}: the longest of {len(series)} series has {longest} steps")
    step = stride or length
    begin = min(one.start for one in usable)
    end = max(one.start + len(one.values) for one in usable)
    if by == "entity":
        parts = split_entities(len(usable), validation, test, generator)
        spans = {name: [(usable[i], begin, end) for i in parts[name]] for name in SPLITS}
    else:
        times = split_times(begin, end, length, validation, test)
        spans = {name: [(one, *times[name]) for one in usable] for name in SPLITS}
    made: dict[str, Windows] = {}
    for name in SPLITS:
        cut = [
            (one.entity, at, values)
            for one, first, last in spans[name]
            for at, values in _cut(one, first, last, length, step)
        ]
        counts[name] = {}
        windows = _assemble(cut, length - horizon, scaling, counts[name])
        if windows is None:
            raise InputError(
                f"data.split: no usable {name} window of {length} steps ({counts[name]['cut']} cut, "
                f"{counts[name]['dropped_missing_values']} with missing values, "
                f"{counts[name]['dropped_constant']} constant, {counts[name]['dropped_zero_scale']} without a scale, "
                f"{counts[name]['dropped_overflow']} beyond float32)"
            )
        made[name] = windows
    return made, counts


def pack(splits: dict[str, Windows]) -> dict[str, np.ndarray]:
    """All splits as named arrays, such as "train_context", to be stored."""
    return {
        f"{split}_{field.name}": getattr(windows, field.name)
        for split, windows in splits.items()
        for field in fields(Windows)
    }


def unpack(arrays: dict[str, np.ndarray]) -> dict[str, Windows]:
    """The inverse of `pack`."""
    return {
        split: Windows(**{field.name: arrays[f"{split}_{field.name}"] for field in fields(Windows)}) for split in SPLITS
    }


ARRAYS = tuple(f"{split}_{field.name}" for split in SPLITS for field in fields(Windows))
