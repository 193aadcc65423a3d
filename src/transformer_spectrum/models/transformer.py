"""Encoder-decoder transformer for forecasting, after Vaswani et al. (2017), https://arxiv.org/abs/1706.03762.

Post-norm layers as in torch.nn.Transformer, but Q, K, V and O are separate matrices (their spectra are the
subject here), a token is a patch of time steps (Nie et al. 2023, https://arxiv.org/abs/2211.14730), and free
running keeps keys and values.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from transformer_spectrum.models.base import Forecaster, Weights, linear
from transformer_spectrum.spectra.weights import MatrixSpec

PROJECTIONS = ("query", "key", "value", "output")


def sinusoidal_positions(length: int, width: int) -> Tensor:
    """(length, width): sin and cos of position / 10000^(2i/width), interleaved; Vaswani et al. section 3.5."""
    position = torch.arange(length, dtype=torch.float64).unsqueeze(1)
    rate = torch.exp(torch.arange(0, width, 2, dtype=torch.float64) * (-math.log(10000.0) / width))
    table = torch.zeros(length, width, dtype=torch.float64)
    table[:, 0::2] = torch.sin(position * rate)
    table[:, 1::2] = torch.cos(position * rate)[:, : width // 2]
    return table.float()


def _attention(width: int) -> nn.ModuleDict:
    return nn.ModuleDict({name: nn.Linear(width, width) for name in PROJECTIONS})


def _feed_forward(width: int, inner: int) -> nn.ModuleDict:
    return nn.ModuleDict({"expand": nn.Linear(width, inner), "contract": nn.Linear(inner, width)})


class Transformer(Forecaster):
    """See the module's docstring.

    Args:
        features: F, channels of the series.
        embed_dim: d, width of a token; must be divisible by heads.
        heads: attention heads.
        layers: encoder layers, and as many decoder layers.
        feedforward_dim: width inside the feed-forward blocks.
        dropout: on every residual branch and the embeddings, in training mode only.
        patch_length: P, time steps in one token.
        generator: draws the initial weights on the CPU: matrices Xavier-uniform, biases 0, norms 1.
    Raises:
        ValueError: heads do not divide embed_dim.
    """

    def __init__(
        self,
        features: int,
        embed_dim: int,
        heads: int,
        layers: int,
        feedforward_dim: int,
        dropout: float,
        patch_length: int,
        generator: torch.Generator,
    ) -> None:
        super().__init__(features, patch_length)
        if embed_dim % heads:
            raise ValueError(f"model.heads = {heads} with model.embed_dim = {embed_dim}: must divide it")
        self.embed_dim, self.heads, self.layers, self.dropout = embed_dim, heads, layers, dropout
        token = patch_length * features
        self.context_embedding = nn.Linear(token, embed_dim)
        self.target_embedding = nn.Linear(token, embed_dim)
        self.encoder = nn.ModuleList(
            nn.ModuleDict(
                {
                    "self_attention": _attention(embed_dim),
                    "self_norm": nn.LayerNorm(embed_dim),
                    "feed_forward": _feed_forward(embed_dim, feedforward_dim),
                    "feed_norm": nn.LayerNorm(embed_dim),
                }
            )
            for _ in range(layers)
        )
        self.encoder_norm = nn.LayerNorm(embed_dim)
        self.decoder = nn.ModuleList(
            nn.ModuleDict(
                {
                    "self_attention": _attention(embed_dim),
                    "self_norm": nn.LayerNorm(embed_dim),
                    "cross_attention": _attention(embed_dim),
                    "cross_norm": nn.LayerNorm(embed_dim),
                    "feed_forward": _feed_forward(embed_dim, feedforward_dim),
                    "feed_norm": nn.LayerNorm(embed_dim),
                }
            )
            for _ in range(layers)
        )
        self.decoder_norm = nn.LayerNorm(embed_dim)
        self.readout = nn.Linear(embed_dim, token)
        for name, parameter in self.named_parameters():
            if parameter.ndim == 2:
                nn.init.xavier_uniform_(parameter, generator=generator)
            else:
                nn.init.constant_(parameter, float(name.endswith("norm.weight")))
        self._positions: Tensor = sinusoidal_positions(512, embed_dim)

    # -- layers --------------------------------------------------------------------------------------------
    def _embed(self, weights: Weights, name: str, tokens: Tensor, first: int = 0) -> Tensor:
        last = first + tokens.shape[-2]
        if last > len(self._positions) or self._positions.device != tokens.device:
            self._positions = sinusoidal_positions(max(last, len(self._positions)), self.embed_dim).to(tokens.device)
        weight = weights[f"{name}.weight"]
        if weight.ndim == 3 and tokens.ndim == 3:
            tokens = tokens.expand(weight.shape[0], *tokens.shape)  # every member reads the same batch
        return self._drop(linear(weights, name, tokens) + self._positions[first:last].to(tokens.dtype))

    def _drop(self, x: Tensor) -> Tensor:
        return functional.dropout(x, self.dropout) if self.training and self.dropout else x

    def _norm(self, weights: Weights, name: str, x: Tensor) -> Tensor:
        weight, bias = weights[f"{name}.weight"], weights[f"{name}.bias"]
        if weight.ndim == 1:
            return functional.layer_norm(x, (self.embed_dim,), weight, bias)
        normal = functional.layer_norm(x, (self.embed_dim,))
        return torch.addcmul(bias[:, None, None], normal, weight[:, None, None])

    def _split_heads(self, x: Tensor) -> Tensor:
        # (..., B, T, d) -> (all of ... and B, heads, T, d / heads)
        return x.reshape(-1, x.shape[-2], self.heads, self.embed_dim // self.heads).transpose(1, 2)

    def _attend(
        self, weights: Weights, name: str, x: Tensor, key: Tensor, value: Tensor, causal: bool = False
    ) -> Tensor:
        query = self._split_heads(linear(weights, f"{name}.query", x))
        mixed = functional.scaled_dot_product_attention(query, key, value, is_causal=causal)
        return linear(weights, f"{name}.output", mixed.transpose(1, 2).reshape(x.shape))

    def _keys_values(self, weights: Weights, name: str, x: Tensor) -> tuple[Tensor, Tensor]:
        return tuple(self._split_heads(linear(weights, f"{name}.{part}", x)) for part in ("key", "value"))

    def _feed(self, weights: Weights, name: str, x: Tensor) -> Tensor:
        inner = functional.relu(linear(weights, f"{name}.feed_forward.expand", x))
        outer = self._drop(linear(weights, f"{name}.feed_forward.contract", inner))
        return self._norm(weights, f"{name}.feed_norm", x + outer)

    def _encode(self, weights: Weights, tokens: Tensor) -> Tensor:
        x = self._embed(weights, "context_embedding", tokens)
        for i in range(self.layers):
            name = f"encoder.{i}"
            key, value = self._keys_values(weights, f"{name}.self_attention", x)
            mixed = self._drop(self._attend(weights, f"{name}.self_attention", x, key, value))
            x = self._norm(weights, f"{name}.self_norm", x + mixed)
            x = self._feed(weights, name, x)
        return self._norm(weights, "encoder_norm", x)

    def _decoder_layer(
        self,
        weights: Weights,
        i: int,
        x: Tensor,
        own: tuple[Tensor, Tensor],
        cross: tuple[Tensor, Tensor],
        causal: bool,
    ) -> Tensor:
        name = f"decoder.{i}"
        mixed = self._drop(self._attend(weights, f"{name}.self_attention", x, *own, causal=causal))
        x = self._norm(weights, f"{name}.self_norm", x + mixed)
        mixed = self._drop(self._attend(weights, f"{name}.cross_attention", x, *cross))
        x = self._norm(weights, f"{name}.cross_norm", x + mixed)
        return self._feed(weights, name, x)

    # -- Forecaster ----------------------------------------------------------------------------------------
    def predict(self, weights: Weights, context: Tensor, target: Tensor) -> Tensor:
        given = self.tokens(context)
        memory = self._encode(weights, given)
        x = self._embed(weights, "target_embedding", self.shifted(given, self.tokens(target)))
        for i in range(self.layers):
            own = self._keys_values(weights, f"decoder.{i}.self_attention", x)
            cross = self._keys_values(weights, f"decoder.{i}.cross_attention", memory)
            x = self._decoder_layer(weights, i, x, own, cross, causal=True)
        return self.steps(linear(weights, "readout", self._norm(weights, "decoder_norm", x)))

    def roll_out(self, weights: Weights, context: Tensor, horizon: int) -> Tensor:
        if horizon % self.patch_length:
            raise ValueError(f"model.patch_length = {self.patch_length} with {horizon} steps: must divide them")
        given = self.tokens(context)
        memory = self._encode(weights, given)
        cross = [self._keys_values(weights, f"decoder.{i}.cross_attention", memory) for i in range(self.layers)]
        kept: list[tuple[Tensor, Tensor] | None] = [None] * self.layers
        token, outputs = given[:, -1:], []
        for position in range(horizon // self.patch_length):
            x = self._embed(weights, "target_embedding", token, first=position)
            for i in range(self.layers):
                own = self._keys_values(weights, f"decoder.{i}.self_attention", x)
                if (before := kept[i]) is not None:
                    own = (torch.cat([before[0], own[0]], dim=2), torch.cat([before[1], own[1]], dim=2))
                kept[i] = own
                x = self._decoder_layer(weights, i, x, own, cross[i], causal=False)
            token = linear(weights, "readout", self._norm(weights, "decoder_norm", x))
            outputs.append(token)
        return self.steps(torch.cat(outputs, dim=-2))

    def matrices(self) -> list[MatrixSpec]:
        specs = []
        for name, parameter in self.named_parameters():
            if parameter.ndim != 2:
                continue
            parts = name.split(".")
            if parts[0] in ("encoder", "decoder"):
                family = parts[2] if parts[2] == "feed_forward" else f"{parts[0]}_{parts[2]}"
            else:
                family = "readout" if parts[0] == "readout" else "embedding"
            rows, columns = parameter.shape
            specs.append(MatrixSpec(name.removesuffix(".weight"), family, name, None, (rows, columns)))
        return specs
