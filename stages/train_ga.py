"""Stage train-ga: trains by genetic algorithm, recording every weight matrix's spectrum at every step."""

from pathlib import Path

from transformer_spectrum.errors import one_line_errors
from transformer_spectrum.params import load_params
from transformer_spectrum.training import train


def main() -> None:
    train(
        load_params(),
        "ga",
        data=Path("data/processed/windows.npz"),
        models=Path("models/ga"),
        metrics=Path("metrics/ga"),
        provenance=Path("data/processed/provenance.json"),
        resume=Path(".resume/ga"),
    )


if __name__ == "__main__":
    with one_line_errors("train-ga"):
        main()
