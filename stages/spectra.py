"""Stage spectra: every spectral metric of the three trainings, as numbers, tables and figures."""

import sys
from pathlib import Path

from transformer_spectrum.config.load import load_params
from transformer_spectrum.report.figures.caption import caption_of
from transformer_spectrum.report.pictures.outputs import write_outputs
from transformer_spectrum.runtime.errors import one_line_errors
from transformer_spectrum.runtime.files import read_json, write_json
from transformer_spectrum.tracking.mlflow_spectra import attach_spectra

OPTIMIZERS = ("adam", "es", "ga")  # fixed: what an earlier run left behind must not come in


def _say(line: str) -> None:
    print(f"spectra: {line}", file=sys.stderr)


def main() -> None:
    params = load_params()
    caption = caption_of(params, bool(read_json("data/processed/provenance.json")["standin"]))
    models = {name: Path("models") / name for name in OPTIMIZERS}
    plots = Path("plots")
    write_outputs(params, models, caption, plots=plots, metrics=Path("metrics"))
    if params.tracking.mlflow is not None:
        undelivered = attach_spectra(params.tracking.mlflow, models, plots, Path("metrics"), _say)
        if undelivered:  # the trainings' scores.json are the trainings' outputs
            summary = Path("metrics/spectra.json")
            write_json(summary, {**read_json(summary), "mlflow": f"not all was sent: {undelivered}"})


if __name__ == "__main__":
    with one_line_errors("spectra"):
        main()
