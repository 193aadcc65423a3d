"""Stage train-adam: trains by Adam, recording every weight matrix's spectrum at every step."""

from pathlib import Path

from transformer_spectrum.errors import one_line_errors
from transformer_spectrum.params import load_params
from transformer_spectrum.training import train


def main() -> None:
    train(
        load_params(),
        "adam",
        data=Path("data/processed/windows.npz"),
        models=Path("models/adam"),
        metrics=Path("metrics/adam"),
        provenance=Path("data/processed/provenance.json"),
        resume=Path(".resume/adam"),
    )


if __name__ == "__main__":
    with one_line_errors("train-adam"):
        main()
