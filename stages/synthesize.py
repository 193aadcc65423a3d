"""Stage synthesize: draws the synthetic series from the skewed generalized t distribution."""

from transformer_spectrum.config.load import load_params
from transformer_spectrum.data.synthesis.drawing import draw_synthetic
from transformer_spectrum.runtime.errors import one_line_errors
from transformer_spectrum.runtime.log import to_stderr


def main() -> None:
    draw_synthetic(load_params(), "data/raw/synthetic")


if __name__ == "__main__":
    with one_line_errors("synthesize"), to_stderr():
        main()
