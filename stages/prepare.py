"""Stage prepare: raw series of the chosen data set -> windows, their description, the baselines."""

from pathlib import Path

from transformer_spectrum.config.load import load_params
from transformer_spectrum.data.prepare import prepare
from transformer_spectrum.runtime.errors import one_line_errors
from transformer_spectrum.runtime.log import to_stderr


def main() -> None:
    params = load_params()
    prepare(
        params,
        raw=Path("data/raw") / params.data.dataset,
        processed=Path("data/processed"),
        metrics=Path("metrics/data.json"),
    )


if __name__ == "__main__":
    with one_line_errors("prepare"), to_stderr():
        main()
