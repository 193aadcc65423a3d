"""A problem whose answer is known, for every searcher."""

import math

import pytest
import torch

SIZE = 10


class Quadratic:
    """sum_i scale_i (w_i - 1)^2; a batch is a number that shifts the loss, so that sharing it can be seen.

    Args:
        condition: largest scale; the smallest is 1.
        noise: standard deviation of a batch.
        spoil: share of a population's losses that are not a number.
        size: of a weight vector.
    """

    def __init__(self, condition=1.0, noise=0.0, spoil=0.0, size=SIZE):
        self.size = size
        self.scale = torch.logspace(0, math.log10(condition), size)
        self.noise, self.spoil = noise, spoil
        self.scored = []
        self.gradients = 0

    def batch(self, generator):
        return self.noise * torch.randn((), generator=generator).item()

    def epoch(self, generator):
        for _ in range(20):
            yield self.batch(generator)

    def loss(self, vectors, batch):
        return (self.scale * (vectors - 1) ** 2).sum(1) + batch

    def losses(self, population, batch):
        self.scored.append((len(population), batch))
        if not isinstance(population, torch.Tensor):  # some at a time, the last ones first
            starts = range(0, len(population), 7)
            parts = [population.members(start, min(start + 7, len(population))) for start in reversed(starts)]
            population = torch.cat(parts[::-1])
        losses = self.loss(population, batch)
        if self.spoil and len(population) > 1:
            losses[: int(self.spoil * len(population))] = torch.nan
        return losses

    def gradient(self, weights, batch):
        self.gradients += 1
        return float(self.loss(weights[None], batch)[0]), 2 * self.scale * (weights - 1)


@pytest.fixture(name="Quadratic", scope="session")
def _quadratic():
    return Quadratic
