"""A run of made-up trainings, as the report reads it."""

import pytest
from made_up import write_run
from trainings import (  # noqa: F401
    few_histories,
    forecast,
    histories,
    kept,
    spectra,
    summarized,
    trainings,
    with_rank_one_embedding,
)

from transformer_spectrum.config.load import load_params
from transformer_spectrum.report.run import read_run


@pytest.fixture(scope="session")
def run_folder(few_histories, summarized, forecast, tmp_path_factory):  # noqa: F811
    """A folder with everything that the report reads, of made-up trainings."""
    root = tmp_path_factory.mktemp("run")
    write_run(root, summarized(few_histories, bootstrap=5), forecast)
    return root


@pytest.fixture(scope="session")
def run(run_folder):
    """That run, read."""
    return read_run(load_params(run_folder / "params.yaml"), run_folder)
