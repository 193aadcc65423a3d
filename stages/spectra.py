"""Stage spectra: every spectral metric of the three trainings, as numbers, tables and figures."""

from pathlib import Path

from transformer_spectrum.errors import one_line_errors
from transformer_spectrum.files import read_json
from transformer_spectrum.params import load_params
from transformer_spectrum.report.outputs import write_outputs
from transformer_spectrum.report.style import caption_of

OPTIMIZERS = ("adam", "es", "ga")  # fixed: what an earlier run left behind must not come in


def main() -> None:
    params = load_params()
    caption = caption_of(params, bool(read_json("data/processed/provenance.json")["standin"]))
    models = {name: Path("models") / name for name in OPTIMIZERS}
    write_outputs(params, models, caption, plots=Path("plots"), metrics=Path("metrics"))


if __name__ == "__main__":
    with one_line_errors("spectra"):
        main()
