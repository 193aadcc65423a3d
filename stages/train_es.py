"""Stage train-es: trains by evolution strategy, recording every weight matrix's spectrum at every step."""

from pathlib import Path

from transformer_spectrum.errors import one_line_errors
from transformer_spectrum.params import load_params
from transformer_spectrum.training import train


def main() -> None:
    train(
        load_params(),
        "es",
        data=Path("data/processed/windows.npz"),
        models=Path("models/es"),
        metrics=Path("metrics/es"),
        provenance=Path("data/processed/provenance.json"),
        resume=Path(".resume/es"),
    )


if __name__ == "__main__":
    with one_line_errors("train-es"):
        main()
