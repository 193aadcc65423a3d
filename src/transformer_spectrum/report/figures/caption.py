"""What a picture or a page has to say about its run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from transformer_spectrum.config.load import Params
from transformer_spectrum.vocabulary import DATA_SETS, LOSS_NAMES, LOSS_UNITS, display_name

FOLLOWS = "follows the residuals"
"""Said of the loss's scale where `loss.scale` is residual: then its own setting says nothing."""


@dataclass(frozen=True)
class Caption:
    """What a figure has to say about its run.

    Attributes:
        dataset: name of the data set.
        data_unit: what its values count; may have two lines.
        loss_type: name of the loss.
        loss_settings: its parameters, such as "q = 5"; empty where it has none.
        loss_unit: unit of its values.
        seed: of the run.
        standin: the data are simulated in the place of real ones; said in red.
        algorithms: optimizer -> the algorithm that its section chose, where it has a choice.
    """

    dataset: str
    data_unit: str
    loss_type: str
    loss_settings: str
    loss_unit: str
    seed: int
    standin: bool
    algorithms: Mapping[str, str] = field(default_factory=dict)

    @property
    def loss(self) -> str:
        """The loss with its settings, as params.yaml spells it.

        >>> Caption("covid", "cases", "cauchy", "γ = 1", "dimensionless", 1, False).loss
        'cauchy (γ = 1)'
        """
        return f"{self.loss_type} ({self.loss_settings})" if self.loss_settings else self.loss_type

    @property
    def loss_name(self) -> str:
        """The loss with its settings, for sentences.

        >>> Caption("covid", "cases", "cauchy", "γ = 1", "dimensionless", 1, False).loss_name
        'Cauchy loss (γ = 1)'
        """
        name = f"{LOSS_NAMES.get(self.loss_type, self.loss_type)} loss"
        return f"{name} ({self.loss_settings})" if self.loss_settings else name

    @property
    def unit(self) -> str:
        """The unit of the data in one line.

        >>> Caption("covid", "cases a day\\n(7-day mean)", "mae", "", "scaled units", 1, False).unit
        'cases a day (7-day mean)'
        """
        return self.data_unit.replace("\n", " ")

    def line(self) -> str:
        """One line of text.

        >>> Caption("covid", "cases", "mae", "", "scaled units", 1, False).line()
        'data: covid   ·   loss: mae   ·   seed: 1'
        """
        return "   ·   ".join(self.facts())

    def facts(self) -> list[str]:
        """What the line is made of.

        >>> Caption("covid", "cases", "mae", "", "scaled units", 1, False).facts()
        ['data: covid', 'loss: mae', 'seed: 1']
        >>> Caption("covid", "cases", "mae", "", "scaled units", 1, False, {"adam": "adam", "es": "cma"}).facts()[3:]
        ['es: cma']
        """
        chosen = [f"{name}: {algorithm}" for name, algorithm in self.algorithms.items() if algorithm != name]
        return [f"data: {self.dataset}", f"loss: {self.loss}", f"seed: {self.seed}", *chosen]

    def name_of(self, optimizer: str) -> str:
        """The name of an optimizer for people, by the algorithm that its section chose.

        >>> caption = Caption("covid", "cases", "mae", "", "scaled units", 1, False, {"adam": "muon", "es": "cma"})
        >>> caption.name_of("adam"), caption.name_of("es"), caption.name_of("ga")
        ('Muon', 'ES', 'GA')
        """
        return display_name(optimizer, self.algorithms.get(optimizer, ""))

    def names_of(self, optimizers: Iterable[str]) -> dict[str, str]:
        """Optimizer -> `name_of` it.

        >>> Caption("covid", "cases", "mae", "", "scaled units", 1, False).names_of(["adam", "es"])
        {'adam': 'Adam', 'es': 'ES'}
        """
        return {optimizer: self.name_of(optimizer) for optimizer in optimizers}


def caption_of(params: Params, standin: bool) -> Caption:
    """The caption of a run.

    Args:
        params: all parameters.
        standin: what the provenance of the data says.

    >>> from transformer_spectrum.config.load import load_params
    >>> caption_of(load_params(), standin=False).loss_unit
    'nats'
    """
    loss, follows = params.loss, params.loss.scale == "residual"
    shape = f"p = {loss.p:g}, q = {loss.q:g}, λ = {loss.lam:g}"
    settings = {
        "sgt": f"{shape}, σ {FOLLOWS}" if follows else shape,
        "cauchy": f"γ {FOLLOWS}" if follows else f"γ = {loss.gamma:g}",
    }
    factor = () if loss.factor == 1 else (f"times {loss.factor:g}",)
    return Caption(
        dataset=params.data.dataset,
        data_unit=DATA_SETS[params.data.dataset].unit.format_map(params.data.chosen.model_dump()),
        loss_type=loss.type,
        loss_settings=", ".join(filter(None, (settings.get(loss.type, ""), *factor))),
        loss_unit=LOSS_UNITS[loss.type],
        seed=params.seed,
        standin=standin,
        algorithms={"adam": params.adam.algorithm, "es": params.es.algorithm},
    )
