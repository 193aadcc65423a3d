"""Singular values and metrics of whatever holds weights: the face of `spectra` for use from outside."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from transformer_spectrum.analysis.loading import Trained, TrainingRun
from transformer_spectrum.analysis.metrics_table import Measurement, of_examination
from transformer_spectrum.runtime.errors import InputError
from transformer_spectrum.spectra import analysis
from transformer_spectrum.spectra.analysis import METRICS, Analysis, Estimators
from transformer_spectrum.training.records.history import History

if TYPE_CHECKING:
    from transformer_spectrum.analysis.extraction import Draw
    from transformer_spectrum.spectra.effects import Effect

DRAWS_MINIMUM = 3  # as `spectra.nulls`, which needs torch


def singular_values(of: Any) -> np.ndarray | dict[str, np.ndarray]:
    """Singular values, to a relative precision of about 1e-8; of a complex matrix those of its complex entries.

    Args:
        of: a matrix or a batch (..., m, n), as array, data frame, nested list or tensor of any kind; or what holds
            matrices: what `load` gives, any torch module, a state dict, by itself or beside other things, as in
            {"model": ..., "epoch": 3}, or the path of a training (its best weights) or of a checkpoint. Of a module
            these are its parameters and the weights that act, such as a weight under weight_norm or a mask; gates and
            fused queries, keys and values are taken apart, as `transformer-spectrum analyze` does.
    Returns:
        (..., min(m, n)) float64, descending; of what holds matrices a dict of one such array a matrix, by name.
        What is left out is logged with its reason.
    Raises:
        InputError: fewer than two axes, entries that cannot be read, or one that is not finite.
        TypeError: something else.

    >>> singular_values([[3.0, 0.0], [0.0, 4.0], [0.0, 0.0]])
    array([4., 3.])
    """
    from transformer_spectrum.analysis.extraction import holds_matrices, matrices_of, spectra
    from transformer_spectrum.weights.matrices.entries import numbers

    if isinstance(of, str | os.PathLike):
        from transformer_spectrum.analysis.loading import load
        from transformer_spectrum.analysis.paths import examined, opened

        source = opened(of)
        if isinstance(source, Path):
            examination = examined(source, Estimators(), 0, 0)
            return {matrix.matrix.name: matrix.singular_values for matrix in examination.matrices}
        of = load(Path(of)) if isinstance(source, TrainingRun) else source
    if holds_matrices(of):
        return {decomposed.matrix.name: decomposed.singular_values for decomposed in matrices_of(of).matrices}
    return spectra(numbers(of, "the matrix"), "the matrix")


def analyze(
    of: Any, shapes: Any = None, *, estimators: Estimators | None = None, shuffles: int = 0, seed: int = 0
) -> Measurement:
    """Every spectral metric (`spectra.analysis.METRICS`) of every matrix at every step.

    Of a training also those of its changes W_t - W_0, under names that begin with "change_".

    Args:
        of: a matrix (m, n), as array, data frame, nested list or tensor of any kind; what holds matrices, see
            `singular_values`; a training: what `load_run` gives, its history, or its folder, such as models/adam or
            runs/NAME; a checkpoint: the path of a file of weights or of a Hugging Face folder, as
            `transformer-spectrum analyze` takes it; or, with shapes, singular values: (r,) of one matrix, (M, R) of
            several, (S, M, R) at several steps, padded behind min(rows, columns).
        shapes: rows and columns of each matrix, (2,) for all or (M, 2); for singular values only, which do not tell.
        estimators: their settings. None: those of the run's or the model's own parameters, where `of` has any, and
            else those of `Estimators()`.
        shuffles: null draws of each matrix: the same entries in random places; count, >= 3, or 0 for no null. Needs the
            entries, so a matrix, a model or a checkpoint.
        seed: of the shuffles; >= 0. The same as the command's gives the same nulls.
    Returns:
        The metrics, with a reason for each that is missing; `.table()` gives them as a pandas table.
    Raises:
        InputError: nothing to measure under a path, an entry that is not finite, a singular value that is not finite
            or is negative, shapes that do not fit, shuffles out of range or of what has no entries.
        TypeError: something else.

    >>> measurement = analyze([[3.0, 0.0], [0.0, 4.0], [0.0, 0.0]])
    >>> measurement
    Measurement(26 metrics of 1 matrix; .table() shows them)
    >>> measurement.values["stable_rank"], measurement.reason("ks_alpha", 0, 0)
    (array([[1.5625]]), 'fewer positive eigenvalues than the tail needs')
    """
    if shuffles < 0 or 0 < shuffles < DRAWS_MINIMUM:
        raise InputError(f"shuffles = {shuffles}: must be >= {DRAWS_MINIMUM}, or 0 for no null")
    if seed < 0:
        raise InputError(f"seed = {seed}: must be >= 0")
    if isinstance(of, str | os.PathLike):
        from transformer_spectrum.analysis.paths import examined, opened

        place, of = of, opened(of)
        if isinstance(of, Path):
            _refuse_shapes(shapes, f"{of}")
            return of_examination(examined(of, estimators or Estimators(), shuffles, seed))
        if shuffles and isinstance(of, TrainingRun):
            raise InputError(
                f"shuffles = {shuffles} with {place}: the record of a training has singular values and no entries to "
                f'shuffle; transformer_spectrum.load("{place}") gives the model of its best weights, which has'
            )
    if shuffles and (shapes is not None or isinstance(of, TrainingRun | History)):
        source = "a training's record" if isinstance(of, TrainingRun | History) else "singular values"
        raise InputError(
            f"shuffles = {shuffles} with {source}: only entries can be shuffled; give the matrix or the model"
        )
    values, places, shuffled = _spectra_of(of, shapes, shuffles, seed)
    if estimators is None:
        estimators = _own_estimators(of)
    history = of.history if isinstance(of, TrainingRun) else of
    try:
        if isinstance(history, History):
            from transformer_spectrum.analysis.of_training.summary import analyzed

            metrics = analyzed(history, estimators)
        else:
            metrics = analysis.analyze(values, places["shapes"], estimators)
    except ValueError as error:
        raise InputError(str(error)) from None
    nulls = _nulls(metrics, shuffled, places["shapes"], estimators) if shuffles else None
    return Measurement(metrics.values, metrics.codes, **places, nulls=nulls)


def _nulls(
    metrics: Analysis, shuffled: Sequence[np.ndarray], shapes: np.ndarray, estimators: Estimators
) -> dict[str, Effect]:
    """Effect of each metric of M matrices against their shuffles, (D, r) of each matrix."""
    from transformer_spectrum.spectra.effects import effect

    drawn = [analysis.analyze(draws[:, None], shapes[i : i + 1], estimators) for i, draws in enumerate(shuffled)]
    return {
        metric: effect(metric, metrics.values[metric], np.stack([draws.values[metric] for draws in drawn], axis=-1))
        for metric in METRICS
    }


def _refuse_shapes(shapes: Any, owner: str) -> None:
    if shapes is not None:
        raise InputError(f"shapes = {shapes}: only for singular values; {owner} knows its own")


def _own_estimators(of: Any) -> Estimators:
    if not isinstance(of, TrainingRun | Trained):
        return Estimators()
    from transformer_spectrum.analysis.of_training.summary import estimators_of

    return estimators_of(of.params.spectra)


def _spectra_of(of: Any, shapes: Any, shuffles: int, seed: int) -> tuple[np.ndarray, dict[str, Any], list[np.ndarray]]:
    """Singular values (S, M, R); steps, names, families and shapes; and those of each matrix's shuffles, (D, r)."""
    from transformer_spectrum.analysis.extraction import holds_matrices
    from transformer_spectrum.weights.matrices.entries import numbers

    if isinstance(of, TrainingRun):
        of = of.history
    if isinstance(of, History) or holds_matrices(of):
        _refuse_shapes(shapes, f"a {type(of).__name__}")
        return (*_of_history(of), []) if isinstance(of, History) else _of_matrices(of, shuffles, seed)
    if shapes is None:
        return _of_one_matrix(of, shuffles, seed)
    values = numbers(of, "singular values")
    if np.iscomplexobj(values):
        raise InputError("singular values are real numbers, got complex ones")
    if not 1 <= values.ndim <= 3:
        raise InputError(f"singular values of shape {values.shape}: must be (r,), (M, R) or (S, M, R)")
    values = values.reshape((1,) * (3 - values.ndim) + values.shape)
    sizes = np.asarray(shapes)
    if sizes.ndim not in (1, 2) or sizes.shape[-1] != 2 or (sizes.ndim == 2 and len(sizes) != values.shape[1]):
        raise InputError(f"shapes = {shapes}: must be rows and columns, for all or each of {values.shape[1]} matrices")
    sizes = np.broadcast_to(sizes, (values.shape[1], 2))
    if sizes.min() < 1 or sizes.min(axis=1).max() != values.shape[2]:
        raise InputError(f"shapes = {shapes}: matrices of these have other than {values.shape[2]} singular values")
    count = len(sizes)
    names = np.array([f"matrix_{i}" for i in range(count)])
    places = {"steps": np.arange(len(values)), "names": names, "families": np.full(count, ""), "shapes": sizes}
    return values, places, []


def _of_history(history: History) -> tuple[np.ndarray, dict[str, Any]]:
    places = {name: getattr(history, name) for name in ("steps", "names", "families", "shapes")}
    return history.singular_values, places


def _of_one_matrix(of: Any, shuffles: int, seed: int) -> tuple[np.ndarray, dict[str, Any], list[np.ndarray]]:
    """Of an array of two axes; of any other it is not known what it means."""
    from transformer_spectrum.analysis.extraction import spectra
    from transformer_spectrum.weights.matrices.entries import numbers

    entries = numbers(of, "the matrix")
    if entries.ndim < 2:
        raise InputError("shapes: singular values do not tell the rows and columns of their matrices; give them")
    if entries.ndim > 2:
        raise InputError(
            f"an array of shape {entries.shape} is no matrix: give a dictionary of matrices by name, a matrix of two "
            "axes, or singular values (S, M, R) and their shapes"
        )
    values = spectra(entries, "the matrix")
    places = {"names": np.array(["matrix_0"]), "families": np.array([""]), "shapes": np.array([entries.shape])}
    shuffled = _draw(shuffles, seed)("matrix_0", entries)
    return values[None, None], {"steps": np.zeros(1, dtype=int), **places}, [shuffled]


def _draw(shuffles: int, seed: int) -> Draw:
    """Shuffles of a matrix, seeded by its name as `of_checkpoint.measuring.measure` does it."""
    from transformer_spectrum.analysis.extraction import no_draw
    from transformer_spectrum.runtime.seeds import torch_generator
    from transformer_spectrum.spectra.nulls import shuffled_singular_values

    def draw(name: str, entries: np.ndarray) -> np.ndarray:
        generator = torch_generator(seed, f"shuffles of {name}")
        return shuffled_singular_values(entries[None], shuffles, generator)[:, 0]

    return draw if shuffles else no_draw


def _of_matrices(of: Any, shuffles: int, seed: int) -> tuple[np.ndarray, dict[str, Any], list[np.ndarray]]:
    from transformer_spectrum.analysis.extraction import matrices_of

    extraction = matrices_of(of, _draw(shuffles, seed))
    matrices = extraction.matrices
    shapes = np.array([decomposed.matrix.shape for decomposed in matrices])
    values = np.full((1, len(matrices), shapes.min(axis=1).max()), np.nan)
    for i, decomposed in enumerate(matrices):
        values[0, i, : shapes[i].min()] = decomposed.singular_values
    names = np.array([decomposed.matrix.name for decomposed in matrices])
    families = np.array([decomposed.matrix.family.label for decomposed in matrices])
    notes = np.array([decomposed.matrix.note for decomposed in matrices])
    identity = {"names": names, "families": families, "shapes": shapes, "notes": notes}
    beside = {"left_out": extraction.left_out, "remarks": tuple(extraction.remarks)}
    places = {"steps": np.zeros(1, dtype=int), **identity, **beside}
    return values, places, [decomposed.shuffled for decomposed in matrices]
