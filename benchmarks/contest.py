"""What contestants of search.py and ensembles.py share: sizes, data, the plain network, the process that runs samples.

A contestant is a process of its own, so that its threads, its memory and its environment are its own. It sets itself
up, says so, and then runs one sample whenever it is told to.
"""

from __future__ import annotations

import json
import math
import resource
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Sizes:
    """Of the network and the task; the defaults are those of params.yaml."""

    embed: int = 64
    heads: int = 4
    layers: int = 2
    feedforward: int = 128
    patch: int = 12
    windows: int = 32
    context: int = 240
    horizon: int = 60
    popsize: int = 256
    sigma: float = 0.03
    training_windows: int = 700
    validation_windows: int = 150

    @property
    def weights(self) -> int:
        """Of `plain_network`, and of the package's transformer."""
        d, f, p = self.embed, self.feedforward, self.patch
        attention, feed, norm = 4 * d * (d + 1), 2 * d * f + d + f, 2 * d
        encoder, decoder = attention + feed + 2 * norm, 2 * attention + feed + 3 * norm
        return 2 * d * (p + 1) + p * (d + 1) + self.layers * (encoder + decoder) + 2 * norm


TINY = Sizes(
    embed=8,
    heads=2,
    layers=1,
    feedforward=12,
    patch=4,
    windows=8,
    context=16,
    horizon=8,
    popsize=8,
    training_windows=20,
    validation_windows=9,
)
"""For rehearsals and tests."""


def windows(sizes: Sizes, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Context (count, C, 1) and target (count, H, 1), the same in every process."""
    series = np.random.default_rng(0).standard_normal((count, sizes.context + sizes.horizon, 1)).astype(np.float32)
    return series[:, : sizes.context].copy(), series[:, sizes.context :].copy()


def positions(length: int, width: int) -> np.ndarray:
    """(length, width) sines and cosines, interleaved."""
    angle = np.arange(length)[:, None] * np.exp(np.arange(0, width, 2) * (-math.log(10000.0) / width))
    return np.stack([np.sin(angle), np.cos(angle)], axis=-1).reshape(length, width).astype(np.float32)


def plain_network(sizes: Sizes, dropout: float = 0.1):
    """nn.Transformer with embeddings and a readout, as one writes it at first."""
    import torch
    from torch import nn

    class Plain(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.context_embedding = nn.Linear(sizes.patch, sizes.embed)
            self.target_embedding = nn.Linear(sizes.patch, sizes.embed)
            self.transformer = nn.Transformer(
                sizes.embed,
                sizes.heads,
                sizes.layers,
                sizes.layers,
                sizes.feedforward,
                dropout,
                batch_first=True,
            )
            self.readout = nn.Linear(sizes.embed, sizes.patch)
            longest = max(sizes.context, sizes.horizon) // sizes.patch
            self.register_buffer("positions", torch.from_numpy(positions(longest, sizes.embed)))
            mask = nn.Transformer.generate_square_subsequent_mask(sizes.horizon // sizes.patch)
            self.register_buffer("mask", mask)

        def forward(self, context: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
            given = context.reshape(len(context), -1, sizes.patch)
            wanted = target.reshape(len(target), -1, sizes.patch)
            shifted = torch.cat([given[:, -1:], wanted[:, :-1]], 1)
            source = self.context_embedding(given) + self.positions[: given.shape[1]]
            read = self.target_embedding(shifted) + self.positions[: shifted.shape[1]]
            return self.readout(self.transformer(source, read, tgt_mask=self.mask)).reshape(target.shape)

    torch.manual_seed(0)
    return Plain()


def plain_epochs(
    sizes: Sizes, second_pass: int, dropout: float = 0.0, clip: float = 0.0, device: str = "cpu"
) -> Callable[[], int]:
    """An epoch as one writes it at first: DataLoader, torch.optim.Adam, and a pass for metrics over so many windows."""
    import torch
    from torch import nn
    from torch.utils.data import DataLoader, TensorDataset

    model = plain_network(sizes, dropout).to(device)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    data = [torch.from_numpy(array) for array in windows(sizes, sizes.training_windows)]
    loader = DataLoader(TensorDataset(*data), sizes.windows, shuffle=True)
    looked_at = DataLoader(TensorDataset(*(array[:second_pass] for array in data)), sizes.windows)

    def loss(context: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        context, target = context.to(device), target.to(device)
        return (model(context, target) - target).square().mean()

    def epoch() -> int:
        model.train()
        for context, target in loader:
            optimizer.zero_grad()
            loss(context, target).backward()
            if clip:
                nn.utils.clip_grad_norm_(model.parameters(), clip)
            optimizer.step()
        model.eval()
        with torch.no_grad():
            sum(loss(context, target).item() for context, target in looked_at)
        return 1

    return epoch


def peak_mib() -> float:
    """Largest resident memory of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


class Skipped(Exception):
    """Why a contestant cannot run here."""


def serve(contestants: Mapping[str, Callable[..., tuple[Callable[[], int], dict]]]) -> None:
    """Runs the contestant that the command line names: NAME JSON.

    A contestant takes the JSON's entries, cores among them, and returns a function that computes one sample and says
    how many items it was, and facts that are worth telling.
    """
    settings = json.loads(sys.argv[2])
    sizes = Sizes(**settings.pop("sizes"))
    try:
        function, facts = contestants[sys.argv[1]](sizes, **settings)
    except (ImportError, Skipped) as error:
        print(json.dumps({"skipped": f"{type(error).__name__}: {error}"}), flush=True)
        return
    before = peak_mib()
    started = time.perf_counter()
    function()  # twice, because JAX compiles a second time for what the first call returned
    function()
    print(json.dumps({"warm_up_seconds": time.perf_counter() - started, **facts}), flush=True)
    for _ in sys.stdin:
        started, used = time.perf_counter(), time.process_time()
        items = function()
        sample = {"seconds": time.perf_counter() - started, "processor_seconds": time.process_time() - used}
        print(json.dumps({**sample, "items": items, "mib": peak_mib() - before}), flush=True)
