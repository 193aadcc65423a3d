"""What a training starts from, made of parameters and windows: the one set-up of pipeline, command line and tuning."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from transformer_spectrum import losses
from transformer_spectrum.config.load import Params
from transformer_spectrum.data.windows.arrays import ARRAYS, SPLITS, Windows, unpack
from transformer_spectrum.models.forecaster import Forecaster, Layout
from transformer_spectrum.runtime.errors import InputError
from transformer_spectrum.runtime.files import read_arrays
from transformer_spectrum.runtime.seeds import torch_generator
from transformer_spectrum.training import build
from transformer_spectrum.training.loop import Member
from transformer_spectrum.training.loss_scale import LossScale
from transformer_spectrum.training.measuring import Start
from transformer_spectrum.training.objective import WindowObjective
from transformer_spectrum.training.recording import Budget, Recording
from transformer_spectrum.training.resume import ResumeFiles
from transformer_spectrum.training.state import StepRecord
from transformer_spectrum.weights.matrices.matrix import Matrix


def read_windows(path: str | Path) -> dict[str, Windows]:
    """The splits that the prepare stage has written.

    Raises:
        InputError: the file is missing or corrupt, or its arrays do not go together.

    >>> read_windows("windows.npz")
    Traceback (most recent call last):
    transformer_spectrum.runtime.errors.InputError: windows.npz: no such file; run the stage that writes it (dvc repro)
    """
    arrays = read_arrays(path, ARRAYS)
    again = "run the stage that writes it again (dvc repro)"
    for split in SPLITS:
        wrong = _defect({name: arrays[f"{split}_{name}"] for name in ("context", "target", "location", "scale")})
        if wrong is not None:
            raise InputError(f"{path}: {split}_{wrong}; {again}")
    if len({(arrays[f"{split}_context"].shape[1:], arrays[f"{split}_target"].shape[1:]) for split in SPLITS}) > 1:
        raise InputError(f"{path}: its splits have windows of different shapes; {again}")
    return unpack(arrays)


def _defect(arrays: Mapping[str, np.ndarray]) -> str | None:
    """Which array of a split no stage has written so, and why."""
    context = arrays["context"]
    for name, values in arrays.items():
        if values.ndim != 3 or values.dtype.kind != "f" or values.shape[2] != context.shape[-1]:
            return f"{name}: must be numbers (windows, steps, features)"
        if len(values) != len(context) or not len(context):
            return f"{name}: has {len(values)} windows of {len(context)}"
        if name in ("location", "scale") and not np.isfinite(values).all():
            return f"{name}: must be finite"  # what is trained on may be none: the training then says where it stops
    return None if (arrays["scale"] > 0).all() else "scale: must be > 0"


def make_deterministic(params: Params, optimizer: str) -> None:
    """Tells torch its number of threads, and to compute the same bits whenever asked.

    Told to warn where no deterministic kernel is there, torch takes others even where one is, as for the gradient of
    attention on CUDA; so on CUDA, where all operations of ours have one, it is an error. On MPS it warns.
    """
    kind = build.device(params.device).type
    torch.set_num_threads(params.threads)
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS is deterministic only with this
    if optimizer == "adam" and params.adam.compile:
        torch.use_deterministic_algorithms(True, warn_only=kind == "mps")
    else:  # the same switch without the compiler, whose import takes a second
        torch.set_deterministic_debug_mode("warn" if kind == "mps" else "error")
    # With that switch torch fills all memory that it hands out, for whoever reads what was not written; nobody does.
    setattr(torch.utils.deterministic, "fill_uninitialized_memory", False)  # noqa: B010 - a property without a type
    if kind != "cpu":
        torch.set_float32_matmul_precision("high" if params.training.tf32 else "highest")


@dataclass(frozen=True)
class Setup:
    """The initial network on its device, and its losses over the windows; the same for all optimizers of one seed.

    Attributes:
        seed: of all random numbers; integer.
        batch_seed: of the batch order of a gradient method, which takes no other random number; integer.
        forecaster: the model with its initial weights.
        layout: of the model's parameters in a flat vector.
        matrices: those whose spectra are recorded.
        weights: (n,) the initial ones.
        objective: the loss over the training windows, which is minimised.
        validation: the loss over the validation windows.
        loss_scale: lets the scale of both losses follow the residuals; None = it stays.
    """

    seed: int
    batch_seed: int
    forecaster: Forecaster
    layout: Layout
    matrices: list[Matrix]
    weights: Tensor
    objective: WindowObjective
    validation: WindowObjective
    loss_scale: LossScale | None = None

    @classmethod
    def of(cls, params: Params, splits: Mapping[str, Windows]) -> Setup:
        """The set-up that the parameters describe.

        Args:
            params: all parameters.
            splits: windows by split, "train" and "validation" among them.
        Raises:
            InputError: the device is not there.

        >>> import numpy as np
        >>> from transformer_spectrum.config.load import load_params
        >>> from transformer_spectrum.config.wheel_files import packaged
        >>> params = load_params(packaged("params.yaml")).model_copy(update={"device": "cpu"})
        >>> context, target, zeros = (np.zeros((3, steps, 1), np.float32) for steps in (24, 12, 1))
        >>> windows = Windows(context, target, zeros, zeros + 1, np.array(["SE", "MT", "IS"]), np.array([0, 0, 0]))
        >>> setup = Setup.of(params, {"train": windows, "validation": windows})
        >>> setup.objective.validation(setup.weights) == setup.validation.validation(setup.weights)
        True
        """
        features = splits["train"].context.shape[-1]
        forecaster = build.model(params, features).to(build.device(params.device))
        layout = Layout(forecaster)
        objective, validation = (
            build.objective(params, forecaster, layout, splits[name]) for name in ("train", "validation")
        )
        follows = params.loss.scale == "residual" and params.loss.type in losses.SCALED
        centre = params.loss.mu if params.loss.type == "sgt" else 0.0
        make = functools.partial(build.loss, params)
        return cls(
            seed=params.seed,
            batch_seed=params.seed if params.training.batch_seed is None else params.training.batch_seed,
            forecaster=forecaster,
            layout=layout,
            matrices=forecaster.matrices(),
            weights=build.initial_weights(params, forecaster, layout),
            objective=objective,
            validation=validation,
            loss_scale=LossScale(make, objective, [validation], centre) if follows else None,
        )

    def member(
        self,
        optimizer: str,
        search: build.Search,
        *,
        recording: Recording,
        budget: Budget,
        observe: Callable[[StepRecord], None],
        resume_files: ResumeFiles | None = None,
    ) -> Member:
        """The training by this optimizer from the initial weights, for `loop.fit`.

        Args:
            optimizer: its name, for its own random numbers.
            search: the method and its settings, of `build.searcher`.
            recording: which steps are recorded, and which is the best.
            budget: limits that are none of the searcher's.
            observe: called after every recorded step.
            resume_files: where the training is kept, and gone on from.

        >>> import numpy as np
        >>> from transformer_spectrum.config.load import load_params
        >>> from transformer_spectrum.config.wheel_files import packaged
        >>> from transformer_spectrum.training.loop import fit
        >>> params = load_params(packaged("params.yaml")).model_copy(update={"device": "cpu"})
        >>> context, target, zeros = (np.zeros((3, steps, 1), np.float32) for steps in (24, 12, 1))
        >>> windows = Windows(context, target, zeros, zeros + 1, np.array(["SE", "MT", "IS"]), np.array([0, 0, 0]))
        >>> setup = Setup.of(params, {"train": windows, "validation": windows})
        >>> search, records = build.searcher(params, "ga", setup.layout), []
        >>> member = setup.member("ga", search, recording=Recording(), budget=Budget(1), observe=records.append)
        >>> (result,) = fit([member])
        >>> result.stop_reason, [record.step for record in records] == result.history.steps.tolist()
        ('budget.evaluations = 1 spent', True)
        """
        return Member(
            searcher=search.searcher,
            objective=self.objective,
            validation=self.validation,
            start=Start(self.weights, self.layout, self.matrices),
            recording=recording,
            generator=torch_generator(self.batch_seed if optimizer == "adam" else self.seed, f"{optimizer} search"),
            budget=budget,
            loss_scale=self.loss_scale,
            observe=observe,
            resume_files=resume_files,
        )
