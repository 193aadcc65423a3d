"""The gradient methods by name: the settings of the section `adam` -> the rule that they describe."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass

from transformer_spectrum.config.schema import AdamParams
from transformer_spectrum.models.forecaster import Layout
from transformer_spectrum.optimizers.gradient.adam import Adam
from transformer_spectrum.optimizers.gradient.blocks import hidden_blocks, matrix_blocks
from transformer_spectrum.optimizers.gradient.descent import Descent
from transformer_spectrum.optimizers.gradient.lion import Lion
from transformer_spectrum.optimizers.gradient.muon import Muon
from transformer_spectrum.optimizers.gradient.rule import Rule
from transformer_spectrum.optimizers.gradient.sgd import SGD
from transformer_spectrum.optimizers.gradient.soap import SOAP


@dataclass(frozen=True)
class Own:
    """The settings that an algorithm has where none are asked for.

    Attributes:
        learning_rate: at its highest.
        weight_decay: see each rule.
        beta1: of the running mean of gradients; 0 where there is none.
        beta2: of the running mean of their squares, of Lion's slower mean; 0 where there is none.
        momentum: of sgd and of Muon's matrices; 0 where there is none.
    """

    learning_rate: float
    weight_decay: float = 0.0
    beta1: float = 0.0
    beta2: float = 0.0
    momentum: float = 0.0


OWN = {
    "adam": Own(0.001, beta1=0.9, beta2=0.999),
    "adamw": Own(0.001, weight_decay=0.01, beta1=0.9, beta2=0.999),
    "sgd": Own(0.05, momentum=0.9),
    "lion": Own(0.0003, beta1=0.9, beta2=0.99),
    "muon": Own(0.001, beta1=0.9, beta2=0.999, momentum=0.95),
    "soap": Own(0.003, beta1=0.95, beta2=0.95),
}
"""adam.algorithm -> what its settings are where they are null: the only table of them."""


def learning_rate(algorithm: str, setting: float | None) -> float:
    """The highest learning rate of a gradient method: its own where none is set.

    >>> learning_rate("adam", None), learning_rate("adam", 0.5)
    (0.001, 0.5)
    """
    return OWN[algorithm].learning_rate if setting is None else setting


def settings(adam: AdamParams) -> Own:
    """The algorithm's own settings, with what is set in their places.

    >>> from transformer_spectrum.config.load import load_params
    >>> from transformer_spectrum.config.wheel_files import packaged
    >>> adam = load_params(packaged("params.yaml")).adam.model_copy(update={"algorithm": "sgd", "momentum": 0.5})
    >>> settings(adam).momentum, settings(adam).weight_decay
    (0.5, 0.0)
    """
    names = [field.name for field in dataclasses.fields(Own)]
    chosen = {name: getattr(adam, name) for name in names if getattr(adam, name) is not None}
    return dataclasses.replace(OWN[adam.algorithm], **chosen)


def _adam(adam: AdamParams, own: Own, layout: Layout) -> Adam:
    return Adam(own.beta1, own.beta2, own.weight_decay)


def _adamw(adam: AdamParams, own: Own, layout: Layout) -> Adam:
    return Adam(own.beta1, own.beta2, own.weight_decay, decoupled=True)


def _sgd(adam: AdamParams, own: Own, layout: Layout) -> SGD:
    return SGD(own.momentum, adam.nesterov, own.weight_decay)


def _lion(adam: AdamParams, own: Own, layout: Layout) -> Lion:
    return Lion(own.beta1, own.beta2, own.weight_decay)


def _muon(adam: AdamParams, own: Own, layout: Layout) -> Muon:
    return Muon(hidden_blocks(layout), own.momentum, own.weight_decay, own.beta1, own.beta2)


def _soap(adam: AdamParams, own: Own, layout: Layout) -> SOAP:
    return SOAP(matrix_blocks(layout), own.beta1, own.beta2, own.weight_decay)


RULES: dict[str, Callable[[AdamParams, Own, Layout], Rule]] = {
    "adam": _adam,
    "adamw": _adamw,
    "sgd": _sgd,
    "lion": _lion,
    "muon": _muon,
    "soap": _soap,
}
"""adam.algorithm -> what makes its rule of the parameters, of `settings` and of where the matrices lie."""


def descent(adam: AdamParams, layout: Layout) -> Descent:
    """The gradient method that the parameters describe.

    Args:
        adam: the section.
        layout: of the model's parameters in a flat vector.

    >>> import torch
    >>> from transformer_spectrum.config.load import load_params
    >>> from transformer_spectrum.config.wheel_files import packaged
    >>> adam = load_params(packaged("params.yaml")).adam.model_copy(update={"algorithm": "lion"})
    >>> type(descent(adam, Layout(torch.nn.Linear(3, 2))).rule).__name__
    'Lion'
    """
    own = settings(adam)
    return Descent(
        RULES[adam.algorithm](adam, own, layout),
        adam.epochs,
        own.learning_rate,
        gradient_clip=adam.gradient_clip,
        warmup_epochs=adam.warmup_epochs,
        schedule=adam.schedule,
    )
