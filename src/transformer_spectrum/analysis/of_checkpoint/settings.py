"""What to measure of a checkpoint and how."""

from __future__ import annotations

from dataclasses import dataclass

from transformer_spectrum.spectra.analysis import Estimators


@dataclass(frozen=True)
class ExaminationSettings:
    """What to measure and how.

    Attributes:
        estimators: their settings.
        shuffles: null draws of a matrix; count, >= 3, or 0 for no null. Large matrices get fewer: see
            `measuring.draws_of`.
        seed: of the shuffles.
        heads: of the queries, to measure every head too; None: no heads.
        include, exclude: shell patterns of matrix names; a matrix must match one of the first, if there are any,
            and none of the second.
        min_size: smaller side below which a matrix is left out; count.
        device: where large matrices are decomposed, cpu or cuda.
        key: dotted path of the dictionary in a file that is the model; None: the one that looks like it.
        skip_objects: leave out objects of unknown classes in a pickle instead of refusing the file.
        circuits: also the circuits of every attention whose layout is certain, see `circuits.checkpoint_circuits`.
        like: "weightwatcher": its table in the place of ours, for which kernels are cut as it does; or empty.
    """

    estimators: Estimators
    shuffles: int = 20
    seed: int = 0
    heads: int | None = None
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    min_size: int = 8
    device: str = "cpu"
    key: str | None = None
    skip_objects: bool = False
    circuits: bool = False
    like: str = ""
