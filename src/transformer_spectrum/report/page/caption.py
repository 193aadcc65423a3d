"""What a picture or a page has to say about its run."""

from __future__ import annotations

from dataclasses import dataclass

from transformer_spectrum.config.load import Params
from transformer_spectrum.data.series.catalogue import CATALOGUE
from transformer_spectrum.vocabulary import LOSS_UNITS


@dataclass(frozen=True)
class Caption:
    """What a figure has to say about its run.

    Attributes:
        dataset: name of the data set.
        data_unit: what its values count.
        loss: name of the loss, and its parameters where it has any.
        loss_unit: unit of its values.
        seed: of the run.
        standin: the data are simulated in the place of real ones; said in red.
    """

    dataset: str
    data_unit: str
    loss: str
    loss_unit: str
    seed: int
    standin: bool

    def line(self) -> str:
        """One line of text."""
        return f"data: {self.dataset}   ·   loss: {self.loss}   ·   seed: {self.seed}"


def caption_of(params: Params, standin: bool) -> Caption:
    """The caption of a run.

    Args:
        params: all parameters.
        standin: what the provenance of the data says.
    """
    loss = params.loss
    shape = {"sgt": f" (p = {loss.p:g}, q = {loss.q:g}, λ = {loss.lam:g})", "cauchy": f" (γ = {loss.gamma:g})"}
    return Caption(
        dataset=params.data.dataset,
        data_unit=CATALOGUE[params.data.dataset].unit.format_map(params.data.chosen.model_dump()),
        loss=loss.type + shape.get(loss.type, ""),
        loss_unit=LOSS_UNITS[loss.type],
        seed=params.seed,
        standin=standin,
    )
