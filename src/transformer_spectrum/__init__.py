"""How loss functions and optimizers shape the weight spectra of transformers.

What is meant for use from outside, all of it imported only when it is asked for:

    load(path)              the model of a training, with its parameters and provenance
    load_run(folder)        what a training recorded: history, scores, parameters
    load_params(path)       params.yaml, checked
    singular_values(of)     of a matrix, a model, a state dict, what `load` gives, or a path
    analyze(of)             every spectral metric of a matrix, a model, a run, a path or singular values
    compare(trainings)      of two or more, whether a metric differs alike whatever is held equal: MAE, budget, distance
    SGT                     the skewed generalized t distribution
    losses                  mse, mae, cauchy, sgt, elementwise

Bad input raises `runtime.errors.InputError`, a ValueError, whose message is one line. Everything else may change
without notice.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transformer_spectrum import losses
    from transformer_spectrum.analysis.api import analyze, singular_values
    from transformer_spectrum.analysis.comparison.trainings import compare
    from transformer_spectrum.analysis.loading import load, load_run
    from transformer_spectrum.config.load import load_params
    from transformer_spectrum.distributions.sgt import SGT

__version__ = "0.1.0"
__all__ = ["SGT", "analyze", "compare", "load", "load_params", "load_run", "losses", "singular_values"]

_HOMES = {
    "SGT": "distributions.sgt",
    "analyze": "analysis.api",
    "compare": "analysis.comparison.trainings",
    "load": "analysis.loading",
    "load_params": "config.load",
    "load_run": "analysis.loading",
    "singular_values": "analysis.api",
}


def __getattr__(name: str) -> Any:
    # Lazily, because torch takes a second to import and a script that reads parameters needs none of it.
    if name == "losses":
        return importlib.import_module("transformer_spectrum.losses")
    if name not in _HOMES:
        raise AttributeError(f"module 'transformer_spectrum' has no attribute {name!r}")
    return getattr(importlib.import_module(f"transformer_spectrum.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
