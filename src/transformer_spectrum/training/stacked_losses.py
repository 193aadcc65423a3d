"""The losses of members that are trained side by side, each on its own slice of one prediction."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from transformer_spectrum.losses import Loss, cauchy, cauchy_at, multiplied, sgt, sgt_at, sgt_numbers

Form = Callable[..., Tensor]
"""(prediction, target, *numbers) -> elementwise loss."""
Forms = tuple[tuple[int, Form, int], ...]
"""For each stretch of members with one form of loss: how many they are, the form, and how many numbers it takes."""


class Stacked:
    """Losses of one form share its kernels, whatever their parameters, which become tensors.

    They give the same bits as numbers in their places. Members of one form should be neighbours.

    Args:
        losses: one a member, what `make_loss` gives; any other callable is a form of its own.
        device, dtype: of the predictions.

    >>> from transformer_spectrum.losses import make_loss
    >>> losses = [make_loss("mae"), make_loss("cauchy", gamma=1.0), make_loss("cauchy", gamma=2.0)]
    >>> Stacked(losses)(torch.zeros(3, 1, 1, 1), torch.full((3, 1, 1, 1), 2.0)).flatten().tolist()
    [2.0, 1.6094379425048828, 0.6931471824645996]
    """

    def __init__(
        self, losses: Sequence[Loss], device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32
    ) -> None:
        forms: list[tuple[int, Form, int]] = []
        self.numbers: list[Tensor] = []
        for form, members in itertools.groupby(map(_form, losses), key=lambda pair: pair[0]):
            numbers = [row for _, row in members]
            forms.append((len(numbers), form, len(numbers[0])))
            self.numbers.append(torch.tensor(numbers, dtype=torch.float64).to(dtype).to(device))
        self.forms: Forms = tuple(forms)

    def __call__(self, prediction: Tensor, target: Tensor) -> Tensor:
        """(members, ...) of both -> the same shape."""
        return elementwise(self.forms, self.numbers, prediction, target)


def elementwise(forms: Forms, numbers: Sequence[Tensor], prediction: Tensor, target: Tensor) -> Tensor:
    """The loss of each member.

    Args:
        forms, numbers: of a `Stacked`.
        prediction: (members, ...).
        target: the same shape, or without the first axis.
    Returns:
        prediction's shape.

    >>> from transformer_spectrum.losses import mae
    >>> elementwise(((2, mae, 0),), [torch.empty(2, 0)], torch.zeros(2, 1), torch.ones(1)).tolist()
    [[1.0], [1.0]]
    """
    values, first = [], 0
    shape = (-1, *[1] * (prediction.ndim - 1))
    for (count, form, _), rows in zip(forms, numbers, strict=True):
        members = slice(first, first + count)
        own = target[members] if target.ndim == prediction.ndim else target
        values.append(form(prediction[members], own, *(column.reshape(shape) for column in rows.unbind(1))))
        first += count
    return values[0] if len(values) == 1 else torch.cat(values)


def influence_cosines(losses: Sequence[Loss], errors: Tensor) -> Tensor:
    """`losses.influence_cosine` of each member's loss on its own errors; (members,) float64.

    Args:
        losses: one a member.
        errors: (members, ...) target - prediction; scaled units.

    >>> from transformer_spectrum.losses import make_loss
    >>> cosines = influence_cosines([make_loss("mae"), make_loss("mse")], torch.tensor([[-1.0, 1.0, 2.0]] * 2))
    >>> cosines.numpy().round(4).tolist()
    [0.9428, 1.0]
    """
    stacked = Stacked(losses, errors.device, torch.float64)
    with torch.inference_mode(False), torch.enable_grad():
        targets = errors.detach().double().clone().requires_grad_()
        (pull,) = torch.autograd.grad(stacked(torch.zeros_like(targets), targets).sum(), targets)
    pull, reference = pull.flatten(1), 2 * targets.detach().flatten(1)
    size = torch.linalg.vector_norm(pull, dim=1) * torch.linalg.vector_norm(reference, dim=1)
    cosine = ((pull * reference).sum(1) / size).clamp(-1, 1)
    return torch.where((size > 0) & size.isfinite(), cosine, torch.nan)


def _finite_sgt(prediction: Tensor, target: Tensor, *numbers: Tensor) -> Tensor:
    return sgt_at(prediction, target, False, *numbers)


def _exponential_sgt(prediction: Tensor, target: Tensor, *numbers: Tensor) -> Tensor:
    return sgt_at(prediction, target, True, *numbers)


@dataclasses.dataclass(frozen=True)
class _Multiplied:
    """A form whose last number is the factor of the loss."""

    form: Form

    def __call__(self, prediction: Tensor, target: Tensor, *numbers: Tensor) -> Tensor:
        return numbers[-1] * self.form(prediction, target, *numbers[:-1])


def _form(loss: Loss) -> tuple[Form, tuple[float, ...]]:
    """What members share, and the numbers in which they may differ."""
    if isinstance(loss, functools.partial) and loss.func is multiplied:
        form, numbers = _form(loss.keywords["loss"])
        return _Multiplied(form), (*numbers, loss.keywords["factor"])
    if isinstance(loss, functools.partial) and loss.func is cauchy:
        return cauchy_at, (math.log(loss.keywords["gamma"]),)
    if isinstance(loss, functools.partial) and loss.func is sgt:
        distribution = loss.keywords["distribution"]
        return (_exponential_sgt if distribution.exponential else _finite_sgt), sgt_numbers(distribution)
    return loss, ()
