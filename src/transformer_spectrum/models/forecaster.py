"""What every forecaster is: named parameters, and a forward pass that is a function of them.

The modules hold and name the parameters; the arithmetic takes the weights as an argument. So the same code runs
one network (parameters of their own shape) or a population (each with a leading axis of members), and a search
can score weights that never enter a module.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn

from transformer_spectrum.models.dropout import Dropout
from transformer_spectrum.weights.matrices.matrix import Matrix

Weights = Mapping[str, Tensor]
Context = Float[Tensor, "*batches windows context features"]
Target = Float[Tensor, "*batches windows horizon features"]
"""Windows of one batch, or of one a member; in scaled units."""
Forecast = Float[Tensor, "*members windows horizon features"]
"""In scaled units; the members are those of a population of weights, where there is one."""


def linear(weights: Weights, name: str, x: Tensor) -> Tensor:
    """x W^T + b, for one network (x (B, T, i)) or a population (x (M, B, T, i), W (M, o, i)).

    >>> weights = {"f.weight": torch.tensor([[3.0, 4.0]]), "f.bias": torch.tensor([0.5])}
    >>> linear(weights, "f", torch.tensor([[1.0, 2.0]])).tolist()
    [[11.5]]
    """
    return affine(x, weights[f"{name}.weight"], weights[f"{name}.bias"])


def affine(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """`linear` where the bias is not simply that of the weight.

    >>> affine(torch.tensor([[1.0, 2.0]]), torch.tensor([[3.0, 4.0]]), torch.tensor([0.5])).tolist()
    [[11.5]]
    """
    if weight.ndim == 2:
        return nn.functional.linear(x, weight, bias)
    members, width = weight.shape[:2]
    rows = x.reshape(members, -1, x.shape[-1])
    if width == 1:  # a product one column wide torch sums otherwise for one member than for several
        outputs = (rows * weight).sum(-1, keepdim=True) + bias.unsqueeze(1)
    else:
        outputs = torch.baddbmm(bias.unsqueeze(1), rows, weight.mT)
    return outputs.reshape(*x.shape[:-1], width)


def add_linear(x: Tensor, weights: Weights, name: str, inner: Tensor) -> Tensor:
    """x + (inner W^T + b) in the memory of x, contiguous; shapes as in `linear`. Not for autograd.

    >>> weights = {"f.weight": torch.tensor([[3.0, 4.0]]), "f.bias": torch.tensor([0.5])}
    >>> add_linear(torch.tensor([[100.0]]), weights, "f", torch.tensor([[1.0, 2.0]])).tolist()
    [[111.5]]
    """
    weight, bias = weights[f"{name}.weight"], weights[f"{name}.bias"]
    if weight.ndim == 2:
        x.view(-1, x.shape[-1]).addmm_(inner.reshape(-1, inner.shape[-1]), weight.t()).add_(bias)
    else:
        members = weight.shape[0]
        rows = x.view(members, -1, x.shape[-1])
        rows.baddbmm_(inner.reshape(members, -1, inner.shape[-1]), weight.mT).add_(bias.unsqueeze(1))
    return x


class Forecaster(nn.Module, ABC):
    """Base of the encoder-decoder forecasters.

    Args:
        features: F, channels of the series.
        patch_length: P, time steps in one token; must divide context and horizon.
    """

    chunk_mib = 16
    """Activations of the members of a population that a CPU computes at once when it is fastest, as measured for
    widths 16 to 128 and 5 to 300 tokens (benchmarks/search.py). It decides rounding, so no machine may change it."""

    dropout: float
    """Share of the numbers that training sets to 0; see `Dropout`."""

    def __init__(self, features: int, patch_length: int) -> None:
        super().__init__()
        self.features, self.patch_length = features, patch_length

    # -- for subclasses ------------------------------------------------------------------------------------
    @abstractmethod
    def predict(self, weights: Weights, context: Context, target: Target, drop: Dropout | None = None) -> Forecast:
        """Teacher-forced forecast: output t sees the context and targets < t (of earlier tokens) only.

        Args:
            weights: parameters by name, each of its own shape or with a leading axis of M members.
            context: (B, C, F), which all members read, or (M, B, C, F), one batch a member; scaled units.
            target: (B, H, F) or (M, B, H, F), likewise; its last token is never read.
            drop: drops numbers, as trainings do; None = nothing is dropped.
        Returns:
            (B, H, F), or (M, B, H, F) for a population.
        """

    @abstractmethod
    def roll_out(self, weights: Weights, context: Context, horizon: int) -> Forecast:
        """Free-running forecast (B, horizon, F): each token is fed back; nothing is computed twice."""

    @abstractmethod
    def activations(self, context: int, horizon: int) -> int:
        """Numbers that `predict` holds at once for a window of so many steps, at most; without autograd."""

    @abstractmethod
    def matrices(self) -> list[Matrix]:
        """The weight matrices whose spectra are analysed, in a fixed order."""

    # -- for users -----------------------------------------------------------------------------------------
    def forward(self, context: Context, target: Target) -> Forecast:
        """`predict` with the module's own weights; in training mode with dropout, of torch's global generator."""
        drop = None
        if self.training and self.dropout:
            key = torch.randint(-(2**31), 2**31, (1,), dtype=torch.int32)
            drop = Dropout(self.dropout, key.to(context.device))
        return self.predict(dict(self.named_parameters()), context, target, drop)

    @torch.inference_mode()
    def forecast(self, context: Context, horizon: int) -> Forecast:
        """`roll_out` with the module's own weights, without dropout."""
        return self.roll_out(dict(self.named_parameters()), context, horizon)

    def tokens(
        self, series: Float[Tensor, "*batches windows steps features"]
    ) -> Float[Tensor, "*batches windows tokens width"]:
        """(..., T, F) -> (..., T/P, P*F).

        Raises:
            ValueError: P does not divide T.
        """
        steps, features = series.shape[-2:]
        if steps % self.patch_length:
            raise ValueError(f"model.patch_length = {self.patch_length} with {steps} steps: must divide them")
        return series.reshape(*series.shape[:-2], steps // self.patch_length, self.patch_length * features)

    def steps(self, tokens: Float[Tensor, "*members windows tokens width"]) -> Forecast:
        """(..., N, P*F) -> (..., N*P, F), the inverse of `tokens`."""
        return tokens.reshape(*tokens.shape[:-2], -1, self.features)

    def shifted(self, context: Context, target: Target) -> Target:
        """What the decoder reads: the context's last token, then all target tokens but the last."""
        return torch.cat([context[..., -1:, :], target[..., :-1, :]], dim=-2)


class Layout:
    """Order and shapes of a model's parameters inside one flat vector.

    Args:
        model: any module; the order is that of `named_parameters`. Its matrices are those of a `Forecaster`.

    >>> layout = Layout(nn.Linear(3, 2))
    >>> layout.size, layout.slices
    (8, {'weight': (0, 6), 'bias': (6, 8)})
    """

    def __init__(self, model: nn.Module) -> None:
        self.names = [name for name, _ in model.named_parameters()]
        self.shapes = [tuple(p.shape) for p in model.parameters()]
        self.sizes = [p.numel() for p in model.parameters()]
        self.size = sum(self.sizes)
        edges = [0]
        for size in self.sizes:
            edges.append(edges[-1] + size)
        self.slices = dict(zip(self.names, pairwise(edges), strict=True))
        self.matrices = model.matrices() if isinstance(model, Forecaster) else []

    def flatten(self, model: nn.Module) -> Tensor:
        """All weights as one vector (size,), detached, a copy."""
        return torch.cat([p.detach().reshape(-1) for p in model.parameters()])

    def views(self, flat: Tensor) -> dict[str, Tensor]:
        """(size,) or (M, size) -> parameters by name, as views with the same leading axis.

        One split, so that its backward is one concatenation.
        """
        stretches = flat.split(self.sizes, dim=-1)
        return {
            name: stretch.unflatten(-1, shape) if len(shape) > 1 else stretch
            for name, shape, stretch in zip(self.names, self.shapes, stretches, strict=True)
        }

    def load(self, model: nn.Module, flat: Tensor) -> None:
        """Copies a vector (size,) into the module's parameters."""
        views = self.views(flat)
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                parameter.copy_(views[name])
