"""How the spectra evolve: every metric of every family against steps or evaluations, beside its null."""

from __future__ import annotations

from transformer_spectrum.config.schema import SpectraParams
from transformer_spectrum.vocabulary import ALPHA_CAUTION, BAND_MEANING

TITLE = "How the spectra evolve"
STEPS, EVALUATIONS = "step", "evaluations"
TEXT = (
    f"The mean of each family of matrices. Dashed: the initial weights. Grey: the {BAND_MEANING}. KS and Hill alpha "
    f"are {ALPHA_CAUTION}."
)


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
