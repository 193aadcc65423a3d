"""Means over the matrices of a checkpoint that are of one family and one shape."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from transformer_spectrum.analysis.of_checkpoint.results import MeasuredMatrix
from transformer_spectrum.weights.matrices.shapes import shape_classes

CLASS_METRICS = ("stable_rank", "spectral_entropy", "spectral_entropy_normalised", "hill_alpha", "ks_alpha")


def classes(matrices: Sequence[MeasuredMatrix]) -> dict[str, Any]:
    """Label of a family and a shape -> count, shape, and means of metrics and of their nulls.

    >>> readouts = classes(examination.matrices)["readout"]
    >>> readouts["matrices"], readouts["shape"], round(readouts["stable_rank"], 2)
    (1, [16, 12], 4.24)
    """
    families = [matrix.matrix.family.label for matrix in matrices]
    shapes = [matrix.matrix.shape for matrix in matrices]
    tree: dict[str, Any] = {}
    for label, members in shape_classes(families, shapes).items():
        inside = [matrices[i] for i in members]
        tree[label] = {"matrices": len(inside), "shape": sorted(map(int, inside[0].matrix.shape), reverse=True)}
        for metric in CLASS_METRICS:
            values = [(m.values[metric], float(m.nulls[metric].null_mean)) for m in inside if not m.reasons[metric]]
            nulls = [null for _, null in values if np.isfinite(null)]
            if values:
                tree[label][metric] = float(f"{np.mean([value for value, _ in values]):.6g}")
            if nulls:
                tree[label][f"{metric}_null"] = float(f"{np.mean(nulls):.6g}")
            if len(values) < len(inside):
                tree[label][f"{metric}_missing"] = len(inside) - len(values)
    return tree
