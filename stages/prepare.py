"""Stage prepare: raw series of the chosen data set -> windows, their description, the baselines."""

from pathlib import Path

from transformer_spectrum.errors import one_line_errors
from transformer_spectrum.params import load_params
from transformer_spectrum.preparation import prepare


def main() -> None:
    params = load_params()
    prepare(
        params,
        raw=Path("data/raw") / params.data.dataset,
        processed=Path("data/processed"),
        metrics=Path("metrics/data.json"),
    )


if __name__ == "__main__":
    with one_line_errors("prepare"):
        main()
