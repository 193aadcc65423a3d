"""Stage fetch-rvr: US hospital series by jurisdiction, from a mirror, upstream, or as a marked stand-in.

Beds and influenza are two data sets of one export. Both folders get the same bytes, which DVC's cache keeps once.
Without a source within reach, real data are kept, also those that `download-rvr` has put into data/raw/rvr.
"""

from transformer_spectrum.config.load import load_params
from transformer_spectrum.data.fetch.exports import fetch_rvr
from transformer_spectrum.runtime.errors import one_line_errors
from transformer_spectrum.runtime.log import to_stderr


def main() -> None:
    fetch_rvr(load_params(), ["data/raw/rvr_beds", "data/raw/rvr_flu"], earlier=["data/raw/rvr"])


if __name__ == "__main__":
    with one_line_errors("fetch-rvr"), to_stderr():
        main()
