"""Encoder-decoder transformer for forecasting, after Vaswani et al. (2017), https://arxiv.org/abs/1706.03762.

Post-norm layers as in torch.nn.Transformer, but Q, K, V and O are separate matrices (their spectra are the
subject here), a token is a patch of time steps (Nie et al. 2023, https://arxiv.org/abs/2211.14730), and free
running keeps keys and values.
"""

from __future__ import annotations

import functools
import math

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from transformer_spectrum.models.attention import attention
from transformer_spectrum.models.dropout import Dropout
from transformer_spectrum.models.forecaster import Context, Forecast, Forecaster, Target, Weights, add_linear, linear
from transformer_spectrum.weights.matrices.families import of_forecaster
from transformer_spectrum.weights.matrices.matrix import Matrix

PROJECTIONS = ("query", "key", "value", "output")


def sinusoidal_positions(length: int, width: int) -> Float[Tensor, "{length} {width}"]:
    """(length, width): sin and cos of position / 10000^(2i/width), interleaved; Vaswani et al. section 3.5.

    >>> sinusoidal_positions(2, 2)[0].tolist(), round(float(sinusoidal_positions(2, 2)[1, 0]), 4)  # sin 0, cos 0; sin 1
    ([0.0, 1.0], 0.8415)
    """
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


@functools.cache
def _identity(width: int, dtype: torch.dtype, device: torch.device) -> tuple[Tensor, Tensor]:
    """Affine map that changes nothing: with one, torch's layer norm takes half as long on a CPU as without."""
    with torch.inference_mode(False):  # for use under autograd as well
        return torch.ones(width, dtype=dtype, device=device), torch.zeros(width, dtype=dtype, device=device)


class Transformer(Forecaster):
    """See the module's docstring.

    Args:
        features: F, channels of the series.
        embed_dim: d, width of a token; must be divisible by heads.
        heads: attention heads.
        layers: encoder layers, and as many decoder layers.
        feedforward_dim: width inside the feed-forward blocks.
        dropout: on every residual branch and the embeddings.
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
        self.feedforward_dim = feedforward_dim
        self._positions: Tensor = sinusoidal_positions(512, embed_dim)

    # -- layers --------------------------------------------------------------------------------------------
    def _embed(
        self, weights: Weights, name: str, tokens: Tensor, first: int = 0, drop: Dropout | None = None
    ) -> Tensor:
        last = first + tokens.shape[-2]
        table = self._positions  # a local name, because threads share the model
        if last > len(table) or table.device != tokens.device:
            table = sinusoidal_positions(max(last, len(table)), self.embed_dim).to(tokens.device)
            self._positions = table
        weight = weights[f"{name}.weight"]
        if weight.ndim == 3 and tokens.ndim == 3:
            tokens = tokens.expand(weight.shape[0], *tokens.shape)  # every member reads the same batch
        embedded = linear(weights, name, tokens) + table[first:last].to(tokens.dtype)
        return embedded if drop is None else drop(embedded)

    def _norm(self, weights: Weights, name: str, x: Tensor) -> Tensor:
        weight, bias = weights[f"{name}.weight"], weights[f"{name}.bias"]
        if weight.ndim == 1:
            return functional.layer_norm(x, (self.embed_dim,), weight, bias)
        normal = functional.layer_norm(x, (self.embed_dim,), *_identity(self.embed_dim, x.dtype, x.device))
        out = None if torch.is_grad_enabled() else normal
        return torch.addcmul(bias[:, None, None], normal, weight[:, None, None], out=out)

    def _residual(self, weights: Weights, name: str, x: Tensor, inner: Tensor, drop: Dropout | None) -> Tensor:
        """x + inner W^T + b; where nobody needs x any more, in its memory."""
        if drop is not None:
            return x + drop(linear(weights, name, inner))
        if torch.is_grad_enabled():
            return x + linear(weights, name, inner)
        return add_linear(x, weights, name, inner)

    def _attend(
        self,
        weights: Weights,
        name: str,
        x: Tensor,
        keys_values: tuple[Tensor, Tensor],
        drop: Dropout | None,
        causal: bool = False,
    ) -> Tensor:
        mixed = attention(linear(weights, f"{name}.query", x), *keys_values, self.heads, causal)
        return self._residual(weights, f"{name}.output", x, mixed, drop)

    def _keys_values(self, weights: Weights, name: str, x: Tensor) -> tuple[Tensor, Tensor]:
        return linear(weights, f"{name}.key", x), linear(weights, f"{name}.value", x)

    def _feed(self, weights: Weights, name: str, x: Tensor, drop: Dropout | None) -> Tensor:
        expanded = linear(weights, f"{name}.feed_forward.expand", x)
        inner = functional.relu(expanded, inplace=not torch.is_grad_enabled())
        x = self._residual(weights, f"{name}.feed_forward.contract", x, inner, drop)
        return self._norm(weights, f"{name}.feed_norm", x)

    def _encode(self, weights: Weights, tokens: Tensor, drop: Dropout | None = None) -> Tensor:
        x = self._embed(weights, "context_embedding", tokens, drop=drop)
        for i in range(self.layers):
            name = f"encoder.{i}"
            own = self._keys_values(weights, f"{name}.self_attention", x)
            x = self._attend(weights, f"{name}.self_attention", x, own, drop)
            x = self._norm(weights, f"{name}.self_norm", x)
            x = self._feed(weights, name, x, drop)
        return self._norm(weights, "encoder_norm", x)

    def _decoder_layer(
        self,
        weights: Weights,
        i: int,
        x: Tensor,
        own: tuple[Tensor, Tensor],
        cross: tuple[Tensor, Tensor],
        causal: bool,
        drop: Dropout | None = None,
    ) -> Tensor:
        name = f"decoder.{i}"
        x = self._attend(weights, f"{name}.self_attention", x, own, drop, causal)
        x = self._norm(weights, f"{name}.self_norm", x)
        x = self._attend(weights, f"{name}.cross_attention", x, cross, drop)
        x = self._norm(weights, f"{name}.cross_norm", x)
        return self._feed(weights, name, x, drop)

    # -- Forecaster ----------------------------------------------------------------------------------------
    def predict(self, weights: Weights, context: Context, target: Target, drop: Dropout | None = None) -> Forecast:
        tokens = self.tokens(context)
        memory = self._encode(weights, tokens, drop)
        x = self._embed(weights, "target_embedding", self.shifted(tokens, self.tokens(target)), drop=drop)
        for i in range(self.layers):
            own = self._keys_values(weights, f"decoder.{i}.self_attention", x)
            cross = self._keys_values(weights, f"decoder.{i}.cross_attention", memory)
            x = self._decoder_layer(weights, i, x, own, cross, causal=True, drop=drop)
        return self.steps(linear(weights, "readout", self._norm(weights, "decoder_norm", x)))

    def roll_out(self, weights: Weights, context: Context, horizon: int) -> Forecast:
        if horizon % self.patch_length:
            raise ValueError(f"model.patch_length = {self.patch_length} with {horizon} steps: must divide them")
        tokens = self.tokens(context)
        memory = self._encode(weights, tokens)
        cross = [self._keys_values(weights, f"decoder.{i}.cross_attention", memory) for i in range(self.layers)]
        cache: list[tuple[Tensor, Tensor] | None] = [None] * self.layers
        token, outputs = tokens[:, -1:], []
        for position in range(horizon // self.patch_length):
            x = self._embed(weights, "target_embedding", token, first=position)
            for i in range(self.layers):
                own = self._keys_values(weights, f"decoder.{i}.self_attention", x)
                if (before := cache[i]) is not None:
                    own = (torch.cat([before[0], own[0]], dim=-2), torch.cat([before[1], own[1]], dim=-2))
                cache[i] = own
                x = self._decoder_layer(weights, i, x, own, cross[i], causal=False)
            token = linear(weights, "readout", self._norm(weights, "decoder_norm", x))
            outputs.append(token)
        return self.steps(torch.cat(outputs, dim=-2))

    def activations(self, context: int, horizon: int) -> int:
        # A token, its query, key, value, mixture, output and norm; some stay while the feed-forward block is computed.
        return (context + horizon) // self.patch_length * (7 * self.embed_dim + self.feedforward_dim)

    def matrices(self) -> list[Matrix]:
        matrices = []
        for tensor, parameter in self.named_parameters():
            if parameter.ndim == 2:
                name, (rows, columns) = tensor.removesuffix(".weight"), parameter.shape
                matrices.append(Matrix(name, of_forecaster(name), tensor, (rows, columns)))
        return matrices
