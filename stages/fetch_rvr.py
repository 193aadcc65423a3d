"""Stage fetch-rvr: US hospital series by jurisdiction, from a mirror, upstream, or as a marked stand-in.

Beds and influenza are two data sets of one export. Both folders get the same bytes, which DVC's cache keeps once.
"""

from functools import partial

from transformer_spectrum.data import rvr
from transformer_spectrum.data.sources import Export, fetch
from transformer_spectrum.data.standin import simulate_rvr
from transformer_spectrum.errors import one_line_errors
from transformer_spectrum.params import load_params


def main() -> None:
    data = load_params().data
    fetch(
        Export(
            file_name=rvr.FILE_NAME,
            stage="fetch-rvr",
            url=rvr.data_url(data.rvr.url),
            count_url=rvr.count_url(data.rvr.url),
            read=rvr.read_rvr,
            check_complete=rvr.check_rvr_complete,
            simulate=partial(simulate_rvr, regions=rvr.REGIONS),
            notes=rvr.NOTES,
            remarks=rvr.REMARKS,
        ),
        ["data/raw/rvr_beds", "data/raw/rvr_flu"],
        mirror=data.mirror,
        on_unreachable=data.on_unreachable,
        standin_seed=data.standin_seed,
    )


if __name__ == "__main__":
    with one_line_errors("fetch-rvr"):
        main()
