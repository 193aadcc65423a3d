"""LSTM encoder-decoder for forecasting: Hochreiter & Schmidhuber (1997) with forget gates, Sutskever et al. (2014).

The cell is written out, gate by gate as torch.nn.LSTM orders them, because every gate's matrices are analysed and
because a population of networks has to run at once.
"""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor, nn

from transformer_spectrum.models.dropout import Dropout
from transformer_spectrum.models.forecaster import Context, Forecast, Forecaster, Target, Weights, affine, linear
from transformer_spectrum.weights.matrices.families import GATES, of_forecaster
from transformer_spectrum.weights.matrices.matrix import Cut, Matrix

State = tuple[Tensor, Tensor]


def _each(weights: Weights, tokens: Tensor) -> Tensor:
    """Tokens of one batch for every member, where they are not each member's own."""
    weight = weights["readout.weight"]
    return tokens.expand(weight.shape[0], *tokens.shape) if weight.ndim == 3 and tokens.ndim == 3 else tokens


class LSTM(Forecaster):
    """See the module's docstring.

    Args:
        features: F, channels of the series.
        hidden: width of the state.
        layers: encoder layers, and as many decoder layers.
        dropout: between layers.
        patch_length: P, time steps in one token.
        generator: draws the initial weights on the CPU, uniform in +-1/sqrt(hidden) as torch.nn.LSTM does.
    """

    chunk_mib = 64  # a step reads little of it, so more members fit in the cache

    def __init__(
        self, features: int, hidden: int, layers: int, dropout: float, patch_length: int, generator: torch.Generator
    ) -> None:
        super().__init__(features, patch_length)
        self.hidden, self.layers, self.dropout = hidden, layers, dropout
        token = patch_length * features
        for side in ("encoder", "decoder"):
            stack = nn.ModuleList(
                nn.ModuleDict(
                    {
                        "input": nn.Linear(token if i == 0 else hidden, 4 * hidden),
                        "state": nn.Linear(hidden, 4 * hidden),
                    }
                )
                for i in range(layers)
            )
            self.add_module(side, stack)
        self.readout = nn.Linear(hidden, token)
        bound = 1 / math.sqrt(hidden)
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -bound, bound, generator=generator)

    def _layer(self, weights: Weights, name: str, x: Tensor, state: State | None) -> tuple[Tensor, State]:
        """One layer over a whole sequence x (..., T, i) -> outputs (..., T, hidden) and the last state."""
        weight = weights[f"{name}.state.weight"].mT  # (..., hidden, 4 hidden)
        bias = weights[f"{name}.input.bias"] + weights[f"{name}.state.bias"]
        driven = affine(x, weights[f"{name}.input.weight"], bias)  # (..., T, 4 hidden), all steps at once
        add_product = torch.addmm if weight.ndim == 2 else torch.baddbmm
        hidden, cell = state if state is not None else (driven.new_zeros(*driven.shape[:-2], self.hidden),) * 2
        outputs = []
        for t in range(driven.shape[-2]):
            i, f, g, o = add_product(driven[..., t, :], hidden, weight).chunk(4, dim=-1)
            cell = torch.sigmoid(f) * cell + torch.sigmoid(i) * torch.tanh(g)
            hidden = torch.sigmoid(o) * torch.tanh(cell)
            outputs.append(hidden)
        return torch.stack(outputs, dim=-2), (hidden, cell)

    def _stack(
        self, weights: Weights, side: str, x: Tensor, states: list[State] | None, drop: Dropout | None = None
    ) -> tuple[Tensor, list[State]]:
        last = []
        for i in range(self.layers):
            if i and drop is not None:
                x = drop(x)
            x, state = self._layer(weights, f"{side}.{i}", x, states[i] if states else None)
            last.append(state)
        return x, last

    def _context_tokens(self, weights: Weights, context: Tensor) -> Tensor:
        tokens = self.tokens(context)
        return _each(weights, tokens)

    def predict(self, weights: Weights, context: Context, target: Target, drop: Dropout | None = None) -> Forecast:
        _, states = self._stack(weights, "encoder", self._context_tokens(weights, context), None, drop)
        shifted = _each(weights, self.shifted(self.tokens(context), self.tokens(target)))
        x, _ = self._stack(weights, "decoder", shifted, states, drop)
        return self.steps(linear(weights, "readout", x))

    def roll_out(self, weights: Weights, context: Context, horizon: int) -> Forecast:
        if horizon % self.patch_length:
            raise ValueError(f"model.patch_length = {self.patch_length} with {horizon} steps: must divide them")
        tokens = self._context_tokens(weights, context)
        _, states = self._stack(weights, "encoder", tokens, None)
        token, outputs = tokens[..., -1:, :], []
        for _ in range(horizon // self.patch_length):
            x, states = self._stack(weights, "decoder", token, states)
            token = linear(weights, "readout", x)
            outputs.append(token)
        return self.steps(torch.cat(outputs, dim=-2))

    def activations(self, context: int, horizon: int) -> int:
        # What drives the four gates, the layer's input, its outputs before and after they are stacked; and the states.
        return max(context, horizon) // self.patch_length * 9 * self.hidden

    def matrices(self) -> list[Matrix]:
        matrices = []
        for tensor, parameter in self.named_parameters():
            if parameter.ndim != 2:
                continue
            name, (rows, columns) = tensor.removesuffix(".weight"), parameter.shape
            whole = Matrix(name, of_forecaster(name), tensor, (rows, columns))
            matrices += [whole] if name == "readout" else [self._gate(whole, g) for g in range(len(GATES))]
        return matrices

    def _gate(self, whole: Matrix, gate: int) -> Matrix:
        rows = Cut(1, gate * self.hidden, (gate + 1) * self.hidden)
        return replace(whole, name=f"{whole.name}.{GATES[gate]}", shape=(self.hidden, whole.shape[1]), cut=rows)
