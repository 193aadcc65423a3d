"""Stage fetch-covid: daily COVID-19 cases by country, from a mirror, upstream, or as a marked stand-in."""

from transformer_spectrum.acquisition import fetch_covid
from transformer_spectrum.errors import one_line_errors
from transformer_spectrum.params import load_params


def main() -> None:
    fetch_covid(load_params(), "data/raw/covid")


if __name__ == "__main__":
    with one_line_errors("fetch-covid"):
        main()
