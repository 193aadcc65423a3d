"""Stage fetch-covid: daily COVID-19 cases by country, from a mirror, upstream, or as a marked stand-in."""

from transformer_spectrum.config.load import load_params
from transformer_spectrum.data.fetch.exports import fetch_covid
from transformer_spectrum.runtime.errors import one_line_errors
from transformer_spectrum.runtime.log import to_stderr


def main() -> None:
    fetch_covid(load_params(), "data/raw/covid")


if __name__ == "__main__":
    with one_line_errors("fetch-covid"), to_stderr():
        main()
