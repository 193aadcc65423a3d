"""How the spectra evolve: every metric of every family, beside its null, against what is held equal in comparisons."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from transformer_spectrum.config.schema import SpectraParams
from transformer_spectrum.report.figures.loss import MAE
from transformer_spectrum.vocabulary import ALPHA_CAUTION, AXIS_WORDS, BAND_MEANING

TITLE = "How the spectra evolve"
TEXT = (
    "The mean of each family of matrices. Dashed: the initial weights. The pale band of each optimizer, at the tracked "
    f"steps and between them: {BAND_MEANING}. KS and Hill alpha are {ALPHA_CAUTION}."
)


class Across(NamedTuple):
    """An axis that the metrics are drawn over.

    Attributes:
        name: for lists to choose from, and for titles: "How the spectra evolve, by evaluations".
        label: of the axis, with the unit.
        falling: drawn with the largest value on the left, so that training runs to the right.
    """

    name: str
    label: str
    falling: bool = False


ACROSS: Mapping[str, Across] = {
    "step": Across(AXIS_WORDS["step"], "step"),
    "evaluations": Across(AXIS_WORDS["evaluations"], "evaluations"),
    "validation_mae": Across(AXIS_WORDS["validation_mae"], MAE, falling=True),
    "distance": Across(AXIS_WORDS["distance"], f"{AXIS_WORDS['distance']} |W - W0| / |W0|"),
}
"""Column of the table -> the axis; see `analysis.of_training.plot_tables.spectra_evolution`."""


def title(across: str) -> str:
    """The figure's title over an axis.

    >>> title("step"), title("validation_mae")
    ('How the spectra evolve', 'How the spectra evolve, by validation MAE')
    """
    return TITLE if across == "step" else f"{TITLE}, by {ACROSS[across].name}"


def settings_of(spectra: SpectraParams) -> dict[str, str]:
    """Metric -> what a reader has to know of the settings that its estimate depends on; see `metric_label`.

    >>> from transformer_spectrum.config.load import load_params
    >>> settings_of(load_params().spectra)["ks_alpha"]
    'tail ≥ 8'
    """
    first, last = (f"{100 * fraction:g}" for fraction in (spectra.window_first, spectra.window_last))
    return {
        "mp_spikes": f"level {spectra.edge_level:g}",
        "alpha_exponent": f"ranks {first}–{last} %",
        "hill_alpha": f"k = {100 * spectra.hill_fraction:g} % of rank",
        "ks_alpha": f"tail ≥ {spectra.min_tail}",
    }
