"""Stage fetch-covid: daily COVID-19 cases by country, from a mirror, upstream, or as a marked stand-in."""

from functools import partial

from transformer_spectrum.data import covid
from transformer_spectrum.data.sources import Export, fetch
from transformer_spectrum.data.standin import simulate_covid
from transformer_spectrum.errors import one_line_errors
from transformer_spectrum.params import load_params


def main() -> None:
    data = load_params().data
    countries = [name for name in data.covid.countries if not covid.is_aggregate(name)]
    fetch(
        Export(
            file_name=covid.FILE_NAME,
            stage="fetch-covid",
            url=data.covid.url,
            read=covid.read_covid,
            check_complete=covid.check_covid_complete,
            simulate=partial(simulate_covid, countries=countries),
            notes=covid.NOTES,
            remarks=covid.REMARKS,
        ),
        ["data/raw/covid"],
        mirror=data.mirror,
        on_unreachable=data.on_unreachable,
        standin_seed=data.standin_seed,
    )


if __name__ == "__main__":
    with one_line_errors("fetch-covid"):
        main()
