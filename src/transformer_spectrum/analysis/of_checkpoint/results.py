"""What is known of one checkpoint when all its matrices are measured: the tables and the pages show this."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from transformer_spectrum.analysis.of_checkpoint.circuits import AttentionCircuits
from transformer_spectrum.spectra.analysis import Estimators
from transformer_spectrum.spectra.bounds import bounds
from transformer_spectrum.spectra.effects import Effect
from transformer_spectrum.spectra.spike_or_tail import SpikeOrTail
from transformer_spectrum.weights.anatomy.dissection import Skipped
from transformer_spectrum.weights.matrices.matrix import Matrix

MADE_BY = "transformer-spectrum analyze"


@dataclass(frozen=True)
class MeasuredMatrix:
    """One matrix with its spectrum, its metrics and their null.

    Attributes:
        matrix: which it is.
        singular_values: (r,) descending, W's units.
        shuffled: (D, r) of the same entries in random places; D = 0 without a null.
        values: metric -> value, NaN where there is a reason.
        reasons: metric -> why it has no value, or empty.
        nulls: metric -> its effect against the shuffled null, scalars.
        tail: whether noise with a few spikes explains the spectrum, scalars.
        same: names of matrices with the same entries, which are not measured again.
        slices: (K, m) singular values of the K positions of a convolution's kernel, as WeightWatcher takes it; only
            where the settings ask for its table.
        slice_shape: outputs and inputs of the kernel, where there are slices.
    """

    matrix: Matrix
    singular_values: np.ndarray
    shuffled: np.ndarray
    values: Mapping[str, float]
    reasons: Mapping[str, str]
    nulls: Mapping[str, Effect]
    tail: SpikeOrTail
    same: tuple[str, ...] = ()
    slices: np.ndarray | None = None
    slice_shape: tuple[int, int] | None = None

    def bounds(self, estimators: Estimators) -> dict[str, str]:
        """Metrics that are the bound of their search, with the inequality that is left of them: {"ks_tail": "≤ 8"}."""
        return bounds(self.values, self.reasons, self.matrix.shape, estimators.min_tail)


@dataclass(frozen=True)
class Examination:
    """A checkpoint, measured.

    Attributes:
        name: of the file or folder, without the folders around it.
        files: each one's name, sha256 and size in bytes.
        model_type: what config.json says, or empty.
        settings: seed, shuffles, heads, patterns and the like, as given.
        estimators: their settings.
        versions: of Python and the packages that decide the numbers.
        matrices: what was measured, in natural order of names.
        skipped: what was not, and why.
        vectors: tensors of fewer than two axes, which have no spectrum; count.
        weights: numbers in the checkpoint; count.
        notes: what a reader of the results has to know, one sentence each.
        tensors: in the checkpoint; count.
        used: tensors that the measured matrices were formed from; count.
        key: dotted path of the dictionary that was taken for the model; empty for the whole file.
        not_finite: tensors left out because of entries that are NaN or infinite; among `skipped` too.
        circuits: of the attentions whose layout is certain, where the settings ask for them.
        without_circuits: query matrices that have none then, and why.
    """

    name: str
    files: tuple[Mapping[str, Any], ...]
    model_type: str
    settings: Mapping[str, Any]
    estimators: Estimators
    versions: Mapping[str, str]
    matrices: tuple[MeasuredMatrix, ...]
    skipped: tuple[Skipped, ...]
    vectors: int
    weights: int
    notes: tuple[str, ...]
    tensors: int
    used: int
    key: str = ""
    not_finite: tuple[str, ...] = ()
    circuits: tuple[AttentionCircuits, ...] = ()
    without_circuits: tuple[Skipped, ...] = ()

    @property
    def measured_weights(self) -> int:
        """Numbers in the measured matrices; heads of a matrix count with it, not again."""
        return sum(m.matrix.numbers for m in self.matrices if m.matrix.head is None)

    @property
    def has_null(self) -> bool:
        """Whether anything was shuffled."""
        return self.draws[1] > 0

    @property
    def draws(self) -> tuple[int, int]:
        """Fewest and most shuffles of a matrix."""
        counts = [len(matrix.shuffled) for matrix in self.matrices]
        return min(counts), max(counts)
