"""python -m transformer_spectrum.report.dvc_plots: writes Vega's libraries for our pages, and .dvc/plots."""

from __future__ import annotations

import json
from pathlib import Path

from transformer_spectrum.report.dvc_plots import curves, live, parameters, spectra
from transformer_spectrum.report.dvc_plots.page import page
from transformer_spectrum.report.page.vega import BUNDLE, bundle
from transformer_spectrum.runtime.files import atomic_path

FOLDER = Path(".dvc/plots")


def contents() -> dict[str, str]:
    """File name -> what belongs in it.

    >>> sorted(contents())[:3]
    ['esd.json', 'evolution.json', 'evolution_by_budget.json']
    """
    templates = {
        "parameters": parameters.parameters(),
        "live": live.live(),
        "evolution": curves.evolution("step"),
        "evolution_by_budget": curves.evolution("evaluations"),
        "evolution_by_mae": curves.evolution("validation_mae"),
        "evolution_by_distance": curves.evolution("distance"),
        "loss": curves.loss(),
        "validation": curves.validation(),
        "forecasts": curves.forecasts(),
        "esd": spectra.esd(),
        "singular_values": spectra.singular_values(),
        "heatmap": spectra.heatmap(),
    }
    files = {f"{name}.json": json.dumps(spec, indent=1, ensure_ascii=False) + "\n" for name, spec in templates.items()}
    return {**files, "page.html": page()}


def main() -> None:
    with atomic_path(BUNDLE) as temporary:
        Path(temporary).write_text(bundle(), encoding="utf-8")
    for name, text in contents().items():
        with atomic_path(FOLDER / name) as temporary:
            Path(temporary).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
