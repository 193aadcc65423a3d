"""What a training reads: the windows of each split, and the named arrays in which windows.npz stores them."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from jaxtyping import Float, Int, Shaped

SPLITS = ("train", "validation", "test")


@dataclass(frozen=True)
class Windows:
    """Windows in scaled units; data units are `values * scale + location`.

    Attributes:
        context: float32.
        target: float32, the steps that follow the context.
        location: float64, from the context alone; data units.
        scale: float64 > 0, from the context alone; data units.
        entity: names.
        start: position of the first step on the data set's time axis.

    >>> context, target = np.zeros((2, 15, 1), np.float32), np.ones((2, 5, 1), np.float32)
    >>> location, scale = np.full((2, 1, 1), 10.0), np.full((2, 1, 1), 3.0)
    >>> windows = Windows(context, target, location, scale, np.array(["SE", "MT"]), np.array([0, 0]))
    >>> len(windows), windows.in_data_units(windows.target)[0, 0, 0]
    (2, np.float64(13.0))
    """

    context: Float[np.ndarray, "windows context features"]
    target: Float[np.ndarray, "windows horizon features"]
    location: Float[np.ndarray, "windows 1 features"]
    scale: Float[np.ndarray, "windows 1 features"]
    entity: Shaped[np.ndarray, " windows"]
    start: Int[np.ndarray, " windows"]

    def __len__(self) -> int:
        return len(self.context)

    def in_data_units(
        self, values: Float[np.ndarray, "windows steps features"]
    ) -> Float[np.ndarray, "windows steps features"]:
        """Scaled values -> data units, float64."""
        return values.astype(np.float64) * self.scale + self.location


def pack(splits: dict[str, Windows]) -> dict[str, np.ndarray]:
    """All splits as named arrays, to be stored.

    >>> zeros = np.zeros((1, 1, 1))
    >>> windows = Windows(zeros, zeros, zeros, zeros + 1, np.array(["SE"]), np.array([0]))
    >>> list(pack({"train": windows}))[:3]
    ['train_context', 'train_target', 'train_location']
    """
    return {
        f"{split}_{field.name}": getattr(windows, field.name)
        for split, windows in splits.items()
        for field in fields(Windows)
    }


def unpack(arrays: dict[str, np.ndarray]) -> dict[str, Windows]:
    """The inverse of `pack`, of all splits.

    >>> zeros = np.zeros((1, 1, 1))
    >>> windows = Windows(zeros, zeros, zeros, zeros + 1, np.array(["SE"]), np.array([7]))
    >>> unpack(pack(dict.fromkeys(SPLITS, windows)))["test"].start
    array([7])
    """
    return {
        split: Windows(**{field.name: arrays[f"{split}_{field.name}"] for field in fields(Windows)}) for split in SPLITS
    }


ARRAYS = tuple(f"{split}_{field.name}" for split in SPLITS for field in fields(Windows))
