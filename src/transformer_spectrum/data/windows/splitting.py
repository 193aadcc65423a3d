"""Which entities, or which span of time, each split gets."""

from __future__ import annotations

import numpy as np
from jaxtyping import Int

from transformer_spectrum.runtime.errors import InputError


def split_entities(
    count: int, validation: float, test: float, generator: np.random.Generator
) -> dict[str, Int[np.ndarray, " _"]]:
    """Partitions entity numbers 0..count-1 at random; each split gets at least one.

    Args:
        count: entities, >= 3.
        validation: share of them, in (0, 1).
        test: the same.
        generator: draws the order.
    Raises:
        InputError: fewer than three entities.

    >>> split_entities(10, 0.2, 0.3, np.random.default_rng(0))
    {'train': array([0, 1, 5, 8, 9]), 'validation': array([3, 7]), 'test': array([2, 4, 6])}
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

    Args:
        begin: first position on the time axis; steps.
        end: behind the last; steps.
        length: of a window; steps.
        validation: share of the axis, in (0, 1).
        test: the same.
    Raises:
        InputError: fewer than three windows fit between begin and end.

    >>> split_times(0, 105, 10, validation=0.1, test=0.2)
    {'train': (0, 75), 'validation': (75, 85), 'test': (85, 105)}
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
