"""Trainings in memory, for ensembles.py and gpu.py: made of the package's core alone, gone on with round by round.

What is timed is what `training.loop.fit` does with them, apart from its bookkeeping: searches whose requests are
answered together, validation, spectra.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from contest import Sizes, windows

from transformer_spectrum import losses
from transformer_spectrum.distributions.sgt import SGT
from transformer_spectrum.losses import Loss
from transformer_spectrum.models.forecaster import Layout
from transformer_spectrum.models.transformer import Transformer
from transformer_spectrum.optimizers.contract import Request, Searcher, Step
from transformer_spectrum.optimizers.evolution.openai_es import OpenAIES
from transformer_spectrum.optimizers.ga import GA
from transformer_spectrum.optimizers.gradient.adam import Adam
from transformer_spectrum.optimizers.gradient.descent import Descent
from transformer_spectrum.training.loop import Member
from transformer_spectrum.training.measuring import Start
from transformer_spectrum.training.objective import WindowObjective
from transformer_spectrum.training.recording import Recording
from transformer_spectrum.training.requests import Answers, Measuring, Validating

ENDLESS = 10**6
ROUNDS = {"adam": 60, "es": 300, "ga": 640}
"""Epochs or generations of a training, as in params.yaml."""


def _sgt(sigma: float, q: float) -> Loss:
    return losses.make_loss("sgt", sgt=SGT(0.0, sigma, 0.0, 2.0, q, True, True))


def study_losses() -> dict[str, Loss]:
    """The eight of studies/synthetic.yaml; those of one form are neighbours."""
    shapes = {"sgt_wide": (15.0, 1.001), **{f"sgt_q{q}": (0.707, float(q)) for q in (5, 20, 75, 100)}}
    plain = {name: losses.make_loss(name) for name in ("mse", "mae")}
    return (
        {name: _sgt(*shape) for name, shape in shapes.items()}
        | plain
        | {"cauchy": losses.make_loss("cauchy", gamma=1.0)}
    )


def searcher(optimizer: str, popsize: int | None = None) -> Searcher:
    """With the settings of params.yaml, without an end."""
    if optimizer == "adam":
        return Descent(Adam(), ENDLESS, 1e-3)
    if optimizer == "es":
        return OpenAIES(ENDLESS, popsize or 32, 0.01)
    return GA(ENDLESS, popsize or 16, 0.02, 4, 0.9, 15.0, 0.1, 0.01, 1, 0.998)


def members(
    sizes: Sizes,
    count: int,
    search: Searcher,
    kinds: Sequence[Loss] = (losses.mse,),
    device: str = "cpu",
    workers: int = 1,
    say: Callable[[str], None] = lambda sentence: None,
) -> list[Member]:
    """Trainings that differ in seed, windows and loss."""
    context, target = (torch.from_numpy(array).to(device) for array in windows(sizes, sizes.training_windows))
    made = []
    for seed in range(count):
        generator = torch.Generator().manual_seed(seed)
        shape = (sizes.embed, sizes.heads, sizes.layers, sizes.feedforward)
        model = Transformer(1, *shape, 0.0, sizes.patch, generator).to(device)
        layout = Layout(model)
        objective, validation = (
            WindowObjective(
                model,
                layout,
                kinds[seed * len(kinds) // count],
                context[:some] * (1 + seed / count),
                target[:some] * (1 + seed / count),
                sizes.windows,
                seed=seed,
                workers=workers,
                say=say,
            )
            for some in (sizes.training_windows, sizes.validation_windows)
        )
        start = Start(layout.flatten(model).to(device), layout, model.matrices())
        made.append(Member(search, objective, validation, start, Recording(), generator))
    return made


class Rounds:
    """Members that are at work.

    Args:
        trained: not to be used elsewhere.
    """

    def __init__(self, trained: Sequence[Member]) -> None:
        self.trained = trained
        self.answers = Answers([member.objective for member in trained])
        self.searches = [
            member.searcher.search(member.objective, member.start.weights, member.generator) for member in trained
        ]
        self.steps = self._next()

    def advance(self) -> int:
        """An epoch or a generation of all; how many they are."""
        self.steps = self._next()
        while not all(step.ends_round for step in self.steps):  # the first epoch has records inside
            self.steps = self._next()
        return len(self.trained)

    def validate(self) -> float:
        """Validates all; the mean of their losses."""
        requests = [Validating(member.validation, step.weights) for member, step in self._pairs()]
        loss = sum(answer.loss for answer in self._answers(requests)) / len(self.trained)
        if not math.isfinite(loss):
            raise ValueError("a member has diverged: what is timed would not be a training")
        return loss

    def measure(self) -> None:
        """The spectra of all, of the weights and of their changes."""
        self._answers([Measuring(member.start, step.weights) for member, step in self._pairs()])

    def _pairs(self) -> list[tuple[Member, Step]]:
        return list(zip(self.trained, self.steps, strict=True))

    def _answers(self, requests: Sequence[Request]) -> list:
        return self.answers(list(enumerate(requests)))

    def _next(self) -> list[Step]:
        """The next step of each; what they ask for between is answered together."""
        steps: dict[int, Step] = {}
        answered = dict.fromkeys(range(len(self.searches)))
        while answered:
            yielded = {number: self.searches[number].send(answer) for number, answer in answered.items()}
            steps |= {number: step for number, step in yielded.items() if isinstance(step, Step)}
            asked = [pair for pair in yielded.items() if not isinstance(pair[1], Step)]
            answers = self.answers(asked) if asked else []
            answered = {number: answer for (number, _), answer in zip(asked, answers, strict=True)}
        return [steps[number] for number in range(len(self.searches))]
