"""Fixtures: the made-up trainings."""

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
