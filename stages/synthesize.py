"""Stage synthesize: draws the synthetic series from the skewed generalized t distribution."""

from transformer_spectrum.acquisition import draw_synthetic
from transformer_spectrum.errors import one_line_errors
from transformer_spectrum.params import load_params


def main() -> None:
    draw_synthetic(load_params(), "data/raw/synthetic")


if __name__ == "__main__":
    with one_line_errors("synthesize"):
        main()
