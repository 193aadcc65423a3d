"""Stage spectra: every spectral metric of the three trainings, as numbers, tables and figures."""

import logging
from pathlib import Path

from transformer_spectrum.config.load import load_params
from transformer_spectrum.config.schema import OPTIMIZERS
from transformer_spectrum.report.figures.caption import caption_of
from transformer_spectrum.report.pictures.outputs import write_outputs
from transformer_spectrum.runtime.errors import one_line_errors
from transformer_spectrum.runtime.files import read_json, write_json
from transformer_spectrum.runtime.log import to_stderr
from transformer_spectrum.tracking.mlflow_spectra import attach_spectra

logger = logging.getLogger("transformer_spectrum.stages.spectra")


def main() -> None:
    params = load_params()
    caption = caption_of(params, bool(read_json("data/processed/provenance.json")["standin"]))
    models = {name: Path("models") / name for name in OPTIMIZERS}  # these alone: not what an earlier run left behind
    plots = Path("plots")
    write_outputs(params, models, caption, plots=plots, metrics=Path("metrics"))
    if params.tracking.mlflow is not None:
        undelivered = attach_spectra(
            params.tracking.mlflow, models, plots, Path("metrics"), lambda line: logger.info(f"spectra: {line}")
        )
        if undelivered:  # the trainings' scores.json are the trainings' outputs
            summary = Path("metrics/spectra.json")
            write_json(summary, {**read_json(summary), "mlflow": f"not all was sent: {undelivered}"})


if __name__ == "__main__":
    with one_line_errors("spectra"), to_stderr():
        main()
